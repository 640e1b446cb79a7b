"""Different work of the two sides in words: what differs, what is not compared, and the rule that accepts it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence

from ..analysis.compare.comparable import BySample
from ..analysis.compare.verdict import Row
from ..analysis.compare.work import WorkDifference
from .units import quantity

REMEDY = "if that is meant, a rule in thresholds.toml says so, and the case is compared by the sample"

_MOST_RULES = 5
_WILDCARDS = re.compile(r"[*?\[]")
_MOST_NAMES = 3  # of metrics in a line


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
    """A line for each case whose sides did different work: what differs, and what is not compared because of it."""
    return [
        f"{row.case}: the sides did different work: {work_differences(row.work)}"
        f"{_not_compared(uncompared_metrics(rows, row))}"
        if is_work_row(row)
        else f"{row.case}: {row.metric.name} is not compared, for the work differs: {work_differences(row.work)}"
        for row in rows
        if row.work and not row.folded
    ]


def is_work_row(row: Row) -> bool:
    """Whether the row reports different work of its case that no rule accepts."""
    return bool(row.work) and _is_work(row.metric.name) and not row.folded


def uncompared_metrics(rows: Iterable[Row], row: Row) -> list[str]:
    """The metrics of a case that are not compared because of the different work in this row."""
    folded = [other for other in rows if other.folded and other.case == row.case]
    return [other.metric.name for other in sorted(folded, key=lambda other: other.metric.kind != "time")]


def _is_work(name: str) -> bool:
    return name.startswith("work.")


def _not_compared(names: Sequence[str]) -> str:
    if not names:
        return ""
    shown = names if len(names) <= _MOST_NAMES + 1 else names[:_MOST_NAMES]
    more = len(names) - len(shown)
    return f"; not compared: {', '.join(shown)}{f' and {more} more' if more else ''}"


def per_sample_remarks(cases: Iterable[BySample]) -> Iterator[str]:
    """A line for each case whose sides are meant to do different work."""
    for one in cases:
        yield (
            f"{one.case}: compared by the sample, for the work differs as it is meant to: "
            f"{work_differences(one.differences)}{_not_compared([name for name in one.left_out if not _is_work(name)])}"
        )


def remedy(rows: Sequence[Row], most: float = math.inf) -> list[str]:
    """The lines of the rules that accept all different work; none where it takes more than so many characters."""
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
        lines.append(f"# and {len(found) - _MOST_RULES} cases more; a rule without a case is of all of them")
    return lines if sum(map(len, lines)) <= most else []


def _pattern(work: Sequence[WorkDifference]) -> str:
    """The metrics of a rule for this work, some of which the base must have."""
    stages = {one.stage for one in work}
    known = all(any(one.before is not None for one in work if one.stage == stage) for stage in stages)
    return f"work.{stages.pop()}.*" if len(stages) == 1 and known else "work.*"


def _rule(metric: str, case: str = "") -> list[str]:
    lines = ["[[rule]]", f"metric = {json.dumps(metric)}"]
    if case:
        pattern = _WILDCARDS.sub(r"[\g<0>]", case)
        lines.append(f"case = {json.dumps(pattern)}")
    return [*lines, 'policy = "ignore"']
