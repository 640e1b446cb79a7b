"""Which processors a launch may use, and how much of their time: one logical processor of each core that is ours."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from .kernel import MOUNT, OWN, control_groups, members, text_of

_TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cores(topology: Path = _TOPOLOGY) -> tuple[int, ...]:
    """One logical processor for each physical core that this process may run on, the first of each.

    Two threads on one core share its units, so that neither has the speed of a core of its own. Where the
    topology is not told, every logical processor counts as a core.
    """
    cores: dict[str, int] = {}
    for cpu in sorted(_allowed()):
        siblings = text_of(topology / f"cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings or str(cpu), cpu)
    return tuple(cores.values())


def shared_processors(topology: Path = _TOPOLOGY) -> tuple[int, ...]:
    """The logical processors of all cores that this process may run on: who runs on any of them disturbs it."""
    found = set(_allowed())
    for cpu in tuple(found):
        found.update(members(text_of(topology / f"cpu{cpu}/topology/thread_siblings_list")))
    return tuple(sorted(found))


def _allowed() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def default_threads(cores: tuple[int, ...], mount: Path = MOUNT, own: Path = OWN) -> int:
    """As many threads as physical cores, but no more than the processor time that a container is given."""
    return max(1, int(min(len(cores), cpu_quota(mount, own))))


def cpu_quota(mount: Path = MOUNT, own: Path = OWN) -> float:
    """Processors' worth of time that the control groups allow, infinity where they set no limit."""
    tightest = tightest_quota(mount, own)
    return math.inf if tightest is None else tightest.processors


@dataclass(frozen=True)
class Quota:
    """What a control group allows: so many processors' worth of time in each period (in microseconds)."""

    processors: float
    period: float
    group: Path


def tightest_quota(mount: Path = MOUNT, own: Path = OWN) -> Quota | None:
    """The smallest quota of the groups around this process: each of them binds. None where none is set."""
    quotas = [quota for group in control_groups("cpu", mount, own) if (quota := _quota(group)) is not None]
    return min(quotas, key=lambda quota: quota.processors, default=None)


def _quota(group: Path) -> Quota | None:
    """Documentation/admin-guide/cgroup-v2.rst (cpu.max), Documentation/scheduler/sched-bwc.rst for version 1."""
    words = text_of(group / "cpu.max") or " ".join(
        text_of(group / file) for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    )
    try:
        allowed, period = map(float, words.split())
    except ValueError:  # no such files, or no limit: `max 100000`
        return None
    return Quota(allowed / period, period, group) if allowed > 0 < period else None  # -1: no limit
