"""Who is told of the stages of a script: an Observer, and what else it may be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

TRAIN = "train"


class StageObserver(Protocol):
    """An Observer whose stages may be without a loss."""

    def epoch(self, number: int) -> None: ...
    def begin(self, stage: str) -> None: ...
    def lap(self, phase: str) -> None: ...
    def evaluation(self, loss: Tensor) -> None: ...
    def step(self, samples: int, loss: Any) -> None: ...
    def end(self, stage: str, loss: Any, metrics: Mapping[str, float]) -> None: ...


@runtime_checkable
class RewindingObserver(Protocol):
    """An Observer that can remove from a stage what turns out not to belong to it, as the Meter does."""

    def mark(self) -> None: ...
    def rewind(self) -> None: ...
    def drop(self) -> None: ...
    def forget(self) -> None: ...


@runtime_checkable
class CheckingObserver(Protocol):
    """An Observer that keeps the outcomes of checks of the work, as the Meter does."""

    def note(self, check: str, holds: bool) -> None: ...
