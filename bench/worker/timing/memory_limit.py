"""A ceiling for the memory of this process: what goes above it fails here, and nothing else on the machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from ..allocator import RESERVE

# What a thread maps beside its tensors and does not touch: its stack, and the part of malloc's that is its own.
_OF_A_THREAD = (8 + 64) * 2**20


class AboveRoom(MemoryError):
    """A launch has taken more memory than it may."""


@contextmanager
def ceiling(room: int | None, threads: int = 1) -> Iterator[None]:
    """While this lasts, the process may take so many bytes more than it holds now; None sets no limit.

    The kernel counts what is private and writable, touched or not (RLIMIT_DATA of setrlimit(2), mmap included
    since Linux 4.7); other systems count less or nothing, and get no limit. What the allocator and so many
    threads map without touching it comes on top: it takes no memory, and `room` is memory. So this stops what goes far
    above it before the machine runs out; what was taken in the end is for `check` to hold against it. It is taken
    back at the end, so that there is memory to report what failed.
    """
    if room is None or sys.platform != "linux":
        yield
        return
    import resource  # not on Windows

    soft, hard = before = resource.getrlimit(resource.RLIMIT_DATA)
    most = psutil.Process().memory_info().data + room + RESERVE + threads * _OF_A_THREAD
    limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([most, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def check(room: int | None, taken: int) -> None:
    """Raises AboveRoom where more bytes were taken than there is room for; None is room for any."""
    if room is not None and taken > room:
        raise AboveRoom(f"it took {taken / 2**20:,.0f} MiB, where it may take {room / 2**20:,.0f} MiB")
