"""The verbs that read a run: `show`, `tables`, `plot`. They need no torch."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import ResultsError, UsageError
from ...plurals import counted
from ...report.units import plain, plain_json
from ...results import folder as folders
from ..options import MOST_OPERATORS, Debug, Json, Run, Verb
from ..progress import Failures
from ..screen import print_pages

if TYPE_CHECKING:
    from ...results.tables import Tables

RunOrTable = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run, or what bench ab kept: its folder, the beginning of its name, latest, or latest~1 for the one "
        "before; or a summary.csv or summary.parquet alone.",
    ),
]


def register(app: typer.Typer) -> None:
    app.command("show", cls=Verb)(show)
    app.command("tables", cls=Verb)(rebuild_tables)
    app.command("plot", cls=Verb)(plot)


def show(
    run: RunOrTable = "latest",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Show these metrics, such as epoch.time or 'train.phase.*'; repeatable."
        ),
    ] = None,
    quality: Annotated[
        bool,
        typer.Option(
            "--quality", help="Show loss and accuracy by training time: which configuration is good soonest."
        ),
    ] = False,
    target_loss: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="With --quality: the validation loss whose time is compared.",
            show_default="the axis target_loss, or what half of the configurations reach",
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show the tables of a run, or of a summary file."""
    if quality:
        return show_quality(run, metric, target_loss, as_json)
    if target_loss is not None:
        raise UsageError("--target-loss is what --quality compares by; give --quality too")
    from ...results import table_files as files
    from ...results import tables

    if (decided := decisions_of(run)) is not None:
        return show_decisions(decided, as_json)
    made = files.read_summary(Path(run)) if files.is_table(run) else tables.read(run)
    if made.summary.empty and made.failures.empty:
        why = "".join(f"; {note}" for note in made.notes)
        raise ResultsError(f"{run} holds no row to show{why}; measure first: bench run")
    if as_json:
        print(plain_json(tables.as_json(tables.choose(made, metric) if metric else made)))
    else:
        say_what(run)
        print_tables(made, metric)
        if not metric and made.steps.empty and not made.ops.empty:  # it was made by bench profile, or so
            print_profiles(made, MOST_OPERATORS)
    if debug and len(made.failures):
        say_tracebacks(run)
    return 0


def say_tracebacks(run: str) -> None:
    """On standard error each failure of a run with its traceback, which the journal alone holds."""
    from ...results.journal import read_journal

    told = Failures(debug=True)
    for said in dict.fromkeys(map(told.said, read_journal(folders.find(run).journal).failures)):
        if "\n" in said:  # without a traceback it is in the table already
            print(said, file=sys.stderr)


def decisions_of(run: str) -> list[Any] | None:
    """What a self-test has decided, where the folder of one is named; None for anything else."""
    path = Path(run) if os.path.isdir(run) else folders.RESULTS / run
    if not os.path.isfile(path / folders.SELFTEST):
        return None
    from ...ab.error_rates import Decision

    try:
        return [Decision(**one) for one in folders.RunFolder(path).read_json(folders.SELFTEST)["decisions"]]
    except (KeyError, TypeError) as problem:
        raise ResultsError(
            f"{path / folders.SELFTEST} is damaged: {problem}; make it anew: bench selftest"
        ) from None


def show_decisions(decisions: list[Any], as_json: bool) -> int:
    """Prints how good the gate was found to be."""
    from ...ab.error_rates import scores
    from ...report.terminal.error_rates import table

    made = scores(decisions)
    if as_json:
        print(plain_json(json.dumps([dataclasses.asdict(score) for score in made], indent=2)))
    else:
        print_pages([table(made)])
    return 0


def say_what(run: str) -> None:
    """Names what is shown where a reader may take it for something else: what `latest` is, and what is no timed run."""
    from ...results import table_files as files

    if files.is_table(run):
        return
    folder = folders.find(run, sessions=True)
    name = folders.shown(folder.path)
    what = _what(folder, name)
    if run.startswith("latest"):
        print(plain(f"{run} is {name}{what}"))
    elif what:
        print(plain(f"{name}{what}"))


def _what(folder: folders.RunFolder, name: str) -> str:
    """', a profile: ...'; nothing of a run whose loop was timed."""
    if folders.is_session(folder.path):
        base, candidate = (
            folders.RunFolder(folder.path / side).plan().get("side", side) for side in folders.SIDES
        )
        return f", kept by bench ab: base {base}, candidate {candidate}; its verdicts: bench compare {name}"
    plan = folder.plan()
    schedule, apart = plan.get("schedule"), plan.get("apart")
    if isinstance(schedule, Mapping) and schedule.get("launches") == 0:
        profiled = isinstance(apart, Mapping) and bool(apart.get("profile"))
        return f", {'a profile' if profiled else 'counts alone'}: no launch in it was timed"
    return ""


def show_quality(run: str, metric: list[str] | None, target: float | None, as_json: bool) -> int:
    """Prints how soon each trained case of a run was how good."""
    from ...analysis.run.time_to_quality import groups
    from ...results import tables

    if metric:
        raise UsageError("--quality has columns of its own; leave out --metric, or --quality")
    if target is not None and not math.isfinite(target):
        raise UsageError(f"--target-loss must be a finite number, not {target}")
    made = tables.read(_run_folder(run, "show --quality").path)
    found = groups(made.trained.values(), target)
    if not found:
        if "mode" not in made.summary.columns:  # of a script; a suite's cases have one
            raise ResultsError(
                f"{run} is of a script, of which no validation loss is known, and --quality compares by that; the "
                f"loss of its training: bench show {run} --metric quality.train_loss"
            )
        raise ResultsError(
            f"{run} holds no trained case, so no loss over time; measure one: bench run --axis mode=train"
        )
    if as_json:
        from ...report.terminal.time_to_quality import as_json as quality_json

        print(plain_json(quality_json(found)))
    else:
        from ...report.terminal.time_to_quality import pages

        print_pages(pages(made, found))
        _say_notes(made)
    return 0


def rebuild_tables(run: Run = "latest", debug: Debug = False) -> int:
    """Rebuild the tables of a run from its journal."""
    from ...results import tables

    folder = _run_folder(run, "tables")
    made = tables.read(folder.path)
    tables.write(folder, made)
    _say_notes(made)
    print(
        f"{counted(len(made.summary), 'row')}, {counted(len(made.failures), 'failure')}: "
        f"{folders.shown(folder.path)}/summary.csv"
    )
    return 0


def plot(run: Run = "latest", debug: Debug = False) -> int:
    """Draw the pictures of a run."""
    from ...report import plots
    from ...results import tables

    folder = _run_folder(run, "plot")
    made = tables.read(folder.path)
    drawn = plots.draw(made, folder.plots)
    if folders.is_session(folder.path):
        from ..stored_session import page_of_session

        drawn += plots.draw_comparison(page_of_session(folder.path, [], None, None, False), folder.plots)
    for path in drawn:
        if path.suffix == ".png":
            print(folders.shown(path))
    if not drawn:
        print(f"bench: {folders.shown(folder.path)} holds nothing to draw", file=sys.stderr)
    return 0


def _run_folder(run: str, verb: str) -> folders.RunFolder:
    """The folder of a run. Raises ResultsError for a table alone, which holds no launches."""
    from ...results import table_files as files

    if files.is_table(run):
        raise ResultsError(f"{run} is a file; bench {verb} needs all of a run: name its folder")
    return folders.find(run, sessions=True)


def print_tables(tables: Tables, metrics: list[str] | None = None) -> None:
    """The tables on the terminal."""
    from ...report.terminal import overview
    from ...results.tables import choose

    print_pages(overview.metrics(choose(tables, metrics)) if metrics else overview.overview(tables))
    _say_notes(tables)


def print_profiles(tables: Tables, most: int) -> None:
    """What was counted and profiled of each case, on the terminal, with so many operators."""
    from ...report.terminal.profile import profiles

    print_pages(profiles(tables, most))


def _say_notes(tables: Tables) -> None:
    for note in tables.notes:
        print(plain(f"bench: {note}"), file=sys.stderr)
