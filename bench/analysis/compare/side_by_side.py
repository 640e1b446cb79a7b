"""Verdicts on two sides whose launches are measured in pairs, updated with each pair.

Exact counts are compared first. Each gated time and memory is judged by `sequential.py`, quality by
`quality_change.py`; a case needs no more pairs once all of them are decided. If the two sides did different work, the
affected metrics have no verdict and need no more pairs.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ...measurement import METRICS, PHASED, TIMED, Failure, Measurement
from ...suite.case import MOST_PAIRS
from ..launch.contamination import contamination
from ..launch.values import launch_values
from .comparable import (
    BySample,
    CaseComparison,
    ComparisonOptions,
    MetricPair,
    is_gated,
    is_shown,
    metric_of,
    of_interest,
    plan_case,
    policy_of,
    unmeasured_row,
)
from .quality_change import QualityChange, quality_change, quality_verdicts, repeats
from .rows import BY_TIME, exact_row, is_timed, quality_row
from .sequential import PairedFinding, Pairs, looks, looks_at, paired_finding, paired_verdicts
from .sides import CaseSide, Observed, Side
from .verdict import EXACT, Cause, Reason, Row

_MOST_FAILURES = 2  # of one case of which something was measured before
_FEWEST = 2  # pairs of a case: one does not show whether its launches end alike

Record = Measurement | Failure
Key = tuple[str, str]  # case and metric


@dataclass
class Matched:
    """A case that both sides have: its `name` in the table, and the values of each side.

    `intended` is True if the sides differ in an axis, so that different work is expected.
    """

    name: str
    base: CaseSide
    candidate: CaseSide
    intended: bool = False
    leads: dict[int, bool] = field(default_factory=dict)  # by pair, whether the base ran first
    failures: int = 0
    contaminated: int = 0  # pairs with a contaminated launch


@dataclass(frozen=True)
class PairingEffort:
    """How many pairs the cases have, and the largest slot effect: how running first changes a time, as a ratio."""

    fewest: int
    most: int
    slot: float


def add_launch(side: CaseSide, record: Measurement, number: int) -> None:
    """Adds the values of a launch of this pair to those of the others."""
    if record.conditions.get(BY_TIME) and BY_TIME not in side.caveats:
        side.caveats = (*side.caveats, BY_TIME)
    for name, value in launch_values(record).items():
        if math.isfinite(value):
            launches = side.observed[name].launches if name in side.observed else {}
            side.observed[name] = Observed.of({**launches, number: value})


class SideBySide:
    """All matched cases of an A/B. `most` is the maximum number of pairs of a case."""

    def __init__(
        self,
        cases: Sequence[Matched],
        options: ComparisonOptions,
        most: int = MOST_PAIRS,
        counts: bool = True,
    ) -> None:
        self.cases = {case.name: case for case in cases}
        self._options, self._most, self._counts_gate = options, most, counts
        self._verdicts: dict[Key, str] = {}
        self._findings: dict[Key, PairedFinding | None] = {}
        self._quality: dict[Key, QualityChange | None] = {}
        self._ended = False

    def add(self, name: str, number: int, records: tuple[Record, Record], base_led: bool) -> None:
        """The two launches of a pair, the base's first, of any kind; only timed ones decide.

        A failed phase launch does not change a verdict: the phase that changed is then not named.
        """
        case = self.cases[name]
        base, candidate = records
        if isinstance(base, Failure) or isinstance(candidate, Failure):
            if base.kind != PHASED:
                case.failures += 1
                for side, record in ((case.base, base), (case.candidate, candidate)):
                    if isinstance(record, Failure):
                        side.failure = side.failure or record.summary
            return
        add_launch(case.base, base, number)
        add_launch(case.candidate, candidate, number)
        if base.kind != TIMED:
            return
        case.leads[number] = base_led
        case.contaminated += bool(contamination(base) or contamination(candidate))
        reached = [number for number, _ in looks_at(len(case.leads))]
        if len(case.leads) in (_FEWEST, *reached):
            self._judge([case])

    def _judge(self, cases: Iterable[Matched]) -> None:
        """Tests the pairs of these cases, and updates the verdicts of the whole family."""
        for case in cases:
            for pair in self._plan(case).pairs:
                key = case.name, pair.metric.name
                if pair.metric.kind == "quality":
                    self._quality[key] = self._quality_change(case, pair)
                elif is_timed(pair.metric):
                    self._findings[key] = self._finding(case, pair.metric.name)
        self._verdicts = paired_verdicts(self._findings, self.family) | quality_verdicts(self._quality)

    def _plan(self, case: Matched) -> CaseComparison:
        return plan_case(case.name, case.base, case.candidate, self._options, case.intended)

    def _quality_change(self, case: Matched, pair: MetricPair) -> QualityChange | None:
        return quality_change(
            pair.before,
            pair.after,
            pair.policy.tolerance(pair.before.value),
            pair.metric.better,
            repeats(case.base) and repeats(case.candidate),
            looks_at(len(case.leads), self._ended),
        )

    def _finding(self, case: Matched, name: str) -> PairedFinding | None:
        sign = -1.0 if metric_of(name).better == "more" else 1.0
        base, candidate = case.base.observed[name], case.candidate.observed[name]
        numbers = [
            number
            for number in sorted(case.leads)
            if base.launches.get(number, 0) > 0 and candidate.launches.get(number, 0) > 0
        ]
        pairs = Pairs(
            tuple(sign * math.log(candidate.launches[one] / base.launches[one]) for one in numbers),
            tuple(case.leads[one] for one in numbers),
        )
        policy = policy_of(name, case.name, case.base, self._options)
        return paired_finding(pairs, policy.threshold(base.value), self._ended)

    def _gated(self, case: Matched) -> list[MetricPair]:
        """The gated metrics that are not exact."""
        pairs = self._plan(case).pairs
        return [one for one in pairs if one.metric.kind not in EXACT and is_gated(one.metric, one.policy)]

    @property
    def family(self) -> int:
        """How many gated rows there are or will be: for a case without a pair, as many as the largest case has."""
        known = [
            sum(is_timed(pair.metric) for pair in self._gated(case))
            for case in self.cases.values()
            if case.leads
        ]
        return sum(known) + (len(self.cases) - len(known)) * max(known, default=2)

    def wants(self, name: str) -> bool:
        """Whether a case needs another pair."""
        case = self.cases[name]
        if case.failures >= (_MOST_FAILURES if case.leads else 1):
            return False
        if len(case.leads) >= self._most:
            return False
        if not case.leads:
            return True  # no time is known yet
        names = [pair.metric.name for pair in self._gated(case)]
        if len(case.leads) < _FEWEST and (names or not self._options.metrics):
            return True
        return any(self._verdicts.get((name, metric), "inconclusive") == "inconclusive" for metric in names)

    def pairs_to_look(self, name: str) -> int:
        """How many pairs a case needs until the next look, at which its verdicts may change; 0 if it needs none."""
        if not self.wants(name):
            return 0
        made = self.pairs(name)
        numbers = itertools.chain((_FEWEST,), (number for number, _ in looks()))
        return min(next(number for number in numbers if number > made), self._most) - made

    def time_changed(self, name: str) -> bool:
        """Whether a gated time of a case is known to have changed."""
        gated = [pair.metric for pair in self._gated(self.cases[name])]
        return any(
            self._verdicts.get((name, metric.name)) in ("regressed", "improved")
            for metric in gated
            if metric.kind == "time"
        )

    def pairs(self, name: str) -> int:
        return len(self.cases[name].leads)

    def end(self) -> list[Row]:
        """All rows after the last pair: pairs since the last look are judged too."""
        self._ended = True
        self._judge(self.cases.values())
        return [row for case in self.cases.values() for row in self._rows(case)]

    def rows_of(self, name: str) -> list[Row]:
        """The current rows of a case."""
        return list(self._rows(self.cases[name]))

    def _rows(self, case: Matched) -> Iterator[Row]:
        made = list(self._of(case))
        times = [row for row in made if row.metric.kind == "time" and row.gates]
        is_no_slower = bool(times) and all(row.verdict in ("equivalent", "improved") for row in times)
        for row in made:
            if is_no_slower and row.metric.kind in EXACT and row.verdict == "regressed" and _by_default(row):
                # More operators that cost no time are a reason for a warning, not for a failed build.
                row = dataclasses.replace(row, policy=dataclasses.replace(row.policy, regression="warn"))
            yield row

    def _of(self, case: Matched) -> Iterator[Row]:
        base, candidate = case.base, case.candidate
        if base.failure or candidate.failure:
            cause = Cause.BASE_FAILED if base.failure else Cause.CANDIDATE_FAILED
            reason = Reason(cause, base.failure or candidate.failure)
            yield from self._unmeasured(case, [*base.observed, *METRICS], reason)
            return
        requested = self._options.metrics
        if not case.leads and not (requested and all(name.startswith("count.") for name in requested)):
            # A comparison without times must not pass by its exact counts.
            missed = [name for name in METRICS if not name.startswith("count.")]
            yield from self._unmeasured(case, missed, Reason(Cause.NO_PAIR))
        for entry in self._plan(case).entries:
            row = self._row(case, entry) if isinstance(entry, MetricPair) else entry
            if is_shown(row, self._options):
                yield row

    def _unmeasured(self, case: Matched, names: Sequence[str], reason: Reason) -> Iterator[Row]:
        """One row with the reason: for a time that gates, else another metric that gates, else any."""
        wanted, gating = of_interest(names, case.name, case.base, self._options)
        timed = [name for name in gating if metric_of(name).kind == "time"]
        for name in (timed or gating or wanted or ["epoch.time"])[:1]:
            yield unmeasured_row(case.name, case.base, name, self._options, reason)

    def _row(self, case: Matched, pair: MetricPair) -> Row:
        key = case.name, pair.metric.name
        if pair.metric.kind in EXACT:
            return exact_row(pair, () if self._counts_gate else ("other_software",))
        verdict = self._verdicts.get(key, "inconclusive")
        if pair.metric.kind == "quality":
            return quality_row(pair, self._quality.get(key), verdict)
        caveats = pair.caveats
        if 2 * case.contaminated > len(case.leads):
            caveats = ("contaminated", *caveats)
        row = dataclasses.replace(pair.unjudged, verdict=verdict, family=self.family, caveats=caveats)
        if (finding := self._findings.get(key)) is None:
            return row
        return dataclasses.replace(
            row,
            ratio=finding.ratio,
            low=finding.low,
            high=finding.high,
            smallest=finding.smallest(self.family),
        )

    @property
    def by_sample(self) -> list[BySample]:
        """The cases whose sides intentionally do different work."""
        plans = [self._plan(case) for case in self.cases.values() if case.leads]
        return [one.by_sample for one in plans if one.by_sample is not None]

    def sides(self, base: str, candidate: str) -> tuple[Side, Side]:
        """Both sides under these names, in the form that all comparisons use."""
        first = {name: case.base for name, case in self.cases.items()}
        second = {name: case.candidate for name, case in self.cases.items()}
        return Side(base, "ab", first), Side(candidate, "ab", second)

    @property
    def effort(self) -> PairingEffort:
        """How much was measured."""
        pairs = [len(case.leads) for case in self.cases.values()]
        slots = [finding.slot for finding in self._findings.values() if finding is not None]
        slot = max(slots, key=lambda slot: abs(math.log(slot)), default=1.0)
        return PairingEffort(min(pairs, default=0), max(pairs, default=0), slot)


def _by_default(row: Row) -> bool:
    return row.policy.regression == "fail" and not row.policy.named
