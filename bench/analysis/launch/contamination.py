"""Whether a launch is contaminated, by its guards: something else changed its times so much that they must not be used.

The bounds are here, each with its reason. They are wide enough that a quiet machine stays below them in nearly every
launch (`benchmarks/contamination.py` measures how often it does not), and narrow enough that what exceeds them moves a
median by more than a tolerance of 2 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import median

from ...measurement import Measurement

# Shares of the wall time that the guards watched: the loop after its first epoch.
WAITING = 0.05  # one of its threads had no processor: the others wait for it at the next barrier
WAITING_MEAN = 0.025  # as a mean over the processors: where threads wait in turn, their waits add up
STOLEN = 0.02  # of the processors' time, by the hypervisor
QUOTA = 0.01  # held back by the control group
GPU_THROTTLED = 0.05  # of the readings: slowed down by heat or a power brake

_LEAST_STOLEN = 0.02  # seconds: a processor's time comes in ticks of 10 ms, and fewer could be rounding
_LEAST_OTHERS = 0.03  # seconds: the same, three of them
_SWAPPED = 16  # pages, by any process: a few pages of a sleeping process do not matter

# A launch beyond these bounds is used, with a caveat about the machine or the settings. Shares as above.
FAULTS = 0.02
FAULT_SECONDS = 0.5e-6  # a page that the kernel clears and maps: 0.25 (4 KiB cleared) to 1 us
OTHERS = 0.10  # of one processor, by other processes
GC = 0.02
RESOLUTION = 0.01  # of the median step
FREQUENCY = 0.10  # change of the processors' or the device's clock


def contamination(measurement: Measurement) -> tuple[str, ...]:
    """Why the times of this launch must not be used, by name; empty for a clean one."""
    guards = _told(measurement)
    wall = guards["wall"]
    if not wall:
        return ()  # an older record, or another system without guards
    found = {
        "waited": _waited(guards, wall),
        "stolen": guards["stolen"] > max(_LEAST_STOLEN, STOLEN * wall * guards["processors"]),
        "quota": guards["quota_throttled"] / wall > QUOTA,
        "swapped": guards["swapped"] > _SWAPPED,
        "overheated": guards["thermal_throttles"] > 0,
        "gpu_throttled": guards["gpu_throttled"] > GPU_THROTTLED,
        "gpu_shared": guards["gpu_others"] > 0,
    }
    return tuple(name for name, holds in found.items() if holds)


def _waited(guards: Mapping[str, float], wall: float) -> bool:
    """Whether threads waited for a processor; one processor has one bound, since its threads have it in turn."""
    processors = max(guards["processors"], WAITING / WAITING_MEAN)
    return guards["waiting_longest"] > WAITING * wall or guards["waiting"] > WAITING_MEAN * wall * processors


def setting_caveats(measurement: Measurement) -> tuple[str, ...]:
    """The caveats that the guards show, by their names in CAVEATS; such a launch is used."""
    guards = _told(measurement)
    wall = guards["wall"]
    if not wall:
        return ()
    steps = [seconds for record in measurement.stages for seconds in record.steps]
    found = {
        "page_faults": guards["minor_faults"] * FAULT_SECONDS / wall > FAULTS,
        "machine_busy": guards["others"] > max(_LEAST_OTHERS, OTHERS * wall),
        "gc_pauses": guards["gc_pauses"] / wall > GC,
        "coarse_clock": bool(steps) and guards["clock_resolution"] > RESOLUTION * median(steps),
        "clock_changed": _changed(guards, "frequency") or _changed(guards, "gpu_clock"),
        "gpu_power_capped": guards["gpu_power_capped"] > GPU_THROTTLED,
    }
    return tuple(name for name, holds in found.items() if holds)


def _told(measurement: Measurement) -> Mapping[str, float]:
    """The guards; a number that the machine did not tell is zero, which is below every bound."""
    return defaultdict(float, {"processors": 1.0, **measurement.guards})


def _changed(guards: Mapping[str, float], what: str) -> bool:
    low, high = guards.get(f"{what}_low"), guards.get(f"{what}_high")
    return low is not None and high is not None and high - low > FREQUENCY * high
