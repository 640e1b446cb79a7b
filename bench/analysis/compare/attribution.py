"""Where a change of time came from: the phase that moved most."""

from __future__ import annotations

from collections.abc import Iterator

from ...measurement import STAGES
from .sides import CaseSide

_EPOCH = "epoch."


def moved_phase(base: CaseSide, candidate: CaseSide, metric: str) -> str:
    """The phase whose time changed most, in the direction of the whole: "train.backward +1.2 ms a step"; or nothing.

    Of a metric of one stage, the phases of that stage, by the step; of the epoch, those of all stages, by the
    epoch: "train.backward +120 ms an epoch". Phases are measured by the step, and stages have unlike numbers of
    them, so that a stage whose steps are not known says nothing of an epoch.
    """
    by_epoch = metric.startswith(_EPOCH)
    moved = {
        f"{stage}.{phase}": change
        for stage in STAGES
        if by_epoch or metric.startswith(f"{stage}.")
        for phase, change in _changes(base, candidate, stage, by_epoch)
    }
    whole = sum(moved.values())
    if not whole:
        return ""
    name = max(moved, key=lambda one: moved[one] * (1 if whole > 0 else -1))
    return f"{name} {moved[name] * 1e3:+.3g} ms {'an epoch' if by_epoch else 'a step'}"


def _changes(base: CaseSide, candidate: CaseSide, stage: str, by_epoch: bool) -> Iterator[tuple[str, float]]:
    """By phase of a stage, the seconds that it takes more; those of a stage add up, so that one that a side lacks
    took none there.
    """
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
        yield phase, after.get(phase, 0.0) * steps[1] - before.get(phase, 0.0) * steps[0]


def _phases(side: CaseSide, stage: str) -> dict[str, float]:
    """By phase of a stage, its seconds by the step."""
    prefix = f"{stage}.phase."
    return {
        name.removeprefix(prefix): seen.value
        for name, seen in side.observed.items()
        if name.startswith(prefix)
    }
