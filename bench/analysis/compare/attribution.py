"""Where a change of time came from: the phase that moved most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...measurement import STAGES
from .sides import CaseSide

_EPOCH = "epoch."


@dataclass(frozen=True)
class PhaseChange:
    """A phase of a stage, and how many seconds more it takes: per epoch, else per step."""

    stage: str
    phase: str
    seconds: float
    by_epoch: bool


def moved_phase(base: CaseSide, candidate: CaseSide, metric: str) -> PhaseChange | None:
    """The phase whose time changed most in the direction of the whole; None where no phase did.

    For a metric of one stage, the phases of that stage are compared per step; for `epoch.time`, the phases of all
    stages per epoch. Phases are measured per step, so a stage whose number of steps is unknown has no times per epoch.
    """
    by_epoch = metric.startswith(_EPOCH)
    changes = [
        change
        for stage in STAGES
        if by_epoch or metric.startswith(f"{stage}.")
        for change in _changes(base, candidate, stage, by_epoch)
    ]
    whole = sum(change.seconds for change in changes)
    if not whole:
        return None
    return max(changes, key=lambda change: change.seconds if whole > 0 else -change.seconds)


def _changes(base: CaseSide, candidate: CaseSide, stage: str, by_epoch: bool) -> Iterator[PhaseChange]:
    """The changes of all phases of a stage, which add up to the change of the stage: a missing phase took no time."""
    before, after = _phases(base, stage), _phases(candidate, stage)
    if not before or not after:
        return
    steps = (1.0, 1.0)
    if by_epoch:
        known = [side.observed.get(f"work.{stage}.batches") for side in (base, candidate)]
        if known[0] is None or known[1] is None:
            return
        steps = known[0].value, known[1].value
    for phase in {**before, **after}:
        seconds = after.get(phase, 0.0) * steps[1] - before.get(phase, 0.0) * steps[0]
        yield PhaseChange(stage, phase, seconds, by_epoch)


def _phases(side: CaseSide, stage: str) -> dict[str, float]:
    """The seconds of each phase of a stage, per step."""
    prefix = f"{stage}.phase."
    return {
        name.removeprefix(prefix): seen.value
        for name, seen in side.observed.items()
        if name.startswith(prefix)
    }
