"""From the suites to the tables of a run: what `run` and `profile` have in common."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .. import __version__
from ..analysis.run.largest_batch import resolved, searches
from ..analysis.run.stopping import StopRule
from ..errors import Interrupted, UsageError
from ..machine.telemetry import Telemetry
from ..measurement import SEARCHED, TIMED, Device, Failure, Measurement
from ..plurals import counted
from ..report import plots
from ..results import folder as folders
from ..results import sources, tables
from ..results.journal import Journal
from ..results.tables import Tables
from ..running.batch_size_search import search
from ..running.lanes import ONE_CARD, Spread, opened, spread_over
from ..running.plan import Plan, Record, spread_of
from ..running.preparation import (
    ask_environment,
    describe,
    describe_script,
    probe,
    with_peaks_of_counts,
)
from ..running.rounds import run
from ..running.workers import Workers
from ..suite.loops import BACKWARD, BATCH, OPTIMIZER, Loop
from . import run_request
from .launching import print_cards_in_use, print_distrust
from .options import MeasureOptions
from .progress import run_progress, searching, waiting
from .run_request import Earlier, RunRequest
from .screen import print_remark
from .values import select_cases

_MOST_NAMED = 3  # files that one line names
_ENDS = {OPTIMIZER: "optimizer's", BACKWARD: "backward pass"}


def planned(workers: Workers, request: RunRequest, quiet: bool) -> Plan:
    """The plan of a request, from the suites as a worker read them. Raises UsageError for a useless memory limit."""
    with waiting("importing torch, reading suites", quiet):
        if request.script is not None:
            listings = describe_script(request.script, request.overrides)
        else:
            listings = describe(workers, request.files, request.overrides)
    files = {one.name: one.file for one in listings}
    columns = {one.name: one.columns for one in listings}
    cases = select_cases(listings, request.keyword)
    if request.memory_limit is not None and not any(c.seeks_largest and c.device == "cpu" for c in cases):
        raise UsageError(
            "--memory-limit is for the search of batch_size=max on the CPU, and no case has that; leave it out, or "
            "give --axis batch_size=max"
        )
    return Plan(
        cases,
        files,
        request.schedule,
        request.untimed,
        columns=columns,
        script=request.script,
        spread=spread_of(listings),
    )


def measured(
    workers: Workers, plan: Plan, request: RunRequest, options: MeasureOptions, before: Earlier | None = None
) -> Measuring:
    """Measures the plan into a new folder, or into the folder of the resumed run."""
    folder = before.folder if before is not None else folders.create(datetime.now(UTC), options.out)
    if before is None:
        print_distrust()
    workers.logs = folder.logs
    plan = dataclasses.replace(plan, traces=folder.traces)
    measuring = Measuring(workers, plan, request, options, folder, before)
    try:
        with waiting("building one task for each data set and model", options.quiet):
            measuring.prepare()
    except (UsageError, Interrupted):
        if before is None:
            folders.discard(folder.path)
        raise
    measuring.measure()
    return measuring


def finish(folder: folders.RunFolder) -> Tables:
    """Writes the tables and pictures of a run, made from its journal."""
    for log in folder.logs.iterdir():
        if log.stat().st_size == 0:
            log.unlink()
    made = tables.read(folder.path)
    tables.write(folder, made)
    plots.draw(made, folder.plots)
    return made


@dataclass
class Measuring:
    """A run while it is measured, and how it ended.

    `before` is the existing part of a resumed run; `cards` are those of the machine, `spread` the places of launches on
    equal ones. `stop` is the exit code of a signal that ended it early, else 0;
    `untimed_seconds` is how long all untimed launches took; `failures` are the printed ones.
    """

    workers: Workers
    plan: Plan
    request: RunRequest
    options: MeasureOptions
    folder: folders.RunFolder
    before: Earlier | None = None
    cards: Sequence[Device] = ()
    spread: Spread = ONE_CARD
    stop: int = 0
    untimed_seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    def prepare(self) -> None:
        """Probes what will be measured, and records it; for a resumed run, checks that it is unchanged."""
        probed = probe(self.workers, self.plan, self.options.download, self.request.overrides)
        self.plan, code = probed.plan, probed.sources
        if self.plan.script is not None and self.plan.script.loops and not self.options.quiet:
            print_remark(loops_line(self.plan.script.loops))
        if probed.written and not self.options.quiet:
            print_remark(discarded_files(probed.written))
        self.workers.wait_as_fits({case.device for case in self.plan.cases})
        environment = ask_environment(self.workers, self.plan)
        self.cards = environment.devices
        self.spread = spread_over(self.plan.spread, self.cards, self.workers.conditions)
        environment = dataclasses.replace(environment, cards_at_once=self.spread.cards_at_once)
        print_cards_in_use(self.spread)
        if self.before is not None:
            run_request.check_code(code, self.before)
            run_request.check_environment(environment, self.before)
            return
        self.folder.write_json("environment.json", environment.to_json())
        self.folder.write_json(
            "plan.json",
            {
                **self.options.labels,
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
        """Makes all launches that remain, those of the search for the largest batches first."""
        with contextlib.closing(Journal(self.folder.journal)) as journal:
            try:
                if any(case.seeks_largest for case in self.plan.cases):
                    self._find_largest(journal)
                self._complete_peaks(self._launch_all(journal))
            except Interrupted as stop:
                self.stop = 128 + stop.signal_number

    def _find_largest(self, journal: Journal) -> None:
        """Puts the results of batch_size=max, all or those that the time allowed, into the plan and plan.json."""
        known = {} if self.before is None else self.before.largest
        self.plan = dataclasses.replace(self.plan, cases=resolved(self.plan.cases, known))
        tries = self._records_before(searched=True)
        with searching(self.options.quiet) as announce:
            limit, began = self.request.memory_limit, self.options.began
            for record in search(self.workers, self.plan, limit, tuple(tries), announce, began=began):
                journal.append(record)
                tries.append(record)
        largest = {one.case.id: one.batch_size for one in searches(tries) if one.next is None}
        self.plan = dataclasses.replace(self.plan, cases=resolved(self.plan.cases, largest))
        plan_json = {**self.folder.read_json("plan.json"), **self.plan.to_json()}
        self.folder.write_json("plan.json", {**plan_json, "largest": {**largest, **known}})

    def _records_before(self, searched: bool) -> list[Record]:
        """The records of the existing part: those of the search, or all others."""
        records = () if self.before is None else self.before.records
        return [record for record in records if (record.kind == SEARCHED) == searched]

    def _launch_all(self, journal: Journal) -> list[Measurement]:
        """The launches that measure; returns those with counts. A case has none if its largest batch was not found in
        the time.
        """
        cases = [case for case in self.plan.cases if not case.seeks_largest]
        plan, before = dataclasses.replace(self.plan, cases=cases), self._records_before(searched=False)
        rule = StopRule(plan.schedule)
        progress = run_progress(plan, rule, self.options.quiet, len(before), self.options.debug)
        counted = [record for record in before if isinstance(record, Measurement) and record.counts]
        began = self.options.began
        with (
            contextlib.closing(Telemetry()) as telemetry,
            opened(self.workers, self.spread, self.cards) as lanes,
            contextlib.closing(progress),
            contextlib.closing(
                run(
                    self.workers,
                    plan,
                    rule,
                    before,
                    telemetry,
                    announce=progress.begin,
                    began=began,
                    lanes=lanes,
                )
            ) as records,
        ):
            for record in records:
                if record.kind != TIMED and isinstance(record, Measurement):
                    self.untimed_seconds += sum(record.costs.values())
                journal.append(record)
                progress.end(record)
                if isinstance(record, Failure):
                    self.failures.append(record)
                elif record.counts:
                    counted.append(record)
        return counted

    def _complete_peaks(self, counted: Sequence[Measurement]) -> None:
        """Records the peaks of the formats that the counts show, which MFU needs."""
        known = self.folder.environment()
        if known is None:
            return
        found = with_peaks_of_counts(self.workers, self.plan.schedule.seed, known, counted)
        if found is not known:
            self.folder.write_json("environment.json", found.to_json())


def loops_line(loops: Sequence[Loop]) -> str:
    """`train: main.py:41, 63 steps an epoch; test: main.py:58`: the loops found in a script that marks none."""
    said = []
    for loop in (loop for loop in loops if loop.stage):
        ends = "" if loop.ends == BATCH else f", a step ends with the {_ENDS[loop.ends]}"
        epoch = f", {counted(loop.steps, 'step')} an epoch" if loop.steps else ""
        cut = " (--steps-per-epoch sets another number)" if loop.is_cut else ""
        said.append(f"{loop.stage}: {loop.place}{ends}{epoch}{cut}")
    return "; ".join(dict.fromkeys(said))


def discarded_files(files: Sequence[str]) -> str:
    """Prints that files which a script writes to its folder are discarded."""
    named = ", ".join(files[:_MOST_NAMED])
    more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
    return (
        f"the script writes {named}{more}: each launch begins with the folder as it is now, and what it writes there "
        f"is discarded (--in-place keeps it)"
    )
