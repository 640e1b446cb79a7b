"""Stopping on request: SIGINT and SIGTERM take effect only where the parent waits.

The result of a launch is on the disk before a signal takes effect, so that Ctrl-C loses nothing. A second signal takes
effect anywhere except during clean-up. Signals arrive in the main thread: waits of other threads change nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from ..errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """The state of the signals of this process."""

    requested: int = 0
    waiting: bool = False
    clearing: bool = False


def _request(number: int, _: FrameType | None) -> None:
    again, _State.requested = _State.requested, number
    if (_State.waiting or again) and not _State.clearing:
        raise Interrupted(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """A context in which a signal raises Interrupted at the next `interruptible` wait."""
    before = {number: signal.signal(number, _request) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _request not in before.values():  # the outermost context: later commands are not stopped
            _State.requested = 0


@contextmanager
def interruptible() -> Iterator[None]:
    """A context for a wait that may be interrupted. Raises Interrupted, at once if a signal came before."""
    if not _is_main():
        yield
        return
    before, _State.waiting = _State.waiting, True
    try:
        if _State.requested:
            raise Interrupted(_State.requested)
        yield
    finally:
        _State.waiting = before


@contextmanager
def clearing_away() -> Iterator[None]:
    """A context for clean-up of a few seconds: a signal takes effect after it."""
    if not _is_main():
        yield
        return
    before, _State.clearing = _State.clearing, True
    try:
        yield
    finally:
        _State.clearing = before


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def kill_group(leader: int) -> None:
    """Ends a group of processes, as far as there are any left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
