"""Who else wants the processors: other processes, and other machines on the same host."""

from __future__ import annotations

import os
from pathlib import Path

from ...plurals import counted
from .finding import Finding, notice, ok, unknown, warning
from .scene import Scene

_BUSY = 0.5  # load: a process that runs half of the time
_WAITING = 5.0  # percent of the last ten seconds in which somebody waited for a processor
_YOUNGEST = 200  # how many processes are looked at: more would take too long
_STOLEN = 0.01


def busy(scene: Scene) -> Finding:
    """proc(5) for the load average, Documentation/accounting/psi.rst for pressure.

    Both are of the whole machine and hold what was run just before. It is a warning where the load leaves
    fewer processors than there are threads, or where processes did wait.
    """
    average, waited = scene.facts.load, _pressure(scene.read("proc/pressure/cpu"))
    if average is None and waited is None:
        return unknown("the system does not tell")
    processors = len(scene.online)
    told = [f"{average:.2f} on {counted(processors, 'processor')}"] if average is not None else []
    told += [f"processes waited {waited:.1f} % of the last 10 s"] if waited is not None else []
    found, average, waited = ", ".join(told), average or 0.0, waited or 0.0
    if average < _BUSY and waited < _WAITING:
        return ok(found)
    running = _running(scene)
    found += f"; running now: {', '.join(running)}" if running else ""
    remedy = "End or pause what else runs, then wait a minute; it is at the head of: `top`"
    crowded = average > processors - scene.conditions.threads + _BUSY or waited >= _WAITING
    return warning(found, remedy) if crowded else notice(found, remedy)


def _pressure(text: str) -> float | None:
    """The avg10 of the line `some avg10=0.12 avg60=...`."""
    for line in text.splitlines():
        if line.startswith("some "):
            return float(dict(word.split("=") for word in line.split()[1:])["avg10"])
    return None


def _running(scene: Scene) -> list[str]:
    """Three of the youngest processes that are on a processor or wait for one, as `name (pid)`."""
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
            found = f"{whole * 100:.2f} % of all time since boot, {wanted * 100:.2f} % of the time asked for"
            remedy = "The host is overcommitted: use dedicated processors or another machine or hour."
            if whole > _STOLEN:
                return warning(found, remedy)
            return notice(found, remedy) if wanted > _STOLEN else ok(found)
    return unknown()


def virtual(scene: Scene) -> Finding:
    """The flag `hypervisor` of proc(5) cpuinfo, Documentation/ABI/stable/sysfs-hypervisor-xen."""
    flags = _flags(scene.root / "proc/cpuinfo")
    if "hypervisor" in flags or scene.read("sys/hypervisor/type"):
        return notice(
            "yes: what its neighbours do is invisible, and their load comes and goes",
            "Compare only launches that were interleaved, never two runs made at different times.",
        )
    return ok("no") if flags else unknown("this processor does not tell")


def _flags(cpuinfo: Path) -> list[str]:
    """The flags of the first processor: the file is long where there are many, and slow to make."""
    try:
        with cpuinfo.open(errors="replace") as lines:
            return next((line.split() for line in lines if line.startswith("flags")), [])
    except OSError:
        return []
