"""The quality of models in words: whether it fell, and what is unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..analysis.compare.verdict import Row
from ..measurement import QUALITY
from .units import digits

_MOST_CASES = 12  # with a line of unchanged quality each


def is_quality(row: Row) -> bool:
    """Whether a row is about what was learnt, of launches that did the same work."""
    return row.metric.kind == "quality" and not row.folded


def quality_outcome(rows: Iterable[Row]) -> str:
    """'quality fell (quality.test_accuracy 0.767 to 0.198, and 3 more)', else 'quality moved ...', else nothing."""
    quality = list(filter(is_quality, rows))
    for verdict, word in (("regressed", "fell"), ("moved", "moved")):
        those = [row for row in quality if row.verdict == verdict]
        if those:
            # An accuracy on unseen data says most.
            first = max(those, key=lambda row: (row.metric.better == "more", ".test_" in row.metric.name))
            more = f", and {len(those) - 1} more" if len(those) > 1 else ""
            return f"quality {word} ({first.metric.name} {from_to(first)}{more})"
    return ""


def from_to(row: Row) -> str:
    """Both values: '0.767 to 0.198', or one where they are written alike."""
    before, after = (None if value is None else digits(value) for value in (row.base, row.candidate))
    return before or "-" if before == after else f"{before or '-'} to {after or '-'}"


def unchanged_quality(rows: Iterable[Row]) -> list[str]:
    """A line for each case whose quality is equivalent, with the values."""
    by_case: dict[str, list[Row]] = {}
    for row in filter(is_quality, rows):
        if row.verdict == "equivalent":
            by_case.setdefault(row.case, []).append(row)
    lines = [f"quality as before: {quality_values(of)}: {case}" for case, of in by_case.items()]
    if len(lines) > _MOST_CASES:
        rest = len(lines) - _MOST_CASES + 1
        lines = [*lines[: _MOST_CASES - 1], f"quality as before in {rest} more cases"]
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
