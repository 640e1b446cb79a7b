"""Finds the loops of a script that marks none, in a run over a few batches of each pass: see `loop_stages.py`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...batches import size_of
from .callers import is_own_code, place_of, step_place
from .errors import Enough
from .loop_stages import Evidence, PassEvidence, StepEvidence
from .passes import parameter_of
from .watched_loader import Watching

BATCHES = 3  # of each pass: a loop that fetches one or two batches ahead still works on the first
_PASSES = 3  # that train at one place: by the third, an epoch with all its evaluations has passed
_STEPS = 24  # of an optimizer outside of any pass


@dataclass
class _OpenPass:
    evidence: PassEvidence
    has_worked: bool = False  # since its last batch


class Discovery:
    """Notes what happens in each pass over a DataLoader, and outside of them; ends the script once it has seen enough.

    `is_on` becomes False when the script marks its loops itself.
    """

    def __init__(self, is_on: bool = True) -> None:
        self.evidence = Evidence()
        self.is_on = is_on
        self._open: list[_OpenPass] = []
        self._current: _OpenPass | None = None  # gave the last batch
        self._main = threading.get_ident()

    @property
    def listener(self) -> Discovery | None:
        """What the hooks report to."""
        return self

    # What watched loaders call.

    def batches(self, loader: Iterable[Any], watching: Watching, known_by: Any) -> Iterator[Any]:
        """The first batches of a pass that begins where this is called."""
        if not self.is_on:
            return iter(loader)
        key, place, names = place_of(sys._getframe(1), known_by)
        found = self.evidence.passes.setdefault(key, PassEvidence(key, place, names, size_of(loader)))
        found.is_elsewhere |= threading.get_ident() != self._main
        if found.backwards and found.passes >= _PASSES:
            raise Enough
        return self._first(loader, found)

    def length(self, whole: int, stage: str | None) -> int:
        """What `len` of a loader gives: the cut number to a library that counts batches, the true one to the script."""
        return whole if not self.is_on or is_own_code() else min(whole, BATCHES)

    def _first(self, loader: Iterable[Any], found: PassEvidence) -> Iterator[Any]:
        opened = _OpenPass(found)
        found.passes += 1
        if self._current is not None and self._current.has_worked:
            found.inside.add(self._current.evidence.key)
        self._open.append(opened)
        try:
            for number, batch in enumerate(loader, start=1):
                if self._open[-1] is not opened and self._current is not opened:
                    found.is_interleaved = True
                if threading.get_ident() == self._main:
                    self._current = opened
                opened.has_worked = False
                yield batch
                if number == BATCHES:
                    return
        finally:
            self._open.remove(opened)
            if self._current is opened:
                self._current = self._open[-1] if self._open else None

    # What the hooks report.

    def forward(self, module: nn.Module) -> None:
        if self._current is not None and parameter_of(module) is not None:
            self._current.has_worked = True
            self._current.evidence.forwards += 1

    def backward(self) -> None:
        if self._current is not None:
            self._current.has_worked = True
            self._current.evidence.backwards += 1
        else:
            self._stepped(self.evidence.backwards)

    def optimizer_stepped(self) -> None:
        if self._current is not None:
            self._current.evidence.optimizer_places.add(step_place(sys._getframe(1))[1])
        else:
            self._stepped(self.evidence.optimizer_steps)

    def _stepped(self, steps: dict[str, StepEvidence]) -> None:
        key, place = step_place(sys._getframe(2))
        found = steps.setdefault(key, StepEvidence(key, place))
        found.count += 1
        if found.count >= _STEPS and self.is_on:
            raise Enough
