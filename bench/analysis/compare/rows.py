"""From two sides to rows: which metrics of which cases are compared, and how each is judged."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...measurement import Metric
from .comparable import (
    BETWEEN_UNKNOWN,
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
    pairs_of,
    plan,
    policy_of,
    ratio_of,
)
from .environments import same_for_counts, same_for_machine_counts
from .policy import SIDE_BY_SIDE
from .quality_change import Learnt, learnt, repeats, verdicts
from .sides import CaseSide, Side
from .verdict import (
    EXACT,
    SHOWN,
    Between,
    Change,
    Row,
    has_ratio,
    judge,
    judge_exact,
    paired,
    smallest_seen,
    unpaired,
    worse,
)

Key = tuple[str, str]  # case and metric

# The standard deviation of the logarithm between runs of the same code, where no earlier runs tell: measured on a
# shared machine with two processors (docs/methodology.md).
BETWEEN = {"pinned": Between(0.05), "system": Between(0.15)}
BETWEEN_MEMORY = Between(0.01)
LEARNT_FROM = 5  # runs, at the least
_ENOUGH = 6  # launches of a side: of fewer that differ among themselves no rank sum is rare enough


@dataclass
class Compared:
    """All rows, the cases that one side alone has, and those whose sides are meant to do other work."""

    rows: list[Row]
    only_base: list[str] = field(default_factory=list)
    only_candidate: list[str] = field(default_factory=list)
    by_sample: list[BySample] = field(default_factory=list)


def compare(base: Side, candidate: Side, asked: Asked) -> Compared:
    """The rows of all cases that the baseline has, in its order."""
    plans = [
        _plan(case, side, candidate.cases.get(case), asked)
        for case, side in base.cases.items()
        if side.observed
    ]
    pairs = list(pairs_of(plans))
    family = sum(is_timed(one.metric) and is_gated(one.metric, one.policy) for one in pairs)
    judges = _Judge(base, candidate, asked, family, said_of_quality(pairs))
    rows = [judges.row(one) for plan in plans for one in plan.found]
    return Compared(
        rows=[row for row in rows if is_said(row, asked)],
        only_base=[case for case in base.cases if case not in candidate.cases],
        only_candidate=[
            case
            for case, side in candidate.cases.items()
            if case not in base.cases or (side.observed and not base.cases[case].observed)
        ],
        by_sample=[plan.by_sample for plan in plans if plan.by_sample is not None],
    )


def _plan(case: str, base: CaseSide, candidate: CaseSide | None, asked: Asked) -> CaseComparison:
    if candidate is not None and candidate.observed:
        return plan(case, base, candidate, asked)
    why = (candidate.failure if candidate is not None else "") or "the candidate does not have the case"
    # One row says it, and one that gates: the first metric may be one that is to be ignored.
    wanted = [name for name in base.observed if is_wanted(name, case, base, asked) and is_asked(name, asked)]
    gating = [name for name in wanted if is_gated(metric_of(name), policy_of(name, case, base, asked))]
    return CaseComparison([missing(case, base, name, asked, why) for name in (gating or wanted)[:1]])


def is_timed(metric: Metric) -> bool:
    """Whether a metric is judged by the interval of its ratio: a time, memory, and what is made of them."""
    return metric.kind not in (*EXACT, "quality")


def drifts(metric: Metric) -> bool:
    """Whether what the machine does differently from run to run changes it: a time, or what is made of one.

    What a model has learnt, and shares, say all that they vary by between the launches of a run.
    """
    return metric.kind == "time" or metric.unit in ("s", "FLOP/s") or metric.name == "compute.mfu"


class _Judge:
    """Judges pairs in the light of where the two sides come from."""

    def __init__(
        self,
        base: Side,
        candidate: Side,
        asked: Asked,
        family: int,
        quality: Mapping[Key, tuple[Learnt | None, str]],
    ) -> None:
        self._asked, self._family, self._quality = asked, family, quality
        first, second = base.environment, candidate.environment
        self._known = first is not None and second is not None
        self._counts = first is None or second is None or same_for_counts(first, second)
        self._machine = first is None or second is None or same_for_machine_counts(first, second)
        self._rounding = self._machine and (first is None or second is None or first.cpu == second.cpu)

    def row(self, pair: Row | MetricPair) -> Row:
        if isinstance(pair, Row):
            return self._other_work(pair) if pair.work else pair
        if pair.metric.kind in EXACT:
            return self._exact(pair)
        if pair.metric.kind == "quality":
            row = quality_row(pair, *self._quality[pair.case, pair.metric.name])
            if not self._asked.across:
                return row
            return dataclasses.replace(row, gates=False, caveats=("other_machine", *row.caveats))
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

    def _between(self, pair: MetricPair) -> Between:
        if pair.metric.kind == "memory":
            return BETWEEN_MEMORY
        return self._asked.between(pair.case) if drifts(pair.metric) else Between(0.0)

    def _exact(self, pair: MetricPair) -> Row:
        rounds = follows_rounding(pair.base) or follows_rounding(pair.candidate)
        caveats = self._unlike(rounds, pair.metric)
        return exact(pair, not caveats and is_gated(pair.metric, pair.policy), caveats)

    def _other_work(self, row: Row) -> Row:
        rounds = all(one.what == "closure_evaluations" for one in row.work)
        caveats = self._unlike(rounds, row.metric)
        return dataclasses.replace(row, gates=row.gates and not caveats, caveats=(*row.caveats, *caveats))

    def _unlike(self, rounds: bool, metric: Metric) -> tuple[str, ...]:
        """Why a count says nothing here; empty where it does. `rounds`: it depends on how sums are rounded."""
        if not self._counts:
            return ("other_software",)
        comparable = self._rounding if rounds else self._machine or metric.kind != "machine"
        return () if comparable else ("other_cpu",)


def follows_rounding(side: CaseSide) -> bool:
    """Whether what a case does depends on how its sums are rounded: how often a line search looks does.

    Another processor, or another library on it, then counts otherwise.
    """
    return "work.train.closure_evaluations" in side.observed


def exact(pair: MetricPair, gates: bool, caveats: tuple[str, ...] = ()) -> Row:
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
        ratio=ratio_of(before, after),
        low=None,
        high=None,
        verdict=judge_exact(before, after, pair.metric.better, pair.policy),
        policy=pair.policy,
        gates=gates,
        undecided_gates=True,
        caveats=(*caveats, *known),  # flops_lower_bound, of count.flops
    )


def made(
    pair: MetricPair, change: Change, verdict: str, family: int, gates: bool, caveats: tuple[str, ...]
) -> Row:
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


def caveats_of(pair: MetricPair) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*pair.base.caveats, *pair.candidate.caveats]))


def said_of_quality(pairs: Iterable[MetricPair]) -> dict[Key, tuple[Learnt | None, str]]:
    """By case and metric, what launches of two sides say of what was learnt, and the verdict."""
    found = {
        (one.case, one.metric.name): learnt(
            one.before,
            one.after,
            one.policy.tolerance(one.before.value),
            one.metric.better,
            repeats(one.base) and repeats(one.candidate),
        )
        for one in pairs
        if one.metric.kind == "quality"
    }
    said = verdicts(found)
    return {key: (one, said[key]) for key, one in found.items()}


def quality_row(pair: MetricPair, found: Learnt | None, verdict: str) -> Row:
    """The row of what was learnt."""
    before, after = pair.before.value, pair.after.value
    better = pair.metric.better or "less"
    launches = min(len(seen.launches) for seen in (pair.before, pair.after))
    # Who trained on more is no better for it; a fall is said whatever it comes from.
    spoilt = verdict == "improved" and any(one.stage == "train" for one in pair.work)
    return Row(
        suite=pair.base.suite,
        case=pair.case,
        metric=pair.metric,
        base=before,
        candidate=after,
        ratio=worse(before, after, better) if has_ratio(before, after) else None,
        low=None,
        high=None,
        verdict="different_work" if spoilt else verdict,
        policy=pair.policy,
        gates=is_gated(pair.metric, pair.policy) and not spoilt,
        undecided_gates=True,
        work=pair.work if spoilt else (),
        folded=spoilt,
        spread=None if found is None else found.spread,
        # What makes times doubtful is no reason to doubt it.
        caveats=("few_launches",) if verdict == "inconclusive" and 0 < launches < _ENOUGH else (),
    )


def are_exact(side: Side, metrics: Sequence[str]) -> bool:
    """Whether these names and patterns are of exact metrics alone, as this side has them."""
    asked = Asked(metrics)
    found = [
        name for case in side.cases.values() for name in case.observed if metrics and is_asked(name, asked)
    ]
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
    plans = [
        plan(
            *(f"{other} against {axis}={side.axes[cases[0]][axis]}", side.cases[cases[0]], side.cases[other]),
            *(asked, True),
        )
        for cases in alike.values()
        for other in cases[1:]
    ]
    pairs = list(pairs_of(plans))
    quality, family = said_of_quality(pairs), sum(is_timed(one.metric) for one in pairs)
    rows = [
        dataclasses.replace(one, gates=False) if isinstance(one, Row) else _within(one, family, quality)
        for one in (found for plan in plans for found in plan.found)
        if isinstance(one, MetricPair) or one.work
    ]
    return Compared(
        [row for row in rows if is_said(row, asked)],
        by_sample=[plan.by_sample for plan in plans if plan.by_sample is not None],
    )


def _within(pair: MetricPair, family: int, quality: Mapping[Key, tuple[Learnt | None, str]]) -> Row:
    better = pair.metric.better or "less"
    if pair.metric.kind in EXACT:
        return exact(pair, gates=False)
    if pair.metric.kind == "quality":
        row = quality_row(pair, *quality[pair.case, pair.metric.name])
        return dataclasses.replace(row, gates=False)
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
