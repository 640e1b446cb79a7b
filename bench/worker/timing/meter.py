"""The meter of a timed launch, an Observer of the loop: stages, steps, phases and work checks.

It synchronises the device at the begin and end of a stage, suspends the outer stage while an inner one runs, and checks
the work outside of measured times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ...measurement import WARMUP_EPOCHS, StageRecord
from ...training import Observer
from .timers import NANO, Clock, Timer

# How long other streams may work on after the timed one without a caveat: a share of the stage; and in seconds, since
# the host takes a while to learn that the device is done.
BEYOND, LEAST_BEYOND = 0.05, 1e-3


@dataclass
class _Stage:
    """A running stage; `wall` grows by the time between its suspensions."""

    name: str
    first: int  # index of the first record of a stage inside of it
    wall: int = 0
    steps: list[float] = field(default_factory=list)
    unfinished: float = 0.0  # seconds of the step that an inner stage has interrupted
    samples: list[int] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    optimizer_steps: int = 0
    closure_evaluations: int = 0
    model: nn.Module | None = None
    weights: tuple[float, ...] | None = None
    graphs: int = 0


class Meter(Observer):
    """Times and checks the loop that it observes; `stages` holds the records.

    Checks are outside of measured times: trained parameters must move in training, neither weights nor batch-norm
    statistics may change in evaluation, and no autograd graph may exist if `records_graph` is False. Only the outermost
    of nested optimizer steps is counted: some optimizers wrap another, or call the step of their class. `clock`
    measures the wall times, `timer` the steps and phases. `warmed_up` is called once, after the epochs of warm-up.

    For a script, `model` may be set later, and is checked in stages that begin after that; without an optimizer, the
    steps of all optimizers are counted; without `records_graph`, graphs are not checked.
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
        self._is_rewound = False  # the measured time ended before the stage did
        self.time_by(timer, synchronize)
        self._stepping = 0  # running optimizer steps, one within the other
        if isinstance(optimizer, Optimizer):
            before, after = optimizer.register_step_pre_hook, optimizer.register_step_post_hook
        else:  # unknown, or only similar to an optimizer: then those that it wraps are observed
            before, after = register_optimizer_step_pre_hook, register_optimizer_step_post_hook
        self._hooks = before(self._optimizer_began), after(self._optimizer_ended)

    def time_by(self, timer: Timer, synchronize: Callable[[], None]) -> None:
        """Sets the timer of the stages that begin from now on."""
        self._timer = timer
        self._synchronize = synchronize
        # The bound methods are looked up once: the loop calls them nine times per step.
        self.lap = timer.lap  # type: ignore[method-assign]
        self._timer_step = timer.step

    @property
    def clock_name(self) -> str:
        """The name of what timed the steps."""
        return self._timer.name

    def _optimizer_began(self, *_: Any) -> None:
        self._stepping += 1

    def _optimizer_ended(self, *_: Any) -> None:
        self._stepping -= 1
        if self._open and not self._stepping:  # a script may step an optimizer outside of watched loops
            self._open[-1].optimizer_steps += 1

    def close(self) -> None:
        """Removes the meter's hooks from the optimizer."""
        for hook in self._hooks:
            hook.remove()

    def epoch(self, number: int) -> None:
        self._epoch = number
        if number == WARMUP_EPOCHS:
            self._warmed_up()

    def begin(self, stage: str) -> None:
        if self._open:
            self._suspend()
        weights = None if self.model is None else fingerprint(self._checked_tensors(stage, self.model))
        self._open.append(_Stage(stage, len(self.stages), model=self.model, weights=weights))
        self._resume()

    def evaluation(self, loss: Tensor) -> None:
        self._open[-1].closure_evaluations += 1

    def step(self, samples: int, loss: Tensor | None) -> None:
        stage = self._open[-1]
        stage.samples.append(samples)
        stage.graphs += loss is not None and loss.requires_grad
        self._stepping = 0  # also after an optimizer step that raised in a script that continued
        self._timer_step()

    def mark(self) -> None:
        """Marks that the stage may turn out to have ended here, with the last lap."""
        self._timer.mark()

    def rewind(self) -> None:
        """Ends the stage at its last mark, or at the last resumption after it."""
        self._timer.rewind()
        self._is_rewound = True

    def forget(self) -> None:
        """Deletes the stages that have ended: they did not belong to the loop."""
        self.stages.clear()

    def drop(self) -> None:
        """Deletes the innermost stage, and those that ran inside of it."""
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
        self._is_rewound = False
        self._stretch_began = self._clock()
        self._timer.start()

    def _suspend(self) -> None:
        self._timer.suspend()
        self._synchronize()
        now = self._clock()  # read before the timer adds up, which is not part of the stage
        steps, phases = self._timer.stop()
        if self._timer.beyond > max(BEYOND * (now - self._stretch_began) * NANO, LEAST_BEYOND):
            self.note("streams_are_waited_for", False)
        stage = self._open[-1]
        if (
            self._is_rewound
        ):  # to read the clock at the mark would have meant to wait for the device inside the stage
            stage.wall += round((sum(steps) + self._timer.unfinished) / NANO)
        else:
            stage.wall += now - self._stretch_began
        if steps:
            steps[0] = round(steps[0] + stage.unfinished, 9)
            stage.unfinished = 0.0
        stage.steps += steps
        stage.unfinished += self._timer.unfinished
        for phase, spent in phases.items():
            stage.phases[phase] = round(stage.phases.get(phase, 0.0) + spent, 9)

    def _check(self, stage: _Stage) -> None:
        if stage.model is None or stage.model is not self.model:
            return  # the model was unknown or another one when the stage began
        weights = fingerprint(self._checked_tensors(stage.name, stage.model))
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

    def _checked_tensors(self, stage: str, model: nn.Module) -> list[Tensor]:
        return trained(model, self._optimizer) if stage == "train" else state_of(model)

    def note(self, check: str, holds: bool) -> None:
        """Adds the outcome of a check, which passes only if all its outcomes do."""
        self.checks[check] = self.checks.get(check, True) and holds


def trained(model: nn.Module, optimizer: Optimizer | None) -> list[Tensor]:
    """The parameters that require a gradient: of the model, and others of the optimizer (such as those of a loss)."""
    own = list(model.parameters())
    known = {id(parameter) for parameter in own}
    groups = getattr(optimizer, "param_groups", ())
    others = [parameter for group in groups for parameter in group["params"] if id(parameter) not in known]
    return [parameter for parameter in [*own, *others] if parameter.requires_grad]


def state_of(model: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a model, without buffers that are not saved with it, such as caches."""
    scratch = {
        id(module._buffers.get(name))
        for module in model.modules()
        for name in module._non_persistent_buffers_set
    }
    return [*model.parameters(), *(buffer for buffer in model.buffers() if id(buffer) not in scratch)]


def fingerprint(tensors: Iterable[Tensor]) -> tuple[float, ...]:
    """The norms and sums of tensors: if they are equal before and after, nothing has changed.

    A norm would miss weights that move on a sphere. Both are gathered on their device and read at once, without
    allocating anything as large as a float32 weight, nor anything in float64, which some devices do not have.
    """
    numbers: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}

    def add(number: Tensor) -> None:
        numbers.setdefault((number.device, number.dtype), []).append(number)

    with torch.no_grad():
        for tensor in tensors:
            if is_lazy(tensor):
                continue  # a lazy parameter has no values before the first forward pass
            if tensor.is_floating_point() or tensor.is_complex():
                # A norm in bfloat16 has 8 bits, too few to see a small step.
                wide = torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else None
                add(torch.linalg.vector_norm(tensor, dtype=wide))
            if not tensor.is_complex():
                add(tensor.sum())
        return tuple(number for several in numbers.values() for number in torch.stack(several).tolist())
