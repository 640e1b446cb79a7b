"""Tables and sentences that fit the terminal: no line is wider, and no word and no number is split over lines.

If a table is too wide, these steps follow until it fits: columns with the same value in every row move to a line above
it; texts and lists fold between their parts; the least important columns are dropped and named below; and if not even
the essential ones fit, each row becomes a block of lines, `name: value`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from .safe_text import plain
from .text_fitting import TEXT, fold, parts, shortened, widest, wrapped

ESSENTIAL = 0  # the priority of a column that is never dropped
_GAP = 2  # blanks between two columns
_COMFORTABLE = 20  # cells: a text is folded to this width before another column is dropped
_SHORTEST = 24  # cells that remain of a shortened name at least


@dataclass(frozen=True, eq=False)
class Column:
    """A column of texts, all of which may come from the user.

    A `head` folds between its words, or at its line breaks; `unit` is below it. `priority` is the order in which
    columns are dropped: the largest first, ESSENTIAL never. `folds` is TEXT or LIST if a cell may take several lines. A
    column that `shrinks` loses the middle of its cells before another is dropped, as long as different cells stay
    different. `name` is its name in the note on dropped columns, if not its head; `styles` has a style for each cell.
    """

    head: str
    cells: Sequence[str]
    priority: int = ESSENTIAL
    unit: str = ""
    right: bool = False
    folds: str = ""
    shrinks: bool = False
    name: str = ""
    styles: Sequence[str] = ()

    def __post_init__(self) -> None:
        own = object.__setattr__
        own(self, "name", plain(self.name or self.head.replace("\n", " ")))
        own(self, "head", "\n".join(map(plain, self.head.split("\n"))))
        own(self, "unit", plain(self.unit))
        own(self, "cells", tuple(map(plain, self.cells)))

    @property
    def is_constant(self) -> bool:
        """Whether it has several rows with the same value."""
        return len(self.cells) > 1 and bool(self.cells[0]) and len(set(self.cells)) == 1

    @cached_property
    def natural(self) -> int:
        """The width at which each cell is one line; a head folds between its words."""
        return max(widest(self.cells), self._head_width)

    @cached_property
    def least(self) -> int:
        """The width below which a word would be split."""
        if self.shrinks:
            return next(
                filter(self._is_distinct, range(max(self._head_width, _SHORTEST), self.natural)), self.natural
            )
        if not self.folds:
            return self.natural
        return max(self._head_width, widest(part for cell in self.cells for part in parts(cell, self.folds)))

    @property
    def comfortable(self) -> int:
        return min(self.natural, max(self.least, _COMFORTABLE))

    @property
    def _head_width(self) -> int:
        return widest([*(self.head.split("\n" if "\n" in self.head else None)), self.unit])

    def _is_distinct(self, width: int) -> bool:
        """Whether different cells stay different when they are cut to this width."""
        return len({shortened(cell, width) for cell in self.cells}) == len(set(self.cells))

    def lines(self, row: int, width: int) -> list[str]:
        """A cell in this width."""
        if self.shrinks:
            return [shortened(self.cells[row], width)]
        return fold(self.cells[row], width, self.folds)

    def head_lines(self, width: int) -> list[str]:
        lines = self.head.split("\n") if "\n" in self.head else fold(self.head, width, TEXT)
        return [*lines, self.unit] if self.unit else lines

    def style(self, row: int) -> str:
        return self.styles[row] if self.styles else ""

    def with_unit(self, cell: str) -> str:
        return f"{cell} {self.unit}".rstrip()


@dataclass(frozen=True)
class Arrangement:
    """The columns of a table: those shown, each with its width; those named above it; those dropped."""

    shown: list[tuple[Column, int]]
    above: list[Column]
    dropped: list[Column]


def arrange(columns: Sequence[Column], width: int) -> Arrangement | None:
    """The arrangement of this width that moves and drops the fewest columns; None if only blocks of lines fit."""
    by_importance = sorted(columns, key=lambda column: column.priority)
    moved: list[Column] = []
    for column in (column for column in reversed(by_importance) if column.is_constant):
        there = [one for one in columns if one not in moved]
        if _total(one.natural for one in there) <= width or len(there) == 1:
            break
        moved.append(column)
    there = [one for one in columns if one not in moved]
    # A single row becomes a block before any of its columns is dropped.
    shown = [one for one in there if one.priority == ESSENTIAL or len(one.cells) == 1]
    for column in by_importance:
        fits = not shown or _total(one.comfortable for one in [*shown, column]) <= width
        if fits and column in there and column not in shown:
            shown.append(column)
    widths = _widths([one for one in there if one in shown], width)
    if widths is None:
        return None
    above, dropped = ([one for one in columns if one in part] for part in (moved, set(there) - set(shown)))
    return Arrangement(widths, above, dropped)


def _widths(shown: list[Column], width: int) -> list[tuple[Column, int]] | None:
    """Every column gets its comfortable or its minimum width; spare cells go to those that fold or shrink."""
    widths = [column.comfortable for column in shown]
    if _total(widths) > width:
        widths = [column.least for column in shown]
    spare = width - _total(widths)
    if spare < 0:
        return None
    for place, column in enumerate(shown):
        more = min(spare, column.natural - widths[place])
        widths[place] += more
        spare -= more
    return list(zip(shown, widths, strict=True))


@dataclass(frozen=True)
class Grid:
    """A table that fits the terminal.

    `head` is printed above it. `every` is the name of what a row represents, `constant` what all rows share in addition
    to the columns; `elsewhere` names the flag or the file that has the dropped columns, if there is one.
    """

    columns: Sequence[Column]
    head: Sequence[RenderableType] = ()
    every: str = "row"
    constant: str = ""
    elsewhere: str = "--json"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        columns = [column for column in self.columns if any(column.cells)]
        arranged = arrange(columns, width)
        above = arranged.above if arranged is not None else []
        shared = [
            self.constant,
            ", ".join(f"{column.name} {column.with_unit(column.cells[0])}" for column in above),
        ]
        yield from self.head
        if any(shared):
            yield Words(f"every {self.every}: {'; '.join(filter(None, shared))}", "dim")
        if not columns:
            return
        if any(shared) or self.head:
            yield Text()
        if arranged is None:
            yield from self._blocks(columns, width)
            return
        yield from _table(arranged)
        cut = [column for column, width in arranged.shown if column.shrinks and width < column.natural]
        yield from self._note("cut", (column.name for column in cut), "them whole")
        yield from self._note("not shown", (column.name for column in arranged.dropped), "them")

    def _blocks(self, columns: Sequence[Column], width: int) -> Iterator[Text | Words]:
        cut = []
        for row in range(len(columns[0].cells)):
            if row:
                yield Text()
            for column in columns:
                if not (cell := column.cells[row]):
                    continue
                lines, whole = _pair(column, column.with_unit(cell), column.style(row), width)
                yield from lines
                if not whole:
                    cut.append(column.name)
        yield from self._note("cut", cut, "them whole")

    def _note(self, what: str, names: Iterable[str], them: str) -> Iterator[Words]:
        """One line with the columns that a wider terminal would show."""
        if named := ", ".join(dict.fromkeys(names)):
            where = " or ".join(filter(None, [self.elsewhere, "a wider terminal"]))
            yield Words(f"{what} at this width: {named}; {where} has {them}", "dim")


def _pair(column: Column, value: str, style: str, width: int) -> tuple[list[Text], bool]:
    """`name: value` as lines, the value below its name if it does not fit next to it; and whether it is complete."""
    name = f"{column.name}:"
    if cell_len(name) + 1 + cell_len(value) <= width:
        return [_line([(name, "bold"), (f" {value}", style)])], True
    lines = [_line([(line, "bold")]) for line in wrapped(name, width)]
    inner = max(1, width - _GAP)
    indent = " " * min(_GAP, width - inner)
    if column.folds:
        return [*lines, *(_line([(indent + line, style)]) for line in wrapped(value, inner))], True
    return [*lines, _line([(indent + shortened(value, inner), style)])], cell_len(value) <= inner


def _table(arranged: Arrangement) -> Iterator[Text]:
    heads = [column.head_lines(width) for column, width in arranged.shown]
    most = max(map(len, heads))
    yield from _row(
        [
            ([""] * (most - len(head)) + head, width, column.right, "bold")
            for (column, width), head in zip(arranged.shown, heads, strict=True)
        ]
    )
    for row in range(len(arranged.shown[0][0].cells)):
        yield from _row(
            [
                (column.lines(row, width), width, column.right, column.style(row))
                for column, width in arranged.shown
            ]
        )


def _row(cells: Sequence[tuple[list[str], int, bool, str]]) -> Iterator[Text]:
    """The lines of a row. A cell has lines, a width, an alignment (right or not), and a style."""
    for number in range(max(len(lines) for lines, *_ in cells)):
        parts: list[tuple[str, str]] = []
        blanks = 0
        for lines, width, right, style in cells:
            text = lines[number] if number < len(lines) else ""
            space = width - cell_len(text)
            if text:
                parts += [(" " * (blanks + (space if right else 0)), ""), (text, style)]
                blanks = 0 if right else space
            else:
                blanks += space
            blanks += _GAP
        yield _line(parts)


@dataclass(frozen=True)
class Words:
    """A sentence, folded between its words, after a bold `lead`."""

    text: str
    style: str = ""
    lead: str = ""
    indent: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lead = plain(self.lead)
        whole = f"{lead}  {plain(self.text)}" if lead else plain(self.text)
        indent = min(self.indent, max(0, options.max_width - 1))
        for number, line in enumerate(wrapped(whole, options.max_width - indent)):
            bold = len(lead) if not number and line.startswith(lead) else 0
            yield _line([(" " * indent, ""), (line[:bold], "bold"), (line[bold:], self.style)])


def _total(widths: Iterable[int]) -> int:
    """The width of a line with columns of these widths."""
    return sum(width + _GAP for width in widths) - _GAP


def _line(parts: Iterable[tuple[str, str]]) -> Text:
    """One line that is not wrapped again."""
    return Text.assemble(*((text, style) for text, style in parts if text), no_wrap=True, overflow="ignore")


class SafeLines:
    """A part of a page. GitHub interprets a line that begins with '::', also after blanks, as a command."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._part, options, pad=False):
            begun = False
            for segment in line:
                text = segment.text
                if not begun and text.lstrip().startswith("::"):
                    text = text.replace("::", ": :", 1)
                begun = begun or bool(text.strip())
                yield Segment(text, segment.style, segment.control)
            yield Segment.line()
