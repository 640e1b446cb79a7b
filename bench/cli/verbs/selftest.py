"""The verb that measures the gate itself: `selftest`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import Interrupted, UsageError
from ...plurals import counted
from ...results import folder as folders
from ...suite.case import MOST_PAIRS, Schedule
from ...system.signals import stoppable
from ..measuring import VerbOptions, command, lock, say_distrust, watching
from ..options import (
    Allocator,
    Axis,
    Data,
    Debug,
    Json,
    Keyword,
    NoWait,
    Out,
    Pairs,
    Quiet,
    Seed,
    Suites,
    Threads,
    Timeout,
    Verb,
    conditions,
    overrides,
    seconds,
)
from ..screen import print_pages, say
from ..stored_session import side_by_side

if TYPE_CHECKING:
    from ...ab.error_rates import Decision


def register(app: typer.Typer) -> None:
    app.command("selftest", cls=Verb)(selftest)


def selftest(
    suites: Suites = None,
    keyword: Keyword = None,
    axis: Axis = None,
    decisions: Annotated[
        int,
        typer.Option(metavar="N", help="Compare identical code so often: what is called is a false alarm."),
    ] = 24,
    plants: Annotated[
        int,
        typer.Option(metavar="N", help="Compare so often with steps made 3 % slower, and as often with 5 %."),
    ] = 10,
    pairs: Pairs = MOST_PAIRS,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Begin no comparison after this time, such as 5m or 1h."),
    ] = None,
    timeout: Timeout = "10m",
    seed: Seed = 0,
    threads: Threads = None,
    allocator: Allocator = "pinned",
    data: Data = Path("data"),
    out: Out = None,
    no_wait: NoWait = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Measure how good ab is on this machine: its false alarms, and which slowdowns it finds."""
    from ...ab import error_rates as gate
    from ...ab.cases import AbRequest
    from ...ab.session import open_session
    from ...ab.versions import NOW, Version
    from ...results import selftests

    if decisions < 0 or plants < 0 or decisions + plants < 1:
        raise UsageError("nothing is to be decided; give --decisions or --plants a number above 0")
    began = time.monotonic()
    request = AbRequest(
        suites=suites or [],
        keyword=keyword,
        overrides=overrides(axis),
        schedule=Schedule(timeout=seconds(timeout), seed=seed),
        conditions=conditions(threads, allocator, None, data),
        pairs=pairs,
        labels={"command": command()},
    )
    wishes = VerbOptions({}, wait=not no_wait, quiet=quiet, began=began)
    made: list[Decision] = []
    stop = 0
    ends = None if time_budget is None else began + seconds(time_budget)
    with (
        stoppable(),
        lock(wishes),
        open_session((Version(NOW), Version(NOW)), request, out, "selftest") as session,
    ):
        say_distrust()
        telemetry = watching(session.cases)
        try:
            wanted = gate.arms(decisions, plants)
            for one in gate.decisions(session, wanted, side_by_side([], ()), telemetry, ends=ends):
                made.append(one)
                selftests.write(session.place, made, session.environments[0])
                if not quiet:
                    say(said_of(one, len(made), len(wanted)), sys.stderr)
        except Interrupted as signal:
            stop = 128 + signal.signal_number
        finally:
            telemetry.close()
    if not made:
        print(
            "bench: nothing was decided: no case that trains could be measured in the time", file=sys.stderr
        )
        return stop or 3
    if as_json:
        print(json.dumps([dataclasses.asdict(score) for score in gate.error_rates(made)], indent=2))
    else:
        from ...report.terminal.error_rates import table

        print_pages([table(gate.error_rates(made))])
        print(f"kept: {folders.shown(session.place)}/selftest.json")
    return stop


def said_of(decision: Decision, number: int, of: int) -> str:
    """'3 of 50: 3 % in every step: epoch.time regressed 1.031, train.step_time regressed 1.032; 14 pairs, 11.2 s'."""
    rows = ", ".join(
        f"{name} {verdict} {decision.ratios.get(name, float('nan')):.3f}"
        for name, verdict in decision.verdicts.items()
    )
    return f"{number} of {of}: {decision.arm}: {rows}; {counted(decision.pairs, 'pair')}, {decision.seconds:.1f} s"
