"""Verdicts on two sides whose launches are measured in pairs, as the pairs come in.

Counts first, which are exact. Of each gated time and memory the pairs are looked at as `analysis/sequential.py` says,
and of what was learnt as `analysis/learnt.py` does; a case that all of them are decided of wants no more pairs. Where
the two sides did different work, there is no verdict on what that spoils, and no more pairs for its sake either.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ...measurement import COUNTED, METRICS, Failure, Measurement
from ...plurals import counted
from ...suite.case import MOST_PAIRS
from ..launch.contamination import contamination
from ..launch.values import launch_values
from .comparable import (
    Asked,
    BySample,
    CaseComparison,
    MetricPair,
    is_asked,
    is_gated,
    is_said,
    is_wanted,
    metric_of,
    missing,
    plan,
    policy_of,
)
from .policy import Policy
from .quality_change import Learnt, learnt, repeats
from .quality_change import verdicts as verdicts_of_quality
from .rows import caveats_of, exact, is_timed, quality_row
from .sequential import PairedFinding, Pairs, find, looks_at, verdicts
from .sides import CaseSide, Side
from .verdict import EXACT, Observed, Row

_NOTABLE = 0.01  # a share: a slot effect above it is worth a word
_MOST_FAILURES = 2  # of one case, where something of it was measured before
_FEWEST = 2  # pairs of a case: with one, nobody knows whether its launches end alike

Record = Measurement | Failure
Key = tuple[str, str]  # case and metric


@dataclass
class Matched:
    """A case that both sides have: `name` in the table, and what each side says of it.

    `intended` is True where they differ in an axis, so that other work is no surprise.
    """

    name: str
    base: CaseSide
    candidate: CaseSide
    intended: bool = False
    leads: dict[int, bool] = field(default_factory=dict)  # by pair, whether the base ran first
    failures: int = 0
    marked: int = 0  # pairs of which a launch was disturbed


def put(side: CaseSide, record: Measurement, number: int) -> None:
    """What a launch of this pair says, beside what the others said."""
    for name, value in launch_values(record).items():
        if math.isfinite(value):
            launches = side.observed[name].launches if name in side.observed else {}
            side.observed[name] = Observed.of({**launches, number: value})


class SideBySide:
    """All matched cases of an A/B. `most` is the number of pairs of a case at the most."""

    def __init__(
        self, cases: Sequence[Matched], asked: Asked, most: int = MOST_PAIRS, counts: bool = True
    ) -> None:
        self.cases = {case.name: case for case in cases}
        self._asked, self._most, self._counts_gate = asked, most, counts
        self._verdicts: dict[Key, str] = {}
        self._findings: dict[Key, PairedFinding | None] = {}
        self._learnt: dict[Key, Learnt | None] = {}
        self._ended = False

    def add(self, name: str, number: int, records: tuple[Record, Record], base_led: bool) -> None:
        """The two launches of a pair, the base's first; of kind counts, those that counted."""
        case = self.cases[name]
        base, candidate = records
        for side, record in ((case.base, base), (case.candidate, candidate)):
            if isinstance(record, Failure):
                side.failure = side.failure or f"{record.failure}: {record.message}"
        if isinstance(base, Failure) or isinstance(candidate, Failure):
            case.failures += 1
            return
        put(case.base, base, number)
        put(case.candidate, candidate, number)
        if base.kind == COUNTED:
            return
        case.leads[number] = base_led
        case.marked += bool(contamination(base) or contamination(candidate))
        looks = [number for number, _ in looks_at(len(case.leads))]
        if len(case.leads) in (_FEWEST, *looks):
            self._judge([case])

    def _judge(self, cases: Iterable[Matched]) -> None:
        """Looks at the pairs of these cases, and at what that means for the whole family."""
        for case in cases:
            for pair in self._plan(case).pairs:
                key = case.name, pair.metric.name
                if pair.metric.kind == "quality":
                    self._learnt[key] = self._learn(case, pair)
                elif is_timed(pair.metric):
                    self._findings[key] = self._find(case, pair.metric.name)
        self._verdicts = {**verdicts(self._findings, self.family), **verdicts_of_quality(self._learnt)}

    def _plan(self, case: Matched) -> CaseComparison:
        return plan(case.name, case.base, case.candidate, self._asked, case.intended)

    def _learn(self, case: Matched, pair: MetricPair) -> Learnt | None:
        return learnt(
            pair.before,
            pair.after,
            pair.policy.tolerance(pair.before.value),
            pair.metric.better,
            repeats(case.base) and repeats(case.candidate),
            looks_at(len(case.leads), self._ended),
        )

    def _find(self, case: Matched, name: str) -> PairedFinding | None:
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
        threshold = self._policy(case, name).threshold(base.value)
        return find(pairs, threshold, self._ended)

    def _policy(self, case: Matched, name: str) -> Policy:
        return policy_of(name, case.name, case.base, self._asked)

    def _gated(self, case: Matched) -> list[MetricPair]:
        """What is not exact and gates."""
        pairs = self._plan(case).pairs
        return [one for one in pairs if one.metric.kind not in EXACT and is_gated(one.metric, one.policy)]

    @property
    def family(self) -> int:
        """How many gated rows there are, or will be: a case without a pair counts as the largest of the others."""
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
            return True  # no time is known yet that could be asked for
        names = [pair.metric.name for pair in self._gated(case)]
        if len(case.leads) < _FEWEST and (names or not self._asked.metrics):
            return True
        return any(self._verdicts.get((name, metric), "inconclusive") == "inconclusive" for metric in names)

    def pairs(self, name: str) -> int:
        return len(self.cases[name].leads)

    def end(self) -> list[Row]:
        """No more pairs will come: what there is between two looks is judged too, and all rows are made."""
        self._ended = True
        self._judge(self.cases.values())
        return [row for case in self.cases.values() for row in self._rows(case)]

    def rows_of(self, name: str) -> list[Row]:
        """The rows of a case as they stand."""
        return list(self._rows(self.cases[name]))

    def _rows(self, case: Matched) -> Iterator[Row]:
        made = list(self._of(case))
        times = [row for row in made if row.metric.kind == "time" and row.gates]
        is_no_slower = bool(times) and all(row.verdict in ("equivalent", "improved") for row in times)
        for row in made:
            if is_no_slower and row.metric.kind in EXACT and row.verdict == "regressed" and _by_default(row):
                # More operators that cost no time are worth a word, not a failed build.
                row = dataclasses.replace(row, policy=dataclasses.replace(row.policy, regression="warn"))
            yield row

    def _of(self, case: Matched) -> Iterator[Row]:
        base, candidate = case.base, case.candidate
        if base.failure or candidate.failure:
            failed = ("the base: " + base.failure) if base.failure else candidate.failure
            yield from self._unmeasured(case, [*base.observed, *METRICS], failed)
            return
        asked = self._asked.metrics
        if not case.leads and not (asked and all(name.startswith("count.") for name in asked)):
            # Counts alone must not pass.
            missed = [name for name in METRICS if not name.startswith("count.")]
            yield from self._unmeasured(case, missed, "measuring ended before its first pair")
        for one in self._plan(case).found:
            row = self._row(case, one) if isinstance(one, MetricPair) else one
            if is_said(row, self._asked):
                yield row

    def _unmeasured(self, case: Matched, names: Sequence[str], why: str) -> Iterator[Row]:
        """One row says why there is nothing: of a time that gates, else of what gates, if anything of these does."""
        wanted = [
            name
            for name in names
            if is_wanted(name, case.name, case.base, self._asked) and is_asked(name, self._asked)
        ]
        gating = [name for name in wanted if is_gated(metric_of(name), self._policy(case, name))]
        timed = [name for name in gating if metric_of(name).kind == "time"]
        for name in (timed or gating or wanted or ["epoch.time"])[:1]:
            side = dataclasses.replace(
                case.base, observed={name: Observed(math.nan, {}, None), **case.base.observed}
            )
            yield missing(case.name, side, name, self._asked, why)

    def _row(self, case: Matched, pair: MetricPair) -> Row:
        base, candidate, name = pair.before, pair.after, pair.metric.name
        gates = is_gated(pair.metric, pair.policy)
        if pair.metric.kind in EXACT:
            return exact(pair, gates and self._counts_gate, () if self._counts_gate else ("other_software",))
        if pair.metric.kind == "quality":
            verdict = self._verdicts.get((case.name, name), "inconclusive")
            return quality_row(pair, self._learnt.get((case.name, name)), verdict)
        finding = self._findings.get((case.name, name))
        caveats = caveats_of(pair)
        if 2 * case.marked > len(case.leads):
            caveats = ("contaminated", *caveats)
        return Row(
            suite=case.base.suite,
            case=case.name,
            metric=pair.metric,
            base=base.value,
            candidate=candidate.value,
            ratio=finding.ratio if finding else None,
            low=finding.low if finding else None,
            high=finding.high if finding else None,
            verdict=self._verdicts.get((case.name, name), "inconclusive"),
            policy=pair.policy,
            gates=gates,
            undecided_gates=True,
            smallest=finding.smallest(self.family) if finding else None,
            caveats=caveats,
            family=self.family,
        )

    @property
    def by_sample(self) -> list[BySample]:
        """The cases whose sides are meant to do other work."""
        plans = [self._plan(case) for case in self.cases.values() if case.leads]
        return [one.by_sample for one in plans if one.by_sample is not None]

    def sides(self, base: str, candidate: str) -> tuple[Side, Side]:
        """Both sides under these names, as all comparisons have them."""
        first = {name: case.base for name, case in self.cases.items()}
        second = {name: case.candidate for name, case in self.cases.items()}
        return Side(base, "ab", first), Side(candidate, "ab", second)

    def remarks(self) -> list[str]:
        """What is to be said of the measuring itself: pairs, and what running first costs where that is much."""
        pairs = [len(case.leads) for case in self.cases.values()]
        few, many = min(pairs, default=0), max(pairs, default=0)
        said = [
            f"{counted(few, 'pair')} of launches a case"
            if few == many
            else f"{few} to {many} pairs of launches a case"
        ]
        slots = [one.slot for one in self._findings.values() if one is not None]
        if (
            slots
            and (largest := max(slots, key=lambda slot: abs(math.log(slot))))
            and abs(largest - 1) > _NOTABLE
        ):
            how = "slower" if largest > 1 else "faster"
            share = abs(largest - 1)
            said.append(f"the launch of a pair that runs first is up to {share:.1%} {how}; that is taken out")
        return said


def _by_default(row: Row) -> bool:
    return row.policy.regression == "fail" and not row.policy.named
