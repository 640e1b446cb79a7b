"""Tables of a run, tidy and in SI units, built from its journal; `read` gives them to pandas users."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd

from ..analysis.caveats import case_caveats, unread
from ..analysis.launch.learning_curve import learning_curve
from ..analysis.launch.values import Launch, analysed, steps
from ..analysis.run.estimate import estimate
from ..analysis.run.largest_batch import Search, searches
from ..analysis.run.time_to_quality import Trained
from ..errors import ResultsError
from ..measurement import METRICS, SEARCHED, STAGES, Environment, Failure, Measurement, metric
from ..suite.case import AxisValue, Case, columns, spell
from ..thresholds.suggestions import meant, some
from .ab_session import as_one
from .folder import RunFolder, find, is_session
from .journal import Records, read_journal
from .untimed import (
    COUNT_COLUMNS,
    OPERATOR_COLUMNS,
    UntimedFindings,
    apart_of,
    counted_operators,
    profiled_operators,
)

SUMMARY_COLUMNS = [
    *("metric", "unit", "value", "ci_low", "ci_high", "smallest_change"),
    *("launches", "contaminated", "steps", "warmup_steps", "caveats"),
]
FAILURE_COLUMNS = ["kind", "round", "failure", "message", "where"]
EPOCH_COLUMNS = ["round", "counted", "epoch", "seconds", "metric", "value"]
SEARCH_COLUMNS = ["fits", "throughput", "memory", "failure", "message"]

# The files of each table in the folder of a run.
FILES = {
    "summary": ("summary.csv", "summary.parquet"),
    "steps": ("steps.parquet",),
    "phases": ("phases.csv",),
    "epochs": ("epochs.csv",),
    "launches": ("launches.parquet",),
    "failures": ("failures.csv",),
    "counts": ("counts.csv",),
    "ops": ("ops.parquet",),
    "batch_search": ("batch_search.csv",),  # written where there was a search
}

# Columns of numbers even where no row has one, so that every run has the same types.
_NUMBERS = {
    "value": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "smallest_change": "float64",
    "steps": "Int64",
    "warmup_steps": "Int64",
    "throughput": "float64",
    "memory": "Int64",
}
_LIMIT = 2**63  # what a whole number must be below to have a column of numbers
_ORDER = {name: place for place, name in enumerate(METRICS)}


@dataclass
class Tables:
    """The tables of a run.

    `summary`: one row per case x metric. `steps`: one row per timed step. `phases`: one row per case x
    stage x phase. `launches`: one row per launch x metric, what the summary is the median of.
    `failures`: one row per launch that failed. `counts`: one row per case x stage x phase x operator with its
    calls, FLOPs and bytes. `ops`: one row per case x stage x phase x operator or kernel x shapes of a profile.
    `epochs`: one row per launch that trained x validation, and x test metric of each epoch. `batch_search`: one
    row per batch size that was tried, of each case with batch_size=max; no other table knows of these launches.
    `searches` has them as they were searched; `apart` by case what is no table: timelines, graphs, traces;
    `trained` how far the launches of a trained case came, and when; `unread` names axes that launches had no use for.
    Axes are columns; an axis that a case does
    not use is empty. Times are seconds, sizes bytes.
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
    apart: Mapping[str, UntimedFindings] = field(default_factory=dict)
    trained: Mapping[str, Trained] = field(default_factory=dict)
    unread: Sequence[str] = ()
    environment: Environment | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def axes(self) -> list[str]:
        """The names of the axis columns, in the order of the suites."""
        return list(self.summary.columns[2 : self.summary.columns.get_loc("metric")])


def read(run: str | Path) -> Tables:
    """The tables of a run, given as a path, a unique prefix, `latest` or `latest~N`.

    They are rebuilt from the journal, so that a run that was cut off reads as far as it went. What `bench ab` has
    kept is read as one run with the axis `side`. Raises ResultsError where there is no such run.
    """
    folder = find(str(run), sessions=True)
    if is_session(folder.path):
        return build(*as_one(folder.path))
    return build(read_journal(folder.journal), folder.plan(), folder.environment())


def build(
    records: Records, plan: Mapping[str, Any] | None = None, environment: Environment | None = None
) -> Tables:
    """All tables of these records; the plan gives the order of the cases."""
    searched = searches([*records.measurements, *records.failures])
    records = _without_searches(records)
    cases = _cases(records, plan or {})
    measured: dict[str, list[Measurement]] = {case.id: [] for case in cases}
    for measurement in records.measurements:
        measured[measurement.case.id].append(measurement)
    failed: dict[str, list[Failure]] = {case.id: [] for case in cases}
    for failure in records.failures:
        failed[failure.case.id].append(failure)
    peaks = environment.peaks if environment is not None else ()
    launches = {case.id: analysed(measured[case.id], peaks) for case in cases}
    axes = columns([*cases, *(search.case for search in searched)])
    tolerance = _tolerance(plan or {})

    def frame(rows: Iterable[tuple[Case, dict[str, Any]]], names: Sequence[str]) -> pd.DataFrame:
        return _frame(list(rows), axes, names)

    return Tables(
        summary=frame(
            (
                (case, row)
                for case in cases
                for row in _summary(launches[case.id], failed[case.id], tolerance)
            ),
            SUMMARY_COLUMNS,
        ),
        steps=frame(
            (
                (case, row)
                for case in cases
                for launch in launches[case.id]
                if launch.timed
                for row in _steps(launch)
            ),
            ["round", "contaminated", "epoch", "stage", "step", "samples", "full", "warmup", "seconds"],
        ),
        phases=frame(
            ((case, row) for case in cases for row in _phases(launches[case.id])),
            ["stage", "phase", "seconds_per_step", "share", "launches"],
        ),
        launches=frame(
            (
                (case, {**_place_of(launch), "metric": name, "value": value})
                for case in cases
                for launch in launches[case.id]
                for name, value in launch.values.items()
            ),
            ["kind", "round", "contaminated", "counted", "settled", "metric", "value"],
        ),
        failures=frame(
            (
                (case, {name: getattr(failure, name) for name in FAILURE_COLUMNS})
                for case in cases
                for failure in failed[case.id]
            ),
            FAILURE_COLUMNS,
        ),
        counts=frame(
            ((case, row) for case in cases for row in counted_operators(measured[case.id])),
            COUNT_COLUMNS,
        ),
        ops=frame(
            ((case, row) for case in cases for row in profiled_operators(measured[case.id])),
            OPERATOR_COLUMNS,
        ),
        epochs=frame(
            ((case, row) for case in cases for row in _epochs(case, launches[case.id])),
            EPOCH_COLUMNS,
        ),
        batch_search=_batch_search(searched, axes),
        searches=searched,
        apart={case.id: apart_of(measured[case.id]) for case in cases},
        trained={
            case.id: found for case in cases if (found := _trained(case, launches[case.id])) is not None
        },
        unread=sorted({axis for made in launches.values() for launch in made for axis in unread(launch)}),
        environment=environment,
        plan=plan or {},
        notes=records.notes,
    )


def _without_searches(records: Records) -> Records:
    """What is measured. A try of a batch size is neither that nor a failure of a case."""
    return Records(
        [record for record in records.measurements if record.kind != SEARCHED],
        [record for record in records.failures if record.kind != SEARCHED],
        records.notes,
    )


def _batch_search(searched: Sequence[Search], axes: Sequence[str]) -> pd.DataFrame:
    """The column of the batch size has the one that was tried, that of the case what was searched for."""
    tries = [
        (search.case, one) for search in searched for one in sorted(search.tries, key=lambda one: one.size)
    ]
    rows = [
        (case.sized(one.size), {name: getattr(one, name) for name in SEARCH_COLUMNS}) for case, one in tries
    ]
    frame = _frame(rows, axes, SEARCH_COLUMNS)
    return frame.assign(case=[case.id for case, _ in tries]) if tries else frame


def _cases(records: Records, plan: Mapping[str, Any]) -> list[Case]:
    planned = [Case.from_json(case) for case in plan.get("cases", [])]
    ran = [record.case for record in records.measurements] + [record.case for record in records.failures]
    return list(dict.fromkeys([*planned, *ran]))


def _tolerance(plan: Mapping[str, Any]) -> float | None:
    """The tolerance that the run was asked for; None where its plan does not say."""
    schedule = plan.get("schedule")
    asked = schedule.get("tolerance") if isinstance(schedule, Mapping) else None
    return asked if isinstance(asked, float) else None


def _place_of(launch: Launch) -> dict[str, Any]:
    measurement = launch.measurement
    return {
        "kind": measurement.kind,
        "round": measurement.round,
        "contaminated": ";".join(launch.contamination),
        "counted": launch.used,
        "settled": launch.warmup.steady,
    }


def _summary(
    launches: Sequence[Launch], failures: Sequence[Failure], tolerance: float | None
) -> Iterable[dict[str, Any]]:
    used = [launch for launch in launches if launch.used]
    names = dict.fromkeys(name for launch in used for name in launch.values)
    caveats = ";".join(caveat.name for caveat in case_caveats(launches, failures, tolerance))
    contaminated = sum(bool(launch.contamination) for launch in launches)
    for name in sorted(names, key=_place):
        behind = [launch for launch in used if name in launch.values]
        found = estimate([launch.values[name] for launch in behind])
        counted = [_steps_behind(name, launch) for launch in behind]
        yield {
            "metric": name,
            "unit": metric(name).unit,
            "value": found.value,
            "ci_low": found.low,
            "ci_high": found.high,
            "smallest_change": found.smallest_change,
            "launches": found.launches,
            "contaminated": contaminated,
            "steps": sum(count for count, _ in counted) or None,
            "warmup_steps": sum(left_out for _, left_out in counted) if any(n for n, _ in counted) else None,
            "caveats": caveats,
        }


def _place(name: str) -> int:
    """Where a metric stands in a table: as in METRICS, the task's own behind them."""
    return _ORDER.get(name, len(_ORDER))


def _steps_behind(name: str, launch: Launch) -> tuple[int, int]:
    """How many steps a launch gave to this metric, and how many warm-up took from it; none for what is no time."""
    if metric(name).kind != "time" and ".phase." not in name and name != "train.step_mean":
        return 0, 0
    stage = name.partition(".")[0]
    records = [r for r in launch.measurement.stages if stage in (r.stage, "epoch")]
    if name == "train.step_time":
        counted = [comes_after for _, full, comes_after in steps(records, launch.warmup) if full]
        return sum(counted), len(counted) - sum(counted)
    used = sum(len(record.steps) for record in records if launch.warmup.is_over(record))
    return used, sum(len(record.steps) for record in records) - used


def _steps(launch: Launch) -> Iterable[dict[str, Any]]:
    for record in launch.measurement.stages:
        found = zip(record.samples, steps([record], launch.warmup), strict=True)
        for number, (samples, (seconds, full, counted)) in enumerate(found, start=1):
            yield {
                "round": launch.measurement.round,
                "contaminated": bool(launch.contamination),
                "epoch": record.epoch + 1,
                "stage": record.stage,
                "step": number,
                "samples": samples,
                "full": full,
                "warmup": not counted,
                "seconds": seconds,
            }


def _epochs(case: Case, launches: Sequence[Launch]) -> Iterable[dict[str, Any]]:
    """What each validation and each test of a launch that trained said, by seconds of training."""
    for launch in launches:
        if not launch.timed or case.mode != "train":
            continue
        made = learning_curve(launch.measurement)
        found = [(one.epoch, one.seconds, "quality.validate_loss", one.loss) for one in made.validations]
        found += [
            (end.epoch, end.seconds, f"quality.test_{name}", value)
            for end in made.ends
            for name, value in end.metrics.items()
        ]
        for epoch, seconds, name, value in sorted(found, key=lambda row: row[0]):
            yield {
                "round": launch.measurement.round,
                "counted": launch.used,
                "epoch": epoch + 1,
                "seconds": seconds,
                "metric": name,
                "value": value,
            }


def _trained(case: Case, launches: Sequence[Launch]) -> Trained | None:
    """The progress of the launches that count; None where the case did not train, or none was validated."""
    counted = [launch for launch in launches if launch.timed and launch.used and case.mode == "train"]
    made = [one for launch in counted if (one := learning_curve(launch.measurement)).ends]
    times = [launch.values["epoch.time"] for launch in counted if "epoch.time" in launch.values]
    known = [seconds for seconds in times if math.isfinite(seconds)]
    return Trained(case, tuple(made), median(known) if known else None) if made else None


def _phases(launches: Sequence[Launch]) -> Iterable[dict[str, Any]]:
    """Means over the launches, so that the phases of a stage still add up to its mean step."""
    for stage in STAGES:
        prefix = f"{stage}.phase."
        taken = [
            launch.values
            for launch in launches
            if launch.used and any(name.startswith(prefix) for name in launch.values)
        ]
        names = dict.fromkeys(name for values in taken for name in values if name.startswith(prefix))
        means = {name: fmean(values.get(name, 0.0) for values in taken) for name in names}
        total = sum(means.values())
        for name in sorted(means, key=_place):
            yield {
                "stage": stage,
                "phase": name.removeprefix(prefix),
                "seconds_per_step": means[name],
                "share": means[name] / total if total else 0.0,
                "launches": len(taken),
            }


def _frame(
    rows: Sequence[tuple[Case, Mapping[str, Any]]], axes: Sequence[str], names: Sequence[str]
) -> pd.DataFrame:
    """Rows as a frame: suite, case, the axes, then `names`."""
    cases = {case.id: (case, case.used) for case, _ in rows}
    ids = [case.id for case, _ in rows]
    data: dict[str, Any] = {"suite": [case.suite for case, _ in rows], "case": ids}
    for axis in axes:
        spelled = _speller([used[axis] for _, used in cases.values() if axis in used])
        by_case = {name: spelled(used[axis]) if axis in used else None for name, (_, used) in cases.items()}
        data[axis] = [by_case[name] for name in ids]
    for name in names:
        data[name] = [row[name] for _, row in rows]
    # Without rows pandas takes every column for one of numbers.
    frame = pd.DataFrame(data, columns=["suite", "case", *axes, *names], dtype=None if rows else object)
    numbers = {name: kind for name, kind in _NUMBERS.items() if name in names}
    return frame.astype({**{axis: "Int64" for axis in axes if _is_whole(frame[axis])}, **numbers})


def _is_whole(column: pd.Series[Any]) -> bool:
    values = [value for value in column if not pd.isna(value)]
    return bool(values) and all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < _LIMIT
        and float(value).is_integer()
        for value in values
    )


def _speller(values: Sequence[AxisValue]) -> Callable[[AxisValue], AxisValue]:
    """An axis of numbers, or of truth values, keeps its values; any other becomes text, as Parquet wants it.

    None is "none" in text, where an empty cell means that the case does not use the axis.
    """
    kinds = {type(value) for value in values if value is not None}
    fits = all(abs(value) < _LIMIT for value in values if isinstance(value, int))
    if fits and (kinds == {bool} or kinds <= {int, float}):
        return lambda value: value
    return spell


def write(folder: RunFolder, tables: Tables) -> None:
    """The tables as files of the run folder. Raises ResultsError where they cannot be written."""
    try:
        for table, files in FILES.items():
            frame: pd.DataFrame = getattr(tables, table)
            for file in files if len(frame) or table != "batch_search" else ():
                save = frame.to_csv if file.endswith(".csv") else frame.to_parquet
                save(folder.table(file), index=False)
    except OSError as problem:
        why = os.strerror(problem.errno) if problem.errno else str(problem)  # pandas raises some without
        raise ResultsError(
            f"the tables cannot be written to {folder.path}: {why}; the journal is complete, "
            f"make room and run: bench tables {folder.path}"
        ) from None


def files_with_rows(tables: Tables) -> list[str]:
    """The files of the tables that say something."""
    return [file for table, files in FILES.items() if len(getattr(tables, table)) for file in files]


def choose(tables: Tables, patterns: Sequence[str]) -> Tables:
    """The tables with the metrics that these names or patterns (`train.phase.*`) match.

    Raises ResultsError for one that matches nothing.
    """
    there = list(dict.fromkeys(tables.summary["metric"]))
    chosen: dict[str, None] = {}
    for pattern in patterns:
        matched = [pattern] if pattern in there else fnmatch.filter(there, pattern)
        if not matched:
            raise ResultsError(
                f"the run has no metric {pattern!r}; {meant(pattern, there, f'it has {some(there)}')}"
            )
        chosen |= dict.fromkeys(matched)
    rows = tables.summary[tables.summary["metric"].isin(list(chosen))]
    return dataclasses.replace(tables, summary=rows)


def as_json(tables: Tables) -> str:
    """Summary, failures and the batch sizes that were tried as one JSON object, for programs."""
    return json.dumps(
        {
            "environment": _without_endless(tables.environment.to_json()) if tables.environment else None,
            "summary": _objects(tables.summary),
            "failures": _objects(tables.failures),
            "batch_search": _objects(tables.batch_search),
        },
        indent=2,
    )


def _without_endless(data: dict[str, Any]) -> Any:
    """JSON as programs of other languages read it: null for what is not a finite number."""
    return json.loads(json.dumps(data), parse_constant=lambda _: None)


def _objects(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, digit for digit; null stands for what is missing and for what is not a finite number."""
    return [
        {
            str(name): None if pd.isna(value) or value in (math.inf, -math.inf) else value
            for name, value in row.items()
        }
        for row in frame.astype(object).to_dict(orient="records")
    ]
