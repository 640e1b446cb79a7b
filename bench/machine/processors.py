"""Which processors a launch may use, one for each physical core, and how much of their time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..system.kernel import MOUNT, OWN, control_groups, expand_ranges, read_file, usable_cpus

_TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cores(topology: Path = _TOPOLOGY) -> tuple[int, ...]:
    """One logical processor for each physical core that this process may run on, the first of each.

    Two threads on one core share its units, and neither gets its full speed. Where the topology is unknown,
    every logical processor counts as a core.
    """
    cores: dict[str, int] = {}
    for cpu in usable_cpus():
        siblings = read_file(topology / f"cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings or str(cpu), cpu)
    return tuple(cores.values())


def shared_processors(topology: Path = _TOPOLOGY) -> tuple[int, ...]:
    """The logical processors of all cores that this process may run on: work on any of them may contaminate it."""
    shared = set(usable_cpus())
    for cpu in tuple(shared):
        shared.update(expand_ranges(read_file(topology / f"cpu{cpu}/topology/thread_siblings_list")))
    return tuple(sorted(shared))


def default_threads(cores: tuple[int, ...], mount: Path = MOUNT, own: Path = OWN) -> int:
    """As many threads as physical cores, but no more than the processor quota of a container."""
    return max(1, int(min(len(cores), cpu_quota(mount, own))))


def cpu_quota(mount: Path = MOUNT, own: Path = OWN) -> float:
    """How many processors' worth of time the control groups allow; infinity without a limit."""
    tightest = tightest_quota(mount, own)
    return math.inf if tightest is None else tightest.processors


@dataclass(frozen=True)
class Quota:
    """The processor time that a control group allows: `processors` of them in each `period` (microseconds)."""

    processors: float
    period: float
    group: Path


def tightest_quota(mount: Path = MOUNT, own: Path = OWN) -> Quota | None:
    """The smallest quota of the control groups around this process, all of which apply; None without one."""
    quotas = [quota for group in control_groups("cpu", mount, own) if (quota := _quota(group)) is not None]
    return min(quotas, key=lambda quota: quota.processors, default=None)


def _quota(group: Path) -> Quota | None:
    """Documentation/admin-guide/cgroup-v2.rst (cpu.max), Documentation/scheduler/sched-bwc.rst for version 1."""
    words = read_file(group / "cpu.max") or " ".join(
        read_file(group / file) for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    )
    try:
        allowed, period = map(float, words.split())
    except ValueError:  # no such files, or no limit: `max 100000`
        return None
    return Quota(allowed / period, period, group) if allowed > 0 < period else None  # -1: no limit
