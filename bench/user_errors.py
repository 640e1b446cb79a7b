"""Exceptions of user code in words. None of these functions raises."""

from __future__ import annotations

import traceback

from .system.paths import is_own

_MOST_CHAINED = 20  # exceptions of one chain, which may be a circle
_NO_MESSAGE = "<exception str() failed>"  # as in Python's own tracebacks


def message_of(problem: BaseException) -> str:
    """The message of an exception, also where its `__str__` raises."""
    try:
        return str(problem)
    except BaseException:
        return _NO_MESSAGE


def one_line(problem: BaseException) -> str:
    """An exception as one line: its type and the first line of its message."""
    lines = message_of(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__


def detail_of(problem: BaseException) -> str:
    """Its traceback."""
    try:
        return "".join(traceback.format_exception(problem))
    except BaseException:  # an exception may hold anything
        return one_line(problem)


def where(problem: BaseException, suite_file: str = "") -> str:
    """The innermost frame of the user's own code, as file:line; empty if there is none.

    That is code outside the interpreter, installed packages and Epochbench, and the suite file wherever it lies. The
    exceptions that it was raised from are searched too.
    """
    chain: BaseException | None = problem
    for _ in range(_MOST_CHAINED):
        if chain is None:
            break
        try:
            frames = traceback.extract_tb(chain.__traceback__)
        except BaseException:  # of a source that cannot be read
            break
        own = [frame for frame in frames if frame.filename == suite_file or is_own(frame.filename)]
        if own:
            return f"{own[-1].filename}:{own[-1].lineno}"
        chain = chain.__cause__ or chain.__context__
    return ""
