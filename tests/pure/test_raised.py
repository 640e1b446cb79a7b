"""What user code raised, as words: whatever it raised, telling it raises nothing."""

from __future__ import annotations

import os

import pytest

from bench.user_errors import detail_of, message_of, one_line, where


class Untellable(Exception):
    def __str__(self) -> str:
        raise SystemExit("no message")


class UntellableToo(BaseException):
    def __str__(self) -> str:
        raise self

    def __repr__(self) -> str:
        raise KeyboardInterrupt


def raised(problem: BaseException) -> BaseException:
    try:
        raise problem
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (KeyError("x"), "KeyError: 'x'"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("  \n "), "ValueError"),
        (Untellable(), "Untellable: <exception str() failed>"),
        (UntellableToo(), "UntellableToo: <exception str() failed>"),
    ],
)
def test_it_is_one_line(problem, said):
    assert one_line(raised(problem)) == said


@pytest.mark.parametrize("problem", [Untellable(), UntellableToo(), ValueError("x")])
def test_its_traceback_can_be_told_and_its_text(problem):
    caught = raised(problem)
    assert type(problem).__name__ in detail_of(caught)
    assert message_of(caught) in ("x", "<exception str() failed>")


def test_where_is_the_innermost_frame_of_the_users():
    def theirs() -> None:
        os.stat(["no path"])  # type: ignore[arg-type]

    caught = None
    try:
        theirs()
    except TypeError as problem:
        caught = problem
    assert caught is not None
    assert where(caught) == f"{__file__}:{theirs.__code__.co_firstlineno + 1}"


def test_where_looks_into_what_an_error_was_raised_from():
    """A StopIteration in a loop of our own becomes a RuntimeError there, with no frame of the user's."""
    outer = RuntimeError("generator raised StopIteration")
    outer.__cause__ = raised(StopIteration())
    assert where(outer).startswith(f"{__file__}:")


def test_where_is_empty_where_no_frame_is_the_users_even_of_a_circle():
    problem, other = ValueError("x"), ValueError("y")
    problem.__context__, other.__context__ = other, problem
    assert where(problem) == ""
