"""What a worker process does to itself and its children through the kernel: groups, signals, memory kills."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from ..system.kernel import read_file

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
    with suppress(OSError):  # no such file here
        Path("/proc/self/oom_score_adj").write_text("1000")  # proc_pid_oom_score_adj(5): the most likely


def out_of_memory_kills() -> int:
    """How many processes of this machine, or container, the kernel has killed because memory ran out."""
    for line in read_file("/proc/vmstat").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0  # not Linux: such a kill then reads as a crash by SIGKILL


def lead_group(process: int) -> None:
    """Makes a process (0: this one) the leader of a process group of its own."""
    with suppress(ProcessLookupError, PermissionError):  # it has ended
        os.setpgid(process, process)


def reap_descendants() -> None:
    """Ends the processes that a child started outside its group; this process has adopted them."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while children.exists() and (left := children.read_text().split()):
        for pid in map(int, left):
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def thread_count() -> int:
    """Threads of this process, those of C libraries included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def flush_output() -> None:
    """Writes out what this process has printed, unless user code has closed the streams."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
