"""The rows of a comparison of two sides measured at different times, or of the values of an axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...measurement import Metric
from .comparable import (
    BySample,
    CaseComparison,
    ComparisonOptions,
    MetricPair,
    is_gated,
    is_shown,
    of_interest,
    plan_case,
    unmeasured_row,
)
from .environments import same_for_counts, same_for_machine_counts
from .policy import SIDE_BY_SIDE
from .quality_change import QualityChange, quality_change, quality_verdicts, repeats
from .sides import CaseSide, Side
from .verdict import (
    EXACT,
    OF_MEMORY,
    SHOWN,
    Cause,
    Change,
    Reason,
    Row,
    RunDeviation,
    has_ratio,
    judge,
    judge_exact,
    over,
    paired,
    smallest_seen,
    unpaired,
    worse,
)

Key = tuple[str, str]  # case and metric
QualityVerdicts = Mapping[Key, tuple[QualityChange | None, str]]

_ENOUGH = 6  # launches of a side: with fewer that differ, no rank sum is rare enough


@dataclass
class Compared:
    """All rows, the cases that only one side has, and those whose sides intentionally do different work."""

    rows: list[Row]
    only_base: list[str] = field(default_factory=list)
    only_candidate: list[str] = field(default_factory=list)
    by_sample: list[BySample] = field(default_factory=list)


def compare(base: Side, candidate: Side, options: ComparisonOptions) -> Compared:
    """The rows of all cases that the baseline has, in its order."""
    plans = [
        _plan(case, side, candidate.cases.get(case), options)
        for case, side in base.cases.items()
        if side.observed
    ]
    pairs = [pair for plan in plans for pair in plan.pairs]
    family = sum(is_timed(pair.metric) and is_gated(pair.metric, pair.policy) for pair in pairs)
    judge = _Judge(base, candidate, options, family, judge_quality(pairs))
    rows = [judge.row(entry) for plan in plans for entry in plan.entries]
    return Compared(
        rows=[row for row in rows if is_shown(row, options)],
        only_base=[case for case in base.cases if case not in candidate.cases],
        only_candidate=[
            case
            for case, side in candidate.cases.items()
            if case not in base.cases or (side.observed and not base.cases[case].observed)
        ],
        by_sample=[plan.by_sample for plan in plans if plan.by_sample is not None],
    )


def _plan(
    case: str, base: CaseSide, candidate: CaseSide | None, options: ComparisonOptions
) -> CaseComparison:
    if candidate is not None and candidate.observed:
        return plan_case(case, base, candidate, options)
    reason = Reason(Cause.NO_CASE)
    if candidate is not None and candidate.failure:
        reason = Reason(Cause.CANDIDATE_FAILED, candidate.failure)
    # One row reports it, and it must gate: the first metric may have the policy "ignore".
    names, gating = of_interest(base.observed, case, base, options)
    return CaseComparison(
        [unmeasured_row(case, base, name, options, reason) for name in (gating or names)[:1]]
    )


def is_timed(metric: Metric) -> bool:
    """Whether a metric is judged by the interval of its ratio: a time, memory, or a value computed from them."""
    return metric.kind not in (*EXACT, "quality")


def drifts(metric: Metric) -> bool:
    """Whether a metric changes from run to run with the state of the machine: a time, or a value computed from one.

    Quality and shares vary between the launches of a run as much as between runs.
    """
    of_peaks = ("compute.mfu", "compute.ridge_point")
    return metric.kind == "time" or metric.unit in ("s", "FLOP/s") or metric.name in of_peaks


class _Judge:
    """Judges pairs, given the environments of the two sides."""

    def __init__(
        self, base: Side, candidate: Side, options: ComparisonOptions, family: int, quality: QualityVerdicts
    ) -> None:
        self._options, self._family, self._quality = options, family, quality
        first, second = base.environment, candidate.environment
        self._known = first is not None and second is not None
        self._same_software = first is None or second is None or same_for_counts(first, second)
        self._same_machine = first is None or second is None or same_for_machine_counts(first, second)
        self._same_rounding = self._same_machine and (
            first is None or second is None or first.cpu == second.cpu
        )

    def row(self, entry: Row | MetricPair) -> Row:
        if isinstance(entry, Row):
            return self._different_work(entry) if entry.work else entry
        if entry.metric.kind in EXACT:
            rounds = follows_rounding(entry.base) or follows_rounding(entry.candidate)
            return exact_row(entry, self._unlike(rounds, entry.metric))
        if entry.metric.kind == "quality":
            row = quality_row(entry, *self._quality[entry.case, entry.metric.name])
            if not self._options.across:
                return row
            return dataclasses.replace(row, gates=False, caveats=("other_machine", *row.caveats))
        return self._timed(entry)

    def _timed(self, pair: MetricPair) -> Row:
        change = unpaired(pair.before, pair.after, pair.metric.better, self._deviation(pair))
        verdict = judge(change, pair.policy.threshold(pair.before.value), self._family)
        caveats = pair.caveats
        if not self._known:
            caveats = ("environment_unknown", *caveats)
            if verdict in ("improved", "equivalent"):
                verdict = "inconclusive"
        if self._options.across:
            caveats = ("other_machine", *caveats)
        row = timed_row(pair, change, verdict, self._family)
        return dataclasses.replace(
            row,
            gates=row.gates and not self._options.across,
            family=row.family if self._known else 0,
            caveats=caveats,
        )

    def _deviation(self, pair: MetricPair) -> RunDeviation:
        if pair.metric.kind == "memory":
            return OF_MEMORY
        return self._options.deviation_of(pair.case) if drifts(pair.metric) else RunDeviation(0.0)

    def _different_work(self, row: Row) -> Row:
        rounds = all(one.what == "closure_evaluations" for one in row.work)
        caveats = self._unlike(rounds, row.metric)
        return dataclasses.replace(row, gates=row.gates and not caveats, caveats=(*row.caveats, *caveats))

    def _unlike(self, rounds: bool, metric: Metric) -> tuple[str, ...]:
        """Why an exact count cannot be compared; empty if it can. `rounds`: it depends on how sums are rounded."""
        if not self._same_software:
            return ("other_software",)
        comparable = self._same_rounding if rounds else self._same_machine or metric.kind != "machine"
        return () if comparable else ("other_cpu",)


BY_TIME = "algorithms_by_time"  # the caveat
# What depends on the algorithms that a library chose: kernels, and memory with their workspaces.
_OF_ALGORITHMS = frozenset(
    "peak_allocated kernel_launches synchronizations allocations allocated_bytes peak_live_bytes".split()
)


def follows_rounding(side: CaseSide) -> bool:
    """Whether the work of a case depends on how its sums are rounded, as that of a line search does.

    Another processor or library then gives other counts.
    """
    return "work.train.closure_evaluations" in side.observed


def exact_row(pair: MetricPair, caveats: tuple[str, ...] = ()) -> Row:
    """The row of an exact count, which gates unless a caveat is against it.

    Only caveats about this count matter, such as flops_lower_bound for count.flops: caveats about times do not.
    """
    before, after = pair.before.value, pair.after.value
    name = pair.metric.name
    own = f"{name.rpartition('.')[2]}_" if name.startswith("count.") else None
    known = [caveat for caveat in pair.caveats if own is not None and caveat.startswith(own)]
    if name.rpartition(".")[2] in _OF_ALGORITHMS and BY_TIME in pair.caveats:
        caveats = (*caveats, BY_TIME)
    row = pair.unjudged
    return dataclasses.replace(
        row,
        ratio=over(after, before),
        verdict=judge_exact(before, after, pair.policy),
        gates=row.gates and not caveats,
        caveats=(*caveats, *known),
    )


def timed_row(pair: MetricPair, change: Change, verdict: str, family: int) -> Row:
    """The row of a time or of memory.

    Between runs at different times these are seldom decided: an undecided one does not fail a build by itself.
    """
    low, high = change.interval(SHOWN) or (None, None)
    return dataclasses.replace(
        pair.unjudged,
        ratio=change.ratio,
        low=low,
        high=high,
        verdict=verdict,
        undecided_gates=pair.policy.named,
        smallest=smallest_seen(change, pair.policy.threshold(pair.before.value), family),
        family=max(1, family),
        caveats=pair.caveats,
    )


def judge_quality(pairs: Iterable[MetricPair]) -> QualityVerdicts:
    """The change of each metric of quality between two sides, and the verdict on it, by case and metric."""
    changes = {
        (pair.case, pair.metric.name): quality_change(
            pair.before,
            pair.after,
            pair.policy.tolerance(pair.before.value),
            pair.metric.better,
            repeats(pair.base) and repeats(pair.candidate),
        )
        for pair in pairs
        if pair.metric.kind == "quality"
    }
    verdicts = quality_verdicts(changes)
    return {key: (change, verdicts[key]) for key, change in changes.items()}


def quality_row(pair: MetricPair, change: QualityChange | None, verdict: str) -> Row:
    """The row of a metric of quality. Caveats about times do not matter here."""
    before, after = pair.before.value, pair.after.value
    launches = min(len(seen.launches) for seen in (pair.before, pair.after))
    # Quality that rose because a side trained on more data is no improvement; a fall is reported whatever its cause.
    is_worthless = verdict == "improved" and any(one.stage == "train" for one in pair.work)
    row = pair.unjudged
    return dataclasses.replace(
        row,
        ratio=worse(before, after, pair.metric.better) if has_ratio(before, after) else None,
        verdict="different_work" if is_worthless else verdict,
        gates=row.gates and not is_worthless,
        work=pair.work if is_worthless else (),
        folded=is_worthless,
        spread=None if change is None else change.spread,
        caveats=("few_launches",) if verdict == "inconclusive" and 0 < launches < _ENOUGH else (),
    )


def by_axis(side: Side, axis: str, options: ComparisonOptions) -> Compared:
    """Compares the cases of a run that differ only in this axis, each with the first: launches of one round are pairs.

    No row gates. Raises KeyError where no case has the axis.
    """
    if not any(axis in axes for axes in side.axes.values()):
        raise KeyError(axis)
    plans = [
        plan_case(
            f"{other} against {axis}={side.axes[first][axis]}",
            side.cases[first],
            side.cases[other],
            options,
            intended=True,
        )
        for first, *others in _alike(side, axis)
        for other in others
    ]
    pairs = [pair for plan in plans for pair in plan.pairs]
    quality, family = judge_quality(pairs), sum(is_timed(pair.metric) for pair in pairs)
    rows = [
        entry if isinstance(entry, Row) else _judged(entry, family, quality)
        for plan in plans
        for entry in plan.entries
        if isinstance(entry, MetricPair) or entry.work
    ]
    return Compared(
        [dataclasses.replace(row, gates=False) for row in rows if is_shown(row, options)],
        by_sample=[plan.by_sample for plan in plans if plan.by_sample is not None],
    )


def _alike(side: Side, axis: str) -> list[list[str]]:
    """The measured cases that have the axis, in groups of cases that differ only in it."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for case, axes in side.axes.items():
        if axis in axes and case in side.cases and side.cases[case].observed:
            rest = tuple((name, value) for name, value in axes.items() if name != axis)
            groups.setdefault((side.cases[case].suite, *rest), []).append(case)
    return list(groups.values())


def _judged(pair: MetricPair, family: int, quality: QualityVerdicts) -> Row:
    if pair.metric.kind in EXACT:
        return exact_row(pair)
    if pair.metric.kind == "quality":
        return quality_row(pair, *quality[pair.case, pair.metric.name])
    change = paired(pair.before.launches, pair.after.launches, pair.metric.better) or unpaired(
        pair.before, pair.after, pair.metric.better, RunDeviation(0.0)
    )
    return timed_row(pair, change, judge(change, SIDE_BY_SIDE, family), family)
