"""What pytest-benchmark writes: `--benchmark-json` with every round, `--benchmark-save` with their figures alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..suite.case import Case

if TYPE_CHECKING:
    from . import Place


def wrote(document: Mapping[str, Any]) -> bool:
    """Whether the document looks like one of pytest-benchmark's."""
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list):
        return False
    stats = any(isinstance(benchmark, dict) and "stats" in benchmark for benchmark in benchmarks)
    return stats or "machine_info" in document


def version(document: Place) -> str:
    """The version of pytest-benchmark, where it is a text."""
    said = document.table().get("version")
    return said if isinstance(said, str) else ""


def benchmarks(document: Place) -> list[Place]:
    return document.part("benchmarks").items()


def called(_document: Place, benchmark: Place) -> str:
    """What a benchmark is called: as its case where it is one of a suite."""
    case = _case(benchmark)
    return benchmark.part("fullname").text() if case is None else case.id


def read(_document: Place, benchmark: Place) -> tuple[str, tuple[float, ...], dict[str, str], Case | None]:
    """Of a benchmark its unit, its values, its metadata, and its case where it is one of ours."""
    # All rounds run in one process, so that their median is one value: they say nothing of other processes.
    return "s", (_median(benchmark.part("stats")),), _metadata(benchmark), _case(benchmark)


def _case(benchmark: Place) -> Case | None:
    """The case of a suite that a test of Epochbench's own plugin measured."""
    notes = benchmark.table().get("extra_info")
    if not isinstance(notes, dict) or notes.get("epochbench") is None:
        return None
    said = benchmark.part("extra_info")
    axes = [axis.text() for axis in said.part("axes").items()]
    try:
        case = Case.from_json(
            {"suite": said.part("suite").text(), "axes": {axis: said.value.get(axis) for axis in axes}}
        )
    except UsageError as problem:
        raise said.wrong(f"is no case: {problem}") from None
    if said.part("case").text() != case.id:
        raise said.part("case").wrong(f"is not {case.id!r:.80}, as its axes say")
    return case


def _median(stats: Place) -> float:
    """The median of the rounds, which must be that of the rounds themselves where they are there."""
    median = stats.part("median")
    value = median.number()
    if stats.has("data"):
        rounds = statistics.median(item.number() for item in stats.part("data").items())
        if not math.isclose(value, rounds, rel_tol=1e-9):
            raise median.wrong(f"is {value!r}, and the median of the rounds beside it is {rounds!r}")
    return value


def _metadata(benchmark: Place) -> dict[str, str]:
    """Parameters of the test and what it noted itself, apart by a prefix: both may use a name."""
    group = benchmark.table().get("group")
    found = {"group": group} if isinstance(group, str) else {}
    for key in ("params", "extra_info"):
        found |= benchmark.texts(key, prefix=f"{key}.")
    return found
