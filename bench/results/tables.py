"""Tables of a run, tidy and in SI units, built from its journal; `read` gives them to pandas users."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.caveats import unread
from ..analysis.launch.values import analysed
from ..analysis.run.card_effects import CardEffect, deviating_cards
from ..analysis.run.largest_batch import Search, searches
from ..analysis.run.time_to_quality import Trained
from ..errors import ResultsError
from ..measurement import SEARCHED, Environment, Failure, Measurement
from ..suite.case import Case, columns
from ..system.json_data import to_json
from ..thresholds.suggestions import meant, some
from .ab_session import as_one
from .case_summaries import axis_columns_of, rows_of
from .folder import RunFolder, find, is_session
from .journal import Records, read_journal
from .table_rows import TABLES, CaseRecords, UntimedFindings, trained, untimed_findings

if TYPE_CHECKING:
    import pandas as pd

SEARCH_COLUMNS = ("fits", "throughput", "memory", "failure", "message")
SEARCH = "batch_search"  # the table that is written only if there was a search

# The files of each table in the folder of a run.
FILES = {**{name: table.files for name, table in TABLES.items()}, SEARCH: ("batch_search.csv",)}


@dataclass
class Tables:
    """The tables of a run.

    `summary`: one row per case x metric. `steps`: one row per timed step. `phases`: one row per case x stage x phase.
    `launches`: one row per launch x metric, whose median is in the summary. `failures`: one row per launch that failed.
    `counts`: one row per case x stage x phase x operator with its calls, FLOPs and bytes. `ops`: one row per case x
    stage x phase x operator or kernel x shapes of a profile. `epochs`: one row per launch that trained x validation,
    and x test metric of each epoch. `batch_search`: one row per tried batch size of each case with batch_size=max; no
    other table has these launches.

    Axes are columns, named `axis.NAME` in a table that has another column of that name; an axis that a case does not
    use is empty. Times are seconds, sizes bytes.

    `searches` are those of `batch_search`; `untimed` has timelines, graphs and traces by case; `trained` the learning
    curves of trained cases; `unread` the axes that no launch has read; `deviating_cards` the equal cards that are not
    equally fast.
    """

    summary: pd.DataFrame
    steps: pd.DataFrame
    phases: pd.DataFrame
    launches: pd.DataFrame
    failures: pd.DataFrame
    counts: pd.DataFrame
    ops: pd.DataFrame
    epochs: pd.DataFrame
    batch_search: pd.DataFrame
    searches: Sequence[Search] = ()
    untimed: Mapping[str, UntimedFindings] = field(default_factory=dict)
    trained: Mapping[str, Trained] = field(default_factory=dict)
    unread: Sequence[str] = ()
    deviating_cards: Sequence[CardEffect] = ()
    environment: Environment | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def axes(self) -> list[str]:
        """The columns of the axes in the summary, in the order of the suites."""
        return axis_columns_of(self.summary, "metric")

    @property
    def apart(self) -> Mapping[str, UntimedFindings]:
        """The older name of `untimed`, up to version 0.1."""
        return self.untimed


def read(run: str | Path) -> Tables:
    """The tables of a run, given as a path, a unique prefix, `latest` or `latest~N`.

    They are rebuilt from the journal, so that an interrupted run has tables too. A `bench ab` session is read as one
    run with the axis `side`. Raises ResultsError if there is no such run.
    """
    folder = find(str(run), sessions=True)
    if is_session(folder.path):
        return build(*as_one(folder.path))
    return build(read_journal(folder.journal), folder.plan(), folder.environment())


def build(
    records: Records, plan: Mapping[str, Any] | None = None, environment: Environment | None = None
) -> Tables:
    """All tables of these records; the plan gives the order of the cases."""
    # This imports pandas, which takes a third of a second that an error need not wait for.
    from .frames import table_frame

    plan = plan or {}
    searched = searches([*records.measurements, *records.failures])
    by_case = _by_case(records, plan, environment)
    axes = columns([*(of.case for of in by_case), *(search.case for search in searched)])
    frames = {
        name: table_frame([(of.case, row) for of in by_case for row in table.rows(of)], axes, table.columns)
        for name, table in TABLES.items()
    }
    return Tables(
        **frames,
        batch_search=table_frame(_search_rows(searched), axes, ("case", *SEARCH_COLUMNS)),
        searches=searched,
        untimed={of.case.id: untimed_findings(of) for of in by_case},
        trained={of.case.id: curves for of in by_case if (curves := trained(of)) is not None},
        unread=sorted({axis for of in by_case for launch in of.launches for axis in unread(launch)}),
        deviating_cards=deviating_cards([of.launches for of in by_case]),
        environment=environment,
        plan=plan,
        notes=records.notes,
    )


def _by_case(records: Records, plan: Mapping[str, Any], environment: Environment | None) -> list[CaseRecords]:
    """The records by case, in the order of the plan. A search for the largest batch neither measures a case nor fails
    it.
    """
    measured: dict[Case, list[Measurement]] = {Case.from_json(case): [] for case in plan.get("cases", [])}
    failed: dict[Case, list[Failure]] = {}
    for measurement in records.measurements:
        if measurement.kind != SEARCHED:
            measured.setdefault(measurement.case, []).append(measurement)
    for failure in records.failures:
        if failure.kind != SEARCHED:
            measured.setdefault(failure.case, [])
            failed.setdefault(failure.case, []).append(failure)
    peaks, bandwidths = (None, ()) if environment is None else (environment.peaks, environment.bandwidths)
    tolerance = _tolerance(plan)
    return [
        CaseRecords(
            case, measurements, failed.get(case, []), analysed(measurements, peaks, bandwidths), tolerance
        )
        for case, measurements in measured.items()
    ]


def _tolerance(plan: Mapping[str, Any]) -> float | None:
    """The tolerance of the run; None if its plan does not have it."""
    schedule = plan.get("schedule")
    tolerance = schedule.get("tolerance") if isinstance(schedule, Mapping) else None
    return tolerance if isinstance(tolerance, float) else None


def _search_rows(searched: Sequence[Search]) -> list[tuple[Case, dict[str, Any]]]:
    """The column of the batch size has the tried size, `case` the case for which the largest was searched."""
    return [
        (
            search.case.sized(one.size),
            {name: getattr(one, name) for name in SEARCH_COLUMNS} | {"case": search.case.id},
        )
        for search in searched
        for one in sorted(search.tries, key=lambda one: one.size)
    ]


def write(folder: RunFolder, tables: Tables) -> None:
    """Writes the tables to the run folder. Raises ResultsError if they cannot be written."""
    try:
        for name, files in FILES.items():
            frame: pd.DataFrame = getattr(tables, name)
            for file in files if len(frame) or name != SEARCH else ():
                save = frame.to_csv if file.endswith(".csv") else frame.to_parquet
                save(folder.table(file), index=False)
    except OSError as problem:
        # pandas raises some errors without a number.
        why = os.strerror(problem.errno) if problem.errno else str(problem)
        raise ResultsError(
            f"the tables cannot be written to {folder.path}: {why}; the journal is complete, "
            f"free some space and run: bench tables {folder.path}"
        ) from None


def files_with_rows(tables: Tables) -> list[str]:
    """The files of the tables that have a row."""
    return [file for name, files in FILES.items() if len(getattr(tables, name)) for file in files]


def choose(tables: Tables, patterns: Sequence[str]) -> Tables:
    """The tables with the metrics that these names or patterns (`train.phase.*`) match.

    Raises ResultsError for one that matches nothing.
    """
    names = list(dict.fromkeys(tables.summary["metric"]))
    chosen: dict[str, None] = {}
    for pattern in patterns:
        matched = [pattern] if pattern in names else fnmatch.filter(names, pattern)
        if not matched:
            raise ResultsError(
                f"the run has no metric {pattern!r}; {meant(pattern, names, f'it has {some(names)}')}"
            )
        chosen |= dict.fromkeys(matched)
    rows = tables.summary[tables.summary["metric"].isin(list(chosen))]
    return dataclasses.replace(tables, summary=rows)


def as_json(tables: Tables) -> dict[str, Any]:
    """Summary, failures and the tried batch sizes as one JSON object, for programs."""
    return {
        "environment": to_json(tables.environment),
        "summary": rows_of(tables.summary),
        "failures": rows_of(tables.failures),
        "batch_search": rows_of(tables.batch_search),
    }
