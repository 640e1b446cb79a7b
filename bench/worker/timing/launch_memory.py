"""The memory of a launch: pinning the host's allocator, a limit for this process, and the measured peaks."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from ...system.kernel import read_file

# malloc.h of glibc. M_TRIM_THRESHOLD is an int there: its largest value is 2 GiB - 1.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
RESERVE = 256 * 2**20  # bytes asked of the kernel beyond what is needed; untouched, they take no memory
_SETTINGS = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, RESERVE))


def pin() -> bool:
    """Keeps freed memory in the process from now on. Returns True if every setting took effect.

    musl and macOS have no such settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in _SETTINGS)


# What a thread maps but does not touch: its stack and its malloc arena.
_OF_A_THREAD = (8 + 64) * 2**20


# What torch raises where a device keeps no statistics of its memory.
_NO_STATISTICS = (AttributeError, NotImplementedError, RuntimeError)


class AboveMemoryLimit(MemoryError):
    """A launch has taken more memory than it may."""


@contextmanager
def limited(memory_limit: int | None, threads: int = 1) -> Iterator[None]:
    """A context in which the process may take at most this many more bytes than now; None sets no limit.

    The kernel counts private writable memory, touched or not (RLIMIT_DATA of setrlimit(2), mmap included since Linux
    4.7); other systems count less or nothing, and get no limit. The kernel's limit is higher by what the allocator and
    the threads map and never touch, so it only stops allocations far above `memory_limit`; `check` compares the memory
    that was actually taken. The limit is removed at the end, so that there is memory to report a failure.
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
    """Raises AboveMemoryLimit if more bytes were taken than a limit allows."""
    if memory_limit is not None and taken > memory_limit:
        raise AboveMemoryLimit(
            f"it took {taken / 2**20:,.0f} MiB, where it may take {memory_limit / 2**20:,.0f} MiB"
        )


class MemoryMeter:
    """Peaks from `start` on, in bytes: of the rise of the resident set, and of the device's memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self) -> None:
        self._level = psutil.Process().memory_info().rss
        reset_high_water_mark()
        if self._device.type != "cpu":
            with suppress(*_NO_STATISTICS):
                torch.accelerator.reset_peak_memory_stats(self._device)

    def peaks(self) -> dict[str, int]:
        return {"peak_rss": max(0, high_water_mark() - self._level), **device_peaks(self._device)}


def device_peaks(device: torch.device) -> dict[str, int]:
    """The most bytes that tensors on the device took since the reset of its statistics, and that its allocator held.

    Without those that its allocator does not keep: on a Mac, and of CUDA where PYTORCH_NO_CUDA_MEMORY_CACHING goes
    around the allocator. Torch says 0 then, which no launch with a model on the device takes.
    """
    if device.type == "cpu":
        return {}
    with suppress(*_NO_STATISTICS):
        peaks = {
            "peak_allocated": torch.accelerator.max_memory_allocated(device),
            "peak_reserved": torch.accelerator.max_memory_reserved(device),
        }
        return {name: peak for name, peak in peaks.items() if peak}
    return {}


def reset_high_water_mark() -> None:
    """Resets the kernel's high-water mark of this process to its current resident set, if possible."""
    with suppress(OSError):  # no such file, or not allowed: then the mark includes earlier peaks
        Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): 5 resets VmHWM


def high_water_mark() -> int:
    """The most bytes that this process has had resident since the mark was reset."""
    for line in read_file("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
