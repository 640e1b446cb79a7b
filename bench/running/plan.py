"""What a run measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..measurement import COUNTED, PHASED, PROFILED, STACKED, Failure, Measurement
from ..measurement.messages import Slowdown
from ..suite.case import Case, Schedule, UntimedLaunches
from ..suite.matrix import Expansion
from ..suite.script import Script

Record = Measurement | Failure


@dataclass(frozen=True)
class Job:
    """One planned launch: its case and kind, and its place in the run."""

    case: Case
    kind: str
    round: int
    position: int


@dataclass(frozen=True)
class Plan:
    """What a run measures: the cases with the file of their suite, and the schedule.

    `files`, `columns` (what a table shows) and `idle` (axes that change nothing) are by the name of a suite. The cases
    are of a `script` where there is one; profiles are written to `traces`. `memory_limit` is the bytes that a launch
    may take when it tries a batch size on the CPU. `spread` has, by the device of a case, the equal cards over which
    its launches are spread.
    """

    cases: Sequence[Case]
    files: Mapping[str, str]
    schedule: Schedule = field(default_factory=Schedule)
    untimed: UntimedLaunches = field(default_factory=UntimedLaunches)
    traces: Path | None = None
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    script: Script | None = None
    idle: Mapping[str, Sequence[str]] = field(default_factory=dict)
    slowdown: Slowdown | None = None
    memory_limit: int | None = None
    spread: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def launches(self) -> int:
        """The minimum number of launches of the plan."""
        return len(self.cases) * self.schedule.launches + len(self.untimed_launches)

    @property
    def untimed_launches(self) -> list[tuple[Case, str]]:
        """Case and kind of each untimed launch; on a device, phases need one too."""
        wanted = {COUNTED: self.untimed.counts, PROFILED: self.untimed.profile, STACKED: self.untimed.stacks}
        kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
        return [
            (case, kind)
            for case in self.cases
            for kind in ([PHASED, *kinds] if case.device != "cpu" else kinds)
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "cases": [case.to_json() for case in self.cases],
            "files": dict(self.files),
            "schedule": self.schedule.to_json(),
            "apart": self.untimed.to_json(),
            "loops": [] if self.script is None else [loop.to_json() for loop in self.script.loops],
            "columns": {suite: list(names) for suite, names in self.columns.items() if names},
        }


def spread_of(listings: Sequence[SuiteListing]) -> dict[str, list[str]]:
    """The equal cards of each device over which launches are spread: where all suites with cases on it agree."""
    spread: dict[str, list[str]] = {}
    for listing in listings:
        spread |= listing.expansion.spread
    pinned = {
        case.device
        for listing in listings
        for case in listing.expansion.cases
        if case.device not in listing.expansion.spread
    }
    return {device: cards for device, cards in spread.items() if device not in pinned}


@dataclass(frozen=True)
class SuiteListing:
    """A suite as read by the worker."""

    name: str
    file: str
    expansion: Expansion
    columns: tuple[str, ...] = ()  # the metrics that its table shows; none: those of every suite
