"""Other users of the processors: processes, and virtual machines on the same host."""

from __future__ import annotations

import os
from pathlib import Path

from ...plurals import counted
from .scene import Finding, Scene, notice, ok, unknown, warning

_BUSY = 0.5  # load: one process that runs half of the time
_WAITING = 5.0  # percent of the last ten seconds in which some process waited for a processor
_YOUNGEST = 200  # processes to examine: more would take too long
_STOLEN = 0.01


def busy(scene: Scene) -> Finding:
    """proc(5) for the load average, Documentation/accounting/psi.rst for pressure.

    Both cover the whole machine, and the last minute. It is a warning if the load leaves fewer processors than threads,
    or if processes had to wait.
    """
    average, waited = scene.facts.load, _pressure(scene.read("proc/pressure/cpu"))
    if average is None and waited is None:
        return unknown("not reported by this system")
    processors = len(scene.online)
    parts = [f"{average:.2f} on {counted(processors, 'processor')}"] if average is not None else []
    parts += [f"processes waited {waited:.1f} % of the last 10 s"] if waited is not None else []
    found, average, waited = ", ".join(parts), average or 0.0, waited or 0.0
    if average < _BUSY and waited < _WAITING:
        return ok(found)
    running = _running(scene)
    found += f"; running now: {', '.join(running)}" if running else ""
    remedy = "End or pause other processes, then wait a minute; they are at the head of: `top`"
    crowded = average > processors - scene.conditions.threads + _BUSY or waited >= _WAITING
    return warning(found, remedy) if crowded else notice(found, remedy)


def _pressure(text: str) -> float | None:
    """The avg10 of the line `some avg10=0.12 avg60=...`."""
    for line in text.splitlines():
        if line.startswith("some "):
            return float(dict(word.split("=") for word in line.split()[1:])["avg10"])
    return None


def _running(scene: Scene) -> list[str]:
    """Three of the youngest processes that run or wait for a processor, as `name (pid)`."""
    paths = [path for path in scene.entries("proc") if path.rpartition("/")[2].isdecimal()]
    found: list[str] = []
    for path in reversed(paths[-_YOUNGEST:]):
        pid, _, rest = scene.read(f"{path}/stat").partition(" (")
        name, _, state = rest.rpartition(") ")
        if state.startswith("R") and pid != str(os.getpid()):
            found.append(f"{name} ({pid})")
    return found[:3]


def stolen(scene: Scene) -> Finding:
    """proc(5), stat: user nice system idle iowait irq softirq steal; guests are part of user."""
    for line in scene.read("proc/stat").splitlines():
        if line.startswith("cpu "):
            user, nice, system, idle, waiting, irq, softirq, steal = map(int, line.split()[1:9])
            asked = user + nice + system + irq + softirq + steal
            whole, wanted = steal / max(1, asked + idle + waiting), steal / max(1, asked)
            found = f"{whole * 100:.2f} % of all time since boot, {wanted * 100:.2f} % of the time requested"
            remedy = "The host is overcommitted: use dedicated processors, another machine or another hour."
            if whole > _STOLEN:
                return warning(found, remedy)
            return notice(found, remedy) if wanted > _STOLEN else ok(found)
    return unknown()


def virtual(scene: Scene) -> Finding:
    """The flag `hypervisor` of proc(5) cpuinfo, Documentation/ABI/stable/sysfs-hypervisor-xen."""
    flags = _flags(scene.root / "proc/cpuinfo")
    if "hypervisor" in flags or scene.read("sys/hypervisor/type"):
        return notice(
            "yes: other guests of the host are invisible, and their load varies",
            "Compare only interleaved launches, never two runs made at different times.",
        )
    return ok("no") if flags else unknown("not reported by this processor")


def _flags(cpuinfo: Path) -> list[str]:
    """The flags of the first processor: with many of them the file is long and slow to read."""
    try:
        with cpuinfo.open(errors="replace") as lines:
            return next((line.split() for line in lines if line.startswith("flags")), [])
    except OSError:
        return []
