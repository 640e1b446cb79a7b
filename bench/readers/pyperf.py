"""What pyperf writes: a suite of benchmarks, each with its runs, one run for each process.

Values in a file are those of one iteration already: pyperf has divided each by `loops` times `inner_loops`. Metadata
that all runs or all benchmarks share is stored once, at the outer level.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .json_document import JsonValue, benchmarks_have

TOOL = "pyperf"
REWRITE = "write it again with pyperf's option: -o FILE"
_FORMATS = ("1.0", 6)  # 6 was of 0.9.6; they differ only in the warm-ups
_UNITS = {"second": "s", "byte": "B", "integer": "1"}


def wrote(document: Mapping[str, Any]) -> bool:
    """Whether the document looks like one of pyperf's."""
    is_empty = document.get("benchmarks") == []
    return benchmarks_have(document, "runs") or (is_empty and document.get("version") in _FORMATS)


def benchmarks(document: JsonValue) -> list[JsonValue]:
    """The benchmarks of a document. Formats before 6 have other keys; newer ones are unknown."""
    written = document.part("version")
    if written.value not in _FORMATS or isinstance(written.value, float):
        raise written.wrong(
            f"is {written.value!r:.40}, and only formats {_FORMATS[0]} and {_FORMATS[1]} can be read"
        )
    return document.part("benchmarks").items()


def name_of(document: JsonValue, benchmark: JsonValue) -> str:
    """The name of a benchmark; the runs have it if there is only one benchmark, or if names differ."""
    name = _metadata(document, benchmark).get("name", "")
    if isinstance(runs := benchmark.table().get("runs"), list) and runs:
        name = _agreed(benchmark, _each(document, benchmark), "name", "")
    return replace(benchmark, where=f"the name of {benchmark.where}", value=name).text()  # or an error


def read(document: JsonValue, benchmark: JsonValue) -> tuple[str, tuple[float, ...], None]:
    runs = benchmark.part("runs").items()
    unit = _agreed(benchmark, _each(document, benchmark), "unit", "second")
    if unit not in _UNITS:
        raise benchmark.wrong(f"has values in {unit!r:.40}, and only {', '.join(_UNITS)} can be read")
    return _UNITS[unit], _values(benchmark, runs), None


def _metadata(document: JsonValue, benchmark: JsonValue) -> dict[str, str]:
    """The metadata of a benchmark, over those of the document."""
    return {**document.texts("metadata"), **benchmark.texts("metadata")}


def _each(document: JsonValue, benchmark: JsonValue) -> list[dict[str, str]]:
    """The metadata of each run of a benchmark."""
    outer = _metadata(document, benchmark)
    return [
        {**outer, **run.texts("metadata")}
        for run in benchmark.part("runs").items()
        if isinstance(run.value, dict)
    ]


def _agreed(benchmark: JsonValue, runs: list[dict[str, str]], key: str, otherwise: str) -> str:
    """The value that all runs of a benchmark have."""
    found = sorted({run.get(key, otherwise) for run in runs})
    if len(found) > 1:
        raise benchmark.wrong(f"has runs of different {key}: {found[0]!r:.40} and {found[1]!r:.40}")
    return found[0]


def _values(benchmark: JsonValue, runs: list[JsonValue]) -> tuple[float, ...]:
    """The mean of each process: calibration runs have no values, and warm-ups are not among the values."""
    measured = [run.part("values").items() for run in runs if run.has("values")]
    means = [statistics.fmean(value.number() for value in values) for values in measured]
    if not means:
        raise benchmark.wrong("has only calibration runs, without a value")
    return tuple(means)
