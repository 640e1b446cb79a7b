"""The verbs that read a run: `show`, `tables`, `plot`. They need no torch."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ResultsError, UsageError
from ..report.units import plain, plain_json
from ..results import folder as folders
from .options import MOST_OPERATORS, Debug, Json, Run

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..results.tables import Tables

RunOrTable = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run: its folder, a unique prefix of its name, latest, or latest~N; "
        "or a summary.csv or summary.parquet alone.",
    ),
]


def register(app: typer.Typer) -> None:
    app.command("show")(show)
    app.command("tables")(rebuild_tables)
    app.command("plot")(plot)


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
        typer.Option("--quality", help="Show which configuration is good soonest: loss by time of training."),
    ] = False,
    target_loss: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="With --quality: the validation loss to reach.",
            show_default="the axis target_loss, or what half of the configurations reach",
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show the tables of a run, or of a summary that lies alone as a file."""
    if quality:
        return show_quality(run, metric, target_loss, as_json)
    if target_loss is not None:
        raise UsageError("--target-loss is what --quality compares by; give --quality too")
    from ..results import files, tables

    made = files.read_summary(Path(run)) if files.is_table(run) else tables.read(run)
    if made.summary.empty and made.failures.empty:
        why = "".join(f"; {note}" for note in made.notes)
        raise ResultsError(f"{run} holds no row to show{why}; measure first: bench run")
    if as_json:
        print(plain_json(tables.as_json(tables.choose(made, metric) if metric else made)))
    else:
        print_tables(made, metric)
        if not metric and made.steps.empty and not made.ops.empty:  # it was made by bench profile, or so
            print_profiles(made, MOST_OPERATORS)
    return 0


def show_quality(run: str, metric: list[str] | None, target: float | None, as_json: bool) -> int:
    """Prints how soon each trained case of a run was how good."""
    from ..analysis.quality import groups
    from ..results import tables

    if metric:
        raise UsageError("--quality has columns of its own; leave out --metric, or --quality")
    if target is not None and not math.isfinite(target):
        raise UsageError(f"--target-loss must be a finite number, not {target}")
    made = tables.read(_run_folder(run, "show --quality").path)
    found = groups(made.trained.values(), target)
    if not found:
        if "mode" not in made.summary.columns:  # of a script; a suite's cases have one
            raise ResultsError(
                f"{run} holds no validation loss, so no loss over time: of a script only the loss of its training is "
                f"seen; show that: bench show {run} --metric quality.train_loss"
            )
        raise ResultsError(
            f"{run} holds no trained case, so no loss over time; measure one: bench run --axis mode=train"
        )
    if as_json:
        from ..report.quality import as_json as quality_json

        print(plain_json(quality_json(found)))
    else:
        from ..report.quality import pages

        print_pages(pages(made, found))
        _say_notes(made)
    return 0


def rebuild_tables(run: Run = "latest", debug: Debug = False) -> int:
    """Rebuild the tables of a run from its journal."""
    from ..results import tables

    folder = _run_folder(run, "tables")
    made = tables.read(folder.path)
    tables.write(folder, made)
    _say_notes(made)
    print(
        f"{len(made.summary)} rows, {len(made.failures)} failures: {folders.shown(folder.path)}/summary.csv"
    )
    return 0


def plot(run: Run = "latest", debug: Debug = False) -> int:
    """Draw the pictures of a run."""
    from ..report import plots
    from ..results import tables

    folder = _run_folder(run, "plot")
    made = tables.read(folder.path)
    for path in plots.draw(made, folder.plots):
        if path.suffix == ".png":
            print(folders.shown(path))
    return 0


def _run_folder(run: str, verb: str) -> folders.RunFolder:
    """The folder of a run. Raises ResultsError for a table alone, which holds no launches."""
    from ..results import files

    if files.is_table(run):
        raise ResultsError(f"{run} is a file; bench {verb} needs all of a run: name its folder")
    return folders.find(run)


def print_tables(tables: Tables, metrics: list[str] | None = None) -> None:
    """The tables on the terminal."""
    from ..report import table
    from ..results.tables import choose

    print_pages(table.metrics(choose(tables, metrics)) if metrics else table.overview(tables))
    _say_notes(tables)


def print_profiles(tables: Tables, most: int) -> None:
    """What was counted and profiled of each case, on the terminal, with so many operators."""
    from ..report.profile import profiles

    print_pages(profiles(tables, most))


def print_pages(pages: Iterable[RenderableType]) -> None:
    """On the terminal: as wide as it is, or 160 columns where the output is none."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    for page in pages:
        console.print(page)


def _say_notes(tables: Tables) -> None:
    for note in tables.notes:
        print(plain(f"bench: {note}"), file=sys.stderr)
