"""Guards of a launch: counters of the kernel and of Python, from the end of warm-up to the end of the loop.

The numbers go into the Measurement, and `analysis/` judges them. A number that this machine does not provide is absent.
One reading takes about a millisecond, outside of all measured times.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from ...system.kernel import usable_cpus
from ..counts import compiled

_NANO = 1e-9
_TICK = 1 / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)  # of /proc/stat, seconds


class Guards:
    """Measures between `start`, at the end of warm-up, and `stop` what could have contaminated the launch.

    The numbers, by name; times are seconds:
    `wall` of the window; `cpu` that the launch and its children used; `waiting`, the time that its threads were ready
    to run and no processor was free for them, all threads together, and `waiting_longest`, that of the thread that
    waited longest; on the processors that it may use, `others` is time that other processes ran, `stolen` time that the
    hypervisor gave to other machines, `processors` their number; `involuntary_switches`, `minor_faults` and
    `major_faults` of this process; `swapped`, pages of the whole machine; `quota_throttled` by the control group;
    `thermal_throttles`, how often the processors were slowed down; `frequency_low` and
    `frequency_high`, Hz; `gc_pauses` in all and `gc_longest`; `clock_resolution`, the shortest time
    that the clock distinguishes.
    """

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.perf_counter) -> None:
        self._root = root
        self._clock = clock
        self._cpus = usable_cpus()

    def start(self) -> None:
        """Begins the window; a second call begins it again."""
        self._resolution = resolution(self._clock)
        self._pauses: list[float] = []
        self._pause_began = 0.0
        if self._collecting not in gc.callbacks:
            gc.callbacks.append(self._collecting)
        self._waited = waiting(self._root)
        self._before = self._counters()

    def stop(self) -> dict[str, float]:
        after, waited = self._counters(), waiting(self._root)
        if self._collecting in gc.callbacks:  # user code may have emptied the list
            gc.callbacks.remove(self._collecting)
        passed = {name: max(0.0, after[name] - was) for name, was in self._before.items() if name in after}
        if (
            waited and self._waited
        ):  # else it was not told at the start: its times would count from the boot on
            by_thread = [
                max(0.0, seconds - self._waited.get(thread, 0.0)) for thread, seconds in waited.items()
            ]
            passed |= {"waiting": sum(by_thread), "waiting_longest": max(by_thread)}
        if "busy" in passed:
            passed["others"] = max(0.0, passed.pop("busy") - passed["cpu"])
        frequencies = [counters.pop("frequency", None) for counters in (self._before, after)]
        passed.pop("frequency", None)
        known = [frequency for frequency in frequencies if frequency is not None]
        if known:
            passed |= {"frequency_low": min(known), "frequency_high": max(known)}
        return {
            **{name: round(value, 9) for name, value in passed.items()},
            "processors": float(len(self._cpus)),
            "gc_pauses": round(sum(self._pauses), 9),
            "gc_longest": round(max(self._pauses, default=0.0), 9),
            "clock_resolution": self._resolution,
        }

    def _collecting(self, phase: str, _: dict[str, int]) -> None:
        now = self._clock()
        if phase == "start":
            self._pause_began = now
        else:
            self._pauses.append(now - self._pause_began)

    def _counters(self) -> dict[str, float]:
        return {
            "wall": self._clock(),
            **usage(self._root),
            **processor_time(self._root, self._cpus),
            **swapping(self._root),
            **quota(self._root),
            **frequency(self._root, self._cpus),
        }


class AfterWarmup:
    """The parts of a measurement that begin at the end of warm-up: the guards, and what was compiled."""

    def __init__(self) -> None:
        self._guards = Guards()
        self._compiling = 0.0  # seconds, until warm-up ended

    def begin(self) -> None:
        """Warm-up has ended."""
        self._compiling = compiled.seconds()
        self._guards.start()

    def end(self) -> dict[str, Any]:
        """The loop has ended: `guards` and `compiled` of its Measurement."""
        return {"guards": self._guards.stop(), "compiled": compiled.costs(self._compiling)}


def resolution(clock: Callable[[], float]) -> float:
    """The shortest time above zero between two readings of the clock, of a few dozen."""
    readings = [clock() for _ in range(64)]
    steps = [b - a for a, b in pairwise(readings) if b > a]
    return min(steps, default=0.0)


def usage(root: Path) -> dict[str, float]:
    """Processor seconds of this process and its children: running ones, such as loader workers, and ended ones."""
    import resource  # not on Windows

    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = sum(_times(root, child) for child in _children(root))
    return {
        "cpu": own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime + running,
        "involuntary_switches": float(own.ru_nivcsw),
        "minor_faults": float(own.ru_minflt),
        "major_faults": float(own.ru_majflt),
    }


def _children(root: Path) -> list[str]:
    return " ".join(_texts((root / "proc/self/task").glob("*/children"))).split()


def _times(root: Path, pid: str) -> float:
    """Processor seconds of a running child, from its 14th and 15th field (proc_pid_stat(5))."""
    for text in _texts([root / "proc" / pid / "stat"]):
        fields = text.rpartition(")")[2].split()  # the name before it may contain anything
        return (int(fields[11]) + int(fields[12])) * _TICK
    return 0.0


def waiting(root: Path) -> dict[str, float]:
    """Seconds on the run queue by thread: schedstat's second number (Documentation/scheduler/sched-stats.rst)."""
    threads = [(file.parent.name, _texts([file])) for file in (root / "proc/self/task").glob("*/schedstat")]
    return {thread: int(text.split()[1]) * _NANO for thread, texts in threads for text in texts}


def processor_time(root: Path, cpus: Iterable[int]) -> dict[str, float]:
    """Busy and stolen time of these processors (proc_stat(5)): everything but idle, waiting for disks, and stolen."""
    busy = stolen = 0.0
    wanted = {f"cpu{cpu}" for cpu in cpus}
    for line in "".join(_texts([root / "proc/stat"])).splitlines():
        name, *fields = line.split()
        if name in wanted:
            user, nice, system, _, _, irq, softirq, steal = (int(field) * _TICK for field in fields[:8])
            busy += user + nice + system + irq + softirq
            stolen += steal
            wanted.remove(name)
    return {} if wanted else {"busy": busy, "stolen": stolen}


def swapping(root: Path) -> dict[str, float]:
    """Pages swapped in and out since boot, by all processes."""
    found = [
        int(line.split()[1])
        for line in "".join(_texts([root / "proc/vmstat"])).splitlines()
        if line.startswith(("pswpin ", "pswpout "))
    ]
    return {"swapped": float(sum(found))} if found else {}


def quota(root: Path) -> dict[str, float]:
    """How long the control group held its processes back (Documentation/admin-guide/cgroup-v2.rst; v1 counts ns)."""
    for line in "".join(_texts([root / "proc/self/cgroup"])).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "cpu", "cpu,cpuacct"):
            hierarchy = "sys/fs/cgroup" if not controllers else f"sys/fs/cgroup/{controllers}"
            for text in _texts([root / hierarchy / path.lstrip("/") / "cpu.stat"]):
                facts = dict(fact.split() for fact in text.splitlines())
                if "throttled_usec" in facts:
                    return {"quota_throttled": int(facts["throttled_usec"]) * 1e-6}
                if "throttled_time" in facts:
                    return {"quota_throttled": int(facts["throttled_time"]) * _NANO}
    return {}


def frequency(root: Path, cpus: Iterable[int]) -> dict[str, float]:
    """The clock of these processors, and how often heat slowed them (Documentation/admin-guide/pm/cpufreq.rst)."""
    folders = [root / f"sys/devices/system/cpu/cpu{cpu}" for cpu in cpus]
    clocks = _texts(folder / "cpufreq/scaling_cur_freq" for folder in folders)
    slowed = _texts(folder / "thermal_throttle/core_throttle_count" for folder in folders)
    found = {"frequency": fmean(int(text) for text in clocks) * 1e3} if clocks else {}
    return found | ({"thermal_throttles": float(sum(int(text) for text in slowed))} if slowed else {})


def _texts(paths: Iterable[Path]) -> list[str]:
    """The contents of those files that exist: threads and children come and go."""
    found = []
    for path in paths:
        with suppress(OSError):
            found.append(path.read_text())
    return found
