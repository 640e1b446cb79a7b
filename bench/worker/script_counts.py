"""Exact counts of a script: the operators of a few steps of each stage.

The script runs once, so that the first training step, which makes the optimizer's state, is left out of them. Memory
is not counted: it would have to be followed from the first line of the script on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim import Optimizer

from ..measurement import AutogradGraph, Counts
from .counters import EVALUATION_STEPS, TRAIN_STEPS, Counter, Operators, drawn, gathered
from .recorder import TRAIN, Recorder
from .saving import Saving


class ScriptCounter(Counter):
    """Counts a loop whose model shows when it is first called, from the second training step on."""

    def __init__(self, operators: Operators) -> None:
        super().__init__(None, operators)
        self._is_first = True

    def step(self, samples: int, loss: Tensor | None) -> None:
        super().step(samples, loss)
        if self._is_first and self._open[-1] == TRAIN:
            self._is_first = False
            self._operators.assign(TRAIN, "other")
            self._operators.forget(TRAIN)
            self.steps.pop(TRAIN)
            self.nodes = self.saved_bytes = 0


def count(run: Callable[[Recorder], None], keeps_graph: bool = False) -> Counts:
    """The counts of what `run` does with a recorder. Raises what the script raises."""
    operators = Operators()
    counter = ScriptCounter(operators)
    saving = Saving(counter.save)
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
        with saving, operators:
            yield

    recorder = Recorder(
        counter,
        window=lambda stage: TRAIN_STEPS + 1 if stage == TRAIN else EVALUATION_STEPS,
        around=looking,
        found=found,
        stepping=stepping,
        graded=draw,
        keeps_losses=False,
    )
    run(recorder)
    counts = gathered(operators, counter, nn.ModuleList(models), list(optimizers.values()), {}, graphs)
    unknown = set() if saving.is_whole else {"saved_bytes"}
    if TRAIN in counts.steps and not counter.nodes:
        unknown.add("autograd_nodes")  # gradients were asked for of no loss that has a graph to look at
    return dataclasses.replace(
        counts, totals={name: total for name, total in counts.totals.items() if name not in unknown}
    )
