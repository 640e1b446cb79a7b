"""The rows of the values of one axis within a run, each against the first: launches of a round are pairs."""

from __future__ import annotations

import dataclasses

from .comparable import ComparisonOptions, MetricPair, is_shown, pairs_of, plan_case
from .policy import SIDE_BY_SIDE
from .rows import Compared, QualityVerdicts, exact_row, is_timed, judge_quality, quality_row, timed_row
from .run_deviation import RunDeviation
from .sides import Side
from .verdict import EXACT, Row, judge, paired, unpaired


def by_axis(side: Side, axis: str, options: ComparisonOptions) -> Compared:
    """Compares the cases that differ in this axis alone. No row gates. Raises KeyError where no case has the axis."""
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
    pairs = list(pairs_of(plans))
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
    """The measured cases that have the axis, in groups that differ in nothing else."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for case, axes in side.axes.items():
        if axis in axes and case in side.cases and side.cases[case].observed:
            rest = tuple((name, value) for name, value in axes.items() if name != axis)
            groups.setdefault((side.cases[case].suite, *rest), []).append(case)
    return list(groups.values())


def _judged(pair: MetricPair, family: int, quality: QualityVerdicts) -> Row:
    better = pair.metric.better or "less"
    if pair.metric.kind in EXACT:
        return exact_row(pair)
    if pair.metric.kind == "quality":
        return quality_row(pair, *quality[pair.case, pair.metric.name])
    change = paired(pair.before.launches, pair.after.launches, better) or unpaired(
        pair.before, pair.after, better, RunDeviation(0.0)
    )
    return timed_row(pair, change, judge(change, SIDE_BY_SIDE, family), family)
