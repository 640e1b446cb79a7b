"""Exact metrics of one commit: a launch of each case tells them, and no second one would tell more."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..analysis.launch.values import launch_values
from ..measurement import COUNTED, METRICS, TIMED, Failure
from ..running.rounds import Job, launch
from .session import Session

Key = tuple[str, str]  # case and metric


@dataclass
class Values:
    """By case and metric what was found; `failed` has by case why nothing was."""

    found: dict[Key, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rise:
    """A metric of a case that is worse in the bad commit: its value there, and in the good one."""

    case: str
    metric: str
    good: float
    bad: float

    def answer(self, value: float | None) -> str:
        """What git is told of a commit with this value: the line is drawn halfway, one without a value is skipped."""
        if value is None:
            return "skip"
        share = (value - self.good) / (self.bad - self.good)
        return "bad" if share > 1 / 2 else "good"


def named(pattern: str) -> list[str]:
    """The metrics of the table that a name or a pattern means."""
    return [name for name in METRICS if fnmatch.fnmatchcase(name, pattern)]


def measured(session: Session, patterns: Sequence[str], cases: Sequence[str] = ()) -> Values:
    """What these metrics are in the code of the first side, of all cases or of these; one launch of each.

    Counts come from a launch that counts; what is no count is told by a timed one, whose times are left alone.
    """
    side, values = session.sides[0], Values()
    names = [name for pattern in patterns for name in named(pattern)]
    kinds = [
        kind
        for kind, wanted in ((COUNTED, True), (TIMED, False))
        if any(name.startswith("count.") == wanted for name in names)
    ]
    chosen = [name for name in session.matching.pairs if not cases or name in cases]
    for place, name in enumerate(chosen, start=1):
        for kind in kinds:
            record = launch(side.workers, side.plan, Job(session.matching.pairs[name][0], kind, 1, place))
            if isinstance(record, Failure):
                values.failed.setdefault(name, record.summary)
                continue
            told = launch_values(record)
            values.found |= {(name, one): told[one] for one in names if one in told}
    return values


def largest_rise(good: Values, bad: Values) -> Rise | None:
    """Of all that is worse in the bad commit, what rose by the largest share; None where nothing is."""
    worse = [
        Rise(*key, good.found[key], value)
        for key, value in bad.found.items()
        if key in good.found and value > good.found[key]
    ]
    return max(worse, key=_share, default=None)


def _share(rise: Rise) -> tuple[bool, float]:
    """What came out of nothing is the largest; the first of those."""
    return (True, 0.0) if not rise.good else (False, rise.bad / rise.good)


def falls(good: Values, bad: Values) -> Mapping[Key, tuple[float, float]]:
    """What is less in the bad commit, with both values."""
    return {
        key: (good.found[key], value)
        for key, value in bad.found.items()
        if key in good.found and value < good.found[key]
    }
