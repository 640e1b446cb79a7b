"""Result files of other tools: pytest-benchmark's and pyperf's JSON, so that the gate judges them too.

The tool that wrote a file is recognised by the content, never by the name. A benchmark that cannot be read is skipped
with the reason; the others are read.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..plurals import counted
from ..suite.case import Case
from . import pyperf, pytest_benchmark
from .json_document import JsonValue, Unreadable, document_error, read_document, shown


@dataclass(frozen=True)
class ForeignCase:
    """A benchmark of another tool: `values` holds one value for each process, and `value` is their median.

    `case` is the case of a suite that it measured, if any.
    """

    name: str
    unit: str  # in Epochbench's words: s, B or 1
    value: float
    values: tuple[float, ...]
    case: Case | None = None


@dataclass(frozen=True)
class Foreign:
    """A result file of another tool.

    `unread` has by name why a benchmark cannot be read; `nameless` the reasons for those without a name.
    """

    tool: str
    cases: Mapping[str, ForeignCase]
    unread: Mapping[str, str] = field(default_factory=dict)
    nameless: Sequence[str] = ()


class Format(Protocol):
    """The interface of a module of this package, which recognises and reads the files of one tool. All but `wrote`
    raise Unreadable.
    """

    TOOL: str
    REWRITE: str  # how a user gets a new file

    def wrote(self, document: Mapping[str, Any], /) -> bool: ...
    def benchmarks(self, document: JsonValue, /) -> list[JsonValue]: ...
    def name_of(self, document: JsonValue, benchmark: JsonValue, /) -> str: ...
    def read(
        self, document: JsonValue, benchmark: JsonValue, /
    ) -> tuple[str, tuple[float, ...], Case | None]:
        """Unit and values of a benchmark, and its case if it is one of a suite."""
        ...


_FORMATS: tuple[Format, ...] = (pytest_benchmark, pyperf)


def read_foreign(path: Path) -> Foreign:
    """The results in this file. Raises ResultsError for another file, or if no benchmark can be read."""
    document = read_document(path)
    for tool in _FORMATS:
        if tool.wrote(document):
            return _read(tool, JsonValue(path, tool.REWRITE, "", document))
    keys = ", ".join(shown(key) for key in list(document)[:4])
    raise document_error(
        path, f"is JSON of neither pytest-benchmark nor pyperf: it has {keys or 'nothing in it'}"
    )


def _read(tool: Format, document: JsonValue) -> Foreign:
    """The cases of a file. A name that occurs twice is not read, since it is ambiguous."""
    cases: dict[str, ForeignCase] = {}
    unread: dict[str, str] = {}
    nameless: list[str] = []
    places: dict[str, str] = {}
    for benchmark in tool.benchmarks(document):
        try:
            name = tool.name_of(document, benchmark)
        except Unreadable as problem:
            nameless.append(problem.why)
            continue
        if name in places:
            unread[name] = f"{places[name]} and {benchmark.where} have the same name"
            cases.pop(name, None)
            continue
        places[name] = benchmark.where
        try:
            unit, values, case = tool.read(document, benchmark)
        except Unreadable as problem:
            unread[name] = problem.why
        else:
            cases[name] = ForeignCase(name, unit, statistics.median(values), values, case)
    if not cases:
        first, *more = [*nameless, *unread.values()]
        besides = f" (nor can {counted(len(more), 'other benchmark')})" if more else ""
        raise Unreadable(document.path, f"{first}{besides}", document.remedy)
    return Foreign(tool.TOOL, cases, unread, nameless)
