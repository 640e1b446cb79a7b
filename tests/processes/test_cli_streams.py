"""Streams as a shell may give them: closed, full, read by nobody. The exit code is the command's, and never 70."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.streams import Lossy

ROOT = Path(__file__).parents[2]
SUITE = """
from bench import Suite
suite = Suite("s", lambda case: None, axes={"device": ["cpu"], "x": list(range(3))})
"""


@pytest.fixture
def shell(tmp_path):
    """Runs `bench` with redirections, with or without buffers of Python's own: its exit code, output and errors."""
    (tmp_path / "s.py").write_text(SUITE)

    def run(command: str, redirection: str, unbuffered: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            ["bash", "-c", f"'{sys.executable}' -m bench {command} {redirection}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    ("command", "redirection", "code"),
    [
        ("list s.py", ">&-", 0),
        ("list s.py", "<&- >&- 2>&-", 0),
        ("list nowhere.py", "2>&-", 2),
        ("list nowhere.py", "2>/dev/full", 2),
        ("list s.py", "| true; exit ${PIPESTATUS[0]}", 0),
    ],
)
def test_what_cannot_be_said_changes_no_exit_code(shell, command, redirection, code):
    assert shell(command, redirection, unbuffered="1") == (code, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["list s.py", "--help"])
def test_an_output_without_room_is_one_line(shell, command, unbuffered):
    code, _, errors = shell(command, ">/dev/full", unbuffered)
    assert code == 2
    assert errors == (
        "bench: standard output cannot be written: No space left on device; redirect it to a place with free space\n"
    )


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_lossy_stream_loses_what_does_not_fit_and_is_as_the_one_below_it():
    stream = Lossy(Full())
    assert stream.write("abc") == 3
    stream.flush()
    assert stream.isatty() is False
    kept = io.StringIO()
    Lossy(kept).write("abc")
    assert kept.getvalue() == "abc"
