"""Which metrics of a case are compared, and why the others are not.

If the sides did different work, one row of the case reports it, and the rows of the affected metrics are folded under
that row. If the difference is intended (the sides differ in an axis, or a threshold ignores it), the case is compared
per sample instead: throughput, FLOPs per sample, and whatever does not depend on the batches.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...measurement import STAGES, Metric, metric
from .policy import THRESHOLDS, Policy, ThresholdRule, directed, policy
from .sides import FOREIGN_METRICS, CaseSide, Observed
from .verdict import EXACT, UNKNOWN, Cause, Reason, Row, RunDeviation, has_ratio
from .work import Work, WorkDifference


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared, and how: `metrics` are names or patterns (none: the metrics that gate), `rules` the thresholds.

    `standards` are the tolerated changes by the class of a metric. `across` compares different machines; `deviation_of`
    gives the deviation between runs of a case.
    """

    metrics: Sequence[str] = ()
    rules: Sequence[ThresholdRule] = ()
    across: bool = False
    deviation_of: Callable[[str], RunDeviation] = lambda _: UNKNOWN
    standards: Mapping[str, float] = field(default_factory=lambda: THRESHOLDS)


@dataclass(frozen=True)
class MetricPair:
    """One metric of a case that both sides have; `work` is the work in which they differ unintentionally."""

    case: str
    base: CaseSide
    candidate: CaseSide
    metric: Metric
    policy: Policy
    before: Observed
    after: Observed
    work: tuple[WorkDifference, ...] = ()

    @property
    def unjudged(self) -> Row:
        """The row without the fields that its verdict sets."""
        return _row(self.case, self.base, self.metric, self.policy, self.before.value, self.after.value)

    @property
    def caveats(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.base.caveats, *self.candidate.caveats]))


@dataclass(frozen=True)
class BySample:
    """A case whose sides intentionally do different work: the differences, and the metrics that are not compared."""

    case: str
    differences: Sequence[WorkDifference]
    not_compared: Sequence[str]


@dataclass(frozen=True)
class CaseComparison:
    """One case, in the order of the baseline: pairs to be judged, and rows that need no judgement."""

    entries: Sequence[Row | MetricPair]
    by_sample: BySample | None = None

    @property
    def pairs(self) -> list[MetricPair]:
        return [entry for entry in self.entries if isinstance(entry, MetricPair)]


def plan_case(
    case: str, base: CaseSide, candidate: CaseSide, options: ComparisonOptions, intended: bool = False
) -> CaseComparison:
    """What is compared of a case that both sides measured. `intended`: the sides differ in an axis."""
    work = Work(base.observed, candidate.observed)
    unintended = tuple(
        one
        for one in work.differences
        if not intended and policy_of(one.metric, case, base, options).regression != "ignore"
    )
    meant = [one for one in work.differences if one not in unintended]
    stages, differing = {one.stage for one in unintended}, {one.metric for one in unintended}
    entries: list[Row | MetricPair] = []
    not_compared = []
    names = [name for name in {**base.observed, **base.withheld} if is_compared(name, case, base, options)]
    instead = work.by_the_sample if meant and not options.metrics else ()
    names += [name for name in instead if name in base.observed and name not in names]
    if any(name in differing or work.affects(name, stages) for name in names if is_requested(name, options)):
        entries.append(_different_work_row(case, base, candidate, options, unintended))
    for name in names:
        if name in differing:
            continue  # reported by the row of the case
        if older := base.withheld.get(name) or candidate.withheld.get(name):
            entries.append(unmeasured_row(case, base, name, options, Reason(Cause.ADDED_UP, older)))
        elif work.affects(name, stages):
            entries.append(_incomparable(_unjudged(case, base, name, options, candidate), unintended))
        elif not meant or not (work.needs_samples(name) or _is_of_one_side(name, work)):
            entries.append(_compared(case, base, candidate, name, options, name in instead, unintended))
        elif name in options.metrics:
            row = _incomparable(_unjudged(case, base, name, options, candidate), meant)
            entries.append(dataclasses.replace(row, gates=True, folded=False))
        else:
            not_compared.append(name)
    return CaseComparison(entries, BySample(case, meant, not_compared) if meant else None)


def _is_of_one_side(name: str, work: Work) -> bool:
    """Whether a metric belongs to a stage that only one side has."""
    return name not in work.after and any(
        f".{stage}" in f".{name}" and work.differs(stage) for stage in STAGES
    )


def _compared(
    case: str,
    base: CaseSide,
    candidate: CaseSide,
    name: str,
    options: ComparisonOptions,
    gates: bool,
    work: tuple[WorkDifference, ...],
) -> Row | MetricPair:
    if name not in candidate.observed:
        return unmeasured_row(case, base, name, options, Reason(Cause.NO_VALUE))
    before, after = base.observed[name], candidate.observed[name]
    rule = policy_of(name, case, base, options)
    known = directed(metric_of(name), rule)
    known = dataclasses.replace(known, gated=known.gated or gates)
    if reason := incomparable(known, before, after):
        return unmeasured_row(case, base, name, options, reason, candidate)
    return MetricPair(case, base, candidate, known, rule, before, after, work)


def incomparable(metric: Metric, before: Observed, after: Observed) -> Reason | None:
    """Why two values have no difference or ratio; None where they have."""
    values = before.value, after.value
    if metric.kind == "quality":
        return None if all(map(math.isfinite, values)) else Reason(Cause.NO_DIFFERENCE, values=values)
    if metric.kind in EXACT or has_ratio(*values):
        return None
    return Reason(Cause.NO_RATIO, values=values)


def is_compared(name: str, case: str, side: CaseSide, options: ComparisonOptions) -> bool:
    """Whether a metric is compared: those that are requested, and quality always (see `is_requested`)."""
    known = metric_of(name)
    if options.metrics:
        return is_requested(name, options) or known.kind == "quality"
    return known.gated or known.kind == "quality" or policy_of(name, case, side, options).named


def is_requested(name: str, options: ComparisonOptions) -> bool:
    """Whether the command names a metric, or no metric at all.

    Quality that it does not name is shown only where it fell: this must not be missed when only times are requested.
    """
    return not options.metrics or matches(name, options.metrics)


def of_interest(
    names: Iterable[str], case: str, side: CaseSide, options: ComparisonOptions
) -> tuple[list[str], list[str]]:
    """The requested ones among these metrics that are compared, and those of them that gate."""
    wanted = [
        name for name in names if is_compared(name, case, side, options) and is_requested(name, options)
    ]
    return wanted, [n for n in wanted if is_gated(metric_of(n), policy_of(n, case, side, options))]


def matches(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def are_exact(patterns: Sequence[str], known: Collection[str]) -> bool:
    """Whether these patterns match only exact metrics, among the known ones."""
    meant = [name for name in known if matches(name, patterns)]
    return bool(meant) and all(metric_of(name).kind in EXACT for name in meant)


def is_shown(row: Row, options: ComparisonOptions) -> bool:
    """Whether a row is shown: a requested metric, different work that affects one, quality that fell or moved."""
    speaks = bool(row.work) and not row.folded
    return speaks or row.verdict in ("regressed", "moved") or is_requested(row.metric.name, options)


def metric_of(name: str) -> Metric:
    return FOREIGN_METRICS.get(name) or metric(name)


def policy_of(name: str, case: str, side: CaseSide, options: ComparisonOptions) -> Policy:
    # A metric that the user requests by name gates.
    named = name in options.metrics
    return policy(metric_of(name), side.suite, case, side.device, options.rules, options.standards, named)


def is_gated(metric: Metric, policy: Policy) -> bool:
    return (metric.gated or policy.named) and policy.regression != "ignore"


def unmeasured_row(
    case: str,
    base: CaseSide,
    name: str,
    options: ComparisonOptions,
    reason: Reason,
    candidate: CaseSide | None = None,
) -> Row:
    """The row of a metric for which a side has no comparable number."""
    row = _unjudged(case, base, name, options, candidate)
    requested = bool(options.metrics) and is_requested(name, options)
    return dataclasses.replace(row, gates=row.gates or requested, reason=reason)


def _different_work_row(
    case: str,
    base: CaseSide,
    candidate: CaseSide,
    options: ComparisonOptions,
    work: Sequence[WorkDifference],
) -> Row:
    """The row that reports different work of the sides of a case. It gates unless thresholds prevent it."""
    return dataclasses.replace(
        _unjudged(case, base, work[0].metric, options, candidate),
        verdict="different_work",
        gates=any(policy_of(one.metric, case, base, options).regression == "fail" for one in work),
        work=tuple(work),
        caveats=(),
    )


def _incomparable(row: Row, work: Sequence[WorkDifference]) -> Row:
    """The row of a metric that different work makes incomparable, folded under the row that reports the work."""
    return dataclasses.replace(
        row, verdict="different_work", gates=False, work=tuple(work), folded=True, caveats=()
    )


def _unjudged(
    case: str, base: CaseSide, name: str, options: ComparisonOptions, candidate: CaseSide | None = None
) -> Row:
    rule = policy_of(name, case, base, options)
    before, after = (
        side.observed[name].value if side is not None and name in side.observed else None
        for side in (base, candidate)
    )
    row = _row(case, base, directed(metric_of(name), rule), rule, before, after)
    return dataclasses.replace(row, caveats=base.caveats)


def _row(
    case: str, side: CaseSide, metric: Metric, policy: Policy, before: float | None, after: float | None
) -> Row:
    """The fields that every row has."""
    gates = is_gated(metric, policy)
    return Row(side.suite, case, metric, before, after, verdict="not_measured", policy=policy, gates=gates)
