"""A summary table that lies alone as a file: who reads it trusts nothing in it, since anybody may have edited it.

Columns are known by their names, in any order. Which others are axes, the ids of the cases tell; what a user
has added beside them is left out.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..analysis.compare.verdict import EXACT
from ..errors import ResultsError
from ..measurement import METRICS, PER_STEP, Metric, metric
from ..plurals import counted
from ..readers.text import decoded, undecodable
from ..suite.case import spell
from .journal import Records
from .tables import SUMMARY_COLUMNS, Tables, build

NEEDED = ("suite", "case", "metric", "unit", "value")  # the others came later, or can be done without
SUFFIXES = (".csv", ".parquet")
_KNOWN = ("suite", "case", *SUMMARY_COLUMNS)
_TEXT = ("suite", "case", "metric", "unit", "caveats")
_NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE
)  # float() takes more: 1_000, and the digits of every script
_LIMIT = 2**63  # what a whole number must be below to have a column of numbers
_MOST_ROWS, _MOST_COLUMNS = 10**6, 1000  # a file of a few bytes can claim any number of empty cells
_MOST_SAID = 10  # lines on rows that are left out
_ANEW = "write it anew from its run with: bench tables RUN"


@dataclass
class _Grid:
    """The cells of a file by column; `rows` numbers them as a reader of the file does."""

    path: Path
    names: list[str]
    cells: dict[str, list[Any]]
    rows: Sequence[int]
    comma: bool = False  # decimals are written with one
    strange: dict[str, str] = field(default_factory=dict)  # columns that hold neither text nor numbers

    faults: dict[int, tuple[str, str]] = field(
        default_factory=dict
    )  # what is wrong with a row, and the remedy

    def wrong(self, place: int, name: str, why: str) -> None:
        """Notes what is wrong with a cell: its row is left out."""
        cell = _short(repr(self.cells[name][place]), 60)
        fault = f"row {self.rows[place]}, column {name!r}: {cell} {why}"
        self.faults.setdefault(place, (fault, "mend it there"))

    def kept(self) -> list[int]:
        """The places of the rows without a fault. Raises ResultsError where all rows have one."""
        if self.faults and len(self.faults) == len(self.rows):
            (first, remedy), *more = dict.fromkeys(self.faults[place] for place in sorted(self.faults))
            besides = f"; so it is with {counted(len(more), 'other row')}" if more else ""
            raise _error(self.path, f"{first}{besides}", remedy)
        return [place for place in range(len(self.rows)) if place not in self.faults]

    def notes(self) -> list[str]:
        """A line for each fault, as far as there are not too many."""
        found = list(dict.fromkeys(fault for _, (fault, _) in sorted(self.faults.items())))
        lines = [f"left out of {self.path}: {fault}" for fault in found[:_MOST_SAID]]
        if len(found) > _MOST_SAID:
            lines.append(f"left out of {self.path}: {counted(len(found) - _MOST_SAID, 'other row')}")
        return lines


def is_table(text: str) -> bool:
    """True of what names a file, and so no run."""
    suffix = Path(text).suffix.lower()
    return not os.path.isdir(text) and (suffix in SUFFIXES or bool(suffix and os.path.isfile(text)))


def is_foreign(text: str) -> bool:
    """True of what names a file of another tool, which all write JSON."""
    return not os.path.isdir(text) and text.lower().endswith((".json", ".json.gz"))


def read_summary(path: Path) -> Tables:
    """The summary that lies in this CSV or Parquet file, as the only table of a run that has rows.

    Columns that it lacks are empty, all but `NEEDED`. A row that holds something that no summary holds is left out and
    stands in the notes. Raises ResultsError where the file cannot be read, or no row of it.
    """
    reader = {".csv": _csv, ".parquet": _parquet}.get(path.suffix.lower())
    if reader is None:
        raise ResultsError(
            f"{path} is no table that can be read; name a summary.csv or summary.parquet, or the folder of a run"
        )
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise ResultsError(
            f"{path} cannot be read: {why}; name a summary.csv or summary.parquet that can"
        ) from None
    if not data.strip():
        raise _error(path, "is empty", _ANEW)
    empty, grid = build(Records()), reader(path, data)
    return dataclasses.replace(empty, summary=_summary(grid, empty.summary.dtypes), notes=grid.notes())


def _summary(grid: _Grid, types: pd.Series[Any]) -> pd.DataFrame:
    """The rows as a run would have them; `types` are those of its columns of numbers."""
    missing = [name for name in NEEDED if name not in grid.names]
    if missing:
        raise _error(grid.path, f"is no summary: it has no column {', '.join(map(repr, missing))}", _ANEW)
    columns: dict[str, list[Any]] = {}
    for name in _KNOWN:
        _check_column(grid, name)
        if name in _TEXT:
            columns[name] = _texts(grid, name)
        else:
            columns[name] = _numbers(grid, name, whole=types[name] != "float64")
    _check_repeated_rows(grid, columns["case"], columns["metric"])
    _check_values(grid, columns)
    kept = grid.kept()
    columns = {name: [cells[place] for place in kept] for name, cells in columns.items()}
    cells = {name: [of[place] for place in kept] for name, of in grid.cells.items()}
    grid = dataclasses.replace(grid, cells=cells, rows=[grid.rows[place] for place in kept], faults={})
    ids = {case: _spelled(case) for case in columns["case"]}
    axes = _axes(grid, [ids[case] for case in columns["case"]])
    series = axes | {
        name: _column(cells)
        if name in _TEXT
        else pd.Series(cells, dtype="float64" if types[name] == "float64" else "Int64")
        for name, cells in columns.items()
    }
    order = ["suite", "case", *axes, *SUMMARY_COLUMNS]
    return pd.DataFrame({name: series[name] for name in order}, columns=order)


def _check_column(grid: _Grid, name: str) -> None:
    if name in grid.strange:
        raise _error(
            grid.path,
            f"holds {_short(grid.strange[name], 60)} in column {name!r}, which is neither text nor a number",
            _ANEW,
        )
    if grid.names.count(name) > 1:
        raise _error(grid.path, f"has {grid.names.count(name)} columns {name!r}", "keep one of them")


def _check_repeated_rows(grid: _Grid, cases: Sequence[str], metrics: Sequence[str]) -> None:
    """Of a row that is there twice both are left out: which is meant, nobody can say."""
    seen: dict[tuple[str, str], int] = {}
    for place, key in enumerate(zip(cases, metrics, strict=True)):
        if place in grid.faults or key not in seen:
            seen.setdefault(key, place)
            continue
        what = f"has metric {_short(key[1], 60)!r} of case {_short(key[0], 200)!r} twice"
        fault = f"{what}, in rows {grid.rows[seen[key]]} and {grid.rows[place]}", "keep one of them"
        grid.faults.setdefault(seen[key], fault)
        grid.faults[place] = fault


def _check_values(grid: _Grid, columns: Mapping[str, Sequence[Any]]) -> None:
    """Refuses what no metric of ours can be: one in another unit, and a count below zero."""
    for place, name in enumerate(columns["metric"]):
        if place in grid.faults:
            continue
        of = metric(name)
        if (name in METRICS or of.unit != "1") and columns["unit"][place] not in (of.unit, older_unit(of)):
            grid.wrong(place, "unit", f"is not the unit of {_short(name, 60)}, which is {of.unit!r}")
        value = columns["value"][place]
        if of.kind in EXACT and value is not None and value < 0:
            grid.wrong(place, "value", f"is no count, as {_short(name, 60)} is")


def older_unit(of: Metric) -> str:
    """The unit of what an earlier version added up over several steps, where this one tells it by the step."""
    return of.unit.removesuffix(PER_STEP)


def _texts(grid: _Grid, name: str) -> list[str]:
    """A column of text, empty where the file lacks it."""
    cells = grid.cells.get(name)
    if cells is None:
        return [""] * len(grid.rows)
    found = ["" if _is_empty(cell) else cell for cell in cells]
    for place, cell in enumerate(found):
        if cell == "" and name in NEEDED:
            grid.wrong(place, name, "must not be empty")
        elif not isinstance(cell, str):
            grid.wrong(place, name, "is no text")
            found[place] = ""
    return found


def _numbers(grid: _Grid, name: str, whole: bool) -> list[float | None]:
    """A column of numbers, or of counts; None where there is none."""
    cells = grid.cells.get(name)
    if cells is None:
        return [None] * len(grid.rows)
    found: list[float | None] = []
    for place, cell in enumerate(cells):
        number = None if _is_empty(cell) else _number(cell, grid.comma)
        if number is None and not _is_empty(cell):
            grid.wrong(place, name, "is no number")
        if whole and number is not None:
            number = _whole(number)
            if number is None or number < 0:
                grid.wrong(place, name, "is no count")
                number = None
        found.append(number)
    return found


def _axes(grid: _Grid, ids: Sequence[Mapping[str, str]]) -> dict[str, pd.Series[Any]]:
    """The columns that the ids name, and those in an axis's place that no case uses.

    Where all axes were cut out of the file they are taken from the ids, so that rows can still be told apart.
    """
    named = dict.fromkeys(name for spelled in ids for name in spelled if name not in _KNOWN)
    begin, end = grid.names.index("case"), grid.names.index("metric")
    places = [name for name in grid.names[begin + 1 : end] if name and name not in _KNOWN]
    unused = {name for name in places if all(map(_is_empty, grid.cells.get(name, "x")))}
    there = dict.fromkeys(name for name in grid.names if name in named or name in unused)
    for axis in there:
        _check_column(grid, axis)
    _check_size(grid.path, len(ids), len(named))
    cells = {axis: grid.cells[axis] for axis in there} or {
        axis: [spelled.get(axis) for spelled in ids] for axis in named
    }
    return {axis: _axis(grid, axis, cells[axis], ids) for axis in cells}


def _spelled(case: str) -> dict[str, str]:
    """The axes of a case as its id spells them; a value may hold the stroke that stands between them."""
    found: dict[str, str] = {}
    last = ""
    for part in case.split("/")[1:]:
        name, equals, value = part.partition("=")
        if equals and name and name not in found:
            found[name], last = value, name
        elif last:
            found[last] += f"/{part}"
    return found


def _axis(grid: _Grid, name: str, raw: Sequence[Any], ids: Sequence[Mapping[str, str]]) -> pd.Series[Any]:
    """An axis with the type that its values had: the ids spell them, so that 1.10 stays the text it was."""
    cells = [None if _is_empty(cell) else cell for cell in raw]
    if name != "mode":  # which is text whatever it is called
        for values in ([_finite(cell, grid.comma) for cell in cells], [_truth(cell) for cell in cells]):
            if all(
                cell is None or (value is not None and spelled.get(name) == spell(value))
                for cell, value, spelled in zip(cells, values, ids, strict=True)
            ):
                return _column(values)
    return _column([None if cell is None else str(cell) for cell in cells])


def _column(cells: Sequence[Any]) -> pd.Series[Any]:
    """Values of one kind as a column; None stands for what is missing."""
    values = [cell for cell in cells if cell is not None]
    if not values:
        return pd.Series(cells, dtype=object)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        whole = [None if cell is None else _whole(cell) for cell in cells]
        fits = all(value is not None or cell is None for cell, value in zip(cells, whole, strict=True))
        return pd.Series(whole, dtype="Int64") if fits else pd.Series(cells, dtype="float64")
    return pd.Series(cells)


def _is_empty(cell: Any) -> bool:
    """True of what stands for no value: nothing, blanks, and the not-a-number of a column of numbers."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _number(cell: Any, comma: bool) -> float | None:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return cell
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if comma:
        # A point in such a file separates thousands, if anything.
        text = text.replace(".", "?").replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if len(text) < 20 and text.lstrip("+-").isdecimal() else float(text)


def _finite(cell: Any, comma: bool) -> float | None:
    """A number that an axis can have as one; any other stays the text that it is."""
    number = _number(cell, comma)
    if number is None or (isinstance(number, int) and abs(number) >= _LIMIT) or not math.isfinite(number):
        return None
    return int(number) if number == int(number) and abs(number) < _LIMIT else number


def _truth(cell: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(cell).strip().lower())


def _whole(number: float) -> int | None:
    """The number where it is a whole one that a column can hold."""
    return int(number) if abs(number) < _LIMIT and number == int(number) else None


def _csv(path: Path, data: bytes) -> _Grid:
    """The cells of comma, semicolon or tab separated text, as a spreadsheet may have saved it."""
    try:
        text = decoded(data)
    except UnicodeDecodeError as problem:
        raise _error(path, undecodable(data, problem), f"save it so, or {_ANEW}") from None
    if "\0" in text:
        raise _error(path, "holds NUL bytes: it is damaged, or no CSV", _ANEW)
    head = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        records = [
            (number, cells) for number, cells in enumerate(reader, start=1) if any(map(str.strip, cells))
        ]
    except csv.Error as problem:
        raise _error(path, f"is damaged at line {reader.line_num}: {problem}", _ANEW) from None
    if not records:
        raise _error(path, "is empty", _ANEW)
    names = [name.strip() for name in records[0][1]]
    _check_size(path, len(records), len(names))
    numbers = [number for number, _ in records[1:]]
    rows = [cells for _, cells in records[1:]]
    named = 1 + max((place for place, name in enumerate(names) if name), default=0)
    least = 1 + max((place for place, name in enumerate(names) if name in NEEDED), default=0)
    for number, cells in records[1:]:
        # Spreadsheets leave out separators behind the last value, or add some.
        torn = len(cells) < named and number == numbers[-1] and not text.endswith(("\n", "\r"))
        if torn or len(cells) < least or any(map(str.strip, cells[len(names) :])):
            raise _error(
                path,
                f"is damaged: row {number} has {counted(len(cells), 'cell')} and the head has {len(names)}",
                _ANEW,
            )
        cells += [""] * (len(names) - len(cells))
    grid = _Grid(path, names, {name: [row[i] for row in rows] for i, name in enumerate(names)}, numbers)
    grid.comma = separator != "," and any(
        "," in cell for name in _KNOWN if name not in _TEXT for cell in grid.cells.get(name, ())
    )
    return grid


def _parquet(path: Path, data: bytes) -> _Grid:
    """The cells of the plain columns. Nothing but the columns is looked at: no pandas metadata, no index."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(
            pa.BufferReader(data),
            pre_buffer=False,
            page_checksum_verification=True,
            thrift_string_size_limit=len(data),
            thrift_container_size_limit=len(data),
        )
        schema = file.schema_arrow
        _check_size(path, file.metadata.num_rows, len(schema.names))
        plain = [name for name, kind in zip(schema.names, schema.types, strict=True) if _is_plain(kind)]
        table = file.read(columns=plain, use_threads=False)
        table.validate(full=True)
        cells = {
            name: table.column(place).to_pylist()
            for place, name in enumerate(table.schema.names)
            if _is_plain(table.schema.types[place])
        }
    except ResultsError:
        raise
    except Exception as problem:  # a damaged file may raise whatever the readers of its parts do
        raise _error(
            path, f"is no Parquet file that can be read: {_short(str(problem), 160)}", _ANEW
        ) from None
    rows = range(1, table.num_rows + 1)
    strange = {
        name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True) if name not in cells
    }
    return _Grid(path, list(schema.names), cells, rows, strange=strange)


def _is_plain(kind: Any) -> bool:
    """True of text, numbers, truth values and nothing at all."""
    from pyarrow import types

    if types.is_dictionary(kind):  # pandas calls it a categorical
        return _is_plain(kind.value_type)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind):
        return True
    return str(kind) in ("string", "large_string", "string_view")  # the last has no test in older pyarrow


def _check_size(path: Path, rows: int, columns: int) -> None:
    if rows > _MOST_ROWS or columns > _MOST_COLUMNS:
        raise _error(
            path,
            f"has {counted(rows, 'row')} and {counted(columns, 'column')}: no summary is so large",
            _ANEW,
        )


def _error(path: Path, what: str, remedy: str) -> ResultsError:
    return ResultsError(f"{path} {what}; {remedy}")


def _short(text: str, most: int) -> str:
    """Text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."
