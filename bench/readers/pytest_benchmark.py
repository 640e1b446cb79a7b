"""What pytest-benchmark writes: `--benchmark-json` with every round, `--benchmark-save` with their figures alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ..suite.case import Case, axis_column
from .json_document import JsonValue

TOOL = "pytest-benchmark"
REWRITE = "write it again with: pytest --benchmark-json=FILE"


def wrote(document: Mapping[str, Any]) -> bool:
    """Whether the document looks like one of pytest-benchmark's."""
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list):
        return False
    stats = any(isinstance(benchmark, dict) and "stats" in benchmark for benchmark in benchmarks)
    return stats or "machine_info" in document


def version(document: JsonValue) -> str:
    """The version of pytest-benchmark, where it is a text."""
    written = document.table().get("version")
    return written if isinstance(written, str) else ""


def benchmarks(document: JsonValue) -> list[JsonValue]:
    return document.part("benchmarks").items()


def name_of(_document: JsonValue, benchmark: JsonValue) -> str:
    """The name of a benchmark: that of its case where it is one of a suite."""
    case = _case(benchmark)
    return benchmark.part("fullname").text() if case is None else case.id


def read(
    _document: JsonValue, benchmark: JsonValue
) -> tuple[str, tuple[float, ...], dict[str, str], Case | None]:
    # All rounds run in one process, so that their median is one value: they say nothing of other processes.
    return "s", (_median(benchmark.part("stats")),), _metadata(benchmark), _case(benchmark)


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
        raise info.part("case").wrong(f"is not {case.id!r:.80}, as its axes say")
    return case


def _median(stats: JsonValue) -> float:
    """The median of the rounds, which must be that of the rounds themselves where they are there."""
    median = stats.part("median")
    value = median.number()
    if stats.has("data"):
        rounds = statistics.median(item.number() for item in stats.part("data").items())
        if not math.isclose(value, rounds, rel_tol=1e-9):
            raise median.wrong(f"is {value!r}, and the median of the rounds beside it is {rounds!r}")
    return value


def _metadata(benchmark: JsonValue) -> dict[str, str]:
    """Parameters of the test and what it noted itself, each with a prefix: both may use a name."""
    group = benchmark.table().get("group")
    found = {"group": group} if isinstance(group, str) else {}
    for key in ("params", "extra_info"):
        found |= benchmark.texts(key, prefix=f"{key}.")
    return found
