"""JSON documents that may have been edited: nothing in them is trusted, and no file is read beyond a limit."""

from __future__ import annotations

import gzip
import io
import json
import math
import stat
import unicodedata
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ResultsError
from ..system.text import decoded, on_one_line, undecodable

_GZIP = b"\x1f\x8b"
_MOST_BYTES = 128 * 2**20  # a gzip file of a few KiB can claim gigabytes
_DEEPEST = 32  # levels of a document; neither tool goes beyond ten
_LARGEST = 1e18  # no measured time, size or count is larger, and sums may overflow
_CONTROLS = {"Cc", "Cs"}  # categories: control characters, and lone surrogates, which JSON allows


class Unreadable(ResultsError):
    """A value in a document is not what its tool writes; `why` names place and problem."""

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        super().__init__(f"{path} is not a result that can be read: {why}; {remedy}")
        self.why = why


@dataclass(frozen=True)
class JsonValue:
    """A value in a document, with the path to it: each method checks what it returns, or raises Unreadable."""

    path: Path
    remedy: str
    where: str
    value: Any

    def wrong(self, why: str) -> Unreadable:
        """The error for this value, on one line."""
        return Unreadable(self.path, f"{self.where or 'it'} {why}", self.remedy)

    def has(self, key: str) -> bool:
        """Whether the table has a value other than null for this key."""
        return self.table().get(key) is not None

    def part(self, key: str) -> JsonValue:
        """The value of a table for a key."""
        if not self.has(key):
            raise self.wrong(f"has no {key!r}")
        where = f"{self.where}.{key}" if self.where else key
        return replace(self, where=where, value=self.value[key])

    def items(self) -> list[JsonValue]:
        """The items of a list that is not empty."""
        if not isinstance(self.value, list):
            raise self.wrong(f"is {_kind(self.value)} and not a list")
        if not self.value:
            raise self.wrong("is empty")
        return [
            replace(self, where=f"{self.where}[{number}]", value=item)
            for number, item in enumerate(self.value)
        ]

    def table(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.wrong(f"is {_kind(self.value)} and not a table")
        return self.value

    def text(self) -> str:
        """Text on one line and not blank, since it becomes a cell of a table."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong(f"is {shown(self.value)} and must be a text")
        if not _CONTROLS.isdisjoint(map(unicodedata.category, self.value)):
            raise self.wrong(f"is {shown(self.value)}, which no terminal can show")
        return self.value

    def number(self) -> float:
        """A measured value."""
        number = self.value
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise self.wrong(f"is {shown(number)} and must be a number")
        # A comparison, unlike a conversion, accepts integers of any length.
        if not 0 <= number <= _LARGEST:
            raise self.wrong(f"is {shown(number)}, which cannot have been measured")
        return float(number)

    def texts(self, key: str) -> dict[str, str]:
        """Metadata: the table for a key as texts, other values written as JSON. Empty if it is not a table."""
        found = self.table().get(key)
        return {
            _whole_text(key): _whole_text(value) if isinstance(value, str) else json.dumps(value)
            for key, value in (found.items() if isinstance(found, dict) else ())
            if value is not None
        }


def read_document(path: Path) -> dict[str, Any]:
    """The JSON table in a file, which may be compressed with gzip. Raises ResultsError."""
    data = _unpacked(path, _bytes(path))
    if not data.strip():
        raise document_error(path, "is empty")
    try:
        document = json.loads(decoded(data), parse_int=_whole)
    except UnicodeDecodeError as problem:
        raise document_error(path, undecodable(data, problem)) from None
    except json.JSONDecodeError as problem:
        place = f"line {problem.lineno}, column {problem.colno}"
        raise document_error(path, f"is not JSON, or cut short: {problem.msg} at {place}") from None
    except RecursionError:
        raise _too_deep(path) from None
    if not isinstance(document, dict):
        raise document_error(path, f"is {_kind(document)}, and results are a table")
    if _is_deep(document):
        raise _too_deep(path)
    return document


def benchmarks_have(document: Mapping[str, Any], key: str) -> bool:
    """Whether the document has a list of benchmarks, one of them with this key."""
    found = document.get("benchmarks")
    return isinstance(found, list) and any(isinstance(one, dict) and key in one for one in found)


def _bytes(path: Path) -> bytes:
    """The content of a regular file: reading a pipe might never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise document_error(path, "is not a file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as problem:  # the latter for a path with a NUL
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise document_error(path, f"cannot be read: {why}") from None
    _check_size(path, data)
    return data


def _unpacked(path: Path, data: bytes) -> bytes:
    """The content behind gzip: pyperf writes .json.gz."""
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise document_error(path, f"is damaged gzip: {on_one_line(str(problem), 80)}") from None
    _check_size(path, plain)
    return plain


def _check_size(path: Path, data: bytes) -> None:
    if len(data) > _MOST_BYTES:
        raise document_error(path, f"holds more than {_MOST_BYTES // 2**20} MiB: no such result is so large")


def _whole(digits: str) -> float:
    """An integer; Python refuses to read thousands of digits, which no measurement has."""
    return int(digits) if len(digits) < 400 else math.inf


def _whole_text(text: str) -> str:
    """A text that can be written anywhere: JSON may hold lone surrogates, which no encoding has."""
    return text.encode(errors="replace").decode()


def _is_deep(document: object) -> bool:
    """True for a document of more than _DEEPEST levels; without recursion, so that any depth is safe."""
    level = [document]
    for _ in range(_DEEPEST):
        level = [part for outer in level for part in _parts(outer)]
        if not level:
            return False
    return True


def _parts(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep(path: Path) -> ResultsError:
    return document_error(path, f"is nested deeper than {_DEEPEST} levels: no such result is so deep")


def document_error(path: Path, what: str) -> ResultsError:
    return ResultsError(f"{path} {what}; name a JSON file of pytest-benchmark or pyperf")


def _kind(value: object) -> str:
    """The type of a value of JSON, in words."""
    names = {dict: "a table", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def shown(value: object) -> str:
    """A value for a message: scalars themselves, others by their type."""
    return _kind(value) if isinstance(value, dict | list | type(None)) else on_one_line(repr(value), 80)
