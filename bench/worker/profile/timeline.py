"""The activity of a device over time: arithmetic on intervals, all in one unit of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

Interval = tuple[float, float]

_MICRO = 1e-6


def device_shares(events: Iterable[FunctionEvent]) -> dict[str, float]:
    """Seconds of kernels and copies, and shares of the time from the first to the last of them.

    `kernel_time`, `copy_time`, `span` are seconds; `idle_share` of the span neither ran; `launch_gap` is the mean
    idle time before a kernel, seconds; `copy_overlap` is the share of the copies' time in which a kernel
    ran too. Empty where the device did nothing that was seen.
    """
    kernels: list[Interval] = []
    copies: list[Interval] = []
    for event in events:
        if event.device_type == DeviceType.CPU or event.is_user_annotation:
            continue
        moved = event.name.startswith(("Memcpy", "Memset"))
        (copies if moved else kernels).append((event.time_range.start, event.time_range.end))
    return shares(kernels, copies, _MICRO)


def shares(kernels: Sequence[Interval], copies: Sequence[Interval], unit: float = 1.0) -> dict[str, float]:
    """As `device_shares`, of intervals in this unit of seconds."""
    busy = union([*kernels, *copies])
    if not busy:
        return {}
    span = busy[-1][1] - busy[0][0]
    gaps = [after[0] - before[1] for before, after in pairwise(busy)]
    computing, copying = union(kernels), union(copies)
    found = {
        "kernel_time": sum(end - start for start, end in kernels) * unit,
        "copy_time": sum(end - start for start, end in copies) * unit,
        "span": span * unit,
        "idle_share": sum(gaps) / span if span else 0.0,
        "launch_gap": sum(gaps) / len(kernels) * unit if kernels else 0.0,
    }
    if length(copying):
        found["copy_overlap"] = length(intersection(computing, copying)) / length(copying)
    return found


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The stretches that at least one interval covers, in order."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def intersection(first: Sequence[Interval], second: Sequence[Interval]) -> list[Interval]:
    """The stretches that both cover; each is in order and without overlaps of its own."""
    found, i, j = [], 0, 0
    while i < len(first) and j < len(second):
        start, end = max(first[i][0], second[j][0]), min(first[i][1], second[j][1])
        if start < end:
            found.append((start, end))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return found


def length(intervals: Iterable[Interval]) -> float:
    return sum(end - start for start, end in intervals)
