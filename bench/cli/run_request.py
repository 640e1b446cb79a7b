"""The request of a run. An interrupted run is resumed only under the conditions that it had."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..analysis.compare.environments import differences
from ..analysis.run.largest_batch import resolved
from ..errors import ResultsError, UsageError
from ..measurement import Environment
from ..results import sources
from ..results.folder import RunFolder, find, shown
from ..results.journal import read_journal
from ..running.plan import Record
from ..running.preparation import suite_files
from ..suite.case import AxisValue, Case, Conditions, Schedule, UntimedLaunches, check_value
from ..suite.script import Script, script
from .command import flag
from .options import MeasureOptions, RunOptions
from .values import suite_axes


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
        """Raises UsageError for options that conflict."""
        axes, script = options.axes_and_script(options.suites)
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
        """The request in a plan.json. Raises UsageError or a Python error if it is damaged."""
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
        """The part `request` of plan.json; the other fields are stored in other parts."""
        request = {
            "files": list(self.files),
            "keyword": self.keyword,
            "overrides": dict(self.overrides),
            "memory_limit": self.memory_limit,
        }
        return request if self.script is None else {**request, "script": self.script.to_json()}


def _bytes(value: Any) -> int | None:
    """Raises ValueError for an impossible memory limit."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{value!r} is not a number of bytes")
    return value


_MOST_NAMED = 5  # changes that one message names


@dataclass(frozen=True)
class Earlier:
    """The existing part of a run: its folder, its request, and the records of its launches."""

    folder: RunFolder
    request: RunRequest
    plan: Mapping[str, Any]
    records: Sequence[Record] = ()
    notes: Sequence[str] = field(default_factory=list)

    @property
    def largest(self) -> dict[str, int]:
        """The results of batch_size=max: the id of a case -> its batch size."""
        return dict(self.plan.get("largest", {}))


def earlier(run: str) -> Earlier:
    """The run that a user names. Raises ResultsError if it cannot be resumed."""
    folder = find(run)
    plan = folder.read_json("plan.json")
    try:
        request = RunRequest.from_plan(plan)
        for case in plan["cases"]:
            Case.from_json(case)
        plan["sources"].items()
        for batch_size in plan.get("largest", {}).values():
            check_value("batch_size", batch_size)
    except (UsageError, TypeError, ValueError, KeyError, AttributeError):
        raise ResultsError(
            f"{shown(folder.path)} cannot be resumed: its plan.json is missing, damaged or of an older version; "
            f"measure again: bench run"
        ) from None
    records = read_journal(folder.journal)
    return Earlier(folder, request, plan, [*records.measurements, *records.failures], records.notes)


# Options whose value in plan.json differs from the typed one.
_AS_STORED: Mapping[str, Callable[[Any], Any]] = {
    "suites": suite_files,
    "axis": suite_axes,
    "script": lambda path: script(path, (), ()).path,
    "data": lambda path: str(path.resolve()),
}


def check_options(options: RunOptions, run: Earlier) -> None:
    """Raises UsageError if an option that the user typed again has another value than in the run.

    Those that are not part of a run (--time-budget, --quiet, ...) may have any value.
    """
    stored = _stored_options(run)
    given = {name: getattr(options, name) for name in options.typed}
    if "devices" in given:
        given["axis"] = options.axes
    typed = {name: _AS_STORED.get(name, lambda value: value)(given[name]) for name in stored if name in given}
    changes = [
        f"{flag(RunOptions, name)}: {_text(stored[name])}, now {_text(value)}"
        for name, value in typed.items()
        if value != stored[name]
    ]
    script_arguments = [] if run.request.script is None else list(run.request.script.arguments)
    if options.script_arguments not in (None, script_arguments):
        changes.append(f"--: {_text(script_arguments)}, now {_text(options.script_arguments)}")
    refuse(run, changes)


def _stored_options(run: Earlier) -> dict[str, Any]:
    """The options that determine a run, with the values of this run."""
    request = run.request
    schedule, conditions, script = request.schedule, request.conditions, request.script
    how_often = ("launches", "max_launches", "tolerance", "repeats", "timeout")
    return {
        **{name: getattr(schedule, name) for name in how_often},
        "memory_limit": request.memory_limit,
        "seed": schedule.seed,
        **{name: getattr(conditions, name) for name in ("threads", "allocator", "start_method")},
        "data": conditions.data_root,
        "in_place": script is not None and script.in_place,
        "steps": None if script is None else script.steps,
        "steps_per_epoch": None if script is None else script.epoch,
        "no_counts": not request.untimed.counts,
        "no_profile": not request.untimed.profile,
        "name": run.plan.get("name", ""),
        "note": run.plan.get("note", ""),
        "keyword": request.keyword,
        "axis": dict(request.overrides),
        "suites": list(request.files),
        "script": None if script is None else script.path,
        "out": None,
    }


def check_cases(cases: Sequence[Case], run: Earlier) -> None:
    """Raises UsageError if the suites no longer give the cases of the run, with its results of batch_size=max.

    The device that a script chooses is found later.
    """
    is_chosen = run.request.script is not None and "device" not in run.request.overrides

    def ids(of: Iterable[Case]) -> set[str]:
        return {(case.on("cpu") if is_chosen else case).id for case in of}

    before = ids(map(Case.from_json, run.plan["cases"]))
    now = ids(resolved(cases, run.largest))
    gone = [f"the suite no longer has {case}" for case in sorted(before - now)]
    refuse(run, [*gone, *(f"the suite now has {case}" for case in sorted(now - before))])


def check_code(files: Iterable[str], run: Earlier) -> None:
    """Raises UsageError if the user's code, or Epochbench's, has changed."""
    changes = [f"{file} changed" for file in sources.changed(run.plan["sources"], sources.digests(files))]
    if run.plan.get("harness") != sources.harness():
        changes.append("Epochbench itself changed")
    refuse(run, changes)


def check_environment(now: Environment, run: Earlier) -> None:
    """Raises UsageError if a change of the environment affects times."""
    before = run.folder.environment()
    if before is None:
        raise ResultsError(f"{run.folder.path / 'environment.json'} is missing; measure again: bench run")
    refuse(
        run, [f"{one.field}: {_text(one.first)}, now {_text(one.second)}" for one in differences(before, now)]
    )


def refuse(run: Earlier, changes: Sequence[str]) -> None:
    """Raises UsageError that names the changes, if there are any."""
    if not changes:
        return
    more = f"; and {len(changes) - _MOST_NAMED} more" if len(changes) > _MOST_NAMED else ""
    raise UsageError(
        f"{shown(run.folder.path)} cannot be resumed, since it has changed: "
        f"{'; '.join(changes[:_MOST_NAMED])}{more}. Undo that, or measure again: bench run"
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_text(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ",".join(_text(one) for one in value) or "none"
    return "none" if value in (None, "") else str(value)
