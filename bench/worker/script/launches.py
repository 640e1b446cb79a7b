"""The launches of a script: timed, counted and profiled."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...measurement import (
    COUNTED,
    PHASED,
    STAGES,
    TIMED,
    WARMUP_EPOCHS,
    AutogradGraph,
    Counts,
    Measurement,
    Profile,
    samples_known,
)
from ...measurement.messages import LaunchRequest, ProfileOptions
from ...suite.case import Case
from ...suite.loops import Loop
from ...suite.script import Script
from ..context import LaunchContext
from ..counts.counters import EVALUATION_STEPS, TRAIN_STEPS, Counter, Operators, drawn, gathered, saving
from ..devices import device_conditions
from ..profile import profiler
from ..timing.guards import AfterWarmup
from ..timing.launch_memory import MemoryMeter, device_peaks
from ..timing.meter import Meter
from ..timing.timers import device_synchronizer, device_timer
from .errors import ScriptError
from .passes import TRAIN
from .recorder import Recorder
from .run import run

# The number of operators in a training step above which only one step is counted, not two: counting takes about 15
# microseconds per operator, here a second. The number depends on the code, not on the speed of the machine.
MANY_OPERATORS = 50_000


class CheckedModels:
    """For each pass, gives the meter the models that the script has called before and still holds."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._called: list[weakref.ref[nn.Module]] = []
        self._stepped: list[weakref.ref[Optimizer]] = []

    def found(self, model: nn.Module) -> None:
        self._called.append(weakref.ref(model))
        self._meter.model = None  # a pass that calls a new model cannot be checked

    def stepping(self, optimizer: Optimizer) -> None:
        if all(optimizer is not known() for known in self._stepped):
            self._stepped.append(weakref.ref(optimizer))

    def _parameters(self) -> Iterator[Tensor]:
        """The parameters of the optimizers that have stepped."""
        for reference in self._stepped:
            optimizer = reference()
            for group in optimizer.param_groups if optimizer is not None else ():
                yield from group["params"]

    @contextmanager
    def around(self) -> Iterator[None]:
        kept = [model for reference in self._called if (model := reference()) is not None]
        known = {id(one) for model in kept for one in model.parameters()}
        rest = nn.Module()  # trained parameters of no module that was called
        for number, one in enumerate(self._parameters()):
            if id(one) not in known and isinstance(one, nn.Parameter):
                rest.register_parameter(str(number), one)
        if any(True for _ in rest.parameters()):
            kept.append(rest)
        self._meter.model = nn.ModuleList(kept) if kept else None
        try:
            yield
        finally:
            self._meter.model = None


def measure(
    request: LaunchRequest, context: LaunchContext, place: Mapping[str, Any]
) -> tuple[Measurement, tuple[float, float] | None]:
    """The launch of a script, which builds its model on a device of its choice, and when its loop ran."""
    script = request.script
    assert script is not None
    if request.kind in (TIMED, PHASED):
        return timed(script, request, context, place)
    began = time.perf_counter_ns()
    details: dict[str, Any]
    if request.profile is None:
        assert request.kind == COUNTED
        details = {
            "counts": count(
                lambda recorder: run(script, request.case, recorder, context), request.graph, script.loops
            )
        }
    else:
        details = {"profile": profiled(script, request, context, request.profile)}
    costs = context.untimed_costs(began)
    return Measurement(**place, clock="none", stages=(), costs=costs, **details), None


def timed(
    script: Script, request: LaunchRequest, context: LaunchContext, place: Mapping[str, Any]
) -> tuple[Measurement, tuple[float, float]]:
    """The whole script with a meter attached, and when its loop ran on `time.monotonic`."""
    memory = MemoryMeter(torch.device("cpu"))  # the script must be the first to touch a device
    memory.start()
    began, began_monotonic = time.perf_counter_ns(), time.monotonic()
    device = torch.device("cpu")  # until a model shows its device
    steady = AfterWarmup()

    @contextmanager
    def around() -> Iterator[None]:
        nonlocal device
        if recorder.device not in (None, device):
            device = recorder.device or device
            timer = device_timer(device, phases=request.kind == PHASED)
            meter.time_by(timer, device_synchronizer(device))
        with checks.around():
            yield

    meter = Meter(None, None, device_timer(device, phases=False), records_graph=None, warmed_up=steady.begin)
    checks = CheckedModels(meter)
    recorder = Recorder(
        meter,
        around=around,
        found=checks.found,
        stepping=checks.stepping,
        unmarked=script.loops,
        most=script.steps,
    )
    with closing(meter):
        run(script, request.case, recorder, context)
    ended = time.monotonic()
    if max((record.epoch for record in meter.stages), default=0) < WARMUP_EPOCHS:
        raise ScriptError(
            "each watched loader was passed over once, and the first pass is warm-up and does not count; let the "
            "script run two epochs or more, such as: -- --epochs 2; or, if it only counts steps, give the steps of an "
            "epoch: epochbench.watch(loader, steps_per_epoch=100)"
        )
    seen = steady.end()
    loop_began, loop_ended = recorder.loop
    measurement = Measurement(
        **{**place, "conditions": {**place["conditions"], **chosen_conditions(recorder.device or device)}},
        clock=meter.clock_name,
        stages=tuple(meter.stages),
        memory={**memory.peaks(), **device_peaks(recorder.device or device)},
        checks=meter.checks,
        costs={
            "before_build": context.seconds_before(began),
            "build": loop_began - began_monotonic,
            "loop": loop_ended - loop_began,
            "after": ended - loop_ended,
        },
        **seen,
    )
    return measurement, recorder.loop


def profiled(
    script: Script, request: LaunchRequest, context: LaunchContext, options: ProfileOptions
) -> Profile:
    """The script under the profiler: the first stage is longer by the steps before the profiled ones."""
    device = device_of(request.case)

    def follow(loop: profiler.ProfiledLoop) -> None:
        recorder = Recorder(
            loop,
            window=lambda _: options.steps + loop.before,
            keeps_losses=False,
            unmarked=script.loops,
        )
        run(script, request.case, recorder, context)

    return profiler.profile_of(follow, device, options, device_synchronizer(device))


def device_of(case: Case) -> torch.device:
    """The device that a case names; the CPU if torch does not know the name."""
    try:
        return torch.device(case.device)
    except RuntimeError:
        return torch.device("cpu")


def chosen_conditions(device: torch.device) -> dict[str, Any]:
    """The conditions of a launch that a script chooses for itself."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    start_method = {"loader_start_method": chosen} if chosen else {}
    return {"device": str(device), **device_conditions(device), **start_method}


class ScriptCounter(Counter):
    """Counts the loop of a script from the second training step on: its model is known only after its first call.

    `has_enough` is True once enough training steps are counted: one step if it has very many operators.
    """

    def __init__(self, operators: Operators) -> None:
        super().__init__(None, operators)
        self.has_enough = False
        self._is_first = True
        self._is_costly = False

    def begin(self, stage: str) -> None:
        super().begin(stage)
        self._pause()

    def step(self, samples: int, loss: Tensor | None) -> None:
        super().step(samples, loss)
        if self._open[-1] != TRAIN:
            return
        if self._is_first:
            self._is_first = False
            self._is_costly = self._operators.dispatched > MANY_OPERATORS
            self.steps.pop(TRAIN)
            self.samples.pop(TRAIN)
            self.nodes.pop(TRAIN, None)
            self.saved_bytes.pop(TRAIN, None)
            self._pause()
        else:
            self.has_enough = self._is_costly

    def end(self, stage: str, loss: float | None, metrics: Mapping[str, float]) -> None:
        super().end(stage, loss, metrics)
        self._pause()

    def note(self, check: str, holds: bool) -> None:
        """Without a known number of samples, a stage has no counts per sample."""
        if not holds:
            self.samples.update((stage, 0) for stage in STAGES if check == samples_known(stage))

    def _pause(self) -> None:
        """The first training step runs uncounted; evaluations inside of it are counted."""
        self._operators.is_paused = self._is_first and self._open[-1:] == [TRAIN]


def count(
    run: Callable[[Recorder], None], keeps_graph: bool = False, unmarked: Sequence[Loop] = ()
) -> Counts:
    """The counts of what `run` does with a recorder. Raises whatever the script raises."""
    operators = Operators()
    counter = ScriptCounter(operators)
    graphs: list[AutogradGraph] = []

    models: list[nn.Module] = []
    optimizers: dict[int, Optimizer] = {}

    def found(model: nn.Module) -> None:
        models.append(model)  # kept, to read its parameters when the script has ended
        counter.know(model)

    def stepping(optimizer: Optimizer) -> None:
        optimizers[id(optimizer)] = optimizer

    def draw(loss: Tensor) -> None:
        if keeps_graph and not graphs and loss.grad_fn is not None:
            # In the step that is not counted: reading the graph runs operators.
            graphs.append(drawn(loss.grad_fn))

    @contextmanager
    def looking() -> Iterator[None]:
        with saving(counter), operators:
            yield

    recorder = Recorder(
        counter,
        window=lambda stage: TRAIN_STEPS + 1 if stage == TRAIN else EVALUATION_STEPS,
        has_enough=lambda stage: stage == TRAIN and counter.has_enough,
        around=looking,
        found=found,
        stepping=stepping,
        graded=draw,
        keeps_losses=False,
        unmarked=unmarked,
    )
    run(recorder)
    counts = gathered(operators, counter, nn.ModuleList(models), list(optimizers.values()), graphs)
    if TRAIN in counts.steps and not counter.nodes.get(TRAIN):
        # No loss with a readable graph was differentiated.
        known = {name: value for name, value in counts.per_step[TRAIN].items() if name != "autograd_nodes"}
        counts = dataclasses.replace(counts, per_step={**counts.per_step, TRAIN: known})
    return counts
