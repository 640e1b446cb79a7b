"""Texts for results of `analysis`: missing numbers, environments, phases, pairs, the largest batch."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.compare.attribution import PhaseChange
from ..analysis.compare.environments import EnvironmentDifference
from ..analysis.compare.side_by_side import PairingEffort
from ..analysis.compare.verdict import Cause, Reason
from ..analysis.run import largest_batch
from ..analysis.run.largest_batch import Search, Try
from ..plurals import counted
from .safe_text import plain

_NOTABLE_SLOT = 0.01  # as a share

_CAUSES = {
    Cause.BASE_FAILED: "the base: {detail}",
    Cause.CANDIDATE_FAILED: "{detail}",
    Cause.NO_CASE: "the candidate does not have the case",
    Cause.NO_VALUE: "the candidate has no value",
    Cause.NO_PAIR: "measuring ended before its first pair",
    Cause.NO_DIFFERENCE: "{values[0]:g} and {values[1]:g} have no difference",
    Cause.NO_RATIO: "{values[0]:g} and {values[1]:g} have no ratio",
    Cause.ADDED_UP: "{detail} is from an earlier version, which added counts up over several steps; now they are for "
    "one step: measure it again, or renew the baseline with: bench baseline save NAME RUN",
}


def reason_said(reason: Reason | None) -> str:
    """Why a row was not measured; empty if it was."""
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
    """How many pairs there were, and the cost of running first if it is large."""
    pairs = counted(effort.most, "pair")
    lines = [f"{pairs if effort.fewest == effort.most else f'{effort.fewest} to {pairs}'} of launches a case"]
    share = abs(effort.slot - 1)
    if share > _NOTABLE_SLOT:
        how = "slower" if effort.slot > 1 else "faster"
        lines.append(
            f"the launch of a pair that runs first is up to {share:.1%} {how}; this effect is removed"
        )
    return lines


def search_line(search: Search) -> str:
    """The result of a search on one line, or its progress."""
    tried = f"{counted(len(search.tries), 'launch', 'launches')} tried"
    head = f"largest batch of {search.case.id}"
    if search.next is not None:
        fits = f"{search.batch_size} fits" if search.fitting else "none fits so far"
        return f"{head}: not found yet ({fits}; {tried})"
    if search.why == largest_batch.NOTHING:
        return f"{head}: none fits ({_smallest_failure(search.tries)}; {tried}); measured at batch_size=1"
    fastest = "" if search.fastest is None else f"; the most samples/s at {search.fastest}"
    return f"{head}: {search.batch_size} ({_why(search)}; {tried}){fastest}"


def _why(search: Search) -> str:
    match search.why:
        case largest_batch.DATA:
            return f"all of the {'training' if search.case.mode == 'train' else 'evaluation'} data"
        case largest_batch.VALIDATE_EVERY:
            return f"validate_every={search.case.validate_every} leaves no larger one"
        case largest_batch.LOADER:
            return "its loader gives no larger one"
        case largest_batch.FAILED:
            return _smallest_failure(search.failing)
    return "no larger one is tried"


def _smallest_failure(failing: Sequence[Try]) -> str:
    """The smallest size that does not fit, and how it failed."""
    one = min((one for one in failing if not one.fits), key=lambda one: one.size)
    match one.failure:
        case "out_of_memory":
            return f"{one.size} runs out of memory"
        case "timeout":
            return f"{one.size} does not end in time"
    return f"{one.size} fails, {one.failure}: {one.message}"
