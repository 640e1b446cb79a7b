"""What a worker process does to itself and its children through the kernel: groups, signals, memory kills."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl.h


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def signal_when_parent_dies(number: int) -> None:
    """The kernel sends this process a signal when its parent ends, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Descendants whose parents end become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_killed_first() -> None:
    """When memory runs out, the kernel kills this process, not the fork server that reports it."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")  # proc_pid_oom_score_adj(5): the most likely
    except OSError:
        pass  # no such file here


def out_of_memory_kills() -> int:
    """How many processes of this machine, or container, the kernel has killed because memory ran out."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass  # not Linux: such a kill then reads as a crash by SIGKILL
    return 0


def lead_group(process: int) -> None:
    """Makes a process (0: this one) the leader of a process group of its own."""
    try:
        os.setpgid(process, process)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended


def kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # all of it has ended


def reap_descendants() -> None:
    """Ends the processes that a child started outside its group; this process has adopted them."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while children.exists() and (left := children.read_text().split()):
        for pid in map(int, left):
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def thread_count() -> int:
    """Threads of this process, those of C libraries included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        return threading.active_count()
