"""Whether a launch is contaminated, by its guards: something else changed its times so much that they must not be used.

The bounds are here, each with its reason. They are wide enough that a quiet machine stays below them in nearly every
launch (`benchmarks/contamination.py` measures how often it does not), and narrow enough that what exceeds them moves a
median by more than a tolerance of 2 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from ...measurement import Measurement

# Shares of the wall time that the guards watched: the loop after its first epoch.
WAITING = 0.05  # its threads had no processor, all together: they wait for each other at every barrier
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
    guards = measurement.guards
    wall = guards.get("wall", 0.0)
    if not wall:
        return ()  # an older record, or another system without guards
    stolen = guards.get("stolen", 0.0)
    found = {
        "waited": guards.get("waiting", 0.0) / wall > WAITING,
        "stolen": stolen > max(_LEAST_STOLEN, STOLEN * wall * guards.get("processors", 1.0)),
        "quota": guards.get("quota_throttled", 0.0) / wall > QUOTA,
        "swapped": guards.get("swapped", 0.0) > _SWAPPED,
        "overheated": guards.get("thermal_throttles", 0.0) > 0,
        "gpu_throttled": guards.get("gpu_throttled", 0.0) > GPU_THROTTLED,
        "gpu_shared": guards.get("gpu_others", 0.0) > 0,
    }
    return tuple(name for name, holds in found.items() if holds)


def setting_caveats(measurement: Measurement) -> tuple[str, ...]:
    """The caveats that the guards show, by their names in CAVEATS; such a launch is used."""
    guards = measurement.guards
    wall = guards.get("wall", 0.0)
    if not wall:
        return ()
    steps = [seconds for record in measurement.stages for seconds in record.steps]
    found = {
        "page_faults": guards.get("minor_faults", 0.0) * FAULT_SECONDS / wall > FAULTS,
        "machine_busy": guards.get("others", 0.0) > max(_LEAST_OTHERS, OTHERS * wall),
        "gc_pauses": guards.get("gc_pauses", 0.0) / wall > GC,
        "coarse_clock": bool(steps) and guards.get("clock_resolution", 0.0) > RESOLUTION * median(steps),
        "clock_changed": _changed(guards, "frequency") or _changed(guards, "gpu_clock"),
        "gpu_power_capped": guards.get("gpu_power_capped", 0.0) > GPU_THROTTLED,
    }
    return tuple(name for name, holds in found.items() if holds)


def _changed(guards: Mapping[str, float], what: str) -> bool:
    low, high = guards.get(f"{what}_low"), guards.get(f"{what}_high")
    return low is not None and high is not None and high > 0 and (high - low) / high > FREQUENCY
