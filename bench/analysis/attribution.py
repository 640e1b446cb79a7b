"""Where a change of time came from: the phase that moved most."""

from __future__ import annotations

from ..measurement import STAGES
from .sides import CaseSide


def moved_phase(base: CaseSide, candidate: CaseSide, metric: str) -> str:
    """The phase whose time changed most, in the direction of the whole: "train.backward +1.2 ms"; or nothing.

    Of a metric of one stage, the phases of that stage; of the epoch, those of all stages.
    """
    stages = [stage for stage in STAGES if metric.startswith((f"{stage}.", "epoch."))]
    moved = {
        name.replace(".phase.", "."): candidate.observed[name].value - seen.value
        for name, seen in base.observed.items()
        if ".phase." in name and name.partition(".")[0] in stages and name in candidate.observed
    }
    whole = sum(moved.values())
    if not whole:
        return ""
    name = max(moved, key=lambda one: moved[one] * (1 if whole > 0 else -1))
    return f"{name} {moved[name] * 1e3:+.3g} ms a step"
