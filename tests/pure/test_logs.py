"""The end of a log, whatever is in it."""

from __future__ import annotations

import pytest

from bench.system.text import end_of, last_line


@pytest.mark.parametrize(
    ("written", "end"),
    [
        (b"", ""),
        (b"a\nb", "a\nb"),
        (b"\n".join(b"%d" % n for n in range(50)), "\n".join(str(n) for n in range(30, 50))),
        (b"before\n" + b"x" * 20_000, "x" * 10_000),
        (b"\xff\n", "\ufffd"),
    ],
)
def test_its_last_lines(tmp_path, written, end):
    (tmp_path / "log").write_bytes(written)
    assert end_of(tmp_path / "log") == end


def test_one_that_there_is_not(tmp_path):
    assert end_of(tmp_path / "log") == ""


@pytest.mark.parametrize(
    ("end", "line"), [("", ""), ("a\nb\n \n", "b"), ("  a  ", "a"), ("x" * 300, "x" * 200 + "...")]
)
def test_the_last_line_that_says_something(end, line):
    assert last_line(end) == line
