"""A limit for the memory of this process: an allocation above it fails here, and nothing else on the machine does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from ..allocator import RESERVE

# What a thread maps and does not touch: its stack and its malloc arena.
_OF_A_THREAD = (8 + 64) * 2**20


class AboveMemoryLimit(MemoryError):
    """A launch has taken more memory than it may."""


@contextmanager
def limited(memory_limit: int | None, threads: int = 1) -> Iterator[None]:
    """Within, the process may take so many bytes more than it holds now; None sets no limit.

    The kernel counts private writable memory, touched or not (RLIMIT_DATA of setrlimit(2), mmap included since Linux
    4.7); other systems count less or nothing, and get no limit. The kernel's limit is higher by what the allocator and
    the threads map and never touch, so it stops only what goes far above `memory_limit`; `check` compares what was
    taken in the end. The limit is lifted at the end, so that there is memory to report a failure with.
    """
    if memory_limit is None or sys.platform != "linux":
        yield
        return
    import resource  # not on Windows

    soft, hard = before = resource.getrlimit(resource.RLIMIT_DATA)
    most = psutil.Process().memory_info().data + memory_limit + RESERVE + threads * _OF_A_THREAD
    limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([most, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def check(memory_limit: int | None, taken: int) -> None:
    """Raises AboveMemoryLimit where more bytes were taken than the limit, if there is one."""
    if memory_limit is not None and taken > memory_limit:
        raise AboveMemoryLimit(
            f"it took {taken / 2**20:,.0f} MiB, where it may take {memory_limit / 2**20:,.0f} MiB"
        )
