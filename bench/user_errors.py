"""What user code raised, as words. Whatever it is, telling it raises nothing."""

from __future__ import annotations

import traceback

from .system.paths import is_own

_MOST_CHAINED = 20  # exceptions of one chain, which may be a circle
_UNTELLABLE = "<exception str() failed>"  # as Python itself says it


def text_of(problem: BaseException) -> str:
    """Its message, also where its own `__str__` raises."""
    try:
        return str(problem)
    except BaseException:
        return _UNTELLABLE


def one_line(problem: BaseException) -> str:
    """An exception as one line: its type and the first line of its message."""
    lines = text_of(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__


def detail_of(problem: BaseException) -> str:
    """Its traceback."""
    try:
        return "".join(traceback.format_exception(problem))
    except BaseException:  # of what an exception holds beside its message
        return one_line(problem)


def where(problem: BaseException, suite_file: str = "") -> str:
    """The innermost frame that is the user's own, as file:line; empty where there is none.

    The user's own is what lies in neither the interpreter, an installed package, nor Epochbench, and the suite file
    wherever it lies. Where none of its own frames is, those of what it was raised from are looked at.
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
