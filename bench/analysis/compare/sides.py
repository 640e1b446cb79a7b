"""One side of a comparison in the common form, wherever it was read from."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from ...measurement import Environment, Metric
from ..run.estimate import LEVEL, coverage, interval_rank

PYTEST_BENCHMARK = "pytest-benchmark"  # the kind of a side read from its JSON

# The metrics of other tools, by unit; each of their cases has one of them.
FOREIGN_METRICS: Mapping[str, Metric] = {
    "time": Metric("time", "s", "time", "less", True, "what another tool calls its time"),
    "memory": Metric("memory", "B", "memory", "less", True, "what another tool calls its memory"),
    "value": Metric("value", "1", "time", "less", True, "what another tool measured without a unit"),
}


@dataclass(frozen=True)
class Observed:
    """The value of a metric on one side.

    `launches` has each launch's value by its round, and is empty where only the value is known. `error` is the
    standard error of the logarithm of the value, None where it is not known.
    """

    value: float
    launches: Mapping[int, float]
    error: float | None

    @classmethod
    def of(cls, launches: Mapping[int, float]) -> Observed:
        """The median of launches. Raises ValueError if there are none."""
        values = list(launches.values())
        return cls(statistics.median(values), launches, log_error(values))


@dataclass
class CaseSide:
    """The values of a case on one side: `observed` by metric; `failure` is why there are none, if known.

    `withheld` has, by metric, the side whose value cannot be compared, since an earlier version added it up over steps.
    """

    suite: str
    device: str
    observed: dict[str, Observed] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    failure: str = ""
    withheld: dict[str, str] = field(default_factory=dict)


@dataclass
class Side:
    """A side by what the user called it; `kind` is run, baseline, table or the name of another tool.

    Without an `environment`, the machine of its numbers is unknown. `folder` is that of a run, `axes` the values of
    each case, `notes` what could not be read.
    """

    name: str
    kind: str
    cases: dict[str, CaseSide]
    environment: Environment | None = None
    folder: str = ""
    notes: list[str] = field(default_factory=list)
    axes: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def aligned(base: Side, candidate: Side) -> Side:
    r"""The candidate with its tests called as the base calls them: pytest on Windows writes `tests\t.py::a`.

    Only what tests of pytest-benchmark differ in by the strokes of their path has one name; what the candidate has
    under both names keeps them.
    """
    if not base.kind == candidate.kind == PYTEST_BENCHMARK:
        return candidate
    known = {_posix(name): name for name in base.cases}
    names = {}
    for name in candidate.cases:
        other = known.get(_posix(name), name)
        names[name] = name if name in base.cases or other in candidate.cases else other
    if len(set(names.values())) < len(names):
        return candidate
    return dataclasses.replace(
        candidate,
        cases={names[name]: case for name, case in candidate.cases.items()},
        axes={names[name]: axes for name, axes in candidate.axes.items()},
    )


def _posix(name: str) -> str:
    path, test, rest = name.partition("::")
    return path.replace("\\", "/") + test + rest


def log_error(values: Sequence[float]) -> float | None:
    """The standard error of the logarithm of the median of these launches; None if there are too few.

    From the order-statistic interval, whose level is that of the ranks. Of normal logarithms that is on average 5 %
    (20 launches and more) to 30 % (6 to 8) too much. It makes up for what so few launches tell of their spread:
    with the exact factor, identical code would raise alarms three to five times as often as it may.
    Launches that all have one value vary by nothing.
    """
    if len(values) > 1 and min(values) == max(values):
        return 0.0
    rank = interval_rank(len(values))
    if rank is None or min(values) <= 0:
        return None
    ordered = sorted(values)
    return interval_error(ordered[rank - 1], ordered[-rank], len(ordered))


def interval_error(low: float, high: float, launches: int | None) -> float | None:
    """The same from the interval; where it is not known of how many launches that is, it is one of 95 %."""
    if low == high and math.isfinite(low):
        return 0.0
    if not 0 < low <= high < math.inf:
        return None
    rank = None if launches is None else interval_rank(launches)
    level = LEVEL if launches is None or rank is None else coverage(launches, rank)
    return math.log(high / low) / 2 / NormalDist().inv_cdf((1 + level) / 2)
