"""The verbs that read a run: `show`, `tables`, `plot`. They need no torch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import Debug, Json, Run
from bench.results import folder as folders

if TYPE_CHECKING:
    from bench.results.tables import Tables


def register(app: typer.Typer) -> None:
    app.command("show")(show)
    app.command("tables")(rebuild_tables)
    app.command("plot")(plot)


def show(
    run: Run = "latest",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Show these metrics, such as epoch.time or 'train.phase.*'; repeatable."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show the tables of a run."""
    from bench.results import tables

    made = tables.read(run)
    if as_json:
        print(tables.as_json(tables.choose(made, metric) if metric else made))
    else:
        print_tables(made, metric)
    return 0


def rebuild_tables(run: Run = "latest", debug: Debug = False) -> int:
    """Rebuild the tables of a run from its journal."""
    from bench.results import tables

    folder = folders.find(run)
    made = tables.read(folder.path)
    tables.write(folder, made)
    _say_notes(made)
    print(
        f"{len(made.summary)} rows, {len(made.failures)} failures: {folders.shown(folder.path)}/summary.csv"
    )
    return 0


def plot(run: Run = "latest", debug: Debug = False) -> int:
    """Draw the pictures of a run."""
    from bench.report import plots
    from bench.results import tables

    folder = folders.find(run)
    made = tables.read(folder.path)
    for path in plots.draw(made, folder.plots):
        if path.suffix == ".png":
            print(folders.shown(path))
    return 0


def print_tables(tables: Tables, metrics: list[str] | None = None) -> None:
    """The tables on the terminal: as wide as it is, or 160 columns where the output is none."""
    from rich.console import Console

    from bench.report import table
    from bench.results.tables import choose

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    pages = table.metrics(choose(tables, metrics)) if metrics else table.overview(tables)
    for page in pages:
        console.print(page)
    _say_notes(tables)


def _say_notes(tables: Tables) -> None:
    for note in tables.notes:
        print(f"bench: {note}", file=sys.stderr)
