"""Data frames from the rows of a table, with the same column types in every run.

pandas takes a third of a second to import: `tables` imports this module for the first table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..suite.case import AxisValue, Case, axis_column, spell
from .table_grid import INT64_LIMIT, typed

# Columns of numbers, even if no row has a value.
_NUMBERS = {
    **dict.fromkeys(("value", "ci_low", "ci_high", "smallest_change", "throughput"), "float64"),
    **dict.fromkeys(("steps", "warmup_steps", "memory"), "Int64"),
}

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
    whole = {column: "Int64" for column in axis_columns.values() if typed(data[column])[1] == "Int64"}
    return frame.astype(whole | {name: kind for name, kind in _NUMBERS.items() if name in columns})


def _cells_of(values: Sequence[AxisValue]) -> Callable[[AxisValue], AxisValue]:
    """An axis of numbers or of booleans keeps its values; any other becomes text, as Parquet needs it.

    None is the text "none"; an empty cell means that the case does not use the axis.
    """
    kinds = {type(value) for value in values if value is not None}
    fits = all(abs(value) < INT64_LIMIT for value in values if isinstance(value, int))
    if fits and (kinds == {bool} or kinds <= {int, float}):
        return lambda value: value
    return spell
