"""How much medians of the same code differ between runs of different times, which no run knows of itself."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST_RUNS = 5  # that an estimate is made from


@dataclass(frozen=True)
class RunDeviation:
    """The standard deviation between runs of the same code, on the logarithm.

    `freedom` is the degrees of freedom of the estimate: one less than the runs it comes from, infinite where it is
    stated.
    """

    deviation: float
    freedom: float = math.inf


# Where no earlier runs tell: measured on a shared machine with two processors (docs/methodology.md).
BY_ALLOCATOR = {"pinned": RunDeviation(0.05), "system": RunDeviation(0.15)}
UNKNOWN = RunDeviation(0.15)
OF_MEMORY = RunDeviation(0.01)


def standard(allocator: str) -> RunDeviation:
    """The stated deviation of runs under this allocator."""
    return BY_ALLOCATOR.get(allocator, UNKNOWN)


def from_earlier_runs(earlier: Sequence[float], stated: RunDeviation) -> RunDeviation:
    """The deviation of the logarithms of earlier medians; the stated one where these are fewer than FEWEST_RUNS."""
    if len(earlier) < FEWEST_RUNS:
        return stated
    return RunDeviation(statistics.stdev(earlier), len(earlier) - 1)
