"""What a run was asked to measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..running.preparation import suite_files
from ..suite.case import AxisValue, Conditions, Schedule, UntimedLaunches
from ..suite.script import Script
from .options import MeasureOptions


@dataclass(frozen=True)
class RunRequest:
    """What a run was asked to measure, as plan.json keeps it.

    `files` are suite files, or there is a `script` instead; `keyword` is the -k expression, `overrides` are the
    values of --axis. `memory_limit` is in bytes, for a launch of the search for the largest batch.
    """

    files: Sequence[str]
    keyword: str | None
    overrides: Mapping[str, Sequence[AxisValue]]
    schedule: Schedule
    conditions: Conditions
    untimed: UntimedLaunches = field(default_factory=UntimedLaunches)
    memory_limit: int | None = None
    script: Script | None = None

    @classmethod
    def of(cls, options: MeasureOptions, schedule: Schedule, untimed: UntimedLaunches) -> RunRequest:
        """Raises UsageError for what these options cannot mean."""
        axes, script = options.axes_and_script(options.axis, options.suites)
        return cls(
            files=suite_files(options.suites) if script is None else [],
            keyword=options.keyword,
            overrides=axes,
            schedule=schedule,
            conditions=options.conditions,
            untimed=untimed,
            memory_limit=options.memory_limit,
            script=script,
        )

    @classmethod
    def from_plan(cls, plan: Mapping[str, Any]) -> RunRequest:
        """The request of a plan.json. Raises an error of Python, or UsageError, for one that is damaged."""
        request = plan["request"]
        return cls(
            files=request["files"],
            keyword=request["keyword"],
            overrides={axis: list(values) for axis, values in request["overrides"].items()},
            schedule=Schedule.from_json(plan["schedule"]),
            conditions=Conditions.from_json(plan["conditions"]),
            untimed=UntimedLaunches.from_json(plan.get("apart", {})),
            memory_limit=_bytes(request.get("memory_limit")),
            script=Script.from_json(request["script"]) if "script" in request else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The part of plan.json that is called `request`; the other fields have parts of their own."""
        request = {
            "files": list(self.files),
            "keyword": self.keyword,
            "overrides": dict(self.overrides),
            "memory_limit": self.memory_limit,
        }
        return request if self.script is None else {**request, "script": self.script.to_json()}


def _bytes(value: Any) -> int | None:
    """Raises ValueError for what cannot be a memory limit."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{value!r} is not a number of bytes")
    return value
