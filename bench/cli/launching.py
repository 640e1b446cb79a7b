"""What every verb that launches needs: the lock of the machine, the telemetry, the notice about git."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, closing
from pathlib import Path

from ..machine.lock import one_at_a_time
from ..machine.telemetry import Telemetry
from ..running.lanes import Spread
from ..suite.case import Case
from ..suite.script import check_alone
from ..system.git import distrust
from ..system.gpu import open_gpus
from .options import WaitOptions
from .screen import print_remark


def command_line() -> str:
    """What the user typed, for the note in the lock and plan.json."""
    return " ".join(["bench", *sys.argv[1:]])


def lock(options: WaitOptions) -> AbstractContextManager[None]:
    """One run at a time on these devices. Raises UsageError for one of several processes that train together."""
    check_alone(os.environ)
    return one_at_a_time(command_line(), not options.no_wait, waiting=_print_waiting)


def _print_waiting(holder: str) -> None:
    print_remark(f"waiting for another run to end: {holder}; with --no-wait it exits instead")


def print_distrust() -> None:
    """Prints a line if git does not give the commit of a tree although there is one."""
    if why := distrust(Path.cwd()):
        print_remark(f"the commit is not recorded: {why}")


def print_cards_in_use(spread: Spread) -> None:
    """Prints a line for each card on which no launch is made since others use it."""
    for card, processes in spread.in_use.items():
        pids = ", ".join(map(str, sorted(processes)))
        print_remark(f"no launch runs on {card}: other programs use it (process {pids})")


def telemetry_of(cases: Iterable[Case]) -> AbstractContextManager[Telemetry]:
    """Watches launches of these cases from outside, and the cards that they run on."""
    cards = {case.device.partition(":")[2] or "0" for case in cases if case.device.startswith("cuda")}
    return closing(Telemetry(open_gpus(sorted(int(card) for card in cards))))
