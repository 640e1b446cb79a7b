"""Result files of other tools: pytest-benchmark's and pyperf's JSON, so that the gate judges them too.

Which tool wrote a file, its content tells and never its name. Who reads it trusts nothing in it: anybody may
have edited it. Nothing in it is run, and no file is read beyond a bound. A benchmark that cannot be read is left out
with the reason; the others stand.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import stat
import statistics
import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ResultsError
from ..plurals import counted
from ..suite.case import Case
from . import pyperf, pytest_benchmark
from .text import decoded, undecodable

_GZIP = b"\x1f\x8b"
_MOST_BYTES = 128 * 2**20  # a gzip file of a few KiB can claim gigabytes
_DEEPEST = 32  # levels of a document; neither tool goes beyond ten
_LARGEST = 1e18  # above it lies no time, size or count that was measured, and sums may overflow
_CONTROLS = {"Cc", "Cs"}  # categories: control characters, and halves of characters that JSON lets through
_READABLE = "name a JSON file of pytest-benchmark or pyperf"


@dataclass(frozen=True)
class ForeignCase:
    """A benchmark of another tool: `values` holds one value for each process, and `value` is their median.

    `case` is what it measured, where that was a case of a suite.
    """

    name: str
    unit: str  # in Epochbench's words: s, B or 1
    value: float
    values: tuple[float, ...]
    metadata: Mapping[str, str]
    case: Case | None = None


@dataclass(frozen=True)
class Foreign:
    """A result file of another tool; `version` is the tool's own, empty where the file does not say.

    `unread` says of each benchmark that cannot be read why; `nameless` does of those that have not even a name.
    """

    tool: str
    version: str
    cases: Mapping[str, ForeignCase]
    unread: Mapping[str, str] = field(default_factory=dict)
    nameless: Sequence[str] = ()


class Wrong(ResultsError):
    """Something in a document is not what the tool writes; `why` says where and what."""

    def __init__(self, path: Path, why: str, anew: str) -> None:
        super().__init__(f"{path} is no result that can be read: {why}; {anew}")
        self.why = why


@dataclass(frozen=True)
class Place:
    """A value in a document and where it stands there: whatever is asked of it is checked, and said in words."""

    path: Path
    anew: str  # the remedy
    where: str
    value: Any

    def wrong(self, why: str) -> Wrong:
        """The error that this value is, on one line."""
        return Wrong(self.path, f"{self.where or 'it'} {why}", self.anew)

    def has(self, key: str) -> bool:
        """Whether the table has this key with something behind it: null stands for nothing."""
        return self.table().get(key) is not None

    def part(self, key: str) -> Place:
        """What a table has under a key."""
        if not self.has(key):
            raise self.wrong(f"has no {key!r}")
        where = f"{self.where}.{key}" if self.where else key
        return replace(self, where=where, value=self.value[key])

    def items(self) -> list[Place]:
        """The items of a list that has some."""
        if not isinstance(self.value, list):
            raise self.wrong(f"is {_kind(self.value)} and no list")
        if not self.value:
            raise self.wrong("is empty")
        return [
            replace(self, where=f"{self.where}[{number}]", value=item)
            for number, item in enumerate(self.value)
        ]

    def table(self) -> dict[str, Any]:
        """The table that it is."""
        if not isinstance(self.value, dict):
            raise self.wrong(f"is {_kind(self.value)} and no table")
        return self.value

    def text(self) -> str:
        """The text that it is, on one line and not blank: it becomes a cell of a table on a terminal."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong(f"is {_shown(self.value)} and must be a text")
        if not _CONTROLS.isdisjoint(map(unicodedata.category, self.value)):
            raise self.wrong(f"is {_shown(self.value)}, which no terminal can show")
        return self.value

    def number(self) -> float:
        """The measured value that it is."""
        number = self.value
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise self.wrong(f"is {_shown(number)} and must be a number")
        # A comparison, unlike a conversion, bears whole numbers of any length.
        if not 0 <= number <= _LARGEST:
            raise self.wrong(f"is {_shown(number)}, which nothing measured can be")
        return float(number)

    def texts(self, key: str, prefix: str = "") -> dict[str, str]:
        """The table under a key as texts, for metadata: what is no text is written as JSON. Empty where it is no table.

        No value depends on metadata, so that what is wrong with it is no reason to leave one out.
        """
        found = self.table().get(key)
        return {
            _whole_text(f"{prefix}{key}"): _whole_text(value) if isinstance(value, str) else json.dumps(value)
            for key, value in (found.items() if isinstance(found, dict) else ())
            if value is not None
        }


@dataclass(frozen=True)
class _Tool:
    """How the files of one tool are known and read, and how its user gets a new one.

    `called` and `read` are given the document and one of its benchmarks: its name; its unit, its values, its metadata,
    and its case where it is one of a suite. Both raise Wrong.
    """

    name: str
    wrote: Callable[[Mapping[str, Any]], bool]
    version: Callable[[Place], str]
    benchmarks: Callable[[Place], list[Place]]
    called: Callable[[Place, Place], str]
    read: Callable[[Place, Place], tuple[str, tuple[float, ...], dict[str, str], Case | None]]
    anew: str


_TOOLS = (
    _Tool(
        "pytest-benchmark",
        pytest_benchmark.wrote,
        pytest_benchmark.version,
        pytest_benchmark.benchmarks,
        pytest_benchmark.called,
        pytest_benchmark.read,
        "write it anew with: pytest --benchmark-json=FILE",
    ),
    _Tool(
        "pyperf",
        pyperf.wrote,
        pyperf.version,
        pyperf.benchmarks,
        pyperf.called,
        pyperf.read,
        "write it anew with pyperf's option: -o FILE",
    ),
)


def read_foreign(path: Path) -> Foreign:
    """The results in this file. Raises ResultsError for what is none, or of which no benchmark can be read."""
    document = _document(path, _plain(path, _bytes(path)))
    for tool in _TOOLS:
        if tool.wrote(document):
            return _read(tool, Place(path, tool.anew, "", document))
    keys = ", ".join(_shown(key) for key in list(document)[:4])
    raise _error(path, f"is JSON of neither pytest-benchmark nor pyperf: it has {keys or 'nothing in it'}")


def _read(tool: _Tool, document: Place) -> Foreign:
    """The cases of a file. One that is there twice is not read: which of both is meant, nobody can say."""
    found: dict[str, ForeignCase] = {}
    unread: dict[str, str] = {}
    nameless: list[str] = []
    places: dict[str, str] = {}
    for row in tool.benchmarks(document):
        try:
            name = tool.called(document, row)
        except Wrong as problem:
            nameless.append(problem.why)
            continue
        if name in places:
            unread[name] = f"{places[name]} and {row.where} have the same name"
            found.pop(name, None)
            continue
        places[name] = row.where
        try:
            unit, values, metadata, case = tool.read(document, row)
        except Wrong as problem:
            unread[name] = problem.why
        else:
            found[name] = ForeignCase(name, unit, statistics.median(values), values, metadata, case)
    if not found:
        first, *more = [*nameless, *unread.values()]
        besides = f" (nor can {counted(len(more), 'other benchmark')})" if more else ""
        raise Wrong(document.path, f"{first}{besides}", document.anew)
    return Foreign(tool.name, tool.version(document), found, unread, nameless)


def _bytes(path: Path) -> bytes:
    """The content of a file, as far as it is one: a pipe would be waited for without end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _error(path, "is no file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as problem:  # the latter for a path with a NUL
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise _error(path, f"cannot be read: {why}") from None
    _check_size(path, data)
    return data


def _plain(path: Path, data: bytes) -> bytes:
    """The content behind gzip, where it is packed: pyperf writes .json.gz."""
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise _error(path, f"is damaged gzip: {_short(str(problem))}") from None
    _check_size(path, plain)
    return plain


def _check_size(path: Path, data: bytes) -> None:
    if len(data) > _MOST_BYTES:
        raise _error(path, f"holds more than {_MOST_BYTES // 2**20} MiB: no such result is so large")


def _document(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON table that the bytes are."""
    if not data.strip():
        raise _error(path, "is empty")
    try:
        document = json.loads(decoded(data), parse_int=_whole)
    except UnicodeDecodeError as problem:
        raise _error(path, undecodable(data, problem)) from None
    except json.JSONDecodeError as problem:
        place = f"line {problem.lineno}, column {problem.colno}"
        raise _error(path, f"is no JSON, or cut short: {problem.msg} at {place}") from None
    except RecursionError:
        raise _too_deep(path) from None
    if not isinstance(document, dict):
        raise _error(path, f"is {_kind(document)}, and results are a table")
    if _is_deep(document):
        raise _too_deep(path)
    return document


def _whole(digits: str) -> float:
    """A whole number; Python refuses to read thousands of digits, and none of them was measured."""
    return int(digits) if len(digits) < 400 else math.inf


def _whole_text(text: str) -> str:
    """A text that can be written anywhere: JSON may hold halves of characters, which no encoding has."""
    return text.encode(errors="replace").decode()


def _is_deep(document: object) -> bool:
    """True of what goes on beyond _DEEPEST; without recursion, so that its own depth is no matter."""
    level = [document]
    for _ in range(_DEEPEST):
        level = [part for outer in level for part in _parts(outer)]
        if not level:
            return False
    return True


def _parts(value: object) -> list[Any]:
    """What lies directly in a table or a list."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep(path: Path) -> ResultsError:
    return _error(path, f"is nested deeper than {_DEEPEST} levels: no such result is so deep")


def _error(path: Path, what: str) -> ResultsError:
    return ResultsError(f"{path} {what}; {_READABLE}")


def _kind(value: object) -> str:
    """What a value of JSON is, in words."""
    names = {dict: "a table", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: object) -> str:
    """A value as it stands in messages: scalars themselves, others by what they are."""
    return _kind(value) if isinstance(value, dict | list | type(None)) else _short(repr(value))


def _short(text: str) -> str:
    """Text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:80]}..."
