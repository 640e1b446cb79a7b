"""When a case has been launched often enough: the stop rule.

A case is settled once the 95 % interval of each of its gated metrics is within the tolerance of its value. Stopping at
the first narrow interval makes the intervals cover the median a little less often than those of a fixed number of
launches. Order-statistic intervals are conservative by about as much, so that the final intervals of 6 to 20 launches
still contain the median in 93 % or more. The worst case is launches of two speeds, half of each: 89 %, since the first
six may all have the same speed (`tests/pure/test_stopping.py` simulates both, `benchmarks/interval_coverage.py`
measures real launches).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...measurement import METRICS, TIMED, Failure, Measurement
from ...suite.case import Case, Schedule
from ..launch.contamination import contamination
from ..launch.values import launch_values, used_launches
from .estimate import estimate

# Memory moves in pages and arenas: its interval is judged by the threshold of its class.
_MEMORY_TOLERANCE = 0.05


def tolerance_of(metric: str, tolerance: float) -> float | None:
    """How narrow the interval of a metric must be, as a share of its value; None for metrics without a tolerance."""
    known = METRICS.get(metric)
    if known is None or not known.gated or known.kind not in ("time", "memory"):
        return None
    return max(tolerance, _MEMORY_TOLERANCE) if known.kind == "memory" else tolerance


def width(launches: Sequence[Mapping[str, float]], tolerance: float) -> float:
    """The widest half interval of these launches' values over the tolerance; infinite without an interval."""
    widths = []
    for metric in dict.fromkeys(name for values in launches for name in values):
        allowed = tolerance_of(metric, tolerance)
        if allowed is not None:
            half = estimate([values[metric] for values in launches if metric in values]).half_width
            widths.append(math.inf if half is None else half / allowed)
    return max(widths, default=math.inf)


@dataclass
class _Progress:
    """The state of one case after its launches so far."""

    values: list[dict[str, float]] = field(default_factory=list)
    contaminated: list[bool] = field(default_factory=list)
    failures: int = 0

    @property
    def used(self) -> list[dict[str, float]]:
        used = used_launches(self.contaminated)
        return [values for values, one in zip(self.values, used, strict=True) if one]


class StopRule:
    """Decides which cases still need launches: it gets every record, and is called at the start of every round."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._cases: dict[str, _Progress] = {}
        self._remaining: dict[str, int] = {}  # read many times between two records of a case

    def add(self, record: Measurement | Failure) -> None:
        case = self._cases.setdefault(record.case.id, _Progress())
        self._remaining.pop(record.case.id, None)
        if record.kind != TIMED:
            return
        if isinstance(record, Failure):
            case.failures += 1
        else:
            case.values.append(launch_values(record))
            case.contaminated.append(bool(contamination(record)))

    def wants(self, case: Case) -> bool:
        """Whether the case needs another launch.

        It does not after a failure if nothing was measured, nor after a second failure.
        """
        return self.remaining(case) > 0

    def remaining(self, case: Case) -> int:
        """How many more launches the case is expected to need; 0 if it needs none.

        The width of an interval falls with the square root of the number of launches.
        """
        if case.id not in self._remaining:
            self._remaining[case.id] = self._expected(case)
        return self._remaining[case.id]

    def _expected(self, case: Case) -> int:
        done = self._cases.get(case.id, _Progress())
        least, most = self._schedule.launches, self._schedule.most
        if done.failures >= (2 if done.values else 1):
            return 0
        made, contaminated = len(done.values), sum(done.contaminated)
        clean = made - contaminated
        if clean < least:
            # Most launches were contaminated: repeating does not help.
            return min(least - clean, max(0, least + self._schedule.repeats - made))
        left = most - clean  # what contaminated launches take is given back, up to `repeats`
        left -= max(0, contaminated - self._schedule.repeats)
        width = self.width(case)
        wanted = clean * width * width  # fewer than there are of a settled case
        return math.ceil(max(0, min(left, wanted - clean)))

    def width(self, case: Case) -> float:
        """The widest half interval of the case over the tolerance; infinite without an interval."""
        return width(self._cases.get(case.id, _Progress()).used, self._schedule.tolerance)
