"""What pytest-benchmark writes: `--benchmark-json` with every round, `--benchmark-save` only with statistics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ..suite.case import Case, axis_column
from .json_document import JsonValue, benchmarks_have

TOOL = "pytest-benchmark"
REWRITE = "write it again with: pytest --benchmark-json=FILE"


def wrote(document: Mapping[str, Any]) -> bool:
    """Whether the document looks like one of pytest-benchmark's."""
    is_list = isinstance(document.get("benchmarks"), list)
    return benchmarks_have(document, "stats") or (is_list and "machine_info" in document)


def benchmarks(document: JsonValue) -> list[JsonValue]:
    return document.part("benchmarks").items()


def name_of(_document: JsonValue, benchmark: JsonValue) -> str:
    """The name of a benchmark: that of its case if it is one of a suite."""
    case = _case(benchmark)
    return benchmark.part("fullname").text() if case is None else case.id


def read(_document: JsonValue, benchmark: JsonValue) -> tuple[str, tuple[float, ...], Case | None]:
    # All rounds run in one process, so that their median is one value: they do not show how processes differ.
    return "s", (_median(benchmark.part("stats")),), _case(benchmark)


def _case(benchmark: JsonValue) -> Case | None:
    """The case of a suite that a test of Epochbench's own plugin measured."""
    extra = benchmark.table().get("extra_info")
    if not isinstance(extra, dict) or extra.get("epochbench") is None:
        return None
    info = benchmark.part("extra_info")
    names = [axis.text() for axis in info.part("axes").items()]
    # An axis has a key of its own, `axis.NAME` where NAME is that of another fact.
    axes = {name: extra.get(axis_column(name, [name]), extra.get(name)) for name in names}
    try:
        case = Case.from_json({"suite": info.part("suite").text(), "axes": axes})
    except UsageError as problem:
        raise info.wrong(f"is not a case: {problem}") from None
    if info.part("case").text() != case.id:
        raise info.part("case").wrong(f"is not {case.id!r:.80}, as its axes show")
    return case


def _median(stats: JsonValue) -> float:
    """The median of the rounds, which must agree with the rounds if they are in the file."""
    median = stats.part("median")
    value = median.number()
    if stats.has("data"):
        rounds = statistics.median(item.number() for item in stats.part("data").items())
        if not math.isclose(value, rounds, rel_tol=1e-9):
            raise median.wrong(f"is {value!r}, but the median of its rounds is {rounds!r}")
    return value
