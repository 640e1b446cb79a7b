"""Lines and pages on the terminal, as wide as it is; failures are a line each, and their tracebacks on request."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, RenderableType

from ..measurement import Failure
from ..report.safe_text import plain, plain_lines
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
    """Prints and flushes a line, by default on standard output; on a terminal it is folded between words."""
    out = sys.stdout if out is None else out
    if out.isatty():
        first, *more = wrapped(line, width(out) - len(_INDENT))
        line = "\n".join([first, *(_INDENT + rest for rest in more)])
    print(line, file=out, flush=True)


def print_remark(text: str) -> None:
    """Prints a line on standard error that no CI server interprets as a command."""
    print(plain(f"bench: {text}"), file=sys.stderr)


def print_pages(pages: Iterable[RenderableType]) -> None:
    """Prints pages of a report on standard output."""
    console = Console(width=width(sys.stdout), highlight=False)
    for page in pages:
        console.print(page)


class FailurePrinter:
    """Prints failures; with `debug`, their tracebacks too, each once, since launches often repeat them."""

    def __init__(self, debug: bool = False) -> None:
        self._debug = debug
        self._printed: set[tuple[str, str, str]] = set()

    def text(self, failure: Failure, prefix: str = "") -> str:
        """The line of a failure, and its traceback where that is new."""
        line = f"{prefix}{failure_line(failure)}"
        key = (failure.case.id, failure.message, failure.where)
        if not self._debug or not failure.detail or key in self._printed:
            return line
        self._printed.add(key)
        return f"{line}\n{textwrap.indent(plain_lines(failure.detail), '    ')}"

    def print(self, failure: Failure, out: TextIO, prefix: str = "") -> None:
        """Folds the line on a terminal, but not the lines of a traceback."""
        line, _, traceback = self.text(failure, prefix).partition("\n")
        print_line(line, out)
        if traceback:
            print(traceback, file=out, flush=True)


def failure_line(failure: Failure) -> str:
    """A failure as one line: what, why, and where in the user's own code."""
    where = f" ({failure.where})" if failure.where else ""
    return plain(f"{failure.failure}: {failure.case.id}: {failure.message}{where}")
