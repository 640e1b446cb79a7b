"""The verb that measures: `run`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from ...plurals import counted
from ...report.units import plain, plain_json
from ...results import folder as folders
from ...results.history import launch_seconds
from ...running.fork_server import Workers
from ...running.plan import Plan
from ...suite.case import UntimedLaunches
from ...system.signals import stoppable
from .. import resuming as resuming
from ..measuring import Measuring, VerbOptions, finish, into_folder, lock, planned, say_places
from ..options import (
    Allocator,
    Axis,
    Data,
    Debug,
    Download,
    InPlace,
    Json,
    Keyword,
    MemoryLimit,
    Name,
    Note,
    NoWait,
    Out,
    Quiet,
    ScriptFile,
    Seed,
    StartMethod,
    Suites,
    Threads,
    Timeout,
    WithScript,
    axes_and_script,
    conditions,
    schedule,
    seconds,
    size,
    suite_files,
)
from ..resuming import RunRequest

if TYPE_CHECKING:
    from ...results.tables import Tables

FAILED, UNDECIDED = 5, 3


def register(app: typer.Typer) -> None:
    app.command("run", cls=WithScript)(run_suites)


def run_suites(
    context: typer.Context,
    suites: Suites = None,
    keyword: Keyword = None,
    axis: Axis = None,
    script: ScriptFile = None,
    in_place: InPlace = False,
    launches: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Launch each case so often, in fresh processes; with --max-launches at least so often.",
            show_default="6, the fewest for a 95 % interval, or more",
        ),
    ] = None,
    max_launches: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Launch a case at most so often while its intervals are wider than --tolerance.",
            show_default="20",
        ),
    ] = None,
    tolerance: Annotated[
        str,
        typer.Option(
            metavar="SHARE", help="A case needs no more launches when its 95 % intervals are within ± this."
        ),
    ] = "2%",
    repeats: Annotated[
        int,
        typer.Option(
            metavar="N", help="Make at most so many launches of a case again that something else disturbed."
        ),
    ] = 6,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="End after this time, such as 5m or 1h, with what is measured by then."
        ),
    ] = None,
    timeout: Timeout = "10m",
    seed: Seed = 0,
    threads: Threads = None,
    allocator: Allocator = "pinned",
    start_method: StartMethod = None,
    memory_limit: MemoryLimit = None,
    no_counts: Annotated[
        bool, typer.Option("--no-counts", help="Leave out the launch of each case that counts its operators.")
    ] = False,
    no_profile: Annotated[
        bool, typer.Option("--no-profile", help="Do not profile; this saves a launch of each case.")
    ] = False,
    data: Data = Path("data"),
    download: Download = False,
    out: Out = None,
    name: Name = "",
    note: Note = "",
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="RUN", help="Continue a run that was cut off, with the options that it had."
        ),
    ] = None,
    no_wait: NoWait = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be measured.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Measure suites, or a script: tables and pictures of every case in a new folder of results."""
    began = time.monotonic()
    before = None if resume is None else resuming.earlier(resume)
    if before is None:
        axes, its = axes_and_script(context, axis, script, suites)
        if launches == 0 and no_counts and no_profile:
            raise UsageError("--launches 0 --no-counts --no-profile leaves nothing to measure; leave one out")
        request = RunRequest(
            files=suite_files(suites) if its is None else [],
            keyword=keyword,
            overrides=axes,
            schedule=schedule(launches, max_launches, tolerance, repeats, time_budget, timeout, seed),
            conditions=conditions(threads, allocator, start_method, data),
            apart=UntimedLaunches(counts=not no_counts, profile=not no_profile),
            memory_limit=None if memory_limit is None else size(memory_limit),
            script=its,
        )
    else:
        resuming.check_flags(resuming.given(context), before)
        for note in before.notes:
            print(plain(f"bench: {note}"), file=sys.stderr)
        request = before.request
        if time_budget is not None:
            budgeted = dataclasses.replace(request.schedule, time_budget=seconds(time_budget))
            request = dataclasses.replace(request, schedule=budgeted)
    wishes = VerbOptions(
        {"name": name, "note": note}, out, download, not no_wait, quiet, began, before, debug
    )
    with stoppable(), nullcontext() if dry_run else lock(wishes), Workers(request.conditions) as workers:
        plan = planned(workers, request, quiet)
        if before is not None:
            resuming.check_cases(plan.cases, before)
        if dry_run:
            return say_plan(plan, as_json)
        ended = into_folder(workers, plan, request, wishes)
    tables = finish(ended.folder)
    if as_json:
        from ...results.tables import as_json as tables_json

        print(plain_json(tables_json(tables)))
    elif not quiet:
        say_results(ended, tables, len(plan.cases))
    return ended.stop or outcome(plan, tables)


def say_results(ended: Measuring, tables: Tables, cases: int) -> None:
    from .show import print_tables

    told = {(one.case.id, one.failure, one.message) for one in ended.failures}
    print_tables(untold(tables, told))
    place = folders.shown(ended.folder.path)
    if told:
        print(
            f"{counted(len(told), 'failure')}, told above on standard error: {place}/failures.csv, {place}/logs/"
        )
    if ended.apart:
        print(f"counts and profiles took {ended.apart / cases:.2f} s a case, apart from timing")
    say_places(ended.folder, tables)
    if ended.stop:
        print(
            f"stopped early; what was measured is kept, go on with: bench run --resume {place}",
            file=sys.stderr,
        )


def untold(tables: Tables, told: Collection[tuple[str, str, str]]) -> Tables:
    """The tables without the failures, by case, failure and message, that their reader has seen."""
    rows = tables.failures
    if rows.empty:
        return tables
    keys = zip(rows["case"], rows["failure"], rows["message"], strict=True)
    return dataclasses.replace(tables, failures=rows[[key not in told for key in keys]])


def outcome(plan: Plan, tables: Tables) -> int:
    """The exit code of a run that went to its end."""
    if len(tables.failures):
        return FAILED
    measured = set(tables.summary["case"])
    missing = [case.id for case in plan.cases if case.id not in measured]
    if missing:
        print(
            f"bench: the time budget ended before {len(missing)} of {counted(len(plan.cases), 'case')} had a launch; "
            f"go on with --resume, give it longer with --time-budget, or fewer cases with -k",
            file=sys.stderr,
        )
        return UNDECIDED
    return 0


# What a launch of a case that was never measured here is taken to last, and what a round costs besides.
_UNKNOWN_LAUNCH, _FORK_SERVER = 1.0, 3.0


def say_plan(plan: Plan, as_json: bool) -> int:
    """The dry run: cases, launches, minutes as far as earlier runs tell."""
    known = launch_seconds()
    a_round = sum(known.get(case.id, _UNKNOWN_LAUNCH) for case in plan.cases) + _FORK_SERVER
    expected = a_round * plan.schedule.launches
    if plan.schedule.time_budget is not None:
        expected = min(expected, plan.schedule.time_budget)
    seen = sum(case.id in known for case in plan.cases)
    if as_json:
        facts = {
            "cases": [case.id for case in plan.cases],
            "expected_launches": plan.launches,
            "expected_seconds": expected,
        }
        facts |= {"cases_measured_before": seen, **dataclasses.asdict(plan.schedule)}
        print(plain_json(json.dumps(facts, indent=2)))
        return 0
    for case in plan.cases:
        print(plain(case.id))
    if any(case.seeks_largest for case in plan.cases):
        print("batch_size=max is found first, by launches of its own that are not counted here")
    most = plan.schedule.most
    more = f" (up to {most} a case until it is settled)" if most > plan.schedule.launches else ""
    print(
        f"{counted(len(plan.cases), 'case')}, {counted(plan.launches, 'launch', 'launches')}{more}, "
        f"about {expected / 60:.1f} minutes ({seen} of them measured here before; "
        f"others are taken as {_UNKNOWN_LAUNCH:g} s)"
    )
    return 0
