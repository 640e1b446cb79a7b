"""The verb that looks at the machine: `doctor`. It changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ...machine.doctor import Finding, Noise, as_json, examine
from ...machine.lock import one_at_a_time
from ...running.fork_server import Workers
from ...running.noise import probe_noise
from ...suite.case import Conditions
from ...system.gpu import open_gpus
from ...system.signals import stoppable
from ..measuring import say_waiting
from ..options import Debug, Json, NoWait, Verb, conditions, seconds
from ..progress import waiting
from ..screen import print_pages

_MOST_CARDS = 16


def register(app: typer.Typer) -> None:
    app.command("doctor", cls=Verb)(doctor)


def doctor(
    noise: Annotated[
        str,
        typer.Option(metavar="TIME", help="Measure the noise of each device for so long; 0 skips it."),
    ] = "20s",
    no_wait: NoWait = False,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Say what on this machine disturbs measurements, with remedies, and measure its noise; changes nothing."""
    duration = seconds(noise)
    standard = conditions()
    findings = examine(standard, cards=[gpu.state() for gpu in open_gpus(range(_MOST_CARDS))])
    if not json:
        show(findings)
    measured = measure(standard, duration, no_wait) if duration else []
    if json:
        print(as_json(findings, measured))
    elif measured:
        show(noise=measured)
    return 0


def measure(standard: Conditions, duration: float, no_wait: bool) -> list[Noise]:
    """The noise of every device on which a pair of launches came to its end."""
    lock = one_at_a_time("bench doctor", not no_wait, waiting=say_waiting)
    with (
        stoppable(),
        lock,
        Workers(standard) as workers,
        waiting("measuring the noise of launches", False),
    ):
        measured = list(probe_noise(workers, duration))
    if not measured:
        print("bench: the noise was not measured: no pair of launches came to its end", file=sys.stderr)
    return measured


def show(findings: Sequence[Finding] = (), noise: Sequence[Noise] = ()) -> None:
    from ...report.terminal.checkup import page

    print_pages([page(findings, noise)])
