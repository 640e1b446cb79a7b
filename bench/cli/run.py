"""The verb that measures: `run`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..case import Apart
from ..errors import UsageError
from ..nursery import Workers
from ..report.units import plain, plain_json
from ..results import folder as folders
from ..results.history import launch_seconds
from ..runner import Plan
from ..signals import stoppable
from . import resume as resuming
from .listing import counted
from .measuring import Measuring, Wishes, finish, into_folder, lock, planned
from .options import (
    Allocator,
    Axis,
    Data,
    Debug,
    Download,
    Json,
    Keyword,
    MemoryLimit,
    Name,
    Note,
    NoWait,
    Out,
    Quiet,
    ScriptFile,
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
from .resume import Request

if TYPE_CHECKING:
    from ..results.tables import Tables

FAILED, UNDECIDED = 5, 3


def register(app: typer.Typer) -> None:
    app.command("run", cls=WithScript)(run_suites)


def run_suites(
    context: typer.Context,
    suites: Suites = None,
    keyword: Keyword = None,
    axis: Axis = None,
    script: ScriptFile = None,
    launches: Annotated[
        int | None,
        typer.Option(
            help="Fresh processes a case, exactly; with --max-launches at the least.",
            show_default="6, the fewest for a 95 % interval",
        ),
    ] = None,
    max_launches: Annotated[
        int | None,
        typer.Option(help="Launches of a case whose intervals do not get narrow enough.", show_default="20"),
    ] = None,
    tolerance: Annotated[
        str,
        typer.Option(
            metavar="SHARE", help="A case is settled when the intervals of its times are within ± this."
        ),
    ] = "2%",
    repeats: Annotated[
        int, typer.Option(help="Launches of a case made again at most, since something disturbed them.")
    ] = 6,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="End after 90s, 5m, 1h; every launch that was made counts."),
    ] = None,
    timeout: Timeout = "10m",
    seed: Annotated[
        int, typer.Option(help="Seeds the order of the launches, and torch in every launch.")
    ] = 0,
    threads: Threads = None,
    allocator: Allocator = "pinned",
    start_method: StartMethod = None,
    memory_limit: MemoryLimit = None,
    no_counts: Annotated[
        bool, typer.Option("--no-counts", help="Leave out the launch of each case that counts its operators.")
    ] = False,
    no_profile: Annotated[
        bool, typer.Option("--no-profile", help="Leave out the launch of each case under the profiler.")
    ] = False,
    data: Data = Path("data"),
    download: Download = False,
    out: Out = None,
    name: Name = "",
    note: Note = "",
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="RUN", help="Go on with a run that was cut off, with its own flags."
        ),
    ] = None,
    no_wait: NoWait = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be measured, and end.")] = False,
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
        request = Request(
            files=suite_files(suites) if its is None else [],
            keyword=keyword,
            overrides=axes,
            schedule=schedule(launches, max_launches, tolerance, repeats, time_budget, timeout, seed),
            conditions=conditions(threads, allocator, start_method, data),
            apart=Apart(counts=not no_counts, profile=not no_profile),
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
    wishes = Wishes({"name": name, "note": note}, out, download, not no_wait, quiet, began, before)
    with stoppable(), nullcontext() if dry_run else lock(wishes), Workers(request.conditions) as workers:
        plan = planned(workers, request, quiet)
        if before is not None:
            resuming.check_cases(plan.cases, before)
        if dry_run:
            return say_plan(plan, as_json)
        ended = into_folder(workers, plan, request, wishes)
    tables = finish(ended.folder)
    if as_json:
        from ..results.tables import as_json as tables_json

        print(plain_json(tables_json(tables)))
    elif not quiet:
        say_results(ended, tables, len(plan.cases))
    return ended.stop or outcome(plan, tables)


def say_results(ended: Measuring, tables: Tables, cases: int) -> None:
    from .inspect import print_tables

    print_tables(tables)
    place = folders.shown(ended.folder.path)
    if ended.apart:
        print(f"counts and profiles took {ended.apart / cases:.2f} s a case, apart from timing")
    print(f"tables: {place}/summary.csv (.parquet), phases.csv, steps.parquet")
    print(f"pictures: {place}/plots/")
    if ended.stop:
        print(
            f"stopped early; what was measured is kept, go on with: bench run --resume {place}",
            file=sys.stderr,
        )


def outcome(plan: Plan, tables: Tables) -> int:
    """The exit code of a run that went to its end."""
    if len(tables.failures):
        return FAILED
    measured = set(tables.summary["case"])
    missing = [case.id for case in plan.cases if case.id not in measured]
    if missing:
        print(
            f"bench: the time budget ended before {len(missing)} of {len(plan.cases)} cases had a launch; "
            f"go on with --resume, give it longer with --time-budget, or fewer cases with -k",
            file=sys.stderr,
        )
        return UNDECIDED
    return 0


# What a launch of a case that was never measured here is taken to last, and what a round costs besides.
_UNKNOWN_LAUNCH, _NURSERY = 1.0, 3.0


def say_plan(plan: Plan, as_json: bool) -> int:
    """The dry run: cases, launches, minutes as far as earlier runs tell."""
    known = launch_seconds()
    a_round = sum(known.get(case.id, _UNKNOWN_LAUNCH) for case in plan.cases) + _NURSERY
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
        f"about {expected / 60:.1f} minutes ({seen} of {len(plan.cases)} cases were measured here before; "
        f"others are taken as {_UNKNOWN_LAUNCH:g} s)"
    )
    return 0
