"""From the suites to the tables of a run: the way that `run` and `profile` go together."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench import __version__
from bench.analysis.largest import resolved, searches
from bench.analysis.stopping import StopRule
from bench.case import Case
from bench.cli import resume as resuming
from bench.cli.listing import select
from bench.cli.progress import progress, searching, waiting
from bench.cli.resume import Earlier, Request
from bench.errors import Interrupted, UsageError
from bench.largest import search
from bench.machine.gpu import open_gpus
from bench.machine.lock import one_at_a_time
from bench.machine.telemetry import Telemetry
from bench.measurement import SEARCHED, TIMED
from bench.nursery import Workers
from bench.report.units import plain
from bench.results import folder as folders
from bench.results import sources
from bench.results.journal import Journal
from bench.runner import Job, Plan, ask_environment, describe, describe_script, probe, run

if TYPE_CHECKING:
    from bench.results.tables import Tables


@dataclass(frozen=True)
class Wishes:
    """What a verb was asked for besides what is measured. `began` is when it was, on time.monotonic."""

    labels: Mapping[str, str]
    out: Path | None = None
    download: bool = False
    wait: bool = True
    quiet: bool = False
    began: float = field(default_factory=time.monotonic)


def planned(workers: Workers, request: Request, quiet: bool) -> Plan:
    """The plan of what was asked for, as a worker read the suites. Raises UsageError for a limit to nothing."""
    with waiting("importing torch, reading suites", quiet):
        if request.script is not None:
            listings = describe_script(request.script, request.overrides)
        else:
            listings = describe(workers, request.files, request.overrides)
    files = {one.name: one.file for one in listings}
    columns = {one.name: one.columns for one in listings}
    cases = select(listings, request.keyword)
    if request.memory_limit is not None and not any(c.seeks_largest and c.device == "cpu" for c in cases):
        raise UsageError(
            "--memory-limit is for the search of batch_size=max on the CPU, and no case has that; leave it out, or "
            "give --axis batch_size=max"
        )
    return Plan(cases, files, request.schedule, request.apart, columns=columns, script=request.script)


@dataclass
class Ended:
    """What came of measuring: `stop` is the exit code of a signal that ended it early, else 0.

    `apart` is how long the launches apart from timing took in all, seconds.
    """

    folder: folders.RunFolder
    stop: int = 0
    apart: float = 0.0


def into_folder(
    workers: Workers, plan: Plan, request: Request, wishes: Wishes, before: Earlier | None = None
) -> Ended:
    """Measures the plan into a new folder, or into that of the run that goes on."""
    folder = before.folder if before is not None else folders.create(datetime.now(UTC), wishes.out)
    workers.logs, plan.traces = folder.logs, folder.traces
    try:
        with waiting("building one task for each data set and model", wishes.quiet):
            prepare(workers, plan, request, folder, before, wishes)
    except (UsageError, Interrupted):
        if before is None:
            folders.discard(folder.path)
        raise
    return measure(workers, plan, request, folder, before, wishes)


def command() -> str:
    """What the user typed, as the note of the lock and plan.json keep it."""
    return " ".join(["bench", *sys.argv[1:]])


def lock(wishes: Wishes) -> AbstractContextManager[None]:
    """One run at a time on this machine."""
    return one_at_a_time(command(), wishes.wait, waiting=say_waiting)


def say_waiting(holder: str) -> None:
    line = f"bench: waiting for another run to end: {holder}; --no-wait leaves instead"
    print(plain(line), file=sys.stderr)


def prepare(
    workers: Workers,
    plan: Plan,
    request: Request,
    folder: folders.RunFolder,
    before: Earlier | None,
    wishes: Wishes,
) -> None:
    """Tries what is to be measured, and writes down what it is; or sees that it is what it was before."""
    code = probe(workers, plan, wishes.download)
    environment = ask_environment(workers, plan.schedule.seed)
    if before is not None:
        resuming.check_code(code, before)
        resuming.check_environment(environment, before)
        return
    folder.write_json("environment.json", environment.to_json())
    folder.write_json(
        "plan.json",
        {
            **wishes.labels,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "commit": folders.git_commit(),
            "command": sys.argv[1:],
            "request": request.to_json(),
            "conditions": workers.conditions.to_json(),
            "spawned_because": workers.fallback,
            "sources": sources.digests(code),
            "harness": sources.harness(),
            **plan.to_json(),
        },
    )


def measure(
    workers: Workers,
    plan: Plan,
    request: Request,
    folder: folders.RunFolder,
    before: Earlier | None,
    wishes: Wishes,
) -> Ended:
    """All launches that are still to make into the journal, those of the search for the largest batches first."""
    ended = Ended(folder)
    journal = Journal(folder.journal)
    try:
        if any(case.seeks_largest for case in plan.cases):
            find_largest(workers, plan, request, folder, journal, before, wishes)
        launch_all(workers, plan, journal, before, wishes, ended)
    except Interrupted as stop:
        ended.stop = 128 + stop.signal_number
    finally:
        journal.close()
    return ended


def find_largest(
    workers: Workers,
    plan: Plan,
    request: Request,
    folder: folders.RunFolder,
    journal: Journal,
    before: Earlier | None,
    wishes: Wishes,
) -> None:
    """Puts what is found of batch_size=max into the plan, and into plan.json; where the budget ends it, what it has."""
    known = {} if before is None else before.largest
    plan.cases = resolved(plan.cases, known)
    tries = [] if before is None else [record for record in before.records if record.kind == SEARCHED]
    with searching(wishes.quiet) as announce:
        for record in search(workers, plan, request.memory_limit, tuple(tries), announce, began=wishes.began):
            journal.append(record)
            tries.append(record)
    found = {one.case.id: one.batch_size for one in searches(tries) if one.next is None}
    plan.cases = resolved(plan.cases, found)
    written = {**folder.read_json("plan.json"), **plan.to_json(), "largest": {**found, **known}}
    folder.write_json("plan.json", written)


def launch_all(
    workers: Workers, plan: Plan, journal: Journal, before: Earlier | None, wishes: Wishes, ended: Ended
) -> None:
    """The launches that measure. A case whose largest batch was not found in the time has none."""
    plan = dataclasses.replace(plan, cases=[case for case in plan.cases if not case.seeks_largest])
    done = [] if before is None else [record for record in before.records if record.kind != SEARCHED]
    rule = StopRule(plan.schedule)
    telemetry = watching(plan.cases)
    bar = progress(plan, rule, wishes.quiet, len(done))
    launched = time.monotonic()

    def begin(job: Job) -> None:
        nonlocal launched
        launched = time.monotonic()
        bar.begin(job)

    try:
        for record in run(workers, plan, rule, done, telemetry, announce=begin, began=wishes.began):
            if record.kind != TIMED:
                ended.apart += time.monotonic() - launched
            journal.append(record)
            bar.end(record)
    finally:
        bar.close()
        telemetry.close()


def watching(cases: Iterable[Case]) -> Telemetry:
    """Watches launches of these cases from outside, and the cards that they run on."""
    cards = {case.device.partition(":")[2] or "0" for case in cases if case.device.startswith("cuda")}
    return Telemetry(open_gpus(sorted(int(card) for card in cards)))


def finish(folder: folders.RunFolder) -> Tables:
    """Tables and pictures of a run, made from its journal."""
    from bench.report import plots
    from bench.results import tables

    for log in folder.logs.iterdir():
        if log.stat().st_size == 0:
            log.unlink()  # what printed nothing needs no file
    made = tables.read(folder.path)
    tables.write(folder, made)
    plots.draw(made, folder.plots)
    return made
