"""The words of one row of a comparison, the same on every surface.

A row is judged by r, of which more is worse; its words give the change of the metric itself: a throughput that fell
reads -3 %.
"""

from __future__ import annotations

import math

from ..analysis.compare.verdict import EXACT, Row
from ..measurement import STAGES
from .units import NOTHING, counts, digits, exactly, percent, quantity, scale
from .work_words import is_work_row

_NOT_KNOWN = "not known"
_FROM_ZERO = "was zero"
_NO_LIMIT = "no limit"
_HUGE = 1e4  # as a share; percents of more digits say nothing


def word(name: str) -> str:
    """The name of a verdict or of a caveat, as words."""
    return name.replace("_", " ")


def build_effect(row: Row) -> str:
    """What the row does to a build: 'fail', 'warn' or ''.

    The policy of a row that does not gate may still read 'fail', which then means nothing.
    """
    if row.folded:
        return ""
    action = row.policy.regression if row.verdict == "different_work" else row.action
    if action == "warn":
        return "warn"
    return "fail" if action == "fail" and row.gates else ""


def verdict_words(row: Row, gate: bool = True) -> str:
    """The verdict, in a gate with the row's effect on a build where that is unexpected: 'regressed (warn)'."""
    remark = unexpected_effect(row) if gate else ""
    return f"{word(row.verdict)} ({remark})" if remark else word(row.verdict)


def unexpected_effect(row: Row) -> str:
    """The effect on a build, unless the row regressed or did different work and fails it, or does neither."""
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
    """The metric's change: '+3.1 % (+1.0 to +5.2 %)', or a difference: '+12 operators', '-0.569' of an accuracy."""
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
    """A ratio as a signed percent, or in words where it is not a finite number."""
    if ratio is None or math.isnan(ratio):
        return _NOT_KNOWN
    if ratio == math.inf:
        return _FROM_ZERO
    share = ratio - 1
    if share > _HUGE:
        return f"{digits(ratio)} times"
    return f"{'+' if share > 0 else '-' if share < 0 else ''}{percent(abs(share))}"


def _span(low: float, high: float) -> str:
    """Both ends with their signs, the percent sign once where both are percents."""
    ends = [_NO_LIMIT if end == math.inf else signed(end) for end in (low, high)]
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
    """What a count counts, from its name, since its unit does not say."""
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
