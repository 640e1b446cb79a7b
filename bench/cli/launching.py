"""What every verb that launches needs: the lock of the machine, the telemetry, the notice about git."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from ..machine.lock import one_at_a_time, own_spans
from ..running.lanes import Spread
from ..suite.script import check_alone
from ..system.git import distrust
from .options import WaitOptions
from .screen import print_remark


def command_line() -> str:
    """What the user typed, for the note in the lock and plan.json."""
    return " ".join(["bench", *sys.argv[1:]])


def lock(options: WaitOptions, variables: Iterable[Mapping[str, str]] = ()) -> AbstractContextManager[None]:
    """One run at a time on these devices, and on the cards that processes with these variables see as well.

    Raises UsageError for one of several processes that train together.
    """
    check_alone(os.environ)
    uses = own_spans([dict(os.environ), *({**os.environ, **more} for more in variables)])
    return one_at_a_time(command_line(), not options.no_wait, waiting=_print_waiting, uses=uses)


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
