"""The parent: which launch comes when. It yields what came back, one record a launch.

A round is one launch of every case that still wants one, in random order, forked from a fork server of its
own: launches of one case never share an address layout. Which cases want more is the stop rule's to
say. The order of a round follows from the seed and its number, and its cases from the records of the
rounds before: that is how a run that was cut off goes on as if it had not been.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ..errors import SuiteError, UsageError
from ..machine.telemetry import Readings
from ..measurement import (
    COUNTED,
    PHASED,
    PROFILED,
    SEARCHED,
    STACKED,
    TIMED,
    Environment,
    Failure,
    Measurement,
)
from ..measurement.messages import (
    DescribeRequest,
    EnvironmentRequest,
    LaunchRequest,
    ProbeReport,
    ProbeRequest,
    ProfileOptions,
    Request,
    Slowdown,
)
from ..suite.case import (
    COUNT_THREADS,
    SCRIPT_COUNT_THREADS,
    AxisValue,
    Case,
    Conditions,
    Schedule,
    UntimedLaunches,
)
from ..suite.matrix import Expansion, column
from ..suite.script import Script
from ..system.json_data import from_json
from ..system.logs import last_line
from ..system.paths import file_name
from .fork_server import Died, TimedOut

Record = Measurement | Failure

_FINISH = 5.0  # seconds of a budget, at most, that are kept for tables and pictures


class StoppingRule(Protocol):
    """The stop rule, as a run needs it; `analysis/stopping.py` has the one in use."""

    def add(self, record: Record) -> None: ...
    def wants(self, case: Case) -> bool: ...


class Asks(Protocol):
    """Whoever has requests answered in processes of their own, as `fork_server.Workers` does."""

    @property
    def conditions(self) -> Conditions: ...
    def ask(
        self,
        request: Request,
        log: str,
        timeout: float = ...,
        started: Callable[[int], None] = ...,
    ) -> dict[str, Any]: ...
    def learn(self, modules: Sequence[str]) -> None: ...
    def renew(self) -> None: ...


class Watch(Protocol):
    """Whoever watches a launch from outside, as `machine/telemetry.py` does."""

    def watch(self, pid: int) -> None: ...
    def end(self, loop: tuple[float, float] | None) -> Readings: ...


@dataclass(frozen=True)
class Job:
    """One launch to come: what of, and its place in the run."""

    case: Case
    kind: str
    round: int
    position: int


@dataclass(frozen=True)
class Plan:
    """What a run is to measure: the cases with the file of their suite, and the schedule.

    `files`, `columns` (what a table shows) and `idle` (axes that change nothing) are by the name of a suite. The cases
    are of a `script` where there is one; profiles are written to `traces`. `memory_limit` is the bytes that a launch
    may take which tries a batch size on the CPU.
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

    @property
    def launches(self) -> int:
        """How many launches the plan takes at the least."""
        return len(self.cases) * self.schedule.launches + len(self.untimed_launches)

    @property
    def untimed_launches(self) -> list[tuple[Case, str]]:
        """Case and kind of each untimed launch: on a device, phases take one too."""
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
            "columns": {suite: list(names) for suite, names in self.columns.items() if names},
        }


@dataclass(frozen=True)
class SuiteListing:
    """A suite as the worker read it."""

    name: str
    file: str
    expansion: Expansion
    columns: tuple[str, ...] = ()  # the metrics that its table shows; none: those of every suite


def suite_files(paths: Sequence[Path] | None) -> list[str]:
    """The suite files that these paths name: a folder stands for its .py files. Raises SuiteError."""
    files: list[str] = []
    for path in paths or [Path("suites")]:
        # os.path says False, where Path raises, of text that is too long to be a path.
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
    workers: Asks, files: Sequence[str], overrides: Mapping[str, Sequence[AxisValue]]
) -> list[SuiteListing]:
    """The suites of these files, expanded for this machine.

    Raises UsageError as the worker worded it, and SuiteError for a file that ended the process which read it.
    """
    request = DescribeRequest(
        files=tuple(map(Path, files)),
        overrides=tuple((axis, *values) for axis, values in overrides.items()),
    )
    try:
        answer = workers.ask(request, "describe.log")
    except (Died, TimedOut) as end:
        if len(files) > 1:
            for file in files:  # which of them it was
                describe(workers, [file], overrides)
        raise _unread(files, end) from None
    return [
        SuiteListing(suite["name"], suite["file"], Expansion.from_json(suite), tuple(suite["columns"]))
        for suite in answer["suites"]
    ]


def _unread(files: Sequence[str], end: Died | TimedOut) -> SuiteError:
    """What the end of the process that read suite files amounts to."""
    what = f"suite file {files[0]}" if len(files) == 1 else f"suite files {', '.join(files)}"
    if isinstance(end, TimedOut):
        why = f"{what} was not read: {end}; what takes long belongs into build, which runs when a case is measured"
    else:
        why = f"{what} ended the process that reads it ({_ending(end)}); it must import without that"
    last = last_line(end.log)
    return SuiteError(f"{why}; the last line it printed: {last}" if last else why, end.log)


def describe_script(script: Script, axes: Mapping[str, Sequence[AxisValue]]) -> list[SuiteListing]:
    """The suite that a script is, with the axes of the command line by their names there."""
    expansion = script.expand({column(name): values for name, values in axes.items()})
    return [SuiteListing(script.suite, script.path, expansion)]


def ask_environment(workers: Asks, seed: int) -> Environment:
    """What the machine and software are, as a launch finds them. Raises UsageError where a process dies of them."""
    try:
        found = workers.ask(EnvironmentRequest(workers.conditions, seed), "environment.log")["environment"]
    except (Died, TimedOut) as end:
        why = str(end) if isinstance(end, TimedOut) else _ending(end)
        settings = workers.conditions
        raise UsageError(
            f"torch cannot be set up in a process of its own with {settings.threads} threads and the "
            f"{settings.allocator} allocator: {why}; try --threads 1, or --allocator system",
            end.log,
        ) from None
    # Asking may have shown that fork is not sound.
    return Environment.from_json({**found, "start_method": workers.conditions.start_method})


@dataclass(frozen=True)
class Probed:
    """A plan whose cases can be built: with its `idle` axes, the `sources` of the user's own code, and the files that
    a script has `written` to its folders.
    """

    plan: Plan
    sources: frozenset[str]
    written: tuple[str, ...] = ()


def probe(workers: Asks, plan: Plan, download: bool = False, requested_axes: Collection[str] = ()) -> Probed:
    """Builds one case for each data set and model before anything is measured: the largest batch of each.

    Raises UsageError for a name or a size that does not exist, and for an axis that the command requests and a suite
    does not read; the workers learn which modules to import beforehand. A batch size that is still to be found is 1
    here.
    """
    sources = {plan.files[case.suite] for case in plan.cases}
    idle: dict[str, tuple[str, ...]] = {}
    written: list[str] = []
    for suite in dict.fromkeys(case.suite for case in plan.cases):
        largest: dict[tuple[Any, ...], Case] = {}
        cases = [case.sized(1) if case.seeks_largest else case for case in plan.cases if case.suite == suite]
        for case in sorted(cases, key=_batch):
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
            continue  # the launches will show it, each for its own case
        report = from_json(ProbeReport, answer["report"])
        workers.learn(report.modules)
        sources |= set(map(str, report.sources))
        idle[suite] = report.idle
        written += map(str, report.written)
    return Probed(dataclasses.replace(plan, idle=idle), frozenset(sources), tuple(written))


def _batch(case: Case) -> int:
    return case.batch_size


def run(
    workers: Asks,
    plan: Plan,
    rule: StoppingRule,
    done: Sequence[Record] = (),
    watch: Watch | None = None,
    announce: Callable[[Job], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
) -> Iterator[Record]:
    """Every launch of the plan, as it comes back; ends early where the time budget does.

    `done` are the records of an earlier part of the run: those launches are not made again. The budget runs
    from `began` on `clock`, by default from here.
    """
    budget = Budget(plan.schedule.time_budget, clock, began)
    made = {(record.round, record.kind, record.case.id): record for record in done}
    number = 0
    lost: set[str] = set()  # cases that failed before anything of them was measured
    while True:
        number += 1
        wanted = [(case, TIMED) for case in plan.cases if rule.wants(case)]
        order = random.Random(f"{plan.schedule.seed}/{number}")
        order.shuffle(wanted)
        if number == 1:  # behind the timed ones, which a budget is there for
            wanted += order.sample(plan.untimed_launches, len(plan.untimed_launches))
        if not wanted:
            return
        is_new = True
        for position, (case, kind) in enumerate(wanted, start=1):
            if kind != TIMED and case.id in lost:
                continue
            if earlier := made.get((number, kind, case.id)):
                rule.add(earlier)
                lost |= _lost(earlier, number)
                continue
            if not budget.allows_launch():
                return
            if is_new:
                workers.renew()
                is_new = False
            job = Job(case, kind, number, position)
            announce(job)
            record = launch(workers, plan, job, watch)
            rule.add(record)
            lost |= _lost(record, number)
            budget.spent()
            yield record


def _lost(record: Record, number: int) -> set[str]:
    """The case of a failure in the first round: what it does not do once it will not do again for its counts."""
    return {record.case.id} if number == 1 and isinstance(record, Failure) else set()


class Budget:
    """Whether another launch fits, as long as the longest one so far, and the end of the run behind it."""

    def __init__(self, seconds: float | None, clock: Callable[[], float], began: float | None = None) -> None:
        self._clock = clock
        self._ends = None
        if seconds is not None:
            self._ends = (clock() if began is None else began) + seconds - min(_FINISH, seconds / 10)
        self._longest = 0.0
        self._launch_began = 0.0

    def allows_launch(self) -> bool:
        if self._ends is None:
            return True
        self._launch_began = self._clock()
        return self._launch_began + self._longest < self._ends

    def spent(self) -> None:
        """The launch that was allowed has ended."""
        if self._ends is not None:
            self._longest = max(self._longest, self._clock() - self._launch_began)


def launch(
    workers: Asks, plan: Plan, job: Job, watch: Watch | None = None, threads: int | None = None
) -> Record:
    """One launch: what it reported, or the Failure that its end amounts to; with what was seen of it.

    `threads` are those of the workers, or of all counts launches, if not given.
    """
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    log = f"{file_name(job.case.id)}.{job.kind}.{job.round}.log"
    request = LaunchRequest(
        case=job.case,
        kind=job.kind,
        round=job.round,
        position=job.position,
        suite_file=Path(plan.files[job.case.suite]),
        conditions=_conditions(workers, plan, job, threads),
        seed=plan.schedule.seed,
        idle=tuple(plan.idle.get(job.case.suite, ())),
        script=plan.script,
        slowdown=plan.slowdown,
        memory_limit=plan.memory_limit if job.kind == SEARCHED else None,
        graph=plan.untimed.graph and job.kind == COUNTED,
        profile=_profile(plan, job) if job.kind in (PROFILED, STACKED) else None,
    )
    record: Record
    loop: tuple[float, float] | None = None
    try:
        answer = workers.ask(
            request, log, plan.schedule.timeout, watch.watch if watch is not None else lambda _: None
        )
        if "failure" in answer:
            record = _explained(Failure.from_json(answer["failure"]), answer["starved"])
        else:
            record, loop = Measurement.from_json(answer["measurement"]), answer["loop"]
    except (Died, TimedOut) as end:
        failure, message = _fate(end, plan.schedule.timeout)
        detail = f"logs/{log}" + (f"\n\nThe end of its log:\n{end.log}" if end.log else "")
        record = Failure(
            job.case, job.kind, job.round, job.position, 0, started, failure, message, detail=detail
        )
    return record if watch is None else _with_readings(record, watch.end(loop))


def _conditions(workers: Asks, plan: Plan, job: Job, threads: int | None) -> Conditions:
    counting = COUNT_THREADS if plan.script is None else SCRIPT_COUNT_THREADS
    standard = counting if job.kind == COUNTED else workers.conditions.threads
    return dataclasses.replace(workers.conditions, threads=threads or standard)


def _profile(plan: Plan, job: Job) -> ProfileOptions:
    return ProfileOptions(
        folder=(plan.traces or Path()).absolute(),
        name=file_name(job.case.id),
        steps=plan.untimed.profile_steps,
        stacks=job.kind == STACKED,
        cap=plan.untimed.trace_cap,
    )


def _with_readings(record: Record, seen: Readings) -> Record:
    if isinstance(record, Failure):
        return dataclasses.replace(record, telemetry=seen.telemetry)
    return dataclasses.replace(record, telemetry=seen.telemetry, guards={**record.guards, **seen.guards})


def _explained(failure: Failure, starved: bool) -> Failure:
    """A failure that a process of the launch, such as a loader worker, was killed for want of memory."""
    if not starved or failure.failure == "out_of_memory":
        return failure
    message = f"{failure.message}; {_STARVED}"
    return dataclasses.replace(failure, failure="out_of_memory", message=message)


_STARVED = "the kernel killed a process for want of memory: make the batch smaller, or give it more memory"


def _fate(end: Died | TimedOut, timeout: float) -> tuple[str, str]:
    if isinstance(end, TimedOut):
        last = last_line(end.log)
        said = f"; its log ends: {last}" if last else ""
        return "timeout", f"no result within {timeout:g} s, killed; give it longer with --timeout{said}"
    if end.starved and end.status == -signal.SIGKILL:
        return "out_of_memory", _STARVED
    return "crash", _ending(end) if end.status < 0 else f"{_ending(end)} and no result"


def _ending(end: Died) -> str:
    if end.starved and end.status == -signal.SIGKILL:
        return _STARVED
    return (
        f"killed by {_signal_name(-end.status)}" if end.status < 0 else f"ended with exit code {end.status}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time one has no name
