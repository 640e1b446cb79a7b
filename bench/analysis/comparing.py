"""From two sides to rows: which metrics of which cases are compared, and how each is judged."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..measurement import Metric, metric
from .comparability import same_for_counts, same_for_machine_counts
from .compare import (
    EXACT,
    SHOWN,
    Between,
    Change,
    Observed,
    Row,
    has_ratio,
    judge,
    judge_exact,
    paired,
    smallest_seen,
    unpaired,
)
from .policy import SIDE_BY_SIDE, THRESHOLDS, Policy, Rule, policy
from .sides import FOREIGN_METRICS, CaseSide, Side

# The standard deviation of the logarithm between runs of the same code, where no earlier runs tell: measured on a
# shared machine with two processors (docs/methodology.md).
BETWEEN = {"pinned": Between(0.05), "system": Between(0.15)}
BETWEEN_UNKNOWN = Between(0.15)
BETWEEN_MEMORY = Between(0.01)
LEARNT_FROM = 5  # runs, at the least


@dataclass(frozen=True)
class Asked:
    """What is compared, and how: `metrics` are names or patterns (none: those that gate), `rules` the thresholds.

    `standards` are the largest changes that are none, by the class of a metric. `across` compares machines that are
    not alike; `between` gives the deviation between runs of a case.
    """

    metrics: Sequence[str] = ()
    rules: Sequence[Rule] = ()
    across: bool = False
    between: Callable[[str], Between] = lambda _: BETWEEN_UNKNOWN
    standards: Mapping[str, float] = field(default_factory=lambda: THRESHOLDS)


@dataclass
class Compared:
    """All rows, and the cases that one side alone has."""

    rows: list[Row]
    only_base: list[str] = field(default_factory=list)
    only_candidate: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """One case x metric that both sides have a value for."""

    case: str
    base: CaseSide
    candidate: CaseSide
    metric: Metric
    policy: Policy
    before: Observed
    after: Observed


def compare(base: Side, candidate: Side, asked: Asked) -> Compared:
    """The rows of all cases that the baseline has, in its order."""
    found: list[Row | Pair] = []
    for case, side in base.cases.items():
        if side.observed:
            found += _of_case(case, side, candidate.cases.get(case), asked)
    pairs = [one for one in found if isinstance(one, Pair)]
    family = sum(one.metric.kind not in EXACT and is_gated(one.metric, one.policy) for one in pairs)
    judges = _Judge(base, candidate, asked, family)
    return Compared(
        rows=[one if isinstance(one, Row) else judges.row(one) for one in found],
        only_base=[case for case in base.cases if case not in candidate.cases],
        only_candidate=[
            case
            for case, side in candidate.cases.items()
            if case not in base.cases or (side.observed and not base.cases[case].observed)
        ],
    )


def _of_case(case: str, base: CaseSide, candidate: CaseSide | None, asked: Asked) -> Iterator[Row | Pair]:
    wanted = [name for name in {**base.observed, **base.withheld} if is_wanted(name, case, base, asked)]
    if candidate is None or not candidate.observed:
        why = (candidate.failure if candidate is not None else "") or "the candidate does not have the case"
        # One row says it, and one that gates: the first metric may be one that is to be ignored.
        gating = [name for name in wanted if is_gated(metric_of(name), policy_of(name, case, base, asked))]
        for name in (gating or wanted)[:1]:
            yield missing(case, base, name, asked, why)
        return
    differing = work_that_differs(base, candidate)
    for name in wanted:
        if why := base.withheld.get(name) or candidate.withheld.get(name, ""):
            yield missing(case, base, name, asked, why)
        elif name not in candidate.observed:
            yield missing(case, base, name, asked, "the candidate has no value")
        elif differing and metric_of(name).kind == "time":
            yield missing(case, base, name, asked, f"the sides did different work ({differing})", candidate)
        elif why := incomparable(metric_of(name), base.observed[name], candidate.observed[name]):
            yield missing(case, base, name, asked, why, candidate)
        else:
            yield Pair(
                *(case, base, candidate, metric_of(name), policy_of(name, case, base, asked)),
                *(base.observed[name], candidate.observed[name]),
            )


def incomparable(metric: Metric, before: Observed, after: Observed) -> str:
    """Why two values cannot be held against each other; empty where they can."""
    if metric.kind in EXACT or has_ratio(before.value, after.value):
        return ""
    return f"no ratio can be made of {before.value:g} and {after.value:g}"


def is_wanted(name: str, case: str, side: CaseSide, asked: Asked) -> bool:
    if asked.metrics:
        return _is_asked(name, asked)
    return metric_of(name).gated or policy_of(name, case, side, asked).named


def _is_asked(name: str, asked: Asked) -> bool:
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in asked.metrics)


def metric_of(name: str) -> Metric:
    return FOREIGN_METRICS.get(name) or metric(name)


def policy_of(name: str, case: str, side: CaseSide, asked: Asked) -> Policy:
    found = policy(metric_of(name), side.suite, case, side.device, asked.rules, asked.standards)
    # A metric that the user asks for by name gates.
    return dataclasses.replace(found, named=found.named or name in asked.metrics)


def is_gated(metric: Metric, policy: Policy) -> bool:
    return (metric.gated or policy.named) and policy.regression != "ignore"


def drifts(metric: Metric) -> bool:
    """Whether what the machine does differently from run to run changes it: a time, or what is made of one.

    What a model has learnt, and shares, say all that they vary by between the launches of a run.
    """
    return metric.kind == "time" or metric.unit in ("s", "FLOP/s") or metric.name == "compute.mfu"


def work_that_differs(base: CaseSide, candidate: CaseSide) -> str:
    """The first count of work in which two sides of a case differ; empty where they did the same."""
    for name, seen in base.observed.items():
        other = candidate.observed.get(name)
        if name.startswith("work.") and other is not None and other.value != seen.value:
            return f"{name} {seen.value:g} and {other.value:g}"
    return ""


def missing(
    case: str, base: CaseSide, name: str, asked: Asked, why: str, candidate: CaseSide | None = None
) -> Row:
    kind, rule = metric_of(name), policy_of(name, case, base, asked)
    after = candidate.observed[name].value if candidate is not None else None
    return Row(
        suite=base.suite,
        case=case,
        metric=kind,
        base=base.observed[name].value if name in base.observed else None,
        candidate=after,
        ratio=None,
        low=None,
        high=None,
        verdict="not_measured",
        policy=rule,
        gates=is_gated(kind, rule) or bool(asked.metrics),
        undecided_gates=True,
        reason=why,
        caveats=base.caveats,
    )


class _Judge:
    """Judges pairs in the light of where the two sides come from."""

    def __init__(self, base: Side, candidate: Side, asked: Asked, family: int) -> None:
        self._asked, self._family = asked, family
        first, second = base.environment, candidate.environment
        self._known = first is not None and second is not None
        self._counts = first is None or second is None or same_for_counts(first, second)
        self._machine = first is None or second is None or same_for_machine_counts(first, second)
        self._rounding = self._machine and (first is None or second is None or first.cpu == second.cpu)

    def row(self, pair: Pair) -> Row:
        if pair.metric.kind in EXACT:
            return self._exact(pair)
        change = unpaired(pair.before, pair.after, pair.metric.better or "less", self._between(pair))
        verdict = judge(change, pair.policy.threshold(pair.before.value), self._family)
        caveats = caveats_of(pair)
        if not self._known:
            caveats = ("environment_unknown", *caveats)
            if verdict in ("improved", "equivalent"):
                verdict = "inconclusive"
        if self._asked.across:
            caveats = ("other_machine", *caveats)
        row = made(pair, change, verdict, self._family, not self._asked.across, caveats)
        return row if self._known else dataclasses.replace(row, family=0)

    def _between(self, pair: Pair) -> Between:
        if pair.metric.kind == "memory":
            return BETWEEN_MEMORY
        return self._asked.between(pair.case) if drifts(pair.metric) else Between(0.0)

    def _exact(self, pair: Pair) -> Row:
        comparable = self._counts
        if follows_rounding(pair.base) or follows_rounding(pair.candidate):
            comparable &= self._rounding
        elif pair.metric.kind == "machine":
            comparable &= self._machine
        caveats = () if comparable else ("other_software",) if not self._counts else ("other_cpu",)
        return exact(pair, comparable and is_gated(pair.metric, pair.policy), caveats)


def follows_rounding(side: CaseSide) -> bool:
    """Whether what a case does depends on how its sums are rounded: how often a line search looks does.

    Another processor, or another library on it, then counts otherwise.
    """
    return "work.train.closure_evaluations" in side.observed


def exact(pair: Pair, gates: bool, caveats: tuple[str, ...] = ()) -> Row:
    """The row of a count. What makes times doubtful is no reason to doubt it."""
    before, after = pair.before.value, pair.after.value
    counted = pair.metric.name.rpartition(".")[2]
    known = [
        name
        for name in caveats_of(pair)
        if pair.metric.name.startswith("count.") and name.startswith(f"{counted}_")
    ]
    return Row(
        suite=pair.base.suite,
        case=pair.case,
        metric=pair.metric,
        base=before,
        candidate=after,
        ratio=_ratio(before, after),
        low=None,
        high=None,
        verdict=judge_exact(before, after, pair.metric.better, pair.policy),
        policy=pair.policy,
        gates=gates,
        undecided_gates=True,
        caveats=(*caveats, *known),  # flops_lower_bound, of count.flops
    )


def made(pair: Pair, change: Change, verdict: str, family: int, gates: bool, caveats: tuple[str, ...]) -> Row:
    """The row of a time or of memory."""
    interval = change.interval(SHOWN)
    return Row(
        suite=pair.base.suite,
        case=pair.case,
        metric=pair.metric,
        base=pair.before.value,
        candidate=pair.after.value,
        ratio=change.ratio,
        low=None if interval is None else interval[0],
        high=None if interval is None else interval[1],
        verdict=verdict,
        policy=pair.policy,
        gates=gates and is_gated(pair.metric, pair.policy),
        # Between runs of different times these are seldom decided: that alone is no reason to stop a build.
        undecided_gates=pair.policy.named,
        smallest=smallest_seen(change, pair.policy.threshold(pair.before.value), family),
        family=max(1, family),
        caveats=caveats,
    )


def caveats_of(pair: Pair) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*pair.base.caveats, *pair.candidate.caveats]))


def _ratio(base: float, candidate: float) -> float:
    if base:
        return candidate / base
    return 1.0 if not candidate else math.inf


def are_exact(side: Side, metrics: Sequence[str]) -> bool:
    """Whether these names and patterns are of exact metrics alone, as this side has them."""
    asked = Asked(metrics)
    found = [name for case in side.cases.values() for name in case.observed if _is_asked(name, asked)]
    return bool(found) and all(metric_of(name).kind in EXACT for name in found)


def by_axis(side: Side, axis: str, asked: Asked) -> Compared:
    """The values of one axis within a run, each against the first, paired by round: these launches were interleaved.

    Cases are alike that differ in this axis alone. Raises KeyError where no case has the axis.
    """
    if not any(axis in axes for axes in side.axes.values()):
        raise KeyError(axis)
    alike: dict[tuple[object, ...], list[str]] = {}
    for case, axes in side.axes.items():
        if axis in axes and case in side.cases and side.cases[case].observed:
            rest = tuple((name, value) for name, value in axes.items() if name != axis)
            alike.setdefault((side.cases[case].suite, *rest), []).append(case)
    pairs = [
        Pair(
            *(f"{other} against {axis}={side.axes[cases[0]][axis]}", side.cases[cases[0]], side.cases[other]),
            *(metric_of(name), policy_of(name, other, side.cases[other], asked)),
            *(side.cases[cases[0]].observed[name], side.cases[other].observed[name]),
        )
        for cases in alike.values()
        for other in cases[1:]
        for name in side.cases[cases[0]].observed
        if name in side.cases[other].observed and is_wanted(name, other, side.cases[other], asked)
        if not incomparable(
            metric_of(name), side.cases[cases[0]].observed[name], side.cases[other].observed[name]
        )
    ]
    return Compared([_within(pair, len(pairs)) for pair in pairs])


def _within(pair: Pair, family: int) -> Row:
    better = pair.metric.better or "less"
    if pair.metric.kind in EXACT:
        return exact(pair, gates=False)
    found = paired(pair.before.launches, pair.after.launches, better)
    change = found or unpaired(pair.before, pair.after, better, Between(0.0))
    verdict = judge(change, SIDE_BY_SIDE, family)
    return made(pair, change, verdict, family, False, caveats_of(pair))


def between_runs(earlier: Sequence[float], standard: Between) -> Between:
    """The deviation between runs from the logarithms of at least five earlier medians, else the standard."""
    if len(earlier) < LEARNT_FROM:
        return standard
    return Between(statistics.stdev(earlier), len(earlier) - 1)


def standard_between(allocator: str) -> Between:
    return BETWEEN.get(allocator, BETWEEN_UNKNOWN)


def summary(rows: Sequence[Row]) -> Mapping[str, int]:
    """How many rows have each verdict."""
    found: dict[str, int] = {}
    for row in rows:
        found[row.verdict] = found.get(row.verdict, 0) + 1
    return found
