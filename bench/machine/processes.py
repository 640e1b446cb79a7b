"""What a process and all that descend from it use of memory and processors."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

# Linux lists the children of each thread where it was built to; else every process must be looked at.
_LISTS_CHILDREN = os.path.exists("/proc/thread-self/children")
_SEARCH_EVERY = 8  # readings


@dataclass(frozen=True)
class Usage:
    """What a tree of processes uses: resident bytes, in which a page that two of them share counts twice;
    and the processor seconds of all that it ever held. `pids` are those that live.
    """

    rss: int
    cpu: float
    pids: frozenset[int]


class ProcessTree:
    """A process and all that descend from it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._processes: dict[int, psutil.Process] = {}
        self._cpu: dict[int, float] = {}  # a process that has ended counts as it was last seen
        self._found: list[int] = []
        self._reads = 0

    def read(self) -> Usage | None:
        """What the tree uses now, or None once its first process has ended."""
        rss, pids = 0, set()
        for pid in self._members():
            try:
                process = self._processes.get(pid) or psutil.Process(pid)
                with process.oneshot():
                    times, resident = process.cpu_times(), process.memory_info().rss
            except (psutil.Error, OSError, ValueError):
                if pid == self._pid:
                    return None
                continue  # it ended between two lines of ours
            self._processes[pid] = process
            self._cpu[pid] = times.user + times.system
            rss += resident
            pids.add(pid)
        return Usage(rss, sum(self._cpu.values()), frozenset(pids))

    def _members(self) -> list[int]:
        if _LISTS_CHILDREN:
            self._found = [self._pid]
            for pid in self._found:  # grows while we go through it
                self._found += _children(pid)
        elif self._reads % _SEARCH_EVERY == 0:
            self._found = [self._pid, *_descendants(self._pid)]
        self._reads += 1
        return self._found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                found += map(int, children.read().split())
    except OSError:
        pass  # the process, or one of its threads, has ended; its children are found next time
    return found


def _descendants(pid: int) -> list[int]:
    try:
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    except (psutil.Error, OSError):
        return []
