"""Lines of a page: wherever a text is wrapped, no line of it is an order."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.report.layout import SafeLines


def printed(part, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(SafeLines(part))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_line_that_begins_as_an_order_is_one_no_more():
    assert printed(Text("::error::no"), 80) == [": :error::no"]


def test_what_stands_within_a_line_stays():
    assert printed(Text("test.py::test_sums"), 80) == ["test.py::test_sums"]


@pytest.mark.parametrize("width", range(4, 30))
def test_no_line_begins_as_one_where_a_text_is_wrapped(width):
    table = Table(box=None)
    table.add_column("case", overflow="fold")
    table.add_row(Text("a b::error::c ::warning::d"))
    for part in (table, Text("only in the base: ::error::x ::y")):
        assert not any(line.lstrip().startswith("::") for line in printed(part, width))
