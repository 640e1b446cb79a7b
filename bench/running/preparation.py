"""Prepares a run: reads the suites in a worker, describes the environment, and probes the cases."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SuiteError, UsageError
from ..measurement import Environment, Measurement, Peak
from ..measurement.messages import (
    DescribeRequest,
    EnvironmentRequest,
    PeaksRequest,
    ProbeReport,
    ProbeRequest,
)
from ..suite.case import AxisValue, Case
from ..suite.matrix import VARIABLE, Expansion, column
from ..suite.script import Script
from ..system.gpu import HIDING
from ..system.json_data import from_json
from ..system.text import last_line
from .fork_server import Died, TimedOut
from .plan import Plan, SuiteListing
from .workers import RequestRunner


def suite_files(paths: Sequence[Path] | None) -> list[str]:
    """The suite files that these paths name: a folder stands for its .py files. Raises SuiteError."""
    files: list[str] = []
    for path in paths or [Path("suites")]:
        # os.path returns False for a text that is too long for a path, whereas Path raises.
        if os.path.isdir(path):
            found = sorted(file for file in path.glob("*.py") if not file.name.startswith("_"))
            if not found:
                raise SuiteError(f"folder {path} holds no suite file (*.py)")
            files += [str(file.resolve()) for file in found]
        elif os.path.isfile(path):
            files.append(str(path.resolve()))
        else:
            raise SuiteError(f"suite file {path} does not exist; name a .py file, or a folder of them")
    return list(dict.fromkeys(files))


def describe(
    workers: RequestRunner, files: Sequence[str], overrides: Mapping[str, Sequence[AxisValue]]
) -> list[SuiteListing]:
    """The suites of these files, expanded for this machine.

    Raises the worker's UsageError, and SuiteError for a file that ended the process that read it.
    """
    request = DescribeRequest(
        files=tuple(map(Path, files)),
        overrides=tuple((axis, *values) for axis, values in overrides.items()),
    )
    try:
        answer = workers.ask(request, "describe.log")
    except (Died, TimedOut) as end:
        if len(files) > 1:
            for file in files:  # find the file that it was
                describe(workers, [file], overrides)
        raise _reading_error(files, end) from None
    return [
        SuiteListing(suite["name"], suite["file"], Expansion.from_json(suite), tuple(suite["columns"]))
        for suite in answer["suites"]
    ]


def _reading_error(files: Sequence[str], end: Died | TimedOut) -> SuiteError:
    """The error for a process that ended while it read suite files."""
    what = f"suite file {files[0]}" if len(files) == 1 else f"suite files {', '.join(files)}"
    if isinstance(end, TimedOut):
        why = f"{what} was not read: {end}; work that takes long belongs into build, which runs when a case is measured"
    else:
        why = f"{what} ended the process that reads it ({end}); it must import without that"
    last = last_line(end.log)
    return SuiteError(f"{why}; the last line it printed: {last}" if last else why, end.log)


def describe_script(script: Script, axes: Mapping[str, Sequence[AxisValue]]) -> list[SuiteListing]:
    """The script as a suite, with the axes of the command line by their names there."""
    expansion = script.expand({column(name): values for name, values in axes.items()})
    return [SuiteListing(script.suite, script.path, expansion)]


def ask_environment(workers: RequestRunner, plan: Plan) -> Environment:
    """The machine and software, as a launch finds them, with the peaks of the devices that the plan measures.

    Raises UsageError if the process that reads them dies.
    """
    request = EnvironmentRequest(
        workers.conditions,
        plan.schedule.seed,
        devices=tuple(dict.fromkeys(case.device for case in plan.cases)),
    )
    try:
        found = workers.ask(request, "environment.log")["environment"]
    except (Died, TimedOut) as end:
        settings = workers.conditions
        raise UsageError(
            f"torch cannot be set up in a process of its own with {settings.threads} threads and the "
            f"{settings.allocator} allocator: {end}; try --threads 1, or --allocator system",
            end.log,
        ) from None
    # This may have shown that forking is not safe.
    return Environment.from_json({**found, "start_method": workers.conditions.start_method})


def with_peaks_of_counts(
    workers: RequestRunner, seed: int, environment: Environment, measurements: Iterable[Measurement]
) -> Environment:
    """With the measured peaks of the formats in which these launches computed, as far as they are not known yet.

    Which those are is known once operators have been counted.
    """
    used = {
        (one.case.device, counted.dtype)
        for one in measurements
        if one.counts is not None
        for counted in one.counts.operators
        if counted.flops
    }
    wanted = sorted(used - {(peak.device, peak.dtype) for peak in environment.peaks})
    if not wanted:
        return environment
    try:
        answer = workers.ask(PeaksRequest(workers.conditions, seed, tuple(wanted)), "peaks.log")
    except (Died, TimedOut):
        return environment  # there is no MFU then, with a caveat
    found = [from_json(Peak, one) for one in answer["peaks"]]
    return dataclasses.replace(environment, peaks=(*environment.peaks, *found))


@dataclass(frozen=True)
class Probed:
    """A plan whose cases can be built: with its `idle` axes, the `sources` of the user's own code, the files that a
    script has `written` to its folders, and the `devices` that it chose, by the ids of cases in the plan before.
    """

    plan: Plan
    sources: frozenset[str]
    written: tuple[str, ...] = ()
    devices: Mapping[str, str] = field(default_factory=dict)


def probe(
    workers: RequestRunner, plan: Plan, download: bool = False, requested_axes: Collection[str] = ()
) -> Probed:
    """Builds one case for each data set and model before anything is measured: the largest batch of each.

    Raises UsageError for a name or a size that does not exist, and for an axis that the command requests and a suite
    does not read; the workers learn which modules to import beforehand. A batch size that is not found yet is 1 here.
    """
    sources = {plan.files[case.suite] for case in plan.cases}
    idle: dict[str, tuple[str, ...]] = {}
    written: list[str] = []
    devices: dict[str, str] = {}
    script = plan.script
    for suite in dict.fromkeys(case.suite for case in plan.cases):
        largest: dict[tuple[Any, ...], Case] = {}
        cases = [case.sized(1) if case.seeks_largest else case for case in plan.cases if case.suite == suite]
        for case in sorted(cases, key=lambda case: case.batch_size):
            largest[case.get("dataset"), case.get("model"), case.validate_every] = case
        request = ProbeRequest(
            suite_file=Path(plan.files[suite]),
            cases=tuple(largest.values()),
            conditions=workers.conditions,
            requested_axes=tuple(requested_axes),
            all_cases=tuple(cases) if requested_axes else (),
            download=download,
            script=plan.script,
        )
        try:
            answer = workers.ask(request, "probe.log", timeout=plan.schedule.timeout)
        except (Died, TimedOut):
            continue  # the launches will report it, each for its own case
        report = from_json(ProbeReport, answer["report"])
        workers.learn(report.modules)
        sources |= set(map(str, report.sources))
        idle[suite] = report.idle
        written += map(str, report.written)
        if plan.script is not None:
            script = dataclasses.replace(plan.script, loops=report.loops)
        if plan.script is not None and "device" not in requested_axes:
            devices |= chosen_devices(workers, plan, request, report)
    found = dataclasses.replace(plan, idle=idle, script=script)
    if devices:
        on_devices = [case.on(devices.get(case.id, case.device)) for case in plan.cases]
        found = dataclasses.replace(found, cases=on_devices)
    return Probed(found, frozenset(sources), tuple(written), devices)


def chosen_devices(
    workers: RequestRunner, plan: Plan, request: ProbeRequest, first: ProbeReport
) -> dict[str, str]:
    """The device that a script chooses for each case, by its id, as far as its first runs show it.

    `first` is the report of the first case. Only where there is an accelerator may another case choose another device,
    so that each is run briefly. The first case may have hidden it by a variable (`env:CUDA_VISIBLE_DEVICES`).
    """
    names = () if plan.script is None else plan.script.names.values()
    hiding = {name for several in HIDING.values() for name in several}
    may_differ = first.has_accelerator or any(name.removeprefix(VARIABLE) in hiding for name in names)
    reports = {request.cases[0]: first}
    for case in plan.cases if may_differ else ():
        if case not in reports:
            of_case = dataclasses.replace(request, cases=(case,))
            try:
                answer = workers.ask(of_case, "probe.log", timeout=plan.schedule.timeout)
            except (Died, TimedOut, UsageError):
                continue  # the launches will report it
            reports[case] = from_json(ProbeReport, answer["report"])
    if not may_differ:
        reports |= dict.fromkeys(plan.cases, first)
    return {case.id: report.device for case, report in reports.items() if report.device}
