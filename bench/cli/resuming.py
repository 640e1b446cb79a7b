"""Going on with a run that was cut off: as what it was, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer

from ..analysis.compare.environments import differences
from ..analysis.run.largest_batch import resolved
from ..errors import ResultsError, UsageError
from ..measurement import Environment
from ..results import sources
from ..results.folder import RunFolder, find, shown
from ..results.journal import read_journal
from ..running.plan import Record
from ..suite.case import AxisValue, Case, Conditions, Schedule, UntimedLaunches, check_value
from ..suite.script import Script
from ..suite.script import script as script_of
from .options import overrides, script_arguments, seconds, share, size, suite_files

_MOST_NAMED = 5  # changes that one message names


@dataclass(frozen=True)
class RunRequest:
    """What a run was asked to measure, in whose terms it is kept in plan.json.

    `files` are suite files, or there is a `script` instead; `keyword` is the -k expression, `overrides` are the
    values that --axis gave; `apart` says which launches there are apart from timing. `memory_limit` is bytes, of a
    launch that looks for the largest batch.
    """

    files: Sequence[str]
    keyword: str | None
    overrides: Mapping[str, Sequence[AxisValue]]
    schedule: Schedule
    conditions: Conditions
    apart: UntimedLaunches = field(default_factory=UntimedLaunches)
    memory_limit: int | None = None
    script: Script | None = None

    def to_json(self) -> dict[str, Any]:
        asked = {
            "files": list(self.files),
            "keyword": self.keyword,
            "overrides": dict(self.overrides),
            "memory_limit": self.memory_limit,
        }
        return asked if self.script is None else {**asked, "script": self.script.to_json()}


@dataclass(frozen=True)
class Earlier:
    """The part of a run that is there already: where, what was asked, and what it has come to."""

    folder: RunFolder
    request: RunRequest
    plan: Mapping[str, Any]
    records: Sequence[Record] = ()
    notes: Sequence[str] = field(default_factory=list)

    @property
    def largest(self) -> dict[str, int]:
        """What was found of batch_size=max: the id of a case -> its batch size."""
        return dict(self.plan.get("largest", {}))


def earlier(run: str) -> Earlier:
    """The run that a user means. Raises ResultsError where it cannot be gone on with."""
    folder = find(run)
    plan = folder.read_json("plan.json")
    try:
        asked = plan["request"]
        request = RunRequest(
            files=asked["files"],
            keyword=asked["keyword"],
            overrides={axis: list(values) for axis, values in asked["overrides"].items()},
            schedule=Schedule.from_json(plan["schedule"]),
            conditions=Conditions.from_json(plan["conditions"]),
            apart=UntimedLaunches.from_json(plan.get("apart", {})),
            memory_limit=_bytes(asked.get("memory_limit")),
            script=Script.from_json(asked["script"]) if "script" in asked else None,
        )
        for case in plan["cases"]:
            Case.from_json(case)
        plan["sources"].items()
        for found in plan.get("largest", {}).values():
            check_value("batch_size", found)
    except (UsageError, TypeError, ValueError, KeyError, AttributeError):
        raise ResultsError(
            f"{shown(folder.path)} cannot be gone on with: its plan.json is missing, damaged or of an older version; "
            f"measure anew: bench run"
        ) from None
    records = read_journal(folder.journal)
    return Earlier(folder, request, plan, [*records.measurements, *records.failures], records.notes)


def _bytes(value: Any) -> int | None:
    """Raises ValueError for what no limit of memory is."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{value!r} is no number of bytes")
    return value


def given(context: typer.Context) -> dict[str, Any]:
    """What the user gave on the command line of what makes a run: flag -> value, as plan.json would hold it."""
    read: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "suites": ("SUITE", suite_files),
        "keyword": ("-k", str),
        "axis": ("--axis", overrides),
        "script": ("--script", lambda path: script_of(path, (), ()).path),
        "tolerance": ("--tolerance", share),
        "timeout": ("--timeout", seconds),
        "memory_limit": ("--memory-limit", size),
        "data": ("--data", lambda path: str(path.resolve())),
        **{
            name: (f"--{name.replace('_', '-')}", lambda value: value)
            for name in (
                *("launches", "max_launches", "repeats", "seed", "threads", "allocator", "start_method"),
                *("in_place", "no_counts", "no_profile", "name", "note", "out"),
            )
        },
    }
    found = {}
    for parameter, (flag, convert) in read.items():
        source = context.get_parameter_source(parameter)
        if source is not None and source.name == "COMMANDLINE":
            found[flag] = convert(context.params[parameter])
    if (behind := script_arguments(context)) is not None:
        found["--"] = behind
    return found


def check_flags(given: Mapping[str, Any], run: Earlier) -> None:
    """Raises UsageError where a flag, by its name on the command line, asks for something else than the run did."""
    schedule, conditions, script = run.request.schedule, run.request.conditions, run.request.script
    known: dict[str, Any] = {
        "--launches": schedule.launches,
        "--max-launches": schedule.max_launches,
        "--tolerance": schedule.tolerance,
        "--repeats": schedule.repeats,
        "--timeout": schedule.timeout,
        "--memory-limit": run.request.memory_limit,
        "--seed": schedule.seed,
        "--threads": conditions.threads,
        "--allocator": conditions.allocator,
        "--start-method": conditions.start_method,
        "--data": conditions.data_root,
        "--in-place": script is not None and script.in_place,
        "--no-counts": not run.request.apart.counts,
        "--no-profile": not run.request.apart.profile,
        "--name": run.plan.get("name", ""),
        "--note": run.plan.get("note", ""),
        "-k": run.request.keyword,
        "--axis": dict(run.request.overrides),
        "SUITE": list(run.request.files),
        "--script": None if script is None else script.path,
        "--": [] if script is None else list(script.arguments),
        "--out": None,
    }
    refuse(
        run,
        [
            f"{name}: {_say(known[name])}, now {_say(value)}"
            for name, value in given.items()
            if value != known[name]
        ],
    )


def check_cases(cases: Sequence[Case], run: Earlier) -> None:
    """Raises UsageError where the suites no longer give the cases of the run, with what it found of batch_size=max."""
    before = {Case.from_json(case).id for case in run.plan["cases"]}
    now = {case.id for case in resolved(cases, run.largest)}
    gone = [f"the suite no longer has {case}" for case in sorted(before - now)]
    refuse(run, [*gone, *(f"the suite now has {case}" for case in sorted(now - before))])


def check_code(files: Iterable[str], run: Earlier) -> None:
    """Raises UsageError where the user's code, or Epochbench's, is not what it was."""
    changes = [
        f"{shown_file} changed" for shown_file in sources.changed(run.plan["sources"], sources.digests(files))
    ]
    if run.plan.get("harness") != sources.harness():
        changes.append("Epochbench itself changed")
    refuse(run, changes)


def check_environment(now: Environment, run: Earlier) -> None:
    """Raises UsageError where something changed that changes times."""
    before = run.folder.environment()
    if before is None:
        raise ResultsError(f"{run.folder.path / 'environment.json'} is missing; measure anew: bench run")
    refuse(
        run, [f"{one.field}: {_say(one.first)}, now {_say(one.second)}" for one in differences(before, now)]
    )


def refuse(run: Earlier, changes: Sequence[str]) -> None:
    """Raises UsageError that names the changes, if there are any."""
    if not changes:
        return
    more = f"; and {len(changes) - _MOST_NAMED} more" if len(changes) > _MOST_NAMED else ""
    raise UsageError(
        f"{shown(run.folder.path)} cannot be gone on with, since not everything is as it was: "
        f"{'; '.join(changes[:_MOST_NAMED])}{more}. Undo that, or measure anew: bench run"
    )


def _say(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_say(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ",".join(_say(one) for one in value) or "none"
    return "none" if value in (None, "") else str(value)
