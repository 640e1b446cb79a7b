"""Digests of the code of a run, since a run is resumed only with the same code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# Code that only prints and draws may change between two parts of a run; the last is elsewhere if installed.
_NOT_MEASURING = ("cli", "report", "as_bench")


def digests(files: Iterable[str]) -> dict[str, str]:
    """File -> SHA-256 of its content; empty for a missing file."""
    found = {}
    for file in sorted(files):
        try:
            found[file] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        except OSError:
            found[file] = ""
    return found


def harness(package: Path = _PACKAGE) -> str:
    """One digest of the measuring code of Epochbench; the same wherever it is installed."""
    within = [file.relative_to(package) for file in package.rglob("*.py")]
    measuring = sorted(file.as_posix() for file in within if file.parts[0] not in _NOT_MEASURING)
    found = digests(str(package / name) for name in measuring)
    lines = "".join(f"{name} {found[str(package / name)]}\n" for name in measuring)
    return hashlib.sha256(lines.encode()).hexdigest()


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The files with different digests."""
    return sorted(file for file in {*before, *now} if before.get(file) != now.get(file))
