"""Finds a named run, and prints one: tables, profiles, notes and the places of its files."""

from __future__ import annotations

from collections.abc import Sequence

from ..ab.error_rates import Decision, error_rates
from ..errors import ResultsError
from ..report.safe_text import plain_json
from ..report.terminal import overview
from ..report.terminal.checkup import error_rate_table
from ..results import tables as run_tables
from ..results.folder import RunFolder, find, shown
from ..results.table_files import is_table
from ..results.tables import Tables
from .screen import print_pages, print_remark

MOST_OPERATORS = 12  # in the table of a profiled case, by default


def print_tables(tables: Tables, metrics: list[str] | None = None) -> None:
    pages = overview.metrics(run_tables.choose(tables, metrics)) if metrics else overview.overview(tables)
    print_pages(pages)
    print_notes(tables)


def print_notes(tables: Tables) -> None:
    for note in tables.notes:
        print_remark(note)


def print_error_rates(decisions: Sequence[Decision], as_json: bool) -> None:
    """Prints how often the gate was wrong and how often it found a slowdown, as a table or as JSON."""
    rates = error_rates(decisions)
    if as_json:
        print(plain_json(rates))
    else:
        print_pages([error_rate_table(rates)])


def print_places(folder: RunFolder, tables: Tables) -> None:
    """Prints where tables, traces and pictures are, if there are any."""
    place = shown(folder.path)
    if files := run_tables.files_with_rows(tables):
        print(f"tables: {place}/{', '.join(files)}")
    if any(folder.traces.glob("*")):
        print(f"traces: {place}/traces/ (open them in https://ui.perfetto.dev or chrome://tracing)")
    if any(folder.traces.glob("*.speedscope.json")):
        print(f"flame graphs: {place}/traces/*.speedscope.json (open them in https://www.speedscope.app)")
    if any(folder.plots.glob("*")):
        print(f"pictures: {place}/plots/")


def run_folder(run: str, verb: str) -> RunFolder:
    """The folder of a run. Raises ResultsError for a single table, which holds no launches."""
    if is_table(run):
        raise ResultsError(f"{run} is a file; bench {verb} needs all of a run: name its folder")
    return find(run, sessions=True)
