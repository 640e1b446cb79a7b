"""Standard streams that are closed, full, or no longer read."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO, cast


def open_all() -> None:
    """Connects streams that the shell has closed (`>&-`) to the null device.

    Otherwise the next opened files would get their descriptors, and the printed text.
    """
    for number, mode, name in ((0, "r", "stdin"), (1, "w", "stdout"), (2, "w", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


class Lossy:
    """A stream that drops what it cannot write: progress on a full disk must not end a measurement."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lossy_errors() -> contextlib.AbstractContextManager[Any]:
    """A context in which standard error drops what it cannot write."""
    return contextlib.redirect_stderr(cast(TextIO, Lossy(sys.stderr)))


def refused() -> str:
    """Why standard output cannot be written; empty if it can."""
    try:
        print(flush=True)
    except OSError as problem:
        return problem.strerror or type(problem).__name__
    return ""


def write_nowhere() -> None:
    """Connects standard output to the null device, which also discards buffered text."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
