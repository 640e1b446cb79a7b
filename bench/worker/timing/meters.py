"""Meters plug into the loop's Observer socket: clocks, the phase ledger, work checks, memory.

Three timekeepers share one shape. `HostTimer` reads the host clock at each lap: every instant of a stage
belongs to exactly one phase. `EventTimer` records a device event at the boundaries of steps and
nothing else, so that the host never waits inside a stage. `EventPhaseTimer` records one at every lap, in
a launch of its own. The `Meter` owns the stages: it synchronises at their edges, suspends the outer one
while an inner one runs, and checks the work outside their clocks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ...measurement import WARMUP_EPOCHS, StageRecord
from ...training import Observer

NANO = 1e-9
Clock = Callable[[], int]  # nanoseconds, monotonic


class Timer(Protocol):
    """Times one stretch of one stage, from `start` to `stop`; steps and phases are seconds.

    `rewind` stops the clock at the last `mark`, which follows a lap; what comes after it until `stop` takes no time.
    `unfinished` is what the step had taken that was under way when it was stopped.
    """

    name: str
    unfinished: float

    def start(self) -> None: ...
    def lap(self, phase: str) -> None: ...
    def step(self) -> None: ...
    def mark(self) -> None: ...
    def rewind(self) -> None: ...
    def stop(self) -> tuple[list[float], dict[str, float]]: ...


class HostTimer:
    """Laps and steps on the host clock: for the CPU, where work is done when a call returns."""

    name = "host"

    def __init__(self, clock: Clock = time.perf_counter_ns) -> None:
        self._running = clock

    def start(self) -> None:
        self._clock = self._running
        self._phases: dict[str, int] = {}
        self._steps: list[int] = []
        self._lap_began = self._step_began = self._marked = self._clock()

    def lap(self, phase: str) -> None:
        now = self._clock()
        self._phases[phase] = self._phases.get(phase, 0) + now - self._lap_began
        self._lap_began = now

    def step(self) -> None:
        now = self._clock()
        self._phases["other"] = self._phases.get("other", 0) + now - self._lap_began
        self._steps.append(now - self._step_began)
        self._lap_began = self._step_began = now

    def mark(self) -> None:
        self._marked = self._lap_began

    def rewind(self) -> None:
        marked = self._marked
        self._clock = lambda: marked

    def stop(self) -> tuple[list[float], dict[str, float]]:
        self.lap("other")
        self.unfinished = round((self._lap_began - self._step_began) * NANO, 9)
        steps = [round(step * NANO, 9) for step in self._steps]
        return steps, {phase: round(total * NANO, 9) for phase, total in self._phases.items()}


class Event(Protocol):
    """A mark in a device's queue of work, as torch.cuda.Event and torch.Event are."""

    def record(self) -> None: ...
    def elapsed_time(self, other: Any) -> float: ...  # milliseconds


class EventTimer:
    """Steps on the device's own clock: the time between events recorded at their boundaries."""

    name = "device events"

    def __init__(self, event: Callable[[], Event], synchronize: Callable[[], None]) -> None:
        self._event = event
        self._synchronize = synchronize

    def _now(self) -> Event:
        if self._stopped is not None:
            return self._stopped
        event = self._event()
        event.record()
        return event

    def start(self) -> None:
        self._stopped: Event | None = None
        self._marked = self._now()
        self._marks = [self._marked]

    def lap(self, phase: str) -> None:
        pass

    def step(self) -> None:
        self._marks.append(self._now())

    def mark(self) -> None:
        self._marked = self._now()

    def rewind(self) -> None:
        self._stopped = self._marked

    def stop(self) -> tuple[list[float], dict[str, float]]:
        ended = self._now()
        self._synchronize()
        self.unfinished = seconds(self._marks[-1], ended)
        return [seconds(a, b) for a, b in zip(self._marks, self._marks[1:], strict=False)], {}


class EventPhaseTimer(EventTimer):
    """Phases on the device's own clock: the time between events recorded at every lap.

    A phase in which the device waits for the host (a late batch) is as long as the device waited.
    """

    name = "device events at every lap"

    def start(self) -> None:
        super().start()
        self._laps: list[tuple[str, Event]] = [("other", self._marks[0])]

    def lap(self, phase: str) -> None:
        self._laps.append((phase, self._now()))

    def step(self) -> None:
        super().step()
        self._laps.append(("other", self._marks[-1]))

    def mark(self) -> None:
        self._marked = self._laps[-1][1]

    def stop(self) -> tuple[list[float], dict[str, float]]:
        self.lap("other")
        steps, phases = super().stop()
        for (_, before), (phase, after) in zip(self._laps, self._laps[1:], strict=False):
            phases[phase] = phases.get(phase, 0.0) + seconds(before, after)
        return steps, phases


def seconds(before: Event, after: Event) -> float:
    """The time between two recorded events, of which the later one has completed."""
    return round(before.elapsed_time(after) / 1e3, 9)


def device_synchronizer(device: torch.device) -> Callable[[], None]:
    """What waits until the device has done all that was asked of it; nothing on the CPU."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)


def device_timer(device: torch.device, phases: bool) -> Timer:
    """The timekeeper of a device: the host clock on the CPU, events elsewhere."""
    if device.type == "cpu":
        return HostTimer()

    def event() -> Event:
        if device.type == "cuda":
            made: Event = torch.cuda.Event(enable_timing=True)
        else:
            made = torch.Event(device.type, enable_timing=True)
        return made

    return (EventPhaseTimer if phases else EventTimer)(event, device_synchronizer(device))


@dataclass
class _Stage:
    """A stage that is under way; `wall` grows by each stretch between its suspensions."""

    name: str
    first: int  # of the records of stages inside of it
    wall: int = 0
    steps: list[float] = field(default_factory=list)
    unfinished: float = 0.0  # of the step that an inner stage has interrupted
    samples: list[int] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    optimizer_steps: int = 0
    closure_evaluations: int = 0
    model: nn.Module | None = None
    weights: tuple[float, ...] | None = None
    graphs: int = 0


class Meter(Observer):
    """Times and checks the loop that it observes; `stages` holds what it has seen.

    Checks take place outside the clocks of the stages: what is trained must move in training, neither weights nor
    batch-norm statistics may in evaluation, and no autograd graph may exist where `records_graph` is False. What is
    trained are the parameters of the model and of the optimizer that require a gradient: statistics move by
    themselves. Of steps of optimizers the outermost counts: some wrap another, or call the step of their class.
    `clock` drives the wall times, `timer` the steps and phases. `warmed_up` is called once, between the epochs that
    are warm-up and those that count.

    Of a script less is known beforehand: `model` may be set later, and is checked in stages that begin with it;
    without an optimizer the steps of all are counted; without `records_graph` a graph may be there or not.
    """

    def __init__(
        self,
        model: nn.Module | None,
        optimizer: Optimizer | None,
        timer: Timer,
        synchronize: Callable[[], None] = lambda: None,
        records_graph: bool | None = False,
        clock: Clock = time.perf_counter_ns,
        warmed_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.stages: list[StageRecord] = []
        self.checks: dict[str, bool] = {}
        self.model = model
        self._optimizer = optimizer
        self._records_graph = records_graph
        self._clock = clock
        self._warmed_up = warmed_up
        self._epoch = 0
        self._open: list[_Stage] = []
        self._stopped: int | None = None  # where the stretch ended, if before it was left
        self.time_by(timer, synchronize)
        self._stepping = 0  # steps of optimizers that are under way, one within the other
        if isinstance(optimizer, Optimizer):
            before, after = optimizer.register_step_pre_hook, optimizer.register_step_post_hook
        else:  # not known, or only like one: then it is those that it wraps
            before, after = register_optimizer_step_pre_hook, register_optimizer_step_post_hook
        self._hooks = before(self._optimizer_began), after(self._optimizer_ended)

    def time_by(self, timer: Timer, synchronize: Callable[[], None]) -> None:
        """Stages that begin from now on are timed by these."""
        self._timer = timer
        self._synchronize = synchronize
        # The bound methods are looked up once: the loop calls them nine times a step.
        self.lap = timer.lap  # type: ignore[method-assign]
        self._timer_step = timer.step

    @property
    def clock_name(self) -> str:
        """What timed the steps."""
        return self._timer.name

    def _optimizer_began(self, *_: Any) -> None:
        self._stepping += 1

    def _optimizer_ended(self, *_: Any) -> None:
        self._stepping -= 1
        if self._open and not self._stepping:  # a script may step where nothing is watched
            self._open[-1].optimizer_steps += 1

    def close(self) -> None:
        """Takes the meter's hooks off the optimizer."""
        for hook in self._hooks:
            hook.remove()

    def epoch(self, number: int) -> None:
        self._epoch = number
        if number == WARMUP_EPOCHS:
            self._warmed_up()

    def begin(self, stage: str) -> None:
        if self._open:
            self._suspend()
        weights = None if self.model is None else fingerprint(self._watched(stage, self.model))
        self._open.append(_Stage(stage, len(self.stages), model=self.model, weights=weights))
        self._resume()

    def evaluation(self, loss: Tensor) -> None:
        self._open[-1].closure_evaluations += 1

    def step(self, samples: int, loss: Tensor | None) -> None:
        stage = self._open[-1]
        stage.samples.append(samples)
        stage.graphs += loss is not None and loss.requires_grad
        self._stepping = 0  # also where the step of an optimizer raised, and the script went on
        self._timer_step()

    def mark(self) -> None:
        """The stage may turn out to have ended here, with the lap that came before."""
        self._timer.mark()
        self._synchronize()
        self._marked = self._clock()

    def rewind(self) -> None:
        """It did: what came after the last mark of the stage, or after it was resumed, is no part of it."""
        self._timer.rewind()
        self._stopped = self._marked

    def forget(self) -> None:
        """The stages that have ended were none of the loop."""
        self.stages.clear()

    def drop(self) -> None:
        """The innermost stage was none: nothing is kept of it, nor of those that ran inside."""
        self._suspend()
        dropped = self._open.pop()
        del self.stages[dropped.first :]
        if self._open:
            self._resume()

    def end(self, stage: str, loss: float | None, metrics: Mapping[str, float]) -> None:
        self._suspend()
        ended = self._open.pop()
        assert ended.name == stage, f"{stage} ended inside {ended.name}"
        self._check(ended)
        self.stages.append(
            StageRecord(
                epoch=self._epoch,
                stage=ended.name,
                wall=round(ended.wall * NANO, 9),
                steps=tuple(ended.steps),
                samples=tuple(ended.samples),
                phases=ended.phases,
                optimizer_steps=ended.optimizer_steps,
                closure_evaluations=ended.closure_evaluations,
                loss=loss,
                metrics=dict(metrics),
            )
        )
        if self._open:
            self._resume()

    def _resume(self) -> None:
        self._synchronize()
        self._stopped = None
        self._stretch_began = self._marked = self._clock()
        self._timer.start()

    def _suspend(self) -> None:
        self._synchronize()
        now = self._clock()  # read before the timer adds up, which is no part of the stage
        ended = now if self._stopped is None else self._stopped
        steps, phases = self._timer.stop()
        stage = self._open[-1]
        stage.wall += ended - self._stretch_began
        if steps:
            steps[0] = round(steps[0] + stage.unfinished, 9)
            stage.unfinished = 0.0
        stage.steps += steps
        stage.unfinished += self._timer.unfinished
        for phase, spent in phases.items():
            stage.phases[phase] = round(stage.phases.get(phase, 0.0) + spent, 9)

    def _check(self, stage: _Stage) -> None:
        if stage.model is None or stage.model is not self.model:
            return  # it was not known, or another one, when the stage began
        weights = fingerprint(self._watched(stage.name, stage.model))
        moved = weights != stage.weights
        if stage.name == "train":
            if weights:
                self.note("parameters_moved_in_training", moved)
        else:
            self.note("weights_kept_in_evaluation", not moved)
            if self._records_graph is None:
                return
            expected = len(stage.samples) if self._records_graph else 0
            self.note("graph_as_the_mode_says", stage.graphs == expected)

    def _watched(self, stage: str, model: nn.Module) -> list[Tensor]:
        return trained(model, self._optimizer) if stage == "train" else state_of(model)

    def note(self, check: str, holds: bool) -> None:
        """Whether the work was as it should be in one more place."""
        self.checks[check] = self.checks.get(check, True) and holds


def trained(model: nn.Module, optimizer: Optimizer | None) -> list[Tensor]:
    """The parameters that require a gradient: of the model, and what else the optimizer has (those of a loss, say)."""
    own = list(model.parameters())
    known = {id(parameter) for parameter in own}
    groups = getattr(optimizer, "param_groups", ())
    others = [parameter for group in groups for parameter in group["params"] if id(parameter) not in known]
    return [parameter for parameter in [*own, *others] if parameter.requires_grad]


def state_of(model: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a model, without buffers that are not saved with it: caches may be written to."""
    scratch = {
        id(module._buffers.get(name))
        for module in model.modules()
        for name in module._non_persistent_buffers_set
    }
    return [*model.parameters(), *(buffer for buffer in model.buffers() if id(buffer) not in scratch)]


def fingerprint(tensors: Iterable[Tensor]) -> tuple[float, ...]:
    """The norms and sums of tensors: equal before and after means that nothing was moved.

    A norm alone misses weights that stay on a sphere. Both are gathered on the device and read at once; nothing as
    large as a float32 weight is allocated.
    """
    numbers: list[Tensor] = []
    with torch.no_grad():
        for tensor in tensors:
            if is_lazy(tensor):
                continue  # it has no values before the first forward pass
            if tensor.is_floating_point() or tensor.is_complex():
                # A norm in bfloat16 has 8 bits, too few to see a small step.
                wide = torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else None
                numbers.append(torch.linalg.vector_norm(tensor, dtype=wide).to(torch.float64))
            if not tensor.is_complex():
                numbers.append(tensor.sum().to(torch.float64))
        return tuple(torch.stack(numbers).tolist()) if numbers else ()


class MemoryMeter:
    """Peaks from `start` on: of the resident set above its level then, and of the device's memory. Bytes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self) -> None:
        self._level = psutil.Process().memory_info().rss
        reset_high_water_mark()
        if self._device.type != "cpu":
            torch.accelerator.reset_peak_memory_stats(self._device)

    def peaks(self) -> dict[str, int]:
        return {"peak_rss": max(0, high_water_mark() - self._level), **device_peaks(self._device)}


def device_peaks(device: torch.device) -> dict[str, int]:
    """The most bytes that tensors on the device held since they were watched, and that its allocator did."""
    if device.type == "cpu":
        return {}
    return {
        "peak_allocated": torch.accelerator.max_memory_allocated(device),
        "peak_reserved": torch.accelerator.max_memory_reserved(device),
    }


def reset_high_water_mark() -> None:
    """Sets the kernel's high-water mark of this process to its present resident set, where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): 5 resets VmHWM
    except OSError:
        pass  # no such file, or not allowed: the mark then also holds what came before


def high_water_mark() -> int:
    """The most bytes that this process has had resident since the mark was reset."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
