"""Python's audit events, within a context."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Handler = Callable[[tuple[Any, ...]], None]


@contextmanager
def audited(handlers: Mapping[str, Handler]) -> Iterator[None]:
    """Within, calls the handler of each event (library/audit_events) that has one; what it raises stops the event.

    A hook cannot be removed, and is called for every event of the process, hundreds in a step: it must be quick, and
    afterwards it does nothing.
    """
    at_work = dict(handlers)
    find = at_work.get

    def hook(event: str, details: tuple[Any, ...]) -> None:
        if (handler := find(event)) is not None:
            handler(details)

    sys.addaudithook(hook)
    try:
        yield
    finally:
        at_work.clear()
