"""A ceiling for the memory of this process: what goes above it fails here, and nothing else on the machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def ceiling(room: int | None) -> Iterator[None]:
    """While this lasts, the process may take so many bytes more than it holds now; None sets no limit.

    The kernel counts what is private and writable, touched or not (RLIMIT_DATA of setrlimit(2), mmap included
    since Linux 4.7); other systems count less or nothing, and get no limit. It is taken back at the end, so that
    there is memory to report what failed.
    """
    if room is None or sys.platform != "linux":
        yield
        return
    import resource  # not on Windows

    soft, hard = before = resource.getrlimit(resource.RLIMIT_DATA)
    most = psutil.Process().memory_info().data + room
    limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([most, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
