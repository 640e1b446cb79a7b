"""The words for what `analysis` found out about a comparison: missing numbers, environments, phases, pairs."""

from __future__ import annotations

from ..analysis.compare.attribution import PhaseChange
from ..analysis.compare.environments import EnvironmentDifference
from ..analysis.compare.side_by_side import PairingEffort
from ..analysis.compare.verdict import Cause, Reason
from ..plurals import counted
from .units import plain

_NOTABLE_SLOT = 0.01  # as a share

_CAUSES = {
    Cause.BASE_FAILED: "the base: {detail}",
    Cause.CANDIDATE_FAILED: "{detail}",
    Cause.NO_CASE: "the candidate does not have the case",
    Cause.NO_VALUE: "the candidate has no value",
    Cause.NO_PAIR: "measuring ended before its first pair",
    Cause.NO_DIFFERENCE: "no difference can be made of {values[0]:g} and {values[1]:g}",
    Cause.NO_RATIO: "no ratio can be made of {values[0]:g} and {values[1]:g}",
    Cause.ADDED_UP: "{detail} is of an earlier version, which added counts up over several steps where they now are of "
    "one: measure it again, or renew the baseline with: bench baseline save NAME RUN",
}


def reason_said(reason: Reason | None) -> str:
    """Why a row was not measured; nothing where it was."""
    return "" if reason is None else _CAUSES[reason.cause].format(detail=reason.detail, values=reason.values)


def environment_said(difference: EnvironmentDifference) -> str:
    """'torch: 2.8.0 and 2.9.0'."""
    if difference.field == "device_kinds":
        return f"kinds of device: {', '.join(difference.first)} and {', '.join(difference.second)}"
    return f"{difference.field}: {plain(str(difference.first))} and {plain(str(difference.second))}"


def phase_said(change: PhaseChange) -> str:
    """'train.backward +1.2 ms a step'."""
    unit = "an epoch" if change.by_epoch else "a step"
    return f"{change.stage}.{change.phase} {change.seconds * 1e3:+.3g} ms {unit}"


def effort_said(effort: PairingEffort) -> list[str]:
    """How many pairs there were, and what running first costs where that is much."""
    pairs = counted(effort.most, "pair")
    lines = [f"{pairs if effort.fewest == effort.most else f'{effort.fewest} to {pairs}'} of launches a case"]
    if abs(effort.slot - 1) > _NOTABLE_SLOT:
        how = "slower" if effort.slot > 1 else "faster"
        share = abs(effort.slot - 1)
        lines.append(f"the launch of a pair that runs first is up to {share:.1%} {how}; that is taken out")
    return lines
