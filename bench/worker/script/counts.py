"""Exact counts of a script: the operators of a few steps of each stage.

The script runs once, so that the first training step, which makes the optimizer's state, is left out of them. Memory
is not counted: it would have to be followed from the first line of the script on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim import Optimizer

from ...measurement import STAGES, AutogradGraph, Counts, samples_known
from ..counts.counters import EVALUATION_STEPS, TRAIN_STEPS, Counter, Operators, drawn, gathered
from ..counts.saved_tensors import saving
from .observers import TRAIN
from .recorder import Recorder

# Operators of a training step above which one step is counted and not two: at some 15 microseconds for each that
# is counted, a second. How many there are follows from the code, and not from how fast this machine is.
MANY_OPERATORS = 50_000


class ScriptCounter(Counter):
    """Counts a loop whose model shows when it is first called, from the second training step on.

    `has_enough` says that the training steps so far are those to count, which one is where each is many operators.
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
        """Where it is not known how many samples a stage has, nothing is told by the sample."""
        if not holds:
            self.samples.update((stage, 0) for stage in STAGES if check == samples_known(stage))

    def _pause(self) -> None:
        """The first training step is passed over at full speed; evaluations inside of it count."""
        self._operators.is_paused = self._is_first and self._open[-1:] == [TRAIN]


def count(run: Callable[[Recorder], None], keeps_graph: bool = False) -> Counts:
    """The counts of what `run` does with a recorder. Raises what the script raises."""
    operators = Operators()
    counter = ScriptCounter(operators)
    graphs: list[AutogradGraph] = []

    models: list[nn.Module] = []
    optimizers: dict[int, Optimizer] = {}

    def found(model: nn.Module) -> None:
        models.append(model)  # kept, to be looked at when the script has ended
        counter.know(model)

    def stepping(optimizer: Optimizer) -> None:
        optimizers[id(optimizer)] = optimizer

    def draw(loss: Tensor) -> None:
        if keeps_graph and not graphs and loss.grad_fn is not None:
            graphs.append(drawn(loss.grad_fn))  # in the step that does not count: to look is an operator

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
    )
    run(recorder)
    counts = gathered(operators, counter, nn.ModuleList(models), list(optimizers.values()), graphs)
    if TRAIN in counts.steps and not counter.nodes.get(TRAIN):
        # Gradients were asked for of no loss that has a graph to look at.
        known = {name: value for name, value in counts.per_step[TRAIN].items() if name != "autograd_nodes"}
        counts = dataclasses.replace(counts, per_step={**counts.per_step, TRAIN: known})
    return counts
