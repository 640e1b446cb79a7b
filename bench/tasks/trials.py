"""What torch says of something that is tried."""

from __future__ import annotations

from collections.abc import Callable


def objection(attempt: Callable[[], object]) -> str | None:
    """The first line of what an attempt raises, or its type where it says nothing; None where it goes well."""
    try:
        attempt()
    except Exception as problem:
        return (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")
    return None
