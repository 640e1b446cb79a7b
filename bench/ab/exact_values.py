"""Exact metrics of one commit: one launch of each case is enough, since another would give the same values."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..analysis.launch.values import launch_values
from ..measurement import COUNTED, METRICS, TIMED, Failure
from ..running.launching import launch
from ..running.plan import Job
from .session import Session

Key = tuple[str, str]  # case and metric


@dataclass
class Values:
    """The values by case and metric; `failed` maps cases without any to the reason."""

    values: dict[Key, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rise:
    """A metric of a case that is larger in the bad commit than in the good one."""

    case: str
    metric: str
    good: float
    bad: float

    def answer(self, value: float | None) -> str:
        """The answer to git for a commit with this value: bad above halfway; skip without a value."""
        if value is None:
            return "skip"
        share = (value - self.good) / (self.bad - self.good)
        return "bad" if share > 1 / 2 else "good"


def named(pattern: str) -> list[str]:
    """The metrics that a name or pattern matches."""
    return [name for name in METRICS if fnmatch.fnmatchcase(name, pattern)]


def measured(session: Session, patterns: Sequence[str], cases: Sequence[str] = ()) -> Values:
    """These metrics in the code of the first side, of all cases or of these, from one launch each.

    Exact counts come from a counted launch, other metrics from a timed one.
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
            measured_here = launch_values(record)
            values.values |= {
                (name, metric): measured_here[metric] for metric in names if metric in measured_here
            }
    return values


def largest_rise(good: Values, bad: Values) -> Rise | None:
    """The metric with the largest relative rise from good to bad; None where none rose."""
    worse = [
        Rise(*key, good.values[key], value)
        for key, value in bad.values.items()
        if key in good.values and value > good.values[key]
    ]
    return max(worse, key=_share, default=None)


def _share(rise: Rise) -> tuple[bool, float]:
    """A rise from 0 is larger than any other."""
    return (True, 0.0) if not rise.good else (False, rise.bad / rise.good)


def falls(good: Values, bad: Values) -> Mapping[Key, tuple[float, float]]:
    """The metrics that are smaller in the bad commit, with both values."""
    return {
        key: (good.values[key], value)
        for key, value in bad.values.items()
        if key in good.values and value < good.values[key]
    }
