"""A comparison on the terminal: the verdict, the rows, then remarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from ...analysis.compare.verdict import SIDE_FAILED, Row
from ...plurals import counted
from ..comparison import ComparisonPage, case_names, family_remarks, reasons, verdict_line
from ..layout import ESSENTIAL, Column, Grid, SafeLines, Words
from ..row_words import (
    REMEDY,
    change,
    minimum_detectable,
    quality_spreads,
    remedy,
    sides,
    unchanged_quality,
    verdict_words,
    word,
    work_remarks,
)
from ..text_fitting import LIST, TEXT, shortened

_STYLES = {
    "regressed": "bold red",
    "moved": "bold yellow",
    "improved": "green",
    "different_work": "bold red",
    "not_measured": "yellow",
    "inconclusive": "yellow",
    "equivalent": "dim",
}
_LONGEST = 200  # characters of a text in a table


def table(page: ComparisonPage, everything: bool) -> Iterator[RenderableType]:
    """The verdict, the rows, then remarks. Equivalent rows are only counted, unless everything is shown."""
    return map(SafeLines, _table(page, everything))


def _table(page: ComparisonPage, everything: bool) -> Iterator[RenderableType]:
    rows = page.visible_rows
    shown = [row for row in rows if everything or not (row.folded or row.verdict == "equivalent")]
    same, names = case_names(rows)
    head = [
        Words(verdict_line(page), "bold"),
        Words(f"base {page.base}, candidate {page.candidate}: {page.how_measured}", "dim"),
        *(Words(f"{whose}: {parts}", "dim") for whose, parts in same.items() if shown),
    ]
    if shown:
        yield _rows(shown, names, page.is_gate, head)
    else:
        yield from head
    yield from map(Words, _below(page, rows, everything))


def _rows(
    rows: Sequence[Row], names: Mapping[tuple[str, str], str], gate: bool, head: Sequence[RenderableType]
) -> Grid:
    """The rows as a table; on a narrow terminal, the values are dropped before the change."""
    styles = [_STYLES.get(row.verdict, "") for row in rows]
    changes = [change(row).partition(" (") for row in rows]

    def column(head: str, cells: Iterable[str], priority: int = ESSENTIAL, **options: Any) -> Column:
        return Column(head, [shortened(cell, _LONGEST) for cell in cells], priority, **options)

    return Grid(
        [
            column("case", (names[row.suite, row.case] for row in rows), folds=TEXT),
            column("metric", (row.metric.name for row in rows)),
            column("base", (sides(row)[0] for row in rows), 3, right=True),
            column("candidate", (sides(row)[1] for row in rows), 2, right=True),
            column("change", (size for size, _, _ in changes), folds=TEXT, styles=styles),
            column(
                "95 % interval", (interval.removesuffix(")") for *_, interval in changes), 1, styles=styles
            ),
            column("verdict", (verdict_words(row, gate) for row in rows), styles=styles),
            column("detectable from", map(minimum_detectable, rows), 5, right=True),
            column("caveats", (LIST.join(map(word, row.caveats)) for row in rows), 4, folds=LIST),
        ],
        head,
        elsewhere="--format json",
    )


def _below(page: ComparisonPage, rows: Sequence[Row], everything: bool) -> Iterator[str]:
    """The remarks below the table, one line each."""
    yield from work_remarks(rows)
    if rule := remedy(page.rows):
        yield f"{REMEDY}:"
        yield from (f"    {line}" for line in rule)
    if not everything:
        same = sum(row.verdict == "equivalent" for row in rows)
        if same:
            yield f"{counted(same, 'row')} equivalent"
        yield from unchanged_quality(rows)
    for row in rows:
        if page.phase(row):
            yield f"{row.case}, {row.metric.name}: {page.phase(row)}"
    yield from quality_spreads(rows)
    yield from family_remarks(rows)
    told = [row for row in rows if page.is_live and row.reason and row.reason.cause in SIDE_FAILED]
    yield from reasons(row for row in rows if row not in told)
    if told:
        yield f"{counted(len(reasons(told)), 'failure')}, shown above on standard error"
    yield from (f"{label}: {case}" for label, case in page.one_sided)
    yield from page.remarks
