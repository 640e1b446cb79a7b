"""What of the two sides of a case can be held against each other, and what is not, with the reason.

Where the sides did different work, one row of the case says so, and what that spoils is folded behind it. Where the
difference is meant (an axis that the sides differ in, or a rule of the thresholds that ignores it), the case is
compared by the sample instead: throughput, FLOPs a sample, and whatever does not depend on how samples are dealt out.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...measurement import STAGES, Metric, metric
from .policy import THRESHOLDS, Policy, ThresholdRule, directed, policy
from .sides import FOREIGN_METRICS, CaseSide
from .verdict import EXACT, Between, Observed, Row, has_ratio
from .work import Work, WorkDifference

BETWEEN_UNKNOWN = Between(0.15)


@dataclass(frozen=True)
class Asked:
    """What is compared, and how: `metrics` are names or patterns (none: those that gate), `rules` the thresholds.

    `standards` are the largest changes that are none, by the class of a metric. `across` compares machines that are
    not alike; `between` gives the deviation between runs of a case.
    """

    metrics: Sequence[str] = ()
    rules: Sequence[ThresholdRule] = ()
    across: bool = False
    between: Callable[[str], Between] = lambda _: BETWEEN_UNKNOWN
    standards: Mapping[str, float] = field(default_factory=lambda: THRESHOLDS)


@dataclass(frozen=True)
class MetricPair:
    """One case x metric that both sides have a value for; `work` is what they did unlike besides, and is not meant."""

    case: str
    base: CaseSide
    candidate: CaseSide
    metric: Metric
    policy: Policy
    before: Observed
    after: Observed
    work: tuple[WorkDifference, ...] = ()


@dataclass(frozen=True)
class BySample:
    """A case whose sides are meant to do other work: in what that differs, and the metrics that are not compared."""

    case: str
    differences: Sequence[WorkDifference]
    left_out: Sequence[str]


@dataclass
class CaseComparison:
    """Of one case, in the order of the baseline: pairs to be judged, and rows that nothing is to be judged of."""

    found: list[Row | MetricPair] = field(default_factory=list)
    by_sample: BySample | None = None

    @property
    def pairs(self) -> list[MetricPair]:
        return [one for one in self.found if isinstance(one, MetricPair)]

    @property
    def is_other_work(self) -> bool:
        """Whether the sides did different work that nobody has said is meant."""
        return any(isinstance(one, Row) and one.work for one in self.found)


def plan(
    case: str, base: CaseSide, candidate: CaseSide, asked: Asked, intended: bool = False
) -> CaseComparison:
    """What of a case that both sides measured is compared. `intended`: they differ in an axis."""
    work = Work(base.observed, candidate.observed)
    unsaid = tuple(
        one for one in work.differences if not intended and _of_work(one, case, base, asked) != "ignore"
    )
    meant = [one for one in work.differences if one not in unsaid]
    stages = {one.stage for one in unsaid}
    made, left_out = CaseComparison(), []
    wanted = [name for name in {**base.observed, **base.withheld} if is_wanted(name, case, base, asked)]
    instead = work.by_the_sample if meant and not asked.metrics else ()
    wanted += [name for name in instead if name in base.observed and name not in wanted]
    told = {one.metric for one in unsaid}
    if any(name in told or work.spoils(name, stages) for name in wanted if is_asked(name, asked)):
        made.found.append(other_work(case, base, asked, unsaid))
    for name in wanted:
        if name in told:
            continue  # the row of the case says it
        if why := base.withheld.get(name) or candidate.withheld.get(name, ""):
            made.found.append(missing(case, base, name, asked, why))
        elif work.spoils(name, stages):
            made.found.append(folded(case, base, candidate, name, asked, unsaid))
        elif meant and (work.needs_samples(name) or _is_of_one_side(name, work)):
            if name in asked.metrics:
                row = folded(case, base, candidate, name, asked, meant)
                made.found.append(dataclasses.replace(row, gates=True, folded=False))
            else:
                left_out.append(name)
        else:
            one = _together(case, base, candidate, name, asked, name in instead)
            made.found.append(dataclasses.replace(one, work=unsaid) if isinstance(one, MetricPair) else one)
    if meant:
        made.by_sample = BySample(case, meant, left_out)
    return made


def _of_work(one: WorkDifference, case: str, base: CaseSide, asked: Asked) -> str:
    """What the thresholds say of a difference of work: one of ACTIONS."""
    return policy_of(one.metric, case, base, asked).regression


def _is_of_one_side(name: str, work: Work) -> bool:
    """Whether a metric is of a stage that one side alone has."""
    return name not in work.after and any(
        f".{stage}" in f".{name}" and work.differs(stage) for stage in STAGES
    )


def _together(
    case: str, base: CaseSide, candidate: CaseSide, name: str, asked: Asked, gates: bool
) -> Row | MetricPair:
    if name not in candidate.observed:
        return missing(case, base, name, asked, "the candidate has no value")
    before, after = base.observed[name], candidate.observed[name]
    rule = policy_of(name, case, base, asked)
    kind = directed(metric_of(name), rule)
    kind = dataclasses.replace(kind, gated=kind.gated or gates)
    if why := incomparable(kind, before, after):
        return missing(case, base, name, asked, why, candidate)
    return MetricPair(case, base, candidate, kind, rule, before, after)


def incomparable(metric: Metric, before: Observed, after: Observed) -> str:
    """Why two values cannot be held against each other; empty where they can."""
    if metric.kind == "quality":
        finite = math.isfinite(before.value) and math.isfinite(after.value)
        return "" if finite else f"no difference can be made of {before.value:g} and {after.value:g}"
    if metric.kind in EXACT or has_ratio(before.value, after.value):
        return ""
    return f"no ratio can be made of {before.value:g} and {after.value:g}"


def is_wanted(name: str, case: str, side: CaseSide, asked: Asked) -> bool:
    """Whether a metric is compared. What was learnt always is: see `is_asked`."""
    known = metric_of(name)
    if asked.metrics:
        return is_asked(name, asked) or known.kind == "quality"
    return known.gated or known.kind == "quality" or policy_of(name, case, side, asked).named


def is_asked(name: str, asked: Asked) -> bool:
    """Whether the command names a metric, or no metric at all.

    Of quality that it does not name only what fell is said: who asks for a time is not to miss that.
    """
    if not asked.metrics:
        return True
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in asked.metrics)


def is_said(row: Row, asked: Asked) -> bool:
    """Whether a row is shown: what was asked for, different work that spoils some of it, quality that fell or moved."""
    speaks = bool(row.work) and not row.folded
    return speaks or row.verdict in ("regressed", "moved") or is_asked(row.metric.name, asked)


def metric_of(name: str) -> Metric:
    return FOREIGN_METRICS.get(name) or metric(name)


def policy_of(name: str, case: str, side: CaseSide, asked: Asked) -> Policy:
    # A metric that the user asks for by name gates.
    named = name in asked.metrics
    return policy(metric_of(name), side.suite, case, side.device, asked.rules, asked.standards, named)


def is_gated(metric: Metric, policy: Policy) -> bool:
    return (metric.gated or policy.named) and policy.regression != "ignore"


def missing(
    case: str, base: CaseSide, name: str, asked: Asked, why: str, candidate: CaseSide | None = None
) -> Row:
    """The row of a metric that a side has no number for that could be compared."""
    row = _unjudged(case, base, name, asked, candidate)
    return dataclasses.replace(
        row, gates=row.gates or (bool(asked.metrics) and is_asked(name, asked)), reason=why
    )


def other_work(case: str, base: CaseSide, asked: Asked, work: Sequence[WorkDifference]) -> Row:
    """The row that says of a case that its sides did different work. It gates unless the thresholds say otherwise."""
    first = work[0]
    row = _unjudged(case, base, first.metric, asked)
    return dataclasses.replace(
        row,
        base=first.before,
        candidate=first.after,
        verdict="different_work",
        gates=any(_of_work(one, case, base, asked) == "fail" for one in work),
        work=tuple(work),
        caveats=(),
    )


def folded(
    case: str, base: CaseSide, candidate: CaseSide, name: str, asked: Asked, work: Sequence[WorkDifference]
) -> Row:
    """The row of a metric that different work spoils: another row speaks for it."""
    row = _unjudged(case, base, name, asked, candidate)
    return dataclasses.replace(
        row, verdict="different_work", gates=False, work=tuple(work), folded=True, caveats=()
    )


def _unjudged(case: str, base: CaseSide, name: str, asked: Asked, candidate: CaseSide | None = None) -> Row:
    rule = policy_of(name, case, base, asked)
    kind = directed(metric_of(name), rule)
    values = [None if side is None else side.observed.get(name) for side in (base, candidate)]
    before, after = (None if seen is None else seen.value for seen in values)
    return Row(
        suite=base.suite,
        case=case,
        metric=kind,
        base=before,
        candidate=after,
        ratio=None,
        low=None,
        high=None,
        verdict="not_measured",
        policy=rule,
        gates=is_gated(kind, rule),
        undecided_gates=True,
        caveats=base.caveats,
    )


def ratio_of(base: float, candidate: float) -> float:
    """Candidate over base; infinite from zero on."""
    if base:
        return candidate / base
    return 1.0 if not candidate else math.inf


def pairs_of(plans: Sequence[CaseComparison]) -> Iterator[MetricPair]:
    for one in plans:
        yield from one.pairs
