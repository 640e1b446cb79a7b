"""Two sides of a comparison, row by row: the ratio with its interval, and the verdict.

`r` is candidate over baseline in the direction in which more is worse. In this order: not_measured where a side
has no valid number; regressed where the interval of r lies above 1 and r above 1 + T; improved where it lies
below 1 and r below 1 / (1 + T); equivalent where the interval lies inside (1 / (1 + T), 1 + T); else inconclusive.

False alarms are controlled over the family of all gated rows: with m of them, regressed and improved take an
interval of 1 - 0.02 / m (Bonferroni; Dunn 1961), so that a comparison of identical code raises one in at most 2 %
of cases. Equivalence is two one-sided tests at 5 % a row (Schuirmann 1987), which is an interval of 90 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ...measurement import Metric
from ..run.estimate import quantile
from .policy import Policy
from .sides import Observed
from .work import WorkDifference


class Cause(Enum):
    """Why a metric of a case has no comparable number; the texts are in `report/reason_words.py`."""

    BASE_FAILED = auto()  # `detail` is what it reported
    CANDIDATE_FAILED = auto()  # the same
    NO_CASE = auto()  # the candidate does not have the case
    NO_VALUE = auto()  # the candidate does not have the metric
    NO_PAIR = auto()  # measuring ended before the first pair
    NO_DIFFERENCE = auto()  # of these `values`
    NO_RATIO = auto()  # of these `values`
    ADDED_UP = auto()  # the side `detail` is of an earlier version, which added counts up over several steps


SIDE_FAILED = (Cause.BASE_FAILED, Cause.CANDIDATE_FAILED)


@dataclass(frozen=True)
class Reason:
    """The cause with its facts."""

    cause: Cause
    detail: str = ""
    values: tuple[float, float] | None = None


FEWEST_RUNS = 5  # for an estimate


@dataclass(frozen=True)
class RunDeviation:
    """How much medians of the same code differ between runs at different times, which one run cannot show.

    It is the standard deviation of the logarithm. `freedom` is the degrees of freedom of its estimate: the number of
    runs minus one, infinite for the default.
    """

    deviation: float
    freedom: float = math.inf


# The defaults where there are no earlier runs: measured on a shared machine with two processors (docs/methodology.md).
BY_ALLOCATOR = {"pinned": RunDeviation(0.05), "system": RunDeviation(0.15)}
UNKNOWN = RunDeviation(0.15)
OF_MEMORY = RunDeviation(0.01)


def standard(allocator: str) -> RunDeviation:
    """The default deviation of runs under this allocator."""
    return BY_ALLOCATOR.get(allocator, UNKNOWN)


def from_earlier_runs(earlier: Sequence[float], stated: RunDeviation) -> RunDeviation:
    """The deviation of the logarithms of earlier medians; the default if there are fewer than FEWEST_RUNS."""
    if len(earlier) < FEWEST_RUNS:
        return stated
    return RunDeviation(statistics.stdev(earlier), len(earlier) - 1)


UNDECIDED = frozenset({"different_work", "not_measured", "inconclusive"})

FAMILY = 0.02  # false alarms of regressed and improved together, per comparison
EQUIVALENCE = 0.05  # of each of the two one-sided tests, per row
SHOWN = 0.95  # of the interval that is printed

EXACT = ("exact", "machine")

_LARGEST_LOG = 700.0  # about the largest that exp() takes


@dataclass(frozen=True)
class Change:
    """The ratio r with the standard error of its logarithm, and the degrees of freedom of this error.

    Infinite degrees stand for a normal distribution; an `error` of None is unknown.
    """

    ratio: float
    error: float | None
    freedom: float = math.inf

    def interval(self, level: float) -> tuple[float, float] | None:
        """The two-sided interval of the ratio; None if its error is unknown."""
        if self.error is None:
            return None
        half = self._half(level)
        return self.ratio * math.exp(-half), self.ratio * math.exp(half)

    def rise(self, level: float) -> float | None:
        """Half the width of the interval as a share of the ratio; None as for the interval."""
        return None if self.error is None else math.expm1(self._half(level))

    def _half(self, level: float) -> float:
        assert self.error is not None
        # Student's t of two rounds may be too large for exp().
        return min(quantile((1 + level) / 2, self.freedom) * self.error, _LARGEST_LOG)


def unpaired(base: Observed, candidate: Observed, better: str, runs: RunDeviation) -> Change:
    """The change between two runs at different times; the deviation between runs enters once for each side.

    A deviation estimated from few runs is itself uncertain, so the sum gets its degrees of freedom. Satterthwaite's
    would be more, and raise three times the allowed false alarms with five runs, mostly where these happen to lie close
    together.
    """
    ratio = worse(base.value, candidate.value, better)
    drift = 2 * runs.deviation**2
    if base.error is None or candidate.error is None:
        return Change(ratio, math.sqrt(drift) if drift else None, runs.freedom)
    return Change(ratio, math.sqrt(base.error**2 + candidate.error**2 + drift), runs.freedom)


def paired(base: Mapping[int, float], candidate: Mapping[int, float], better: str) -> Change | None:
    """The change over pairs of the same round; None if fewer than two rounds have both.

    The mean of the logarithms of the ratios with Student's t: effects of a round on both cancel.
    """
    logs = [
        math.log(worse(base[number], candidate[number], better))
        for number in sorted(base.keys() & candidate.keys())
        if base[number] > 0 and candidate[number] > 0
    ]
    if len(logs) < 2:
        return None
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    return Change(math.exp(statistics.fmean(logs)), error, len(logs) - 1)


def worse(base: float, candidate: float, better: str) -> float:
    """r: above 1 if the candidate is worse; infinite if the base is zero."""
    return over(base, candidate) if better == "more" else over(candidate, base)


def over(above: float, below: float) -> float:
    """The ratio of two values; infinite from nothing on."""
    if below:
        return above / below
    return 1.0 if not above else math.inf


def has_ratio(base: float, candidate: float) -> bool:
    """Whether the ratio of these is meaningful: not for negative values, nor for a base of zero."""
    return (base > 0 and candidate >= 0) or base == candidate == 0


def judge_exact(base: float, candidate: float, policy: Policy) -> str:
    """The verdict of a count, where less is better: any change beyond the threshold counts, which is zero by default.

    A threshold in the metric's unit is compared with the difference, which exists for a base of zero too.
    """
    rise = candidate - base
    if not rise or (policy.absolute is not None and abs(rise) <= policy.absolute):
        return "equivalent"
    ratio = over(candidate, base)
    beyond = ratio > 1 + policy.relative if rise > 0 else ratio < 1 / (1 + policy.relative)
    if policy.absolute is None and not beyond:
        return "equivalent"
    return "regressed" if rise > 0 else "improved"


def judge(change: Change, threshold: float, family: int) -> str:
    """The verdict of a time or of memory, in a family with this number of gated rows."""
    strict = change.interval(1 - FAMILY / max(1, family))
    if strict is None:
        return "inconclusive"
    if strict[0] > 1 and change.ratio > 1 + threshold:
        return "regressed"
    if strict[1] < 1 and change.ratio < 1 / (1 + threshold):
        return "improved"
    both = change.interval(1 - 2 * EQUIVALENCE)
    assert both is not None
    if 1 / (1 + threshold) <= both[0] and both[1] <= 1 + threshold:
        return "equivalent"
    return "inconclusive"


def smallest_seen(change: Change, threshold: float, family: int) -> float | None:
    """The minimum detectable effect: the smallest rise, as a share, that would have been called regressed here."""
    rise = change.rise(1 - FAMILY / max(1, family))
    return None if rise is None else max(threshold, rise)


@dataclass(frozen=True)
class Row:
    """One case x metric of a comparison. Ratios are r: above 1 is worse.

    `low` and `high` are the interval that is shown (95 %). `gates` is False if the row never sets the exit code;
    `undecided_gates` is False if only an inconclusive or missing verdict does not. `reason` is why nothing was
    measured; `smallest` is the minimum detectable effect. `family` is the number of gated rows over which false alarms
    were controlled, 0 if something else decided. `spread` is the largest difference between launches of one side, in
    the metric's unit, if that decided. `work` holds the differences of a row of different work; one such row stands for
    its case, and the others are `folded`.
    """

    suite: str
    case: str
    metric: Metric
    base: float | None
    candidate: float | None
    verdict: str
    policy: Policy
    gates: bool
    undecided_gates: bool = True
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    smallest: float | None = None
    family: int = 0
    reason: Reason | None = None
    caveats: tuple[str, ...] = ()
    spread: float | None = None
    work: tuple[WorkDifference, ...] = ()
    folded: bool = False

    @property
    def action(self) -> str:
        """The action of the policy for this verdict, one of ACTIONS; an undecided row has none.

        A row that moved is not known to be worse, and never fails.
        """
        if self.verdict == "regressed":
            return self.policy.regression
        if self.verdict == "moved":
            return "ignore" if self.policy.regression == "ignore" else "warn"
        return self.policy.improvement if self.verdict == "improved" else "ignore"


def outcome(rows: Sequence[Row], allow_inconclusive: bool = False) -> int:
    """The exit code of a comparison: 1, 3 or 0, as the first of these that applies."""
    gated = [row for row in rows if row.gates]
    if any(row.action == "fail" for row in gated):
        return 1
    return 3 if not gated or undecided(rows, allow_inconclusive) else 0


def undecided(rows: Sequence[Row], allow_inconclusive: bool = False) -> list[Row]:
    """The gated rows that leave a comparison undecided; `allow_inconclusive` excuses those that are undecided by noise.

    An undecided time is among them if nothing else was decided.
    """
    gated = [row for row in rows if row.gates]
    decided = any(row.verdict not in UNDECIDED for row in gated)
    open_ = UNDECIDED - {"inconclusive"} if allow_inconclusive else UNDECIDED
    return [row for row in gated if row.verdict in open_ and (row.undecided_gates or not decided)]
