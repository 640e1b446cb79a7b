"""The memory and processor time of a process and all its descendants."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

# Some Linux kernels list the children of each thread; else every process must be searched.
_LISTS_CHILDREN = os.path.exists("/proc/thread-self/children")
_SEARCH_EVERY = 8  # readings


@dataclass(frozen=True)
class Usage:
    """The usage of a tree of processes: resident bytes, in which a page shared by two of them counts twice, and the
    processor seconds of all processes that were ever in it. `pids` are the running ones.
    """

    rss: int
    cpu: float
    pids: frozenset[int]


class ProcessTree:
    """A process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._processes: dict[int, psutil.Process] = {}
        self._cpu: dict[int, float] = {}  # for a process that has ended: the last reading
        self._pids: list[int] = []
        self._reads = 0

    def read(self) -> Usage | None:
        """The current usage of the tree; None once its first process has ended."""
        rss, pids = 0, set()
        for pid in self._members():
            try:
                process = self._processes.get(pid) or psutil.Process(pid)
                with process.oneshot():
                    times, resident = process.cpu_times(), process.memory_info().rss
            except (psutil.Error, OSError, ValueError):
                if pid == self._pid:
                    return None
                continue  # it has just ended
            self._processes[pid] = process
            self._cpu[pid] = times.user + times.system
            rss += resident
            pids.add(pid)
        return Usage(rss, sum(self._cpu.values()), frozenset(pids))

    def _members(self) -> list[int]:
        if _LISTS_CHILDREN:
            self._pids = [self._pid]
            for pid in self._pids:  # grows during the loop
                self._pids += _children(pid)
        elif self._reads % _SEARCH_EVERY == 0:
            self._pids = [self._pid, *_descendants(self._pid)]
        self._reads += 1
        return self._pids


def _children(pid: int) -> list[int]:
    pids: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                pids += map(int, children.read().split())
    except OSError:
        pass  # the process, or one of its threads, has ended; the next reading finds its children
    return pids


def _descendants(pid: int) -> list[int]:
    try:
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    except (psutil.Error, OSError):
        return []
