"""One side of a comparison, as all of them are compared, wherever they came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...measurement import Environment, Metric
from .verdict import Observed

PYTEST_BENCHMARK = "pytest-benchmark"  # the kind of a side that its JSON is

# What other tools measure, each by its unit; a case of theirs has one of them.
FOREIGN_METRICS: Mapping[str, Metric] = {
    "time": Metric("time", "s", "time", "less", True, "what another tool calls its time"),
    "memory": Metric("memory", "B", "memory", "less", True, "what another tool calls its memory"),
    "value": Metric("value", "1", "time", "less", True, "what another tool measured without a unit"),
}


@dataclass
class CaseSide:
    """What one side says of a case: `observed` by metric; `failure` says why there is nothing, if that is known.

    `withheld` has by metric why a value that is there cannot be compared.
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

    Without an `environment` nobody knows where its numbers come from. `folder` is that of a run, `axes` the values
    of each case, `notes` what could not be read.
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
