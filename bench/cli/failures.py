"""How failures are printed: a line each, and their tracebacks on request."""

from __future__ import annotations

import textwrap
from typing import TextIO

from ..measurement import Failure
from ..report.units import plain, plain_lines
from .screen import print_line


class FailurePrinter:
    """Prints failures; with `debug` their tracebacks too, each once, as launches repeat them."""

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
        """A terminal folds the line, but no line of a traceback."""
        line, _, traceback = self.text(failure, prefix).partition("\n")
        print_line(line, out)
        if traceback:
            print(traceback, file=out, flush=True)


def failure_line(failure: Failure) -> str:
    """A failure as one line: what, why, and where in the user's own code."""
    where = f" ({failure.where})" if failure.where else ""
    return plain(f"{failure.failure}: {failure.case.id}: {failure.message}{where}")
