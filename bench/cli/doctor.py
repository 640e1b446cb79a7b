"""The verb that looks at the machine: `doctor`. It changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Debug, Json, conditions, seconds
from bench.cli.progress import waiting
from bench.machine.doctor import Finding, Noise, as_json, examine
from bench.machine.gpu import open_gpus
from bench.machine.lock import one_at_a_time
from bench.nursery import Workers
from bench.signals import stoppable


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    noise: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long to measure the noise of each device; 0 not to measure."),
    ] = "20s",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Leave where another run is measuring on this machine.")
    ] = False,
    as_json_: Json = False,
    debug: Debug = False,
) -> int:
    """Say what of this machine will disturb a measurement, with the remedy; measure its noise."""
    duration = seconds(noise)
    given = conditions()
    cards = open_gpus(range(16))
    findings = examine(given, cards=cards)
    if as_json_:
        print(as_json(findings, measured(duration, no_wait) if duration else []))
        return 0
    show(findings, [])
    if duration:
        show([], measured(duration, no_wait))
    return 0


def measured(duration: float, no_wait: bool) -> list[Noise]:
    """The noise of every device."""
    from bench.noise import probe_noise

    lock = one_at_a_time(
        "bench doctor",
        not no_wait,
        waiting=lambda who: print(f"bench: waiting for another run to end: {who}", file=sys.stderr),
    )
    with (
        stoppable(),
        lock,
        Workers(conditions()) as workers,
        waiting("measuring the noise of launches", False),
    ):
        return list(probe_noise(workers, duration))


def show(findings: list[Finding], noise: list[Noise]) -> None:
    from rich.console import Console

    from bench.report.checkup import page

    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(page(findings, noise))
