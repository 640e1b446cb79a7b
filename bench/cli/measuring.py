"""From the suites to the tables of a run: the way that `run` and `profile` go together."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..analysis.run.largest_batch import resolved, searches
from ..analysis.run.stopping import StopRule
from ..errors import Interrupted, UsageError
from ..machine.lock import one_at_a_time
from ..machine.telemetry import Telemetry
from ..measurement import SEARCHED, TIMED, Failure
from ..report.units import plain
from ..results import folder as folders
from ..results import sources
from ..results.journal import Journal
from ..running.batch_size_search import search
from ..running.fork_server import Workers
from ..running.rounds import Job, Plan, ask_environment, describe, describe_script, probe, run
from ..suite.case import Case
from ..suite.script import check_alone
from ..system.git import distrust
from ..system.gpu import open_gpus
from . import resuming as resuming
from .progress import progress, searching, waiting
from .resuming import Earlier, RunRequest
from .verbs.list import select

if TYPE_CHECKING:
    from ..results.tables import Tables


@dataclass(frozen=True)
class VerbOptions:
    """What a verb was asked for besides what is measured.

    `began` is when it was, on time.monotonic; `before` is the run that it goes on with; `debug` shows the tracebacks of
    launches that fail.
    """

    labels: Mapping[str, str]
    out: Path | None = None
    download: bool = False
    wait: bool = True
    quiet: bool = False
    began: float = field(default_factory=time.monotonic)
    before: Earlier | None = None
    debug: bool = False


def planned(workers: Workers, request: RunRequest, quiet: bool) -> Plan:
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


def into_folder(workers: Workers, plan: Plan, request: RunRequest, wishes: VerbOptions) -> Measuring:
    """Measures the plan into a new folder, or into that of the run that goes on."""
    before = wishes.before
    folder = before.folder if before is not None else folders.create(datetime.now(UTC), wishes.out)
    if before is None:
        say_distrust()
    workers.logs = folder.logs
    plan = dataclasses.replace(plan, traces=folder.traces)
    measuring = Measuring(workers, plan, request, wishes, folder)
    try:
        with waiting("building one task for each data set and model", wishes.quiet):
            measuring.prepare()
    except (UsageError, Interrupted):
        if before is None:
            folders.discard(folder.path)
        raise
    measuring.measure()
    return measuring


def say_distrust() -> None:
    """Says it where git does not tell the commit of a tree although there is one."""
    if why := distrust(Path.cwd()):
        print(plain(f"bench: the commit is not recorded: {why}"), file=sys.stderr)


def command() -> str:
    """What the user typed, as the note of the lock and plan.json keep it."""
    return " ".join(["bench", *sys.argv[1:]])


def lock(wishes: VerbOptions) -> AbstractContextManager[None]:
    """One run at a time on what this one uses. Raises UsageError for one of several processes that train together."""
    check_alone(os.environ)
    return one_at_a_time(command(), wishes.wait, waiting=say_waiting)


_MOST_NAMED = 3  # files that one line names


def thrown_away(files: Sequence[str]) -> str:
    """What becomes of the files that a script writes to its folder."""
    named = ", ".join(files[:_MOST_NAMED])
    more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
    return (
        f"the script writes {named}{more}: each launch has the folder for itself, and what it writes there goes "
        f"with it (--in-place keeps it)"
    )


def say_waiting(holder: str) -> None:
    line = f"bench: waiting for another run to end: {holder}; --no-wait leaves instead"
    print(plain(line), file=sys.stderr)


@dataclass
class Measuring:
    """A plan that is measured into a folder, and what came of it.

    `stop` is the exit code of a signal that ended it early, else 0; `apart` is how long the launches apart from
    timing took in all, seconds; `failures` are those that were told as they came.
    """

    workers: Workers
    plan: Plan
    request: RunRequest
    wishes: VerbOptions
    folder: folders.RunFolder
    stop: int = 0
    apart: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    def prepare(self) -> None:
        """Tries what is to be measured, and writes down what it is; or sees that it is what it was before."""
        probed = probe(self.workers, self.plan, self.wishes.download, self.request.overrides)
        self.plan, code = probed.plan, probed.sources
        if probed.written and not self.wishes.quiet:
            print(plain(f"bench: {thrown_away(probed.written)}"), file=sys.stderr)
        environment = ask_environment(self.workers, self.plan.schedule.seed)
        if self.wishes.before is not None:
            resuming.check_code(code, self.wishes.before)
            resuming.check_environment(environment, self.wishes.before)
            return
        self.folder.write_json("environment.json", environment.to_json())
        self.folder.write_json(
            "plan.json",
            {
                **self.wishes.labels,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "version": __version__,
                "commit": folders.git_commit(),
                "command": sys.argv[1:],
                "request": self.request.to_json(),
                "conditions": self.workers.conditions.to_json(),
                "spawned_because": self.workers.fallback,
                "sources": sources.digests(code),
                "harness": sources.harness(),
                **self.plan.to_json(),
            },
        )

    def measure(self) -> None:
        """All launches that are still to make into the journal, those of the search for the largest batches first."""
        with contextlib.closing(Journal(self.folder.journal)) as journal:
            try:
                if any(case.seeks_largest for case in self.plan.cases):
                    self._find_largest(journal)
                self._launch_all(journal)
            except Interrupted as stop:
                self.stop = 128 + stop.signal_number

    def _find_largest(self, journal: Journal) -> None:
        """Puts what is found of batch_size=max, all or as far as the time went, into the plan and into plan.json."""
        before = self.wishes.before
        known = {} if before is None else before.largest
        self.plan = plan = dataclasses.replace(self.plan, cases=resolved(self.plan.cases, known))
        tries = [] if before is None else [record for record in before.records if record.kind == SEARCHED]
        limit, began = self.request.memory_limit, self.wishes.began
        with searching(self.wishes.quiet) as announce:
            for record in search(self.workers, plan, limit, tuple(tries), announce, began=began):
                journal.append(record)
                tries.append(record)
        found = {one.case.id: one.batch_size for one in searches(tries) if one.next is None}
        self.plan = plan = dataclasses.replace(plan, cases=resolved(plan.cases, found))
        written = {**self.folder.read_json("plan.json"), **plan.to_json(), "largest": {**found, **known}}
        self.folder.write_json("plan.json", written)

    def _launch_all(self, journal: Journal) -> None:
        """The launches that measure. A case whose largest batch was not found in the time has none."""
        cases = [case for case in self.plan.cases if not case.seeks_largest]
        plan, before = dataclasses.replace(self.plan, cases=cases), self.wishes.before
        done = [] if before is None else [record for record in before.records if record.kind != SEARCHED]
        rule = StopRule(plan.schedule)
        telemetry = watching(plan.cases)
        bar = progress(plan, rule, self.wishes.quiet, len(done), self.wishes.debug)
        launched = time.monotonic()

        def begin(job: Job) -> None:
            nonlocal launched
            launched = time.monotonic()
            bar.begin(job)

        began = self.wishes.began
        try:
            for record in run(self.workers, plan, rule, done, telemetry, announce=begin, began=began):
                if record.kind != TIMED:
                    self.apart += time.monotonic() - launched
                journal.append(record)
                bar.end(record)
                if isinstance(record, Failure):
                    self.failures.append(record)
        finally:
            bar.close()
            telemetry.close()


def say_places(folder: folders.RunFolder, tables: Tables) -> None:
    """Where tables, traces and pictures lie, as far as there are any."""
    from ..results.tables import files_with_rows

    place = folders.shown(folder.path)
    if files := files_with_rows(tables):
        print(f"tables: {place}/{', '.join(files)}")
    if _has_files(folder.traces):
        print(f"traces: {place}/traces/ (open them in https://ui.perfetto.dev or chrome://tracing)")
    if _has_files(folder.traces, "*.speedscope.json"):
        print(f"flame graphs: {place}/traces/*.speedscope.json (open them in https://www.speedscope.app)")
    if _has_files(folder.plots):
        print(f"pictures: {place}/plots/")


def _has_files(folder: Path, pattern: str = "*") -> bool:
    return any(folder.glob(pattern))


def watching(cases: Iterable[Case]) -> Telemetry:
    """Watches launches of these cases from outside, and the cards that they run on."""
    cards = {case.device.partition(":")[2] or "0" for case in cases if case.device.startswith("cuda")}
    return Telemetry(open_gpus(sorted(int(card) for card in cards)))


def finish(folder: folders.RunFolder) -> Tables:
    """Tables and pictures of a run, made from its journal."""
    from ..report import plots
    from ..results import tables

    for log in folder.logs.iterdir():
        if log.stat().st_size == 0:
            log.unlink()  # what printed nothing needs no file
    made = tables.read(folder.path)
    tables.write(folder, made)
    plots.draw(made, folder.plots)
    return made
