"""Text of files and messages: decoding, the end of a log, shortening."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

_LINES, _BYTES = 20, 10_000  # of the end of a log that a failure shows
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # as Windows saves it


def decoded(data: bytes) -> str:
    """The text of UTF-8, or of UTF-16 with a byte order mark. Raises UnicodeDecodeError for other encodings."""
    return data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")


def undecodable(data: bytes, problem: UnicodeDecodeError) -> str:
    """The problem in words."""
    kind = "UTF-16" if data.startswith(_UTF_16) else "UTF-8"
    return f"is not {kind} text, from byte {problem.start} on"


def end_of(log: str | Path) -> str:
    """The last lines of a log; empty if there is none."""
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LINES:])


def last_line(end: str, longest: int = 200) -> str:
    """The last non-empty line of a log, shortened for a message."""
    return cut(next((line.strip() for line in reversed(end.splitlines()) if line.strip()), ""), longest)


def on_one_line(text: str, longest: int) -> str:
    """Text on one line, shortened if long."""
    return cut(" ".join(text.split()), longest)


def cut(line: str, longest: int) -> str:
    return line if len(line) <= longest else f"{line[:longest]}..."
