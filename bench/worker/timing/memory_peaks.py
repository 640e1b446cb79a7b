"""The peaks of memory that a launch takes."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import torch


class MemoryMeter:
    """Peaks from `start` on: of the resident set above its level then, and of the device's memory. Bytes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self) -> None:
        self._level = psutil.Process().memory_info().rss
        reset_high_water_mark()
        if self._device.type != "cpu":
            torch.accelerator.reset_peak_memory_stats(self._device)

    def peaks(self) -> dict[str, int]:
        return {"peak_rss": max(0, high_water_mark() - self._level), **device_peaks(self._device)}


def device_peaks(device: torch.device) -> dict[str, int]:
    """The most bytes that tensors on the device took since the reset of its statistics, and that its allocator held."""
    if device.type == "cpu":
        return {}
    return {
        "peak_allocated": torch.accelerator.max_memory_allocated(device),
        "peak_reserved": torch.accelerator.max_memory_reserved(device),
    }


def reset_high_water_mark() -> None:
    """Sets the kernel's high-water mark of this process to its present resident set, where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): 5 resets VmHWM
    except OSError:
        pass  # no such file, or not allowed: then the mark includes what came before


def high_water_mark() -> int:
    """The most bytes that this process has had resident since the mark was reset."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
