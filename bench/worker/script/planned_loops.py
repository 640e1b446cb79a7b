"""The loops of a script that marks none, in a launch: found again where its first run showed them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ...suite.loops import BACKWARD, BATCH, OPTIMIZER, Loop
from .callers import place_of, step_place
from .loop_stages import stage_said
from .pass_tracker import PassTracker
from .watched_loader import LoaderListener, Watching


class PlannedLoops:
    """Follows passes over DataLoaders that begin where one of these loops does, and steps without a loader.

    `is_on` becomes False when the script marks its loops itself.
    """

    def __init__(self, loops: Sequence[Loop], passes: PassTracker, limits: LoaderListener) -> None:
        self.is_on = bool(loops)
        self._passes, self._limits = passes, limits
        self._loops = {loop.key: loop for loop in loops if loop.ends == BATCH}
        steps = {loop.ends: loop for loop in loops if loop.ends != BATCH}
        self._by_optimizer, self._by_backward = steps.get(OPTIMIZER), steps.get(BACKWARD)
        # The stage of an evaluation whose names say none.
        self._free = "test" if any(loop.stage == "validate" for loop in loops) else "validate"
        self._steps: Iterator[Any] | None = None

    @property
    def listener(self) -> PlannedLoops | None:
        """What the hooks report to; None where loaders alone end steps."""
        return self if self._by_optimizer or self._by_backward else None

    # What watched loaders call.

    def batches(self, loader: Iterable[Any], watching: Watching, known_by: Any) -> Iterator[Any]:
        """The batches of a pass that begins where this is called.

        The first run of a script may not have come to its end. A pass that it did not show is an evaluation if autograd
        is off, as for the test after all epochs; any other is not followed.
        """
        if not self.is_on:
            return iter(loader)
        key, place, names = place_of(sys._getframe(1), known_by)
        loop = self._loops.get(key)
        if loop is None and torch.is_grad_enabled():
            return self._unknown(loader)
        if loop is None:
            loop = Loop(stage_said(names) or self._free, BATCH, key, place)
        if not loop.stage:
            return iter(loader)
        epoch = loop.steps if loop.is_cut else None
        return self._passes.batches(loader, Watching(self._limits, loop.place, loop.stage, epoch), known_by)

    def length(self, whole: int, stage: str | None) -> int:
        return self._limits.length(whole, stage) if self.is_on else whole

    def _unknown(self, loader: Iterable[Any]) -> Iterator[Any]:
        self._passes.unknown += 1
        try:
            yield from loader
        finally:
            self._passes.unknown -= 1

    # What the hooks report.

    def forward(self, module: nn.Module) -> None:
        """A call of a module ends no step."""

    def optimizer_stepped(self) -> None:
        self._step_of(self._by_optimizer)

    def backward(self) -> None:
        self._step_of(self._by_backward)

    def _step_of(self, loop: Loop | None) -> None:
        """A step of the training ends here, and the next one begins; what came before the first one is not counted."""
        if loop is None or not self.is_on or step_place(sys._getframe(2))[0] != loop.key:
            return
        if self._steps is None:
            watching = Watching(self._limits, loop.place, loop.stage, loop.steps, is_stepwise=True)
            self._steps = self._passes.batches(itertools.count(), watching, None)
        next(self._steps, None)
