"""Where pages are printed, and how wide they are there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

_INDENT = "  "  # of what goes on
WITHOUT_TERMINAL = 160  # columns of a page that goes into a file or a pipe, where COLUMNS does not say


def width(out: TextIO) -> int:
    """The columns of a line: what COLUMNS says, else what the terminal has, else WITHOUT_TERMINAL."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    try:
        return os.get_terminal_size(out.fileno()).columns or WITHOUT_TERMINAL
    except (OSError, ValueError, AttributeError):  # it is no terminal, or no file
        return WITHOUT_TERMINAL


def say(line: str, out: TextIO | None = None) -> None:
    """A line that is seen at once: on a terminal folded between its words, elsewhere whole, so that it can be searched.

    `out` is standard output where none is given.
    """
    out = sys.stdout if out is None else out
    if out.isatty():
        from ..report.text_fitting import wrapped

        first, *more = wrapped(line, width(out) - len(_INDENT))
        line = "\n".join([first, *(_INDENT + rest for rest in more)])
    print(line, file=out, flush=True)


def print_pages(pages: Iterable[RenderableType]) -> None:
    """Pages of a report on standard output."""
    from rich.console import Console

    console = Console(width=width(sys.stdout), highlight=False)
    for page in pages:
        console.print(page)
