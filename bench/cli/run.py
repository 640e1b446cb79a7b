"""The verb that measures: `run`."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from bench import __version__
from bench.case import ALLOCATORS, START_METHODS, Schedule
from bench.cli.listing import counted, select
from bench.cli.options import Axis, Debug, Json, Keyword, Suites, conditions, overrides, seconds, suite_files
from bench.cli.progress import progress, waiting
from bench.errors import Interrupted, UsageError
from bench.nursery import Workers
from bench.results import folder as folders
from bench.results.history import launch_seconds
from bench.results.journal import Journal
from bench.runner import Plan, describe, probe, run

if TYPE_CHECKING:
    from bench.results.tables import Tables

FAILED, UNDECIDED = 5, 3


def register(app: typer.Typer) -> None:
    app.command("run")(run_suites)


def run_suites(
    suites: Suites = None,
    keyword: Keyword = None,
    axis: Axis = None,
    launches: Annotated[
        int, typer.Option(help="Fresh processes a case; six are the fewest for a 95 % interval.")
    ] = 6,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="End after 90s, 5m, 1h; every launch that was made counts."),
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="The longest that one launch may take.")
    ] = "10m",
    seed: Annotated[
        int, typer.Option(help="Seeds the order of the launches, and torch in every launch.")
    ] = 0,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of a launch.  [default: physical cores]")
    ] = None,
    allocator: Annotated[
        str,
        typer.Option(
            metavar="|".join(ALLOCATORS), help="Pin the host allocator, or take it as untuned users do."
        ),
    ] = "pinned",
    start_method: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(START_METHODS), help="How launches start.  [default: fork where it is sound]"
        ),
    ] = None,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Where downloaded data sets lie.")] = Path("data"),
    download: Annotated[bool, typer.Option("--download", help="Fetch data sets that are not there.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's folder itself: new, or empty.")
    ] = None,
    name: Annotated[str, typer.Option(help="A label for the run.")] = "",
    note: Annotated[str, typer.Option(help="A remark to keep with the run.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be measured, and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Measure suites: tables and pictures of every case in a new folder of results."""
    budget = None if time_budget is None else seconds(time_budget)
    schedule = Schedule(launches, budget, seconds(timeout), seed)
    given = conditions(threads, allocator, start_method, data)
    with tempfile.TemporaryDirectory() as scratch, Workers(given, Path(scratch)) as workers, stoppable():
        with waiting("importing torch, reading suites", quiet):
            listings = describe(workers, suite_files(suites), overrides(axis))
        plan = Plan(select(listings, keyword), {one.name: one.file for one in listings}, schedule)
        if dry_run:
            return say_plan(plan, as_json)
        folder = folders.create(datetime.now(UTC), out)
        workers.logs = folder.logs
        stop = measure(workers, plan, folder, {"name": name, "note": note}, download, quiet)
    tables = finish(folder)
    if as_json:
        from bench.results.tables import as_json as tables_json

        print(tables_json(tables))
    elif not quiet:
        say_results(folder, tables, stop)
    return stop or outcome(plan, tables)


def measure(
    workers: Workers,
    plan: Plan,
    folder: folders.RunFolder,
    labels: dict[str, str],
    download: bool,
    quiet: bool,
) -> int:
    """All launches of the plan into the journal; the exit code of a signal that ended it early, else 0."""
    try:
        with waiting("building one task for each data set and model", quiet):
            probe(workers, plan, download)
            record_setting(workers, plan, folder, labels)
    except (UsageError, Interrupted):
        discard(folder)
        raise
    journal, bar = Journal(folder.journal), progress(plan, quiet)
    try:
        for record in run(workers, plan, announce=bar.begin):
            journal.append(record)
            bar.end(record)
    except Interrupted as stop:
        return 128 + stop.signal_number
    finally:
        bar.close()
        journal.close()
    return 0


def record_setting(workers: Workers, plan: Plan, folder: folders.RunFolder, labels: dict[str, str]) -> None:
    """plan.json and environment.json: what is to be measured, and on what."""
    request = {
        "do": "environment",
        "conditions": workers.conditions.to_json(),
        "seed": plan.schedule.seed,
    }
    environment = workers.ask(request, "environment.log")["environment"]
    # Asking may have shown that fork is not sound.
    environment["start_method"] = workers.conditions.start_method
    folder.write_json("environment.json", environment)
    folder.write_json(
        "plan.json",
        {
            **labels,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "commit": folders.git_commit(),
            "command": sys.argv[1:],
            "conditions": workers.conditions.to_json(),
            "spawned_because": workers.fallback,
            **plan.to_json(),
        },
    )


def discard(folder: folders.RunFolder) -> None:
    """Takes away a run folder in which nothing was measured."""
    for path in sorted(folder.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.path.rmdir()


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


def say_results(folder: folders.RunFolder, tables: Tables, stop: int) -> None:
    from bench.cli.inspect import print_tables

    print_tables(tables)
    place = folders.shown(folder.path)
    print(f"tables: {place}/summary.csv (.parquet), phases.csv, steps.parquet")
    print(f"pictures: {place}/plots/")
    if stop:
        print("stopped early; what was measured until then is kept", file=sys.stderr)


def outcome(plan: Plan, tables: Tables) -> int:
    """The exit code of a run that went to its end."""
    if len(tables.failures):
        return FAILED
    measured = set(tables.summary["case"])
    missing = [case.id for case in plan.cases if case.id not in measured]
    if missing:
        print(
            f"bench: the time budget ended before {len(missing)} of {len(plan.cases)} cases had a launch; "
            f"give it longer with --time-budget, or fewer cases with -k",
            file=sys.stderr,
        )
        return UNDECIDED
    return 0


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise Interrupted while this lasts."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
            "launches": plan.launches,
            "expected_seconds": expected,
        }
        print(
            json.dumps(
                {**facts, "cases_measured_before": seen, **dataclasses.asdict(plan.schedule)}, indent=2
            )
        )
        return 0
    for case in plan.cases:
        print(case.id)
    print(
        f"{counted(len(plan.cases), 'case')}, {counted(plan.launches, 'launch', 'launches')}, "
        f"about {expected / 60:.1f} minutes ({seen} of {len(plan.cases)} cases were measured here before; "
        f"others are taken as {_UNKNOWN_LAUNCH:g} s)"
    )
    return 0
