"""The verb of the gate on time: `ab`."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import Interrupted, UsageError
from ...results import folder as folders
from ...suite.case import MOST_PAIRS, Schedule
from ...system.signals import stoppable
from ..comparison_options import check_asked, rules_of
from ..measuring import VerbOptions, command, lock, say_distrust, watching
from ..options import (
    FORMATS,
    Allocator,
    AllowInconclusive,
    Axis,
    Build,
    Data,
    Debug,
    Download,
    Everything,
    Form,
    InPlace,
    Junit,
    Keyword,
    Metrics,
    Name,
    Note,
    NoWait,
    Out,
    Pairs,
    Quiet,
    ScriptFile,
    Seed,
    Threads,
    Thresholds,
    Timeout,
    WithScript,
    axes_and_script,
    conditions,
    seconds,
)
from ..pairing import pairing
from ..stored_session import gate_here, page_of_pairs, side_by_side
from .compare import ci, on_actions, say, write, write_error

if TYPE_CHECKING:
    from ...ab.session import Session
    from ...analysis.compare.comparable import ComparisonOptions
    from ...analysis.compare.side_by_side import SideBySide
    from ...report.comparison import ComparisonPage


def register(app: typer.Typer) -> None:
    app.command("ab", cls=WithScript)(ab)


def ab(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SIDE|SUITE",
            help="Two sides, the base first: ref=REV (a commit or branch), worktree (your files as they are), "
            "python=PATH, env:NAME=VALUE or set:AXIS=VALUE. Of one side only, worktree is the other; of none, the "
            "base is where your branch left the main branch. Then suites, as for run.",
        ),
    ] = None,
    keyword: Keyword = None,
    axis: Axis = None,
    script: ScriptFile = None,
    in_place: InPlace = False,
    metric: Metrics = None,
    thresholds: Thresholds = None,
    pairs: Pairs = MOST_PAIRS,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="End after this time, such as 5m or 1h, with what is known by then."
        ),
    ] = None,
    build_command: Build = "",
    timeout: Timeout = "10m",
    seed: Seed = 0,
    threads: Threads = None,
    allocator: Allocator = "pinned",
    data: Data = Path("data"),
    download: Download = False,
    out: Out = None,
    name: Name = "",
    note: Note = "",
    allow_inconclusive: AllowInconclusive = False,
    everything: Everything = False,
    form: Form = "table",
    junit: Junit = None,
    no_wait: NoWait = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Measure two versions side by side, launch by launch; exit 1 where something regressed."""
    began = time.monotonic()
    wishes = VerbOptions({"name": name, "note": note}, out, download, not no_wait, quiet, began, debug=debug)
    log = sys.stdout if form == "table" else sys.stderr
    try:
        if form not in FORMATS:
            raise UsageError(f"unknown format {form!r}; there are {', '.join(FORMATS)}")
        if pairs < 1:
            raise UsageError(f"pairs must be at least 1, not {pairs}")
        from ...ab.session import AbRequest, opened, resolve
        from ...ab.versions import told_apart

        versions, suites = told_apart(arguments or [])
        axes, its = axes_and_script(context, axis, script, suites)
        rules, file = rules_of(thresholds)
        request = AbRequest(
            suites=suites,
            keyword=keyword,
            overrides=axes,
            schedule=Schedule(
                time_budget=None if time_budget is None else seconds(time_budget),
                timeout=seconds(timeout),
                seed=seed,
            ),
            conditions=conditions(threads, allocator, None, data),
            build=build_command,
            download=download,
            pairs=pairs,
            labels={"name": name, "note": note, "command": command()},
            script=its,
        )
        asked = side_by_side(metric or [], rules)
        with stoppable(), lock(wishes), opened(resolve(versions), request, out) as session:
            say_distrust()
            judge, stop = measured(session, asked, wishes)
        page = page_of(session, judge, allow_inconclusive)
        keep(session, page)
        say(page, form, everything)
        # Last, since only launches tell which metrics there are, and what was measured is kept whatever was asked.
        if all(map(judge.pairs, judge.cases)):
            check_asked(judge.sides(*(side.label for side in session.sides))[0], asked, file)
    except UsageError as problem:
        if junit is not None:
            write_error(junit, "usage", str(problem))
        raise
    ci(page, junit, log)
    return stop or page.exit_code


def measured(session: Session, asked: ComparisonOptions, wishes: VerbOptions) -> tuple[SideBySide, int]:
    """The judge, told of all pairs; and the exit code of a signal that ended it early, else 0."""
    judge = session.judge(asked)
    telemetry = watching(session.cases)
    progress = pairing(session, judge, wishes.quiet, wishes.debug)
    stop = 0
    try:
        for one in session.measure(judge, telemetry, progress.begin, wishes.began):
            progress.end(one)
    except Interrupted as signal:
        stop = 128 + signal.signal_number
    finally:
        progress.close()
        telemetry.close()
    return judge, stop


def page_of(session: Session, judge: SideBySide, allow_inconclusive: bool) -> ComparisonPage:
    """All verdicts as the page that every surface says."""
    labels = session.sides[0].label, session.sides[1].label
    only = session.matching.only_base, session.matching.only_candidate
    page = page_of_pairs(judge, labels, only, gate_here(session.environments[1]), allow_inconclusive)
    return dataclasses.replace(page, places=session.places if on_actions() else {})


def keep(session: Session, page: ComparisonPage) -> None:
    """Tables of each side, the verdicts and their picture, in the folder of the A/B."""
    from ...report.formats import render
    from ...report.plots import draw_comparison
    from ...results import tables

    for name in folders.SIDES:
        folder = folders.RunFolder(session.place / name)
        tables.write(folder, tables.read(folder.path))
    write(session.place / "comparison.json", render(page, "json"), "--out")
    write(session.place / "comparison.md", render(page, "markdown"), "--out")
    draw_comparison(page, session.place / "plots")
    print(f"kept: {folders.shown(session.place)}/", file=sys.stderr)
