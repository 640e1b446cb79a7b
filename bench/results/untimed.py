"""What the launches apart from timing found, as rows of tables and as what is no table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..analysis.launch.derived_counts import family
from ..measurement import PROFILED, STACKED, Counts, Measurement, Profile

COUNT_COLUMNS = [
    "stage",
    "phase",
    "operator",
    "family",
    "number_format",
    "calls",
    "flops",
    "bytes",
    "formula",
]
OPERATOR_COLUMNS = [
    *("stage", "phase", "operator", "kind", "shapes", "calls"),
    *("host_self", "host_total", "device_self", "device_total", "bytes"),
]


def counted_operators(measurements: Sequence[Measurement]) -> Iterable[dict[str, Any]]:
    """The rows of `counts` of one case."""
    for measurement in measurements:
        if measurement.counts is None:
            continue
        unknown = set(measurement.counts.unknown)
        for one in measurement.counts.operators:
            yield {
                **dataclasses.asdict(one),
                "family": family(one.operator),
                "number_format": one.dtype,
                "formula": one.operator not in unknown,
            }


def profiled_operators(measurements: Sequence[Measurement]) -> Iterable[dict[str, Any]]:
    """The rows of `ops` of one case."""
    for measurement in measurements:
        if measurement.profile is not None:
            for one in measurement.profile.operators:
                yield dataclasses.asdict(one)


@dataclass(frozen=True)
class UntimedFindings:
    """What the launches of one case apart from timing found."""

    counts: Counts | None = None
    profile: Profile | None = None
    stacks: Profile | None = None


def apart_of(measurements: Sequence[Measurement]) -> UntimedFindings:
    """All that is no table."""
    profiles = {m.kind: m.profile for m in measurements if m.profile is not None}
    counts = next((m.counts for m in measurements if m.counts is not None), None)
    return UntimedFindings(counts, profiles.get(PROFILED), profiles.get(STACKED))
