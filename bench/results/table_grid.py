"""The cells of a table in a CSV or Parquet file that may have been edited: nothing in it is trusted."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ResultsError
from ..plurals import counted
from ..suite.case import RESERVED
from ..system.text import decoded, on_one_line, undecodable

Typed = tuple[Sequence[Any], Any]  # the cells of a column, and their dtype; None: as pandas takes them
REWRITE = "write it again from its run with: bench tables RUN"
INT64_LIMIT = 2**63  # whole numbers below it fit into a column of numbers
MOST_NOTES = 10  # lines on skipped rows of a file; a broken exporter has a fault in every row
_MOST_ROWS, _MOST_COLUMNS = 10**6, 1000  # a file of a few bytes can claim any number of empty cells


@dataclass
class Grid:
    """The cells of a file by column; `rows` numbers them as a reader of the file does."""

    path: Path
    names: list[str]
    cells: dict[str, list[Any]]
    rows: Sequence[int]
    other_types: dict[str, str] = field(default_factory=dict)  # of columns with neither text nor numbers
    faults: dict[int, tuple[str, str]] = field(default_factory=dict)  # by row: what is wrong, and the remedy

    def wrong(self, place: int, name: str, why: str) -> None:
        """Records what is wrong with a cell, whose row is then skipped."""
        cell = on_one_line(repr(self.cells[name][place]), 60)
        fault = f"row {self.rows[place]}, column {name!r}: {cell} {why}"
        self.faults.setdefault(place, (fault, "correct it there"))

    def good_rows(self) -> list[int]:
        """The places of the rows without a fault. Raises ResultsError if all rows have one."""
        if self.faults and len(self.faults) == len(self.rows):
            (first, remedy), *more = dict.fromkeys(self.faults[place] for place in sorted(self.faults))
            besides = f"; likewise {counted(len(more), 'other row')}" if more else ""
            raise grid_error(self.path, f"{first}{besides}", remedy)
        return [place for place in range(len(self.rows)) if place not in self.faults]

    def notes(self) -> list[str]:
        """A line for each fault, up to a maximum."""
        faults = list(dict.fromkeys(fault for _, (fault, _) in sorted(self.faults.items())))
        return capped(self.path, faults, lambda more: counted(more, "other row"))

    def check_column(self, name: str) -> None:
        """Raises ResultsError if the column exists twice, or holds neither text nor numbers."""
        if name in self.other_types:
            kind = on_one_line(self.other_types[name], 60)
            raise grid_error(
                self.path, f"holds {kind} in column {name!r}, which is neither text nor a number", REWRITE
            )
        if self.names.count(name) > 1:
            raise grid_error(self.path, f"has {self.names.count(name)} columns {name!r}", "keep one of them")


def read_csv(path: Path, data: bytes) -> Grid:
    """The cells of comma, semicolon or tab separated text, as a spreadsheet may have saved it."""
    try:
        text = decoded(data)
    except UnicodeDecodeError as problem:
        raise grid_error(path, undecodable(data, problem), f"save it so, or {REWRITE}") from None
    if "\0" in text:
        raise grid_error(path, "holds NUL bytes: it is damaged, or not CSV", REWRITE)
    head = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        records = [
            (number, cells) for number, cells in enumerate(reader, start=1) if any(map(str.strip, cells))
        ]
    except csv.Error as problem:
        raise grid_error(path, f"is damaged at line {reader.line_num}: {problem}", REWRITE) from None
    if not records:
        raise grid_error(path, "is empty", REWRITE)
    names = [name.strip() for name in records[0][1]]
    check_size(path, len(records), len(names))
    numbers = [number for number, _ in records[1:]]
    rows = [cells for _, cells in records[1:]]
    named = 1 + max((place for place, name in enumerate(names) if name), default=0)
    least = 1 + max((place for place, name in enumerate(names) if name in RESERVED), default=0)
    for number, cells in records[1:]:
        # Spreadsheets omit separators after the last value, or add some.
        torn = len(cells) < named and number == numbers[-1] and not text.endswith(("\n", "\r"))
        if torn or len(cells) < least or any(map(str.strip, cells[len(names) :])):
            raise grid_error(
                path,
                f"is damaged: row {number} has {counted(len(cells), 'cell')} and the head has {len(names)}",
                REWRITE,
            )
        cells += [""] * (len(names) - len(cells))
    return Grid(path, names, {name: [row[i] for row in rows] for i, name in enumerate(names)}, numbers)


def read_parquet(path: Path, data: bytes) -> Grid:
    """The cells of the plain columns. Pandas metadata and index are ignored."""
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
        check_size(path, file.metadata.num_rows, len(schema.names))
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
    except Exception as problem:  # a damaged file may raise any error
        raise grid_error(
            path, f"is not a Parquet file that can be read: {on_one_line(str(problem), 160)}", REWRITE
        ) from None
    rows = range(1, table.num_rows + 1)
    others = {
        name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True) if name not in cells
    }
    return Grid(path, list(schema.names), cells, rows, others)


def _is_plain(kind: Any) -> bool:
    """True for text, numbers, booleans and columns without values."""
    from pyarrow import types

    if types.is_dictionary(kind):  # pandas calls it a categorical
        return _is_plain(kind.value_type)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind):
        return True
    return str(kind) in ("string", "large_string", "string_view")  # the last has no test in older pyarrow


def is_empty(cell: Any) -> bool:
    """True for a missing value: None, blanks, and NaN in a column of numbers."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def check_size(path: Path, rows: int, columns: int) -> None:
    if rows > _MOST_ROWS or columns > _MOST_COLUMNS:
        raise grid_error(
            path,
            f"has {counted(rows, 'row')} and {counted(columns, 'column')}: no summary is so large",
            REWRITE,
        )


def capped(path: str | Path, faults: Sequence[str], others: Callable[[int], str]) -> list[str]:
    """A line for each fault of a file, and one for the `others` if there are too many."""
    more = len(faults) - MOST_NOTES
    shown = [*faults[:MOST_NOTES], *([others(more)] if more > 0 else [])]
    return [f"skipped in {path}: {what}" for what in shown]


def grid_error(path: Path, what: str, remedy: str) -> ResultsError:
    return ResultsError(f"{path} {what}; {remedy}")


def typed(cells: Sequence[Any]) -> Typed:
    """Values of one kind as a column has them; None stands for what is missing."""
    values = [cell for cell in cells if cell is not None]
    if not values:
        return cells, object
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        whole = [None if cell is None else whole_number(cell) for cell in cells]
        fits = all(value is not None or cell is None for cell, value in zip(cells, whole, strict=True))
        return (whole, "Int64") if fits else (cells, "float64")
    return cells, None


def whole_number(number: float) -> int | None:
    """The number as an integer if it is one that a column can hold."""
    return int(number) if abs(number) < INT64_LIMIT and number == int(number) else None
