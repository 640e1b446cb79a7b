"""What a comparison is asked for, held against what its sides have: thresholds and metrics; and which phase moved."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..analysis.compare.comparable import ComparisonOptions
    from ..analysis.compare.policy import ThresholdRule
    from ..analysis.compare.sides import Side
    from ..analysis.compare.verdict import Row

THRESHOLDS = Path("thresholds.toml")


def rules_of(path: Path | None) -> tuple[Sequence[ThresholdRule], Path | None]:
    """The thresholds: of the file that is named, or that lies where the command runs."""
    from ..thresholds import read_thresholds

    file = path if path is not None else THRESHOLDS if THRESHOLDS.is_file() else None
    return ([], None) if file is None else (read_thresholds(file), file)


def check_metrics(side: Side, patterns: Sequence[str]) -> None:
    """Raises UsageError for a pattern that matches no metric of a side."""
    from ..thresholds import meant, some

    there = sorted({name for case in side.cases.values() for name in {**case.observed, **case.withheld}})
    for pattern in patterns:
        if pattern not in there and not fnmatch.filter(there, pattern):
            remedy = meant(pattern, there, f"it has {some(there)}")
            raise UsageError(f"{side.name} has no metric {pattern!r}; {remedy}")


def check_asked(first: Side, asked: ComparisonOptions, file: Path | None) -> None:
    """Raises UsageError for a pattern, on the command line or in the thresholds, that matches nothing."""
    from ..thresholds import check_used

    check_metrics(first, asked.metrics)
    if file is not None:
        rows = [
            (name, case.suite, case_id, case.device)
            for case_id, case in first.cases.items()
            for name in {**case.observed, **case.withheld}
        ]
        check_used(asked.rules, rows, file)


def phases(first: Side, second: Side, rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """For each time that changed, the phase that changed most; steps of unlike size have unlike phases."""
    from ..analysis.compare.attribution import moved_phase
    from ..analysis.compare.work import Work
    from ..measurement import STAGES
    from ..report.reason_words import phase_said

    found = {}
    for row in rows:
        if row.case not in first.cases or row.case not in second.cases:
            continue
        work = Work(first.cases[row.case].observed, second.cases[row.case].observed)
        if any(map(work.steps_differ, STAGES)):
            continue
        if row.verdict in ("regressed", "improved") and row.metric.kind == "time":
            change = moved_phase(first.cases[row.case], second.cases[row.case], row.metric.name)
            if change is not None:
                found[row.case, row.metric.name] = phase_said(change)
    return found
