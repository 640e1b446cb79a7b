"""Data frames from the rows of a table, with the same column types in every run, and a summary by case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..suite.case import DEFAULTS, AxisValue, Case, axis_column, axis_of, spell

# Columns of numbers, even if no row has a value.
_NUMBERS = {
    **dict.fromkeys(("value", "ci_low", "ci_high", "smallest_change", "throughput"), "float64"),
    **dict.fromkeys(("steps", "warmup_steps", "memory"), "Int64"),
}
INT64_LIMIT = 2**63  # whole numbers below it fit into a column of numbers

Row = Mapping[str, Any]


def table_frame(
    rows: Sequence[tuple[Case, Row]], axes: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame:
    """Rows as a frame: suite, case, the axes, then `columns`."""
    cases = {case.id: (case, case.used) for case, _ in rows}
    ids = [case.id for case, _ in rows]
    data: dict[str, Any] = {"suite": [case.suite for case, _ in rows], "case": ids}
    axis_columns = {axis: axis_column(axis, columns) for axis in axes}
    for axis, column in axis_columns.items():
        as_cell = _cells_of([used[axis] for _, used in cases.values() if axis in used])
        cells = {name: as_cell(used[axis]) if axis in used else None for name, (_, used) in cases.items()}
        data[column] = [cells[name] for name in ids]
    for name in columns:
        data[name] = [row[name] for _, row in rows]
    # Without rows, pandas treats every column as numbers.
    frame = pd.DataFrame(data, columns=list(data), dtype=None if rows else object)
    whole = {column: "Int64" for column in axis_columns.values() if _is_whole(frame[column])}
    return frame.astype(whole | {name: kind for name, kind in _NUMBERS.items() if name in columns})


def axis_columns_of(frame: pd.DataFrame, first: str) -> list[str]:
    """The axis columns of a table whose other columns begin with `first`."""
    return list(frame.columns[2 : frame.columns.get_loc(first)])


def _is_whole(column: pd.Series[Any]) -> bool:
    values = [value for value in column if not pd.isna(value)]
    return bool(values) and all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < INT64_LIMIT
        and float(value).is_integer()
        for value in values
    )


def _cells_of(values: Sequence[AxisValue]) -> Callable[[AxisValue], AxisValue]:
    """An axis of numbers or of booleans keeps its values; any other becomes text, as Parquet needs it.

    None is the text "none"; an empty cell means that the case does not use the axis.
    """
    kinds = {type(value) for value in values if value is not None}
    fits = all(abs(value) < INT64_LIMIT for value in values if isinstance(value, int))
    if fits and (kinds == {bool} or kinds <= {int, float}):
        return lambda value: value
    return spell


@dataclass(frozen=True)
class MetricSummary:
    """The summary of one metric of a case; NaN is a missing number."""

    unit: str
    value: float
    low: float
    high: float
    smallest_change: float
    launches: int | None


MISSING = MetricSummary("", math.nan, math.nan, math.nan, math.nan, None)


@dataclass(frozen=True)
class CaseSummary:
    """A case of the summary: the axes that it uses, and its metrics by name."""

    id: str
    suite: str
    axes: Mapping[str, AxisValue]
    caveats: tuple[str, ...]
    contaminated: int
    metrics: dict[str, MetricSummary] = field(default_factory=dict)

    @property
    def device(self) -> str:
        return device_of(self.axes)


def cases_of(summary: pd.DataFrame) -> dict[str, CaseSummary]:
    """The cases of a summary by their ids, in its order."""
    axes = axis_columns_of(summary, "metric")
    cases: dict[str, CaseSummary] = {}
    for row in summary.to_dict("records"):
        if row["case"] not in cases:
            cases[row["case"]] = CaseSummary(
                row["case"],
                str(row["suite"]),
                used_axes(row, axes),
                tuple(name for name in _present(row["caveats"], "").split(";") if name),
                _present(row["contaminated"], 0),
            )
        cases[row["case"]].metrics[row["metric"]] = MetricSummary(
            row["unit"],
            _number(row["value"]),
            _number(row["ci_low"]),
            _number(row["ci_high"]),
            _number(row["smallest_change"]),
            _present(row["launches"], None),
        )
    return cases


def used_axes(row: Mapping[Any, Any], columns: list[str]) -> dict[str, AxisValue]:
    """The axes that the case of a row uses, from these columns of a table."""
    return {axis_of(name): row[name] for name in columns if not pd.isna(row[name]) and row[name] != ""}


def device_of(axes: Mapping[str, AxisValue]) -> str:
    """The device of a case, the default one if the case does not name it."""
    return str(axes.get("device", DEFAULTS["device"]))


def _number(cell: Any) -> float:
    return float(_present(cell, math.nan))


def _present(cell: Any, otherwise: Any) -> Any:
    return otherwise if pd.isna(cell) else cell
