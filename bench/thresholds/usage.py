"""Rules that no row of a comparison matches: a gate that checks nothing must not pass."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..analysis.compare.policy import ThresholdRule
from ..errors import UsageError
from ..measurement import METRICS
from .rules import SELECTORS, selectors
from .suggestions import closest, short, some

_Row = tuple[str, str, str, str]  # its metric, suite, case and device


def check_used(rules: Sequence[ThresholdRule], rows: Iterable[_Row], path: Path) -> None:
    """Raises UsageError for a rule that holds for no row, (metric, suite, case, device), of a comparison."""
    there = list(dict.fromkeys(rows))
    for rule in rules:
        if _is_of_quality(rule):
            continue
        if selectors(rule) and not any(rule.holds(*row) for row in there):
            raise UsageError(
                f"{path}: {rule.place} holds for nothing in this comparison: {_missed(rule, there)}"
            )


def _is_of_quality(rule: ThresholdRule) -> bool:
    """Whether a rule is about the quality of all cases, by a pattern: a loop may have no loss."""
    ours = (row for row in METRICS.values() if row.kind == "quality")
    return (
        list(selectors(rule)) == ["metric"]
        and "*" in rule.metric
        and any(fnmatch.fnmatchcase(row.name, rule.metric) for row in ours)
    )


def _missed(rule: ThresholdRule, rows: Sequence[_Row]) -> str:
    """Which pattern matches nothing, and what there is for it to match."""
    patterns = selectors(rule)
    # One that matches nothing whatever the others say is at fault by itself; else the one that leaves no row.
    alone = [key for key in patterns if not _matching(rows, key, patterns[key])]
    key, left = (alone[0], rows) if alone else _last_left(rows, patterns)
    named = list(dict.fromkeys(row[SELECTORS.index(key)] for row in left))
    before = "" if alone else " in the rows that its other patterns leave"
    return (
        f'{key} = "{short(patterns[key])}" matches no {key}{before}, where there is '
        f"{some(closest(patterns[key], named)) or 'none'}; fix the pattern, or take the rule out"
    )


def _last_left(rows: Sequence[_Row], patterns: Mapping[str, str]) -> tuple[str, Sequence[_Row]]:
    """The first pattern that matches none of the rows that those before it leave, and these rows."""
    (key, pattern), *others = patterns.items()
    matching = _matching(rows, key, pattern)
    return _last_left(matching, dict(others)) if matching else (key, rows)


def _matching(rows: Sequence[_Row], key: str, pattern: str) -> list[_Row]:
    place = SELECTORS.index(key)
    return [row for row in rows if fnmatch.fnmatchcase(row[place], pattern)]
