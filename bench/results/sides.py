"""Reads one side of a comparison: a run, a baseline, a single summary, or another tool's file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.compare.sides import FOREIGN_METRICS, CaseSide, Observed, Side, interval_error
from ..errors import ResultsError
from ..measurement import Environment, metric
from ..plurals import counted
from ..readers import read_foreign
from . import baselines, tables
from . import table_files as files
from .case_summaries import axis_columns_of, cases_of, device_of, rows_of, used_axes
from .folder import RunFolder, find
from .table_grid import capped

if TYPE_CHECKING:
    import pandas as pd

_LAUNCH_COLUMNS = ["case", "counted", "round", "metric", "value"]
_NAMES = {one.unit: name for name, one in FOREIGN_METRICS.items()}

_Launches = Mapping[tuple[str, str], Mapping[int, float]]  # by case and metric, the values by their round


def read_side(text: str, sessions: bool = False) -> Side:
    """The side that a user names; with `sessions`, a session of `bench ab` is a side too, with the axis `side`.

    Raises ResultsError if it does not exist or cannot be read.
    """
    if files.is_foreign(text):
        return _foreign(text)
    if files.is_table(text):
        made = files.read_summary(Path(text))
        side = _of_summary(text, "table", made.summary, {}, None)
        side.notes = made.notes
        return _checked(side)
    saved = baselines.find_baseline(text)
    if saved is not None:
        made = files.read_summary(saved.table("summary.csv"))
        side = _of_summary(text, "baseline", made.summary, {}, saved.environment())
        side.notes = made.notes
        return _checked(side)
    folder = _run(text, sessions)
    found, environment = _written(folder), folder.environment()
    if found is None:
        made = tables.read(folder.path)
        found = made.summary, _launches(made.launches), made.failures, made.notes
        environment = made.environment
    summary, launches, failures, notes = found
    side = _of_summary(text, "run", summary, launches, environment)
    side.folder, side.notes = str(folder.path), notes
    columns = axis_columns_of(failures, "kind")
    for row in rows_of(failures):
        axes = side.axes.setdefault(row["case"], used_axes(row, columns))
        case = side.cases.setdefault(row["case"], CaseSide(row["suite"], device_of(axes)))
        case.failure = f"{row['failure']}: {row['message']}"
    return _checked(side)


def _run(text: str, sessions: bool) -> RunFolder:
    """The run of this name. Raises a ResultsError that names the baselines too."""
    try:
        return find(text, sessions=sessions)
    except ResultsError as problem:
        there = ", ".join(baselines.names()) or "none"
        raise ResultsError(
            f"{problem}; baselines: {there} (bench baseline save NAME RUN makes one)"
        ) from None


def _checked(side: Side) -> Side:
    """The side. Raises ResultsError for one without a case; failed cases are enough."""
    if not side.cases:
        why = "".join(f"; {note}" for note in side.notes)
        raise ResultsError(f"{side.name} holds no row to compare{why}; measure first: bench run")
    return side


def _written(folder: RunFolder) -> tuple[pd.DataFrame, _Launches, pd.DataFrame, list[str]] | None:
    """The tables as the run wrote them, without the steps, which take long. None if the journal is newer."""
    import pandas as pd

    try:
        names = ("summary.parquet", "launches.parquet", "failures.csv")
        paths = [folder.table(name) for name in names]
        if min(path.stat().st_mtime for path in paths) < folder.journal.stat().st_mtime:
            return None
        summary = files.read_summary(paths[0]).summary
        launches = _launches(pd.read_parquet(paths[1], columns=_LAUNCH_COLUMNS))
        failures = pd.read_csv(paths[2], keep_default_na=False)
        failures[["suite", "case", "kind", "failure", "message"]]
    except Exception:  # a damaged file may raise any error
        return None  # read from the journal instead
    return summary, launches, failures, []


def _launches(frame: pd.DataFrame) -> _Launches:
    """By case and metric, the values of the used launches by their round."""
    counted = frame[frame["counted"].astype(bool)]
    found: dict[tuple[str, str], dict[int, float]] = {}
    columns = counted[["case", "metric", "round", "value"]]
    for case, name, number, value in columns.itertuples(index=False):
        if math.isfinite(value):
            found.setdefault((case, name), {})[int(number)] = float(value)
    return found


def _of_summary(
    name: str, kind: str, summary: pd.DataFrame, launches: _Launches, environment: Environment | None
) -> Side:
    side = Side(name, kind, {}, environment)
    for case in cases_of(summary).values():
        side.axes[case.id] = case.axes
        of_case = side.cases[case.id] = CaseSide(case.suite, case.device, caveats=case.caveats)
        for metric_name, row in case.metrics.items():
            if not math.isfinite(row.value):
                continue
            known = metric(metric_name)
            if row.unit != known.unit and row.unit == files.older_unit(known):
                of_case.withheld[metric_name] = name
                continue
            values = launches.get((case.id, metric_name))
            error = interval_error(row.low, row.high, row.launches)
            observed = Observed.of(values) if values else Observed(row.value, {}, error)
            of_case.observed[metric_name] = observed
    return side


def _foreign(text: str) -> Side:
    read = read_foreign(Path(text))
    notes = capped(text, read.nameless, lambda more: f"{counted(more, 'other benchmark')} without a name")
    side = Side(text, read.tool, {}, notes=notes)
    for name, found in read.cases.items():
        launches = dict(enumerate(found.values, start=1))
        observed = Observed.of(launches) if launches else Observed(found.value, {}, None)
        suite, device = (read.tool, "cpu") if found.case is None else (found.case.suite, found.case.device)
        side.cases[name] = CaseSide(suite, device, {_NAMES[found.unit]: observed})
        if found.case is not None:
            side.axes[name] = found.case.used
    for name, why in read.unread.items():
        side.cases[name] = CaseSide(read.tool, "cpu", failure=why)
    return side
