"""Facts from earlier runs and self-tests in a results folder."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from ..analysis.compare.environments import differences
from ..analysis.compare.sides import Side
from ..analysis.compare.verdict import UNKNOWN, RunDeviation, from_earlier_runs, standard
from ..errors import ResultsError
from ..measurement import SEARCHED, Environment
from .folder import RESULTS, SELFTEST, RunFolder, runs
from .journal import read_journal

_MOST_RUNS = 30  # more would take too long
_RUNS = 3  # older runs show an older state of the machine


def between_runs_of(first: Side, second: Side, root: Path = RESULTS) -> Callable[[str], RunDeviation]:
    """The deviation of `epoch.time` between runs, by case.

    Estimated from at least five earlier runs in the results folder on the same machine under the same allocator; if
    there are fewer, the default for the allocator.
    """
    if first.environment is None or second.environment is None:
        return lambda _: UNKNOWN
    from .table_files import read_summary  # pandas: not needed for the time of a launch

    stated = standard(first.environment.allocator)
    compared = {os.path.realpath(side.folder) for side in (first, second) if side.folder}
    earlier: dict[str, list[float]] = {}
    for name in runs(root)[-_MOST_RUNS:]:
        folder = RunFolder(root / name)
        if os.path.realpath(folder.path) in compared:
            continue
        try:
            environment = folder.environment()
            if environment is None or differences(environment, first.environment):
                continue
            summary = read_summary(folder.table("summary.parquet")).summary
        except ResultsError:
            continue  # damaged, of another version, or without tables: ignored
        times = summary[summary["metric"] == "epoch.time"]
        for case, value in times[["case", "value"]].itertuples(index=False):
            if 0 < value < math.inf:
                earlier.setdefault(case, []).append(math.log(value))
    return lambda case: from_earlier_runs(earlier.get(case, ()), stated)


def launch_seconds(root: Path = RESULTS) -> dict[str, float]:
    """How long a launch of each case took, the median over the latest runs, in seconds by case id."""
    found: dict[str, list[float]] = {}
    for name in runs(root)[-_RUNS:]:
        try:
            records = read_journal(root / name / "journal.jsonl")
        except ResultsError:
            continue  # of another version: ignored
        for measurement in records.measurements:
            if measurement.kind != SEARCHED:  # a search runs only a few steps
                found.setdefault(measurement.case.id, []).append(sum(measurement.costs.values()))
    return {case: median(times) for case, times in found.items()}


def write_selftest(place: Path, decisions: Iterable[Any], environment: Environment) -> None:
    """Stores decisions (dataclasses), completely or not at all. Raises ResultsError if the disk is full."""
    RunFolder(place).write_json(SELFTEST, {"decisions": list(decisions), "environment": environment})


def latest_selftest(environment: Environment, root: Path = RESULTS) -> list[Mapping[str, Any]]:
    """The decisions of the latest self-test on the same machine and software; empty if there is none."""
    for path in sorted(root.glob(f"*/{SELFTEST}"), reverse=True):
        try:
            data = RunFolder(path.parent).read_json(SELFTEST)
            if not differences(Environment.from_json(data["environment"]), environment):
                return list(data["decisions"])
        except (ResultsError, KeyError, TypeError, ValueError, AttributeError):
            continue  # damaged, or of another version
    return []
