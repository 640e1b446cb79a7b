"""Lines and pages on the terminal, as wide as it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, RenderableType

from ..report.text_fitting import wrapped

_INDENT = "  "  # of a folded line after the first
WITHOUT_TERMINAL = 160  # columns of a page that goes into a file or a pipe, unless COLUMNS is set


def width(out: TextIO) -> int:
    """The columns of a line: COLUMNS, else those of the terminal, else WITHOUT_TERMINAL."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(out.fileno()).columns or WITHOUT_TERMINAL
    except (OSError, ValueError, AttributeError):  # not a terminal, or not a file
        return WITHOUT_TERMINAL


def print_line(line: str, out: TextIO | None = None) -> None:
    """Prints at once, by default on standard output: a terminal gets the line folded between words, a log the whole."""
    out = sys.stdout if out is None else out
    if out.isatty():
        first, *more = wrapped(line, width(out) - len(_INDENT))
        line = "\n".join([first, *(_INDENT + rest for rest in more)])
    print(line, file=out, flush=True)


def print_pages(pages: Iterable[RenderableType]) -> None:
    """Prints pages of a report on standard output."""
    console = Console(width=width(sys.stdout), highlight=False)
    for page in pages:
        console.print(page)
