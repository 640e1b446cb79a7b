"""What checks read (the kernel's files below a root, facts of the system, settings, cards), and their findings."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ...suite.case import Conditions
from ...system.gpu import GpuState
from ...system.kernel import control_groups, expand_ranges, read_file
from ..processors import Quota, tightest_quota

CPU = "sys/devices/system/cpu"
_MOUNT, _OWN = "sys/fs/cgroup", "proc/self/cgroup"


@dataclass(frozen=True)
class SystemFacts:
    """Facts from psutil and the C library on every system; None if unknown. Sizes are bytes.

    `load` is the average over the last minute, `plugged` whether a machine with a battery is plugged in,
    and `mallopt` whether the C library has the settings that pin its allocator.
    """

    processors: int = 1
    load: float | None = None
    memory: int | None = None
    available: int | None = None
    swap: int | None = None
    swapped: int | None = None
    plugged: bool | None = None
    mallopt: bool = True


def current_facts() -> SystemFacts:
    """The facts of this machine, now."""

    def known(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (
            Exception
        ):  # psutil raises various errors of the system, and lacks some functions on some systems
            return None

    memory, swap, battery = (
        known(ask) for ask in (psutil.virtual_memory, psutil.swap_memory, lambda: psutil.sensors_battery())
    )
    return SystemFacts(
        processors=os.cpu_count() or 1,
        load=known(lambda: os.getloadavg()[0]),
        memory=known(lambda: memory.total),
        available=known(lambda: memory.available),
        swap=known(lambda: swap.total),
        swapped=known(lambda: swap.used),
        plugged=known(lambda: battery.power_plugged),
        mallopt=bool(known(lambda: hasattr(ctypes.CDLL(None), "mallopt"))),
    )


@dataclass(frozen=True)
class Scene:
    """All that a check may read. Paths are relative to `root`, which is / on the real machine."""

    conditions: Conditions
    root: Path
    environ: Mapping[str, str]
    facts: SystemFacts
    cards: Sequence[GpuState] = ()

    @property
    def is_linux(self) -> bool:
        return (self.root / "proc").is_dir()

    @property
    def online(self) -> list[int]:
        """The logical processors of this machine."""
        return expand_ranges(self.read(f"{CPU}/online")) or [*range(self.facts.processors)]

    @property
    def cpus(self) -> list[int]:
        """The logical processors that a launch may use."""
        return list(self.conditions.cpus) or self.online

    @property
    def quota(self) -> Quota | None:
        """The tightest limit on processor time."""
        return tightest_quota(self.root / _MOUNT, self.root / _OWN)

    def groups(self, controller: str) -> list[Path]:
        """The control groups around this process, the innermost first."""
        return control_groups(controller, self.root / _MOUNT, self.root / _OWN)

    def read(self, path: str | Path) -> str:
        """The text of a file; empty where it does not exist or may not be read."""
        return read_file(self.root / path)

    def number(self, path: str | Path) -> float | None:
        """The number in a file; None where there is none."""
        try:
            return float(self.read(path))
        except ValueError:
            return None

    def counts(self, path: str | Path) -> dict[str, int]:
        """The numbers in a file of lines such as `nr_throttled 3`."""
        pairs = (line.split() for line in self.read(path).splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}

    def entries(self, path: str, start: str = "") -> list[str]:
        """The paths in a folder whose names have this start, cpu2 before cpu10."""
        try:
            names = [name for name in os.listdir(self.root / path) if name.startswith(start)]
        except OSError:
            return []
        return [f"{path}/{name}" for name in sorted(names, key=lambda name: (len(name), name))]


@dataclass(frozen=True)
class Finding:
    """The result of one check: `found` describes the state of the machine, `remedy` what to do about it.

    `state` is "ok" (no noise, or it is handled), "notice" (possible noise, or results that hold only for this setting),
    "warning" (a source of noise) or "unknown" (not reported by this system). The remedy is empty for ok and unknown;
    commands in it are between backticks, ready to run.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


# Findings without a name: `examine` adds that of the check.


def ok(found: str) -> Finding:
    return Finding("", "ok", found)


def notice(found: str, remedy: str) -> Finding:
    return Finding("", "notice", found, remedy)


def warning(found: str, remedy: str) -> Finding:
    return Finding("", "warning", found, remedy)


def unknown(found: str = "not reported by the kernel") -> Finding:
    return Finding("", "unknown", found)
