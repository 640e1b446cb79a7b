"""What pytest-benchmark writes: `--benchmark-json` with every round, `--benchmark-save` with their figures alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..case import Case
from ..errors import UsageError

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
    """The version of pytest-benchmark."""
    return document.part("version").text() if document.has("version") else ""


def cases(document: Place) -> Iterator[tuple[str, str, tuple[float, ...], dict[str, str], Case | None]]:
    """Of each benchmark its name, its unit, its values, its metadata, and its case where it is one of ours."""
    for benchmark in document.part("benchmarks").items():
        case = _case(benchmark)
        # All rounds run in one process, so that their median is one value: they say nothing of other processes.
        yield (
            benchmark.part("fullname").text() if case is None else case.id,
            "s",
            (_median(benchmark.part("stats")),),
            _metadata(benchmark),
            case,
        )


def _case(benchmark: Place) -> Case | None:
    """The case of a suite that a test of Epochbench's own plugin measured."""
    if not benchmark.has("extra_info") or not benchmark.part("extra_info").has("epochbench"):
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
    found: dict[str, str] = {}
    if benchmark.has("group"):
        found["group"] = benchmark.part("group").text()
    for key in ("params", "extra_info"):
        if benchmark.has(key):
            found |= benchmark.part(key).texts(prefix=f"{key}.")
    return found
