"""Which processors a launch may use: one logical processor of each physical core that is ours."""

from __future__ import annotations

import math
import os
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(topology: Path = _TOPOLOGY) -> tuple[int, ...]:
    """One logical processor for each physical core that this process may run on, the first of each.

    Two threads on one core share its units, so that neither has the speed of a core of its own. Where the
    topology is not told, every logical processor counts as a core.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores: dict[str, int] = {}
    for cpu in sorted(allowed):
        try:
            siblings = (topology / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
        except OSError:
            siblings = str(cpu)
        cores.setdefault(siblings, cpu)
    return tuple(cores.values())


def default_threads(cores: tuple[int, ...], cgroup: Path = _CGROUP) -> int:
    """As many threads as physical cores, but no more than the processor time that a container is given."""
    return max(1, int(min(len(cores), cpu_quota(cgroup))))


def cpu_quota(cgroup: Path = _CGROUP) -> float:
    """Processors' worth of time that the control group allows, infinity where it sets no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf
