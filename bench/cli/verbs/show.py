"""`bench show` prints the tables of a run."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ...ab.error_rates import Decision
from ...analysis.run.time_to_quality import groups
from ...errors import ResultsError, UsageError
from ...report.safe_text import plain, plain_json
from ...report.terminal import time_to_quality
from ...report.terminal.profile import profiles
from ...results import folder as folders
from ...results import tables
from ...results.journal import read_journal
from ...results.table_files import is_table, read_summary
from ..command import argument, option
from ..options import JsonOptions
from ..run_output import MOST_OPERATORS, print_error_rates, print_notes, print_tables, run_folder
from ..screen import FailurePrinter, print_pages


class ShowOptions(JsonOptions):
    run: str = argument(
        "latest",
        metavar="RUN",
        help="A run, or a session of bench ab: its folder, the beginning of its name, latest, or latest~1 for the one "
        "before; or a single summary.csv or summary.parquet.",
    )
    metric: list[str] | None = option(
        None, metavar="NAME", help="Show these metrics, such as epoch.time or 'train.phase.*'; repeatable."
    )
    quality: bool = option(
        False,
        "--quality",
        help="Show loss and accuracy by training time, and which configuration reaches a loss first.",
    )
    target_loss: float | None = option(
        None,
        metavar="X",
        help="With --quality: the validation loss to reach; the time until then is compared.",
        show_default="the axis target_loss, or the loss that half of the configurations reach",
    )


def main(options: ShowOptions) -> int:
    if options.quality:
        return show_quality(options)
    if options.target_loss is not None:
        raise UsageError("--target-loss is used by --quality; give --quality too")
    run = options.run
    if (decisions := decisions_of(run)) is not None:
        print_error_rates(decisions, options.as_json)
        return 0
    made = read_summary(Path(run)) if is_table(run) else tables.read(run)
    if made.summary.empty and made.failures.empty:
        why = "".join(f"; {note}" for note in made.notes)
        raise ResultsError(f"{run} holds no row to show{why}; measure first: bench run")
    if options.as_json:
        print(plain_json(tables.as_json(tables.choose(made, options.metric) if options.metric else made)))
    else:
        print_identity(run)
        print_tables(made, options.metric)
        if not options.metric and made.steps.empty and not made.ops.empty:  # as from bench profile
            print_pages(profiles(made, MOST_OPERATORS))
    if options.debug and len(made.failures):
        print_tracebacks(run)
    return 0


def print_tracebacks(run: str) -> None:
    """Prints each failure of a run with its traceback, which only the journal has, on standard error."""
    printer = FailurePrinter(debug=True)
    for text in dict.fromkeys(map(printer.text, read_journal(folders.find(run).journal).failures)):
        if "\n" in text:  # without a traceback, the table has all of it
            print(text, file=sys.stderr)


def decisions_of(run: str) -> list[Decision] | None:
    """The decisions of a self-test, if its folder is named; None for anything else."""
    path = Path(run) if os.path.isdir(run) else folders.RESULTS / run
    if not os.path.isfile(path / folders.SELFTEST):
        return None
    try:
        return [Decision(**one) for one in folders.RunFolder(path).read_json(folders.SELFTEST)["decisions"]]
    except (KeyError, TypeError) as problem:
        raise ResultsError(
            f"{path / folders.SELFTEST} is damaged: {problem}; make a new one: bench selftest"
        ) from None


def print_identity(run: str) -> None:
    """Prints what is shown if that may be unclear: what `latest` is, and that a run was not timed."""
    if is_table(run):
        return
    folder = folders.find(run, sessions=True)
    name = folders.shown(folder.path)
    kind = _kind(folder, name)
    latest = f"{run} is " if run.startswith("latest") else ""
    if latest or kind:
        print(plain(f"{latest}{name}{kind}"))


def _kind(folder: folders.RunFolder, name: str) -> str:
    """', a profile: ...'; empty for a run whose loop was timed."""
    if folders.is_session(folder.path):
        base, candidate = (
            folders.RunFolder(folder.path / side).plan().get("side", side) for side in folders.SIDES
        )
        return (
            f", a session of bench ab: base {base}, candidate {candidate}; its verdicts: bench compare {name}"
        )
    plan = folder.plan()
    schedule, untimed = plan.get("schedule"), plan.get("apart")
    if isinstance(schedule, Mapping) and schedule.get("launches") == 0:
        profiled = isinstance(untimed, Mapping) and bool(untimed.get("profile"))
        return f", {'a profile' if profiled else 'counts only'}: no launch in it was timed"
    return ""


def show_quality(options: ShowOptions) -> int:
    """Prints how soon each trained case of a run reached which quality."""
    run, target = options.run, options.target_loss
    if options.metric:
        raise UsageError("--quality has its own columns; omit --metric, or --quality")
    if target is not None and not math.isfinite(target):
        raise UsageError(f"--target-loss must be a finite number, not {target}")
    made = tables.read(run_folder(run, "show --quality").path)
    compared = groups(made.trained.values(), target)
    if not compared:
        if "mode" not in made.summary.columns:  # cases of a script have no mode, those of a suite do
            raise ResultsError(
                f"{run} measured a script, whose validation loss is not known, and --quality needs it; the "
                f"loss of its training: bench show {run} --metric quality.train_loss"
            )
        raise ResultsError(
            f"{run} holds no trained case, so no loss over time; measure one: bench run --axis mode=train"
        )
    if options.as_json:
        print(plain_json(time_to_quality.as_json(compared)))
    else:
        print_pages(time_to_quality.pages(made, compared))
        print_notes(made)
    return 0
