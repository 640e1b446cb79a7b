"""Controls a worker process and its children through the kernel: groups, signals, out-of-memory kills."""

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
    """Makes the kernel send this process a signal when its parent ends for any reason."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Makes descendants whose parents end children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_killed_first() -> None:
    """Makes the kernel kill this process when memory runs out, not the fork server, which reports it."""
    with suppress(OSError):  # no such file here
        Path("/proc/self/oom_score_adj").write_text("1000")  # proc_pid_oom_score_adj(5): killed first


def out_of_memory_kills() -> int:
    """How many processes of this machine, or container, the kernel has killed because memory ran out."""
    for line in read_file("/proc/vmstat").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0  # not Linux: such a kill is then reported as a crash by SIGKILL


# What the driver of a device opens when a process first uses it, torch's API or not. NVML, which only asks, opens other
# files of NVIDIA's.
_DRIVER_FILES = ("/dev/nvidia-uvm", "/dev/kfd", "/dev/dri/")


def opened_devices(descriptors: Path = Path("/proc/self/fd")) -> list[str]:
    """The files of device drivers that this process has open: a driver that is in use does not survive a fork."""
    opened = []
    for descriptor in sorted(descriptors.glob("*")):
        with suppress(OSError):  # the descriptor of this listing
            opened.append(os.readlink(descriptor))
    return [file for file in opened if file.startswith(_DRIVER_FILES)]


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
