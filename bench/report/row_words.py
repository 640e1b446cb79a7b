"""Texts for the rows of a comparison, the same in every format: change, different work, quality.

A row is judged by r, of which more is worse; the text gives the change of the metric itself: -3 % for a throughput that
fell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from ..analysis.compare.comparable import BySample
from ..analysis.compare.verdict import EXACT, Row
from ..analysis.compare.work import WorkDifference
from ..measurement import QUALITY, STAGES
from ..system.json_data import quoted
from .units import NOTHING, counts, digits, exactly, percent, quantity, scale

_NOT_KNOWN = "not known"
_HUGE = 1e4  # as a share; larger percentages are not meaningful

REMEDY = "if this is intended, declare it by a rule in thresholds.toml, and the case is compared per sample"

_MOST_RULES = 5
_WILDCARDS = re.compile(r"[*?\[]")
_MOST_NAMES = 3  # of metrics in a line
_MOST_CASES = 12  # with a line of unchanged quality each


def word(name: str) -> str:
    """The name of a verdict or of a caveat, as words."""
    return name.replace("_", " ")


def build_effect(row: Row) -> str:
    """The effect of the row on a build: 'fail', 'warn' or ''.

    The policy of a row that does not gate may be 'fail', without effect.
    """
    if row.folded:
        return ""
    action = row.policy.regression if row.verdict == "different_work" else row.action
    if action == "warn":
        return "warn"
    return "fail" if action == "fail" and row.gates else ""


def verdict_words(row: Row, gate: bool = True) -> str:
    """The verdict, in a gate with the row's effect on a build if it is unexpected: 'regressed (warn)'."""
    remark = unexpected_effect(row) if gate else ""
    return f"{word(row.verdict)} ({remark})" if remark else word(row.verdict)


def unexpected_effect(row: Row) -> str:
    """The effect on a build, unless it is the expected one: a row fails if it regressed or did different work."""
    effect = build_effect(row)
    if row.verdict in ("regressed", "different_work") and not row.folded:
        return {"fail": "", "warn": "warn"}.get(effect, "not gated")
    return effect


def sides(row: Row) -> tuple[str, str]:
    """Both values with their unit, under one prefix."""
    unit = row.metric.unit
    factor, label = scale((row.base, row.candidate), unit)
    return _value(row.base, unit, factor, label), _value(row.candidate, unit, factor, label)


def _value(value: float | None, unit: str, factor: float, label: str) -> str:
    if value is None or math.isnan(value):
        return NOTHING
    if not math.isfinite(value):
        return "infinite"
    if exact := exactly(float(value), unit):
        return exact
    return f"{digits(value * factor)} {label}".rstrip()


def change(row: Row) -> str:
    """The metric's change: '+3.1 % (+1.0 to +5.2 %)', or a difference: '+12 operators', '-0.569' (accuracy)."""
    if row.work and not is_work_row(row):
        return "not compared"
    if row.metric.kind in EXACT or row.metric.kind == "quality":
        return _difference(row)
    ratio, low, high = (_metric_ratio(row, end) for end in (row.ratio, row.low, row.high))
    if row.metric.better == "more":
        low, high = high, low
    size = signed(ratio)
    if ratio is None or not math.isfinite(ratio) or low is None or high is None:
        return size
    return f"{size} ({_span(low, high)})"


def _metric_ratio(row: Row, ratio: float | None) -> float | None:
    """Candidate over base."""
    if ratio is None or row.metric.better != "more":
        return ratio
    return 1 / ratio if ratio else math.inf


def signed(ratio: float | None) -> str:
    """A ratio as a signed percentage, or in words if it is not a finite number."""
    if ratio is None or math.isnan(ratio):
        return _NOT_KNOWN
    if ratio == math.inf:
        return "was zero"
    share = ratio - 1
    if share > _HUGE:
        return f"{digits(ratio)} times"
    return f"{'+' if share > 0 else '-' if share < 0 else ''}{percent(abs(share))}"


def _span(low: float, high: float) -> str:
    """Both ends with their signs, and one percent sign if both are percentages."""
    ends = ["no limit" if end == math.inf else signed(end) for end in (low, high)]
    if all(end.endswith(" %") for end in ends):
        ends[0] = ends[0].removesuffix(" %")
    return " to ".join(ends)


def _difference(row: Row) -> str:
    known = [value for value in (row.base, row.candidate) if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return _NOT_KNOWN
    more = known[1] - known[0]
    if not more:
        return "none"
    if row.metric.kind == "quality":
        return f"{'+' if more > 0 else '-'}{digits(abs(more))}"
    unit = row.metric.unit
    amount = exactly(float(abs(more)), unit) or quantity(abs(more), "1" if counts(unit) else unit)
    return f"{'+' if more > 0 else '-'}{amount} {_things(row)}".rstrip()


def _things(row: Row) -> str:
    """What a count counts, from its name, since its unit does not name it."""
    if not counts(row.metric.unit):
        return ""
    _, *names = row.metric.name.split(".")
    names = names[1:] if names[0] in STAGES else names
    name = word(" ".join("operators" if name == "ops" else name for name in names))
    return name if row.metric.unit == "1" else f"{name} a step"


def minimum_detectable(row: Row) -> str:
    """The minimum detectable effect; empty where it is not known."""
    if row.smallest is None or not row.smallest < _HUGE:
        return ""
    return percent(row.smallest)


def work_differences(work: Sequence[WorkDifference]) -> str:
    """'train: samples 1,437 to 1,408, batches 23 to 22; validate: none to samples 360'."""
    by_stage: dict[str, list[str]] = {}
    for one in work:
        before, after = (
            "none" if value is None else quantity(value, "1") for value in (one.before, one.after)
        )
        by_stage.setdefault(one.stage, []).append(f"{one.what.replace('_', ' ')} {before} to {after}")
    return "; ".join(f"{stage}: {', '.join(counts)}" for stage, counts in by_stage.items())


def work_remarks(rows: Sequence[Row]) -> list[str]:
    """A line for each case whose sides did different work: the differences, and what is not compared."""
    return [
        f"{row.case}: the sides did different work: {work_differences(row.work)}"
        f"{_not_compared(_uncompared_metrics(rows, row))}"
        if is_work_row(row)
        else f"{row.case}: {row.metric.name} is not compared, since the work differs: {work_differences(row.work)}"
        for row in rows
        if row.work and not row.folded
    ]


def is_work_row(row: Row) -> bool:
    """Whether the row reports different work that no rule accepts."""
    return bool(row.work) and row.metric.name.startswith("work.") and not row.folded


def _uncompared_metrics(rows: Iterable[Row], row: Row) -> list[str]:
    """The metrics of a case that are not compared because of the different work in this row."""
    folded = [other for other in rows if other.folded and other.case == row.case]
    return [other.metric.name for other in sorted(folded, key=lambda other: other.metric.kind != "time")]


def _not_compared(names: Sequence[str]) -> str:
    if not names:
        return ""
    shown = names if len(names) <= _MOST_NAMES + 1 else names[:_MOST_NAMES]
    more = len(names) - len(shown)
    return f"; not compared: {', '.join(shown)}{f' and {more} more' if more else ''}"


def per_sample_remarks(cases: Iterable[BySample]) -> Iterator[str]:
    """A line for each case whose sides intentionally do different work."""
    for one in cases:
        others = [name for name in one.not_compared if not name.startswith("work.")]
        yield (
            f"{one.case}: compared per sample, since the work differs intentionally: "
            f"{work_differences(one.differences)}{_not_compared(others)}"
        )


def remedy(rows: Sequence[Row], most: float = math.inf) -> list[str]:
    """The lines of the rules that accept all different work; none if they take more than `most` characters."""
    found = [row for row in rows if is_work_row(row) and row.policy.regression == "fail"]
    if not found:
        return []
    patterns = {_pattern(row.work) for row in found}
    if len(patterns) == 1 and {row.case for row in found} == {row.case for row in rows}:
        return _rule(patterns.pop())
    lines: list[str] = []
    for row in found[:_MOST_RULES]:
        lines += _rule(_pattern(row.work), row.case)
    if len(found) > _MOST_RULES:
        lines.append(
            f"# and {len(found) - _MOST_RULES} more cases; a rule without a case applies to all of them"
        )
    return lines if sum(map(len, lines)) <= most else []


def _pattern(work: Sequence[WorkDifference]) -> str:
    """The metrics of a rule for this work, of which the base must have some."""
    stages = {one.stage for one in work}
    known = all(any(one.before is not None for one in work if one.stage == stage) for stage in stages)
    return f"work.{stages.pop()}.*" if len(stages) == 1 and known else "work.*"


def _rule(metric: str, case: str = "") -> list[str]:
    lines = ["[[rule]]", f"metric = {quoted(metric)}"]
    if case:
        pattern = _WILDCARDS.sub(r"[\g<0>]", case)
        lines.append(f"case = {quoted(pattern)}")
    return [*lines, 'policy = "ignore"']


def is_quality(row: Row) -> bool:
    """Whether a row is about quality, of launches that did the same work."""
    return row.metric.kind == "quality" and not row.folded


def quality_outcome(rows: Iterable[Row]) -> str:
    """'quality fell (quality.test_accuracy 0.767 to 0.198, and 3 more)', else 'quality moved ...', else nothing."""
    quality = list(filter(is_quality, rows))
    for verdict, word in (("regressed", "fell"), ("moved", "moved")):
        those = [row for row in quality if row.verdict == verdict]
        if those:
            # An accuracy on unseen data is the most informative.
            first = max(those, key=lambda row: (row.metric.better == "more", ".test_" in row.metric.name))
            more = f", and {len(those) - 1} more" if len(those) > 1 else ""
            return f"quality {word} ({first.metric.name} {from_to(first)}{more})"
    return ""


def from_to(row: Row) -> str:
    """Both values: '0.767 to 0.198', or one if their texts are equal."""
    before, after = (None if value is None else digits(value) for value in (row.base, row.candidate))
    return before or "-" if before == after else f"{before or '-'} to {after or '-'}"


def unchanged_quality(rows: Iterable[Row]) -> list[str]:
    """A line for each case whose quality is equivalent, with the values."""
    by_case: dict[str, list[Row]] = {}
    for row in filter(is_quality, rows):
        if row.verdict == "equivalent":
            by_case.setdefault(row.case, []).append(row)
    lines = [f"quality unchanged: {quality_values(of)}: {case}" for case, of in by_case.items()]
    if len(lines) > _MOST_CASES:
        rest = len(lines) - _MOST_CASES + 1
        lines = [*lines[: _MOST_CASES - 1], f"quality unchanged in {rest} more cases"]
    return lines


def quality_spreads(rows: Iterable[Row]) -> list[str]:
    """A line for each case whose quality changed: how much the launches of one side differ."""
    by_case: dict[str, list[str]] = {}
    for row in filter(is_quality, rows):
        if row.spread and row.verdict != "equivalent":
            name = row.metric.name.removeprefix(QUALITY)
            by_case.setdefault(row.case, []).append(f"{name} by {digits(row.spread)}")
    return [f"quality, launches of one side differ: {', '.join(of)}: {case}" for case, of in by_case.items()]


def quality_values(rows: Sequence[Row]) -> str:
    """'test_accuracy 0.953 to 0.955, test_loss 0.14'."""
    return ", ".join(f"{row.metric.name.removeprefix(QUALITY)} {from_to(row)}" for row in rows)
