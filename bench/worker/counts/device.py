"""The host's calls to a CUDA device: kernel launches, waits and copies, counted in a Chrome trace.

A call is counted if the host made it in a counted section of the loop. A copy's direction and bytes are in its record
on the device, which has the number of the call.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..marks import Mark, marks_in_trace

_CALLS = ("cuda_runtime", "cuda_driver")  # categories of Kineto's events
_LAUNCHES = (
    *("cudaLaunchKernel", "cudaLaunchKernelExC", "cudaLaunchCooperativeKernel"),
    *("cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel"),
    "cudaGraphLaunch",  # of all the kernels in it
)
_WAITS = (
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
    *("cuStreamSynchronize", "cuEventSynchronize", "cuCtxSynchronize"),
)
# The end of a name tells its version, and the default stream of code compiled for one in each thread:
# cudaLaunchKernelExC_v11060, cudaLaunchKernel_ptsz_v7000 (cuda_runtime_api.h, "__CUDART_API_PTSZ").
_VARIANT = re.compile(r"(_ptsz|_ptds)?(_v\d+)?$")
_DIRECTIONS = {"HtoD": "host_to_device", "DtoH": "device_to_host", "DtoD": "device_to_device"}


def device_counts(events: Iterable[Mapping[str, Any]], marks: Sequence[Mark]) -> dict[str, dict[str, int]]:
    """By stage, the sums over its counted sections; keys are the names of METRICS without "count.".

    Empty where the trace has no call to CUDA at all: the profiler could not record them (CUPTI is missing or not
    permitted), or they have other names (ROCm). Building a task on a device makes some.
    """
    events = [event for event in events if event.get("ph") == "X"]
    if not any(event.get("cat") in _CALLS and str(event.get("name")).startswith("cu") for event in events):
        return {}
    stretches = counted_stretches(events, marks)
    starts = [start for start, _, _ in stretches]
    found = {
        stage: {"kernel_launches": 0, "synchronizations": 0, "copies": 0, "copied_bytes": 0}
        for _, _, stage in stretches
    }
    calls: dict[Any, str] = {}  # the stage of each call
    for event in events:
        if event.get("cat") not in _CALLS:
            continue
        place = bisect_right(starts, event["ts"]) - 1
        if place < 0 or event["ts"] >= stretches[place][1]:
            continue
        stage = stretches[place][2]
        calls[event.get("args", {}).get("correlation")] = stage
        name = _VARIANT.sub("", str(event.get("name")))
        found[stage]["kernel_launches"] += name in _LAUNCHES
        found[stage]["synchronizations"] += name in _WAITS
    for event in events:
        told = event.get("args", {})
        if event.get("cat") != "gpu_memcpy" or told.get("correlation") not in calls:
            continue
        totals = found[calls[told.get("correlation")]]
        size = int(told.get("bytes", 0))
        way = next((said for short, said in _DIRECTIONS.items() if short in str(event.get("name"))), None)
        for name in ("", *([f".{way}"] if way else [])):
            totals[f"copies{name}"] = totals.get(f"copies{name}", 0) + 1
            totals[f"copied_bytes{name}"] = totals.get(f"copied_bytes{name}", 0) + size
    return found


def counted_stretches(
    events: Iterable[Mapping[str, Any]], marks: Sequence[Mark]
) -> list[tuple[float, float, str]]:
    """Begin, end (in the trace's unit of time) and stage of the counted sections of the loop."""
    return [
        (before.end, after.end, after.mark.stage)
        for before, after in pairwise(marks_in_trace(events, marks))
        if after.mark.is_counted
    ]
