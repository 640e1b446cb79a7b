"""The verb that looks inside: `profile`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from ...report.units import plain, plain_json
from ...results import folder as folders
from ...running.fork_server import Workers
from ...suite.case import Schedule, UntimedLaunches
from ...system.paths import file_name
from ...system.signals import stoppable
from ..measuring import VerbOptions, finish, into_folder, lock, planned, say_places
from ..options import (
    MOST_OPERATORS,
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
    StartMethod,
    Suites,
    Threads,
    Timeout,
    WithScript,
    axes_and_script,
    conditions,
    seconds,
    size,
    suite_files,
)
from ..resuming import RunRequest
from .run import FAILED

if TYPE_CHECKING:
    from ...results.tables import Tables

_MEGA = 1_000_000
_MOST_CAP = 1e6  # MB


def register(app: typer.Typer) -> None:
    app.command("profile", cls=WithScript)(profile_suites)


def profile_suites(
    context: typer.Context,
    suites: Suites = None,
    keyword: Keyword = None,
    axis: Axis = None,
    script: ScriptFile = None,
    in_place: InPlace = False,
    steps: Annotated[
        int, typer.Option("--profile-steps", metavar="N", help="Profile so many steps of each stage.")
    ] = 5,
    top: Annotated[
        int, typer.Option(metavar="N", help="Show so many operators of each case.")
    ] = MOST_OPERATORS,
    no_stacks: Annotated[
        bool, typer.Option("--no-stacks", help="No flame graph; this saves a launch of each case.")
    ] = False,
    graph: Annotated[
        bool, typer.Option("--graph", help="Also draw the graph that autograd keeps of a step.")
    ] = False,
    trace_cap: Annotated[
        float, typer.Option("--trace-cap", metavar="MB", help="Keep no trace that is larger than this.")
    ] = 50.0,
    timeout: Timeout = "10m",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of torch in every launch.")] = 0,
    threads: Threads = None,
    allocator: Allocator = "pinned",
    start_method: StartMethod = None,
    memory_limit: MemoryLimit = None,
    data: Data = Path("data"),
    download: Download = False,
    out: Out = None,
    name: Name = "",
    note: Note = "",
    no_wait: NoWait = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Profile suites, or a script: where the time and memory of a few steps go, with traces and flame graphs."""
    began = time.monotonic()
    if top < 1:
        raise UsageError(f"top must be at least 1, not {top}")
    if not trace_cap > 0:
        raise UsageError(f"trace-cap must be above 0 MB, not {trace_cap:g}")
    axes, its = axes_and_script(context, axis, script, suites)
    request = RunRequest(
        files=suite_files(suites) if its is None else [],
        keyword=keyword,
        overrides=axes,
        schedule=Schedule(launches=0, timeout=seconds(timeout), seed=seed),
        conditions=conditions(threads, allocator, start_method, data),
        apart=UntimedLaunches(
            counts=True,
            profile=True,
            stacks=not no_stacks,
            graph=graph,
            profile_steps=steps,
            trace_cap=max(1, round(min(trace_cap, _MOST_CAP) * _MEGA)),
        ),
        memory_limit=None if memory_limit is None else size(memory_limit),
        script=its,
    )
    wishes = VerbOptions({"name": name, "note": note}, out, download, not no_wait, quiet, began, debug=debug)
    with stoppable(), lock(wishes), Workers(request.conditions) as workers:
        plan = planned(workers, request, quiet)
        ended = into_folder(workers, plan, request, wishes)
    tables = finish(ended.folder)
    draw(ended.folder, tables)
    if as_json:
        from ...results.tables import as_json as tables_json

        print(plain_json(tables_json(tables)))
    elif not quiet:
        say(ended.folder, tables, top)
    return ended.stop or (FAILED if len(tables.failures) else 0)


def draw(folder: folders.RunFolder, tables: Tables) -> None:
    """The pictures of each case, and its flame graph for speedscope."""
    from ...report import plots
    from ...report.speedscope import read_folded, speedscope

    plots.draw_cases(tables, folder.plots, {case: file_name(case) for case in tables.untimed})
    for case, untimed in tables.untimed.items():
        if untimed.stacks is None or not untimed.stacks.stacks:
            continue
        stacks = read_folded((folder.path / untimed.stacks.stacks).read_text())
        (folder.traces / f"{file_name(case)}.speedscope.json").write_text(speedscope(stacks, case))


def say(folder: folders.RunFolder, tables: Tables, most: int) -> None:
    from ...report.search_words import search_line
    from .show import print_profiles

    print_profiles(tables, most)
    for search in tables.searches:
        print(plain(search_line(search)))
    for case, untimed in tables.untimed.items():
        for one in (untimed.profile, untimed.stacks):
            if one is not None and one.omitted:
                print(plain(f"bench: no trace of {case}: {one.omitted}"), file=sys.stderr)
    say_places(folder, tables)
