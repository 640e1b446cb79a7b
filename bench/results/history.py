"""What earlier runs in a results folder tell about the next one."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from bench.errors import ResultsError
from bench.results.folder import RESULTS, runs
from bench.results.journal import read_journal

_RUNS = 3  # older ones tell of an older machine state


def launch_seconds(root: Path = RESULTS) -> dict[str, float]:
    """How long a launch of each case took, the median over the latest runs: case id -> seconds."""
    found: dict[str, list[float]] = {}
    for name in runs(root)[-_RUNS:]:
        try:
            records = read_journal(root / name / "journal.jsonl")
        except ResultsError:
            continue  # of another version: it cannot tell
        for measurement in records.measurements:
            found.setdefault(measurement.case.id, []).append(sum(measurement.costs.values()))
    return {case: median(times) for case, times in found.items()}
