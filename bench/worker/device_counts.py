"""What the host asked of a CUDA device: kernel launches, waits and copies, counted in a Chrome trace.

The host's calls tell when: one that lies in a counted stretch of the loop counts. A copy's direction and
bytes are told by its record on the device, which carries the number of the call.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from .marks import Mark, number_of

_CALLS = ("cuda_runtime", "cuda_driver")  # categories of Kineto's events
_LAUNCHES = (
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cudaLaunchCooperativeKernel",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cuLaunchCooperativeKernel",
    "cudaGraphLaunch",  # of all the kernels in it
)
_WAITS = (
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "cuStreamSynchronize",
    "cuEventSynchronize",
    "cuCtxSynchronize",
)
_DIRECTIONS = {"HtoD": "host_to_device", "DtoH": "device_to_host", "DtoD": "device_to_device"}


def device_counts(events: Iterable[Mapping[str, Any]], marks: Sequence[Mark]) -> dict[str, int]:
    """The totals of the counted stretches, by the names of METRICS behind "count."."""
    events = [event for event in events if event.get("ph") == "X"]
    stretches = counted_stretches(events, marks)
    starts = [start for start, _ in stretches]
    totals = {"kernel_launches": 0, "synchronizations": 0, "copies": 0, "copied_bytes": 0}
    calls = set()
    for event in events:
        if event.get("cat") not in _CALLS:
            continue
        place = bisect_right(starts, event["ts"]) - 1
        if place < 0 or event["ts"] >= stretches[place][1]:
            continue
        calls.add(event.get("args", {}).get("correlation"))
        # A later version of a call has its number behind the name: cudaLaunchKernelExC_v11060.
        name = str(event.get("name")).partition("_v")[0]
        totals["kernel_launches"] += name in _LAUNCHES
        totals["synchronizations"] += name in _WAITS
    for event in events:
        told = event.get("args", {})
        if event.get("cat") != "gpu_memcpy" or told.get("correlation") not in calls:
            continue
        size = int(told.get("bytes", 0))
        way = next((said for short, said in _DIRECTIONS.items() if short in str(event.get("name"))), None)
        for name in ("", *([f".{way}"] if way else [])):
            totals[f"copies{name}"] = totals.get(f"copies{name}", 0) + 1
            totals[f"copied_bytes{name}"] = totals.get(f"copied_bytes{name}", 0) + size
    return totals


def counted_stretches(
    events: Iterable[Mapping[str, Any]], marks: Sequence[Mark]
) -> list[tuple[float, float]]:
    """Where in the trace the counted stretches of the loop begin and end, in its own unit of time."""
    cuts = sorted(
        (event["ts"], event["ts"] + event["dur"], marks[number])
        for event in events
        if event.get("cat") == "user_annotation" and (number := number_of(str(event.get("name")))) is not None
    )
    found = []
    for (_, start, _), (_, end, mark) in pairwise(cuts):
        if mark.is_counted:
            found.append((start, end))
    return found
