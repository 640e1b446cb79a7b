"""The end of the log of a process."""

from __future__ import annotations

import os
from pathlib import Path

_LINES, _BYTES = 20, 10_000  # of the end of a log, that a failure shows


def end_of(log: str | Path) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LINES:])


def last_line(end: str, longest: int = 200) -> str:
    """The last line of the end of a log that says something, cut where it is too long for a message."""
    line = next((line.strip() for line in reversed(end.splitlines()) if line.strip()), "")
    return line if len(line) <= longest else f"{line[:longest]}..."
