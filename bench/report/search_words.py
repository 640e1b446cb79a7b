"""A search for the largest batch in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.run import largest_batch
from ..analysis.run.largest_batch import Search, Try
from ..plurals import counted


def search_line(search: Search) -> str:
    """The result of a search on one line, or how far it got."""
    tried = f"{counted(len(search.tries), 'launch', 'launches')} tried"
    head = f"largest batch of {search.case.id}"
    if search.next is not None:
        fits = f"{search.batch_size} fits" if search.fitting else "none fits so far"
        return f"{head}: not found yet ({fits}; {tried})"
    if search.why == largest_batch.NOTHING:
        return f"{head}: none fits ({_smallest_failure(search.tries)}; {tried}); measured at batch_size=1"
    fastest = "" if search.fastest is None else f"; the most samples/s at {search.fastest}"
    return f"{head}: {search.batch_size} ({_why(search)}; {tried}){fastest}"


def _why(search: Search) -> str:
    match search.why:
        case largest_batch.DATA:
            return f"all of the {'training' if search.case.mode == 'train' else 'evaluation'} data"
        case largest_batch.VALIDATE_EVERY:
            return f"validate_every={search.case.validate_every} leaves no larger one"
        case largest_batch.LOADER:
            return "its loader gives no larger one"
        case largest_batch.FAILED:
            return _smallest_failure(search.failing)
    return "no larger one is tried"


def _smallest_failure(failing: Sequence[Try]) -> str:
    """The smallest size that does not fit, and how it failed."""
    one = min((one for one in failing if not one.fits), key=lambda one: one.size)
    match one.failure:
        case "out_of_memory":
            return f"{one.size} runs out of memory"
        case "timeout":
            return f"{one.size} does not end in time"
    return f"{one.size} fails, {one.failure}: {one.message}"
