"""A summary table as a single file: nothing in it is trusted, since it may have been edited.

Columns are identified by their names, in any order. The ids of the cases show which other columns are axes; further
ones are ignored.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.compare.verdict import EXACT
from ..errors import ResultsError
from ..measurement import METRICS, PER_STEP, Metric, metric
from ..suite.case import RESERVED, axis_column, axis_of, spell
from ..system.text import on_one_line
from .journal import Records
from .table_grid import (
    REWRITE,
    Grid,
    Typed,
    check_size,
    grid_error,
    is_empty,
    read_csv,
    read_parquet,
    typed,
    whole_number,
)
from .table_rows import TABLES
from .tables import Tables, build

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
NEEDED = RESERVED  # the other columns are newer, or optional
_COLUMNS = ("suite", "case", *TABLES["summary"].columns)
_TEXT = ("suite", "case", "metric", "unit", "caveats")
_NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE
)  # float() takes more: 1_000, and the digits of every script


def is_table(text: str) -> bool:
    """True if a text names a file, and so not a run."""
    suffix = Path(text).suffix.lower()
    return not os.path.isdir(text) and (suffix in SUFFIXES or bool(suffix and os.path.isfile(text)))


def is_foreign(text: str) -> bool:
    """True if a text names a file of another tool; these all write JSON."""
    return not os.path.isdir(text) and text.lower().endswith((".json", ".json.gz"))


def read_summary(path: Path) -> Tables:
    """The summary in this CSV or Parquet file, as tables in which only the summary has rows.

    Missing columns are empty, except `NEEDED`. A row with a value that no summary has is skipped with a note. Raises
    ResultsError if the file or all its rows cannot be read.
    """
    reader = {".csv": read_csv, ".parquet": read_parquet}.get(path.suffix.lower())
    if reader is None:
        raise ResultsError(
            f"{path} is not a table that can be read; name a summary.csv or summary.parquet, or the folder of a run"
        )
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise ResultsError(
            f"{path} cannot be read: {why}; name a summary.csv or summary.parquet that can"
        ) from None
    if not data.strip():
        raise grid_error(path, "is empty", REWRITE)
    empty, grid = build(Records()), reader(path, data)
    return dataclasses.replace(empty, summary=_summary(grid, empty.summary.dtypes), notes=grid.notes())


def _summary(grid: Grid, types: pd.Series[Any]) -> pd.DataFrame:
    """The rows in the form of a run's table; `types` are those of the columns of numbers."""
    import pandas as pd

    missing = [name for name in NEEDED if name not in grid.names]
    if missing:
        raise grid_error(
            grid.path, f"is not a summary: it has no column {', '.join(map(repr, missing))}", REWRITE
        )
    columns: dict[str, list[Any]] = {}
    for name in _COLUMNS:
        grid.check_column(name)
        if name in _TEXT:
            columns[name] = _texts(grid, name)
        else:
            columns[name] = _numbers(grid, name, whole=types[name] != "float64")
    _check_repeated_rows(grid, columns["case"], columns["metric"])
    _check_values(grid, columns)
    good = grid.good_rows()
    columns = {name: [cells[place] for place in good] for name, cells in columns.items()}
    cells = {name: [of[place] for place in good] for name, of in grid.cells.items()}
    grid = dataclasses.replace(grid, cells=cells, rows=[grid.rows[place] for place in good], faults={})
    ids = {case: _spelled(case) for case in columns["case"]}
    axes = _axes(grid, [ids[case] for case in columns["case"]])
    columns_typed = axes | {
        name: typed(cells) if name in _TEXT else (cells, "float64" if types[name] == "float64" else "Int64")
        for name, cells in columns.items()
    }
    order = ["suite", "case", *axes, *_COLUMNS[2:]]
    series = {name: pd.Series(cells, dtype=kind) for name, (cells, kind) in columns_typed.items()}
    return pd.DataFrame(series, columns=order)


def _check_repeated_rows(grid: Grid, cases: Sequence[str], metrics: Sequence[str]) -> None:
    """Skips both rows of the same case and metric, since it is ambiguous."""
    seen: dict[tuple[str, str], int] = {}
    for place, key in enumerate(zip(cases, metrics, strict=True)):
        if place in grid.faults or key not in seen:
            seen.setdefault(key, place)
            continue
        what = f"has metric {on_one_line(key[1], 60)!r} of case {on_one_line(key[0], 200)!r} twice"
        fault = f"{what}, in rows {grid.rows[seen[key]]} and {grid.rows[place]}", "keep one of them"
        grid.faults.setdefault(seen[key], fault)
        grid.faults[place] = fault


def _check_values(grid: Grid, columns: Mapping[str, Sequence[Any]]) -> None:
    """Skips rows of a known metric in another unit, and negative counts."""
    for place, name in enumerate(columns["metric"]):
        if place in grid.faults:
            continue
        of = metric(name)
        if (name in METRICS or of.unit != "1") and columns["unit"][place] not in (of.unit, older_unit(of)):
            grid.wrong(place, "unit", f"is not the unit of {on_one_line(name, 60)}, which is {of.unit!r}")
        value = columns["value"][place]
        if of.kind in EXACT and value is not None and value < 0:
            grid.wrong(place, "value", f"is not a count, as {on_one_line(name, 60)} is")


def older_unit(of: Metric) -> str:
    """The unit of a count that an earlier version added up over several steps, while this one has it per step."""
    return of.unit.removesuffix(PER_STEP)


def _texts(grid: Grid, name: str) -> list[str]:
    """A column of text, empty if the file lacks it."""
    cells = grid.cells.get(name)
    if cells is None:
        return [""] * len(grid.rows)
    found = ["" if is_empty(cell) else cell for cell in cells]
    for place, cell in enumerate(found):
        if cell == "" and name in NEEDED:
            grid.wrong(place, name, "must not be empty")
        elif not isinstance(cell, str):
            grid.wrong(place, name, "is not text")
            found[place] = ""
    return found


def _numbers(grid: Grid, name: str, whole: bool) -> list[float | None]:
    """A column of numbers or of counts; None if a value is missing."""
    cells = grid.cells.get(name)
    if cells is None:
        return [None] * len(grid.rows)
    found: list[float | None] = []
    for place, cell in enumerate(cells):
        number = None if is_empty(cell) else _number(cell)
        if number is None and not is_empty(cell):
            grid.wrong(place, name, "is not a number")
        if whole and number is not None:
            number = whole_number(number)
            if number is None or number < 0:
                grid.wrong(place, name, "is not a count")
                number = None
        found.append(number)
    return found


def _axes(grid: Grid, ids: Sequence[Mapping[str, str]]) -> dict[str, Typed]:
    """The columns of the axes that the ids name, and columns at the place of axes that no case uses.

    If the file has no axis columns, axes are taken from the ids, so that rows stay distinguishable.
    """
    axes = dict.fromkeys(axis for spelled in ids for axis in spelled if axis not in NEEDED)
    columns = {axis_column(axis, _COLUMNS): axis for axis in axes}
    begin, end = grid.names.index("case"), grid.names.index("metric")
    between = [name for name in grid.names[begin + 1 : end] if name and name not in _COLUMNS]
    unused = {name for name in between if all(map(is_empty, grid.cells.get(name, "x")))}
    there = dict.fromkeys(name for name in grid.names if name in columns or name in unused)
    for name in there:
        grid.check_column(name)
    check_size(grid.path, len(ids), len(columns))
    cells = {name: grid.cells[name] for name in there} or {
        name: [spelled.get(axis) for spelled in ids] for name, axis in columns.items()
    }
    return {name: _axis(axis_of(name), cells[name], ids) for name in cells}


def _spelled(case: str) -> dict[str, str]:
    """The axes of a case from its id; a value may contain the separating slash."""
    found: dict[str, str] = {}
    last = ""
    for part in case.split("/")[1:]:
        name, equals, value = part.partition("=")
        if equals and name and name not in found:
            found[name], last = value, name
        elif last:
            found[last] += f"/{part}"
    return found


def _axis(axis: str, raw: Sequence[Any], ids: Sequence[Mapping[str, str]]) -> Typed:
    """An axis with the original type of its values, which the ids show: the text 1.10 stays a text."""
    cells = [None if is_empty(cell) else cell for cell in raw]
    if axis != "mode":  # which is always text
        for values in ([_finite(cell) for cell in cells], [_truth(cell) for cell in cells]):
            if all(
                cell is None or (value is not None and spelled.get(axis) == spell(value))
                for cell, value, spelled in zip(cells, values, ids, strict=True)
            ):
                return typed(values)
    return typed([None if cell is None else str(cell) for cell in cells])


def _number(cell: Any) -> float | None:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return cell
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if len(text) < 20 and text.lstrip("+-").isdecimal() else float(text)


def _finite(cell: Any) -> float | None:
    """The text as a number if an axis can have this number, else unchanged."""
    number = _number(cell)
    if number is None or not math.isfinite(number):
        return None
    whole = whole_number(number)
    return number if whole is None and isinstance(number, float) else whole


def _truth(cell: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(cell).strip().lower())
