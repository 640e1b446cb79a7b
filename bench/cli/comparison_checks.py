"""The thresholds and metrics of a comparison, checked against what its sides have."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from ..analysis.compare.comparable import ComparisonOptions
from ..analysis.compare.policy import ThresholdRule
from ..analysis.compare.sides import Side
from ..errors import UsageError
from ..thresholds.rules import check_used, read_thresholds
from ..thresholds.suggestions import meant, some

THRESHOLDS = Path("thresholds.toml")


def threshold_rules(path: Path | None) -> tuple[Sequence[ThresholdRule], Path | None]:
    """The thresholds of the file that is named, or of the one in the working directory; and that file."""
    file = path if path is not None else THRESHOLDS if THRESHOLDS.is_file() else None
    return ([], None) if file is None else (read_thresholds(file), file)


def check_metrics(side: Side, patterns: Sequence[str]) -> None:
    """Raises UsageError for a pattern that matches no metric of a side."""
    there = sorted({name for case in side.cases.values() for name in {**case.observed, **case.withheld}})
    for pattern in patterns:
        if pattern not in there and not fnmatch.filter(there, pattern):
            remedy = meant(pattern, there, f"it has {some(there)}")
            raise UsageError(f"{side.name} has no metric {pattern!r}; {remedy}")


def check_patterns(first: Side, asked: ComparisonOptions, file: Path | None) -> None:
    """Raises UsageError for a pattern, on the command line or in the thresholds, that matches nothing."""
    check_metrics(first, asked.metrics)
    if file is not None:
        rows = [
            (name, case.suite, case_id, case.device)
            for case_id, case in first.cases.items()
            for name in {**case.observed, **case.withheld}
        ]
        check_used(asked.rules, rows, file)
