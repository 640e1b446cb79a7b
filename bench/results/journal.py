"""The journal: one Measurement or Failure per line, on the disk before the next launch begins."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ResultsError, UsageError
from ..measurement import Failure, Measurement
from ..system.json_data import json_line, json_object

SCHEMA = 3
READABLE = (
    1,
    2,
    SCHEMA,
)  # 1 had neither guards nor telemetry; 2 added counts up over the steps of all stages

ADDED_UP = (
    "an earlier version added counts up over all counted steps, whose number depends on the mode; now they are per "
    "step, and those that cannot be converted are dropped: measure again"
)


class Journal:
    """An append-only file of JSON lines; each is synced to the disk when `append` returns (0.1 ms)."""

    def __init__(self, path: Path) -> None:
        """Appends after the last whole line; a partial line of an interrupted run is removed.

        Raises ResultsError if the file cannot be written.
        """
        self._path = path
        try:
            # Without a buffer: closing the file must not try again to write a line that did not fit.
            self._file = path.open("ab", buffering=0)
            self._whole = self._file.tell()
            if self._whole:
                self._whole = path.read_bytes().rfind(b"\n") + 1
                self._file.truncate(self._whole)
        except OSError as problem:
            raise ResultsError(
                f"{path} cannot be written: {problem.strerror}; a run continues only where its folder can be written"
            ) from None

    def append(self, record: Measurement | Failure) -> None:
        """Raises ResultsError if the disk is full; every line before is safe."""
        kind = "measurement" if isinstance(record, Measurement) else "failure"
        line = json_line({"schema": SCHEMA, kind: record})
        try:
            left = f"{line}\n".encode()
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
            self._whole += len(line) + 1  # the line is ASCII
        except OSError as problem:
            self._file.truncate(self._whole)  # remove the partial line
            raise ResultsError(
                f"{self._path} cannot be written: {problem.strerror}; what was measured before is kept, free some "
                f"space and run: bench run --resume {self._path.parent}"
            ) from None

    def close(self) -> None:
        self._file.close()


@dataclass
class Records:
    """The records of a journal, in the order of the launches; `notes` name what could not be read."""

    measurements: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, record: Measurement | Failure) -> None:
        if isinstance(record, Measurement):
            self.measurements.append(record)
        else:
            self.failures.append(record)


def read_journal(path: Path) -> Records:
    """The records of all complete lines. A partial last line, and any damaged line, is ignored with a note.

    Raises ResultsError if the file cannot be read, or was written by a later version.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as problem:
        raise ResultsError(f"{path} cannot be read: {problem.strerror}") from None
    records = Records()
    added_up = False
    torn = lines.pop()  # every whole line ends in a line feed
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = json_object(line)
            record = _record(data, path)
            records.add(record)
            added_up |= data["schema"] < 3 and isinstance(record, Measurement) and record.counts is not None
        except ResultsError:
            raise
        except (UsageError, ValueError, TypeError, KeyError, AttributeError):
            records.notes.append(f"{path}: line {number} is damaged, and ignored")
    if torn.strip():
        records.notes.append(
            f"{path}: line {len(lines) + 1} is incomplete, and ignored: the run was interrupted while writing it"
        )
    if added_up:
        records.notes.append(f"{path}: {ADDED_UP}")
    return records


def _record(data: Any, path: Path) -> Measurement | Failure:
    if data["schema"] not in READABLE:
        raise ResultsError(
            f"{path} has schema {data['schema']!r}, this version reads {SCHEMA} and older; "
            f"use the version that wrote it"
        )
    if "measurement" in data:
        return Measurement.from_json(data["measurement"])
    return Failure.from_json(data["failure"])
