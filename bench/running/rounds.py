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
        request: Mapping[str, Any],
        log: str,
        timeout: float = ...,
        started: Callable[[int], None] = ...,
    ) -> dict[str, Any]: ...
    def learn(self, modules: list[str]) -> None: ...
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


@dataclass
class Plan:
    """What a run is to measure: the cases with the file of their suite, and the schedule."""

    cases: list[Case]
    files: Mapping[str, str]  # suite name -> file
    schedule: Schedule = field(default_factory=Schedule)
    apart: UntimedLaunches = field(default_factory=UntimedLaunches)
    traces: Path | None = None  # the folder that profiles put their files into
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)  # suite name -> what its table shows
    script: Script | None = None  # what the cases are of, in place of suites
    idle: dict[str, list[str]] = field(default_factory=dict)  # suite name -> axes that change nothing
    plant: Mapping[str, Any] | None = None  # work added to each launch, as worker/plants.py names it
    room: int | None = None  # bytes that a launch may take which tries a batch size on the CPU
    written: Sequence[str] = ()  # what the script wrote to its folders when it was probed, and nobody keeps

    @property
    def launches(self) -> int:
        """How many launches the plan takes at the least."""
        return len(self.cases) * self.schedule.launches + len(self.launches_apart)

    @property
    def launches_apart(self) -> list[tuple[Case, str]]:
        """Case and kind of each launch apart from timing: on a device, phases take one too."""
        kinds = {COUNTED: self.apart.counts, PROFILED: self.apart.profile, STACKED: self.apart.stacks}
        asked = [kind for kind, wanted in kinds.items() if wanted]
        return [
            (case, kind)
            for case in self.cases
            for kind in ([PHASED, *asked] if case.device != "cpu" else asked)
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "cases": [case.to_json() for case in self.cases],
            "files": dict(self.files),
            "schedule": self.schedule.to_json(),
            "apart": self.apart.to_json(),
            "columns": {suite: list(names) for suite, names in self.columns.items() if names},
        }

    def told(self) -> dict[str, Any]:
        """What of a request says that its cases are of a script."""
        return {} if self.script is None else {"script": self.script.to_json()}


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
    request = {"do": "describe", "files": list(files), "overrides": dict(overrides)}
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
    request = {"do": "environment", "conditions": workers.conditions.to_json(), "seed": seed}
    try:
        found = workers.ask(request, "environment.log")["environment"]
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


def probe(workers: Asks, plan: Plan, download: bool = False, asked: Collection[str] = ()) -> set[str]:
    """Builds one case for each data set and model before anything is measured: the largest batch of each.

    Returns the files of the user's own code that building them loaded. Raises UsageError for a name or a
    size that cannot be had, and for an axis that the command has `asked` for and that a suite does not read; the
    workers learn which modules to import beforehand, the plan which axes change nothing. A batch size that is still to
    be found is 1 here.
    """
    sources = {plan.files[case.suite] for case in plan.cases}
    for suite in dict.fromkeys(case.suite for case in plan.cases):
        largest: dict[tuple[Any, ...], Case] = {}
        cases = [case.sized(1) if case.seeks_largest else case for case in plan.cases if case.suite == suite]
        for case in sorted(cases, key=_batch):
            largest[case.get("dataset"), case.get("model"), case.validate_every] = case
        request = {
            "do": "probe",
            "suite_file": plan.files[suite],
            "cases": [case.to_json() for case in largest.values()],
            "asked": list(asked),
            "others": [case.to_json() for case in cases] if asked else [],
            "conditions": workers.conditions.to_json(),
            "download": download,
            **plan.told(),
        }
        try:
            answer = workers.ask(request, "probe.log", timeout=plan.schedule.timeout)
        except (Died, TimedOut):
            continue  # the launches will tell, each for its own case
        workers.learn(answer["modules"])
        sources |= set(answer["sources"])
        plan.idle[suite] = answer["idle"]
        plan.written = answer.get("written", ())
    return sources


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
            wanted += order.sample(plan.launches_apart, len(plan.launches_apart))
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
            if not budget.has_room():
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

    def has_room(self) -> bool:
        if self._ends is None:
            return True
        self._launch_began = self._clock()
        return self._launch_began + self._longest < self._ends

    def spent(self) -> None:
        """The launch that there was room for has ended."""
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
    request = {
        "do": "launch",
        "case": job.case.to_json(),
        "kind": job.kind,
        "round": job.round,
        "position": job.position,
        "suite_file": plan.files[job.case.suite],
        "idle": plan.idle.get(job.case.suite, []),
        "conditions": _conditions(workers, plan, job, threads).to_json(),
        "seed": plan.schedule.seed,
        **_wishes(plan, job),
        **plan.told(),
        **({} if plan.plant is None else {"plant": dict(plan.plant)}),
    }
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


def _wishes(plan: Plan, job: Job) -> dict[str, Any]:
    """What a launch apart from timing is to do."""
    if job.kind in (TIMED, PHASED):
        return {}
    if job.kind == SEARCHED:
        return {"room": plan.room}
    return {
        "graph": plan.apart.graph,
        "profile_steps": plan.apart.profile_steps,
        "trace_cap": plan.apart.trace_cap,
        "traces": str(plan.traces or ""),
        "trace_name": file_name(job.case.id),
    }


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
