"""What of this machine will disturb a measurement, each with its remedy. It reads, and changes nothing.

A check is a small function of the `Scene`: what the kernel tells is read below `Scene.root`, what psutil,
the C library, the shell and the GPUs tell comes with it. On a system without /proc the checks that read
nothing from it are left.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import psutil

from bench.case import Conditions


@dataclass(frozen=True)
class Finding:
    """What one check found: `found` says what is the case, `remedy` what to do about it.

    `state` is "ok" (it disturbs nothing, or is taken care of), "notice" (it may disturb, or binds the results
    to this setting), "warning" (it does disturb) or "unknown" (this system does not tell). The
    remedy is empty where it is ok or unknown; a command in it stands between backticks, to be run as it is.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Noise:
    """How much launches of one and the same case differ on a device.

    `variation` is the coefficient of variation between launches; `pair_low` and `pair_high` are the ends of
    the 95 % interval of the ratio A/A of `pairs` pairs; `reveals` is the smallest change that six launches a
    side could reveal. Variation and change are shares: 0.05 is 5 %. `contaminated` counts the launches
    that something else ran beside.
    """

    device: str
    launches: int
    pairs: int
    variation: float
    pair_low: float
    pair_high: float
    reveals: float
    contaminated: int


class Card(Protocol):
    """What is asked of a GPU; None where its driver does not tell. Degrees Celsius and watts."""

    @property
    def name(self) -> str: ...
    @property
    def persistence(self) -> bool | None: ...
    @property
    def processes(self) -> Collection[int] | None: ...
    @property
    def throttled(self) -> Collection[str] | None: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def slowdown_temperature(self) -> float | None: ...
    @property
    def power_limit(self) -> float | None: ...
    @property
    def default_power_limit(self) -> float | None: ...


@dataclass(frozen=True)
class Facts:
    """What psutil and the C library tell on every system; None where they do not. Sizes are bytes.

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


def current_facts() -> Facts:
    """The facts of this machine, now."""

    def told(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception:  # psutil raises whatever the system does, and lacks some functions on some systems
            return None

    memory, swap, battery = (
        told(ask) for ask in (psutil.virtual_memory, psutil.swap_memory, lambda: psutil.sensors_battery())
    )
    return Facts(
        processors=os.cpu_count() or 1,
        load=told(lambda: os.getloadavg()[0]),
        memory=told(lambda: memory.total),
        available=told(lambda: memory.available),
        swap=told(lambda: swap.total),
        swapped=told(lambda: swap.used),
        plugged=told(lambda: battery.power_plugged),
        mallopt=bool(told(lambda: hasattr(ctypes.CDLL(None), "mallopt"))),
    )


@dataclass(frozen=True)
class Scene:
    """All that a check may look at. Paths are those of the real machine, without the first slash."""

    conditions: Conditions
    root: Path
    environ: Mapping[str, str]
    facts: Facts
    cards: Sequence[Card]

    @property
    def is_linux(self) -> bool:
        return (self.root / "proc").is_dir()

    @property
    def online(self) -> list[int]:
        """The logical processors of this machine."""
        return _members(self.read(f"{_CPU}/online")) or [*range(self.facts.processors)]

    @property
    def cpus(self) -> list[int]:
        """The logical processors that a launch may use."""
        return list(self.conditions.cpus) or self.online

    def read(self, path: str) -> str:
        """The text of a file, empty where there is none or it may not be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return ""

    def number(self, path: str) -> float | None:
        """The number that a file holds, None where it holds none."""
        try:
            return float(self.read(path))
        except ValueError:
            return None

    def counts(self, path: str) -> dict[str, int]:
        """A file of lines such as `nr_throttled 3`."""
        pairs = (line.split() for line in self.read(path).splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}

    def entries(self, path: str, start: str = "") -> list[str]:
        """The paths of what a folder holds under names that start so, cpu2 before cpu10."""
        try:
            names = [name for name in os.listdir(self.root / path) if name.startswith(start)]
        except OSError:
            return []
        return [f"{path}/{name}" for name in sorted(names, key=lambda name: (len(name), name))]


def ok(found: str, name: str = "") -> Finding:
    return Finding(name, "ok", found)


def notice(found: str, remedy: str, name: str = "") -> Finding:
    return Finding(name, "notice", found, remedy)


def warning(found: str, remedy: str, name: str = "") -> Finding:
    return Finding(name, "warning", found, remedy)


def unknown(found: str, name: str = "") -> Finding:
    return Finding(name, "unknown", found)


def examine(
    conditions: Conditions,
    root: Path = Path("/"),
    environ: Mapping[str, str] | None = None,
    facts: Facts | None = None,
    cards: Sequence[Card] = (),
) -> list[Finding]:
    """What each check finds under these conditions, always in the same order; nothing is raised.

    It looks at `os.environ` and asks for the facts of this machine where it is not given others. The load
    of the last minute is among them: examine the machine before anything is launched.
    """
    scene = Scene(
        conditions, root, os.environ if environ is None else environ, facts or current_facts(), cards
    )
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        if scene.is_linux or check in EVERYWHERE:
            findings += _answers(name, check, scene)
    if not scene.is_linux:
        findings.append(unknown("no /proc and /sys here: what only they tell is not examined", "kernel"))
    return findings


def _answers(name: str, check: Check, scene: Scene) -> list[Finding]:
    """What a check finds, under its name; one that fails does not end the command that asked for it."""
    try:
        made = check(scene)
    except Exception as problem:
        made = unknown(f"could not be examined: {type(problem).__name__}: {problem}")
    answers = [made] if isinstance(made, Finding) else made
    return [answer if answer.name else dataclasses.replace(answer, name=name) for answer in answers]


def as_json(findings: Iterable[Finding], noise: Iterable[Noise] = ()) -> str:
    """Findings and noise as one JSON object, for programs; null stands for what is no finite number."""
    rows = [dataclasses.asdict(row) for row in noise]
    return json.dumps(
        {
            "findings": [dataclasses.asdict(finding) for finding in findings],
            "noise": [{name: _finite(value) for name, value in row.items()} for row in rows],
        },
        indent=2,
    )


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# The speed of the processors.

_CPU = "sys/devices/system/cpu"
_FOLLOWS_LOAD = frozenset({"ondemand", "conservative", "schedutil", "interactive"})
_OWN_POWERSAVE = ("intel_pstate", "amd_pstate_epp")  # their powersave follows the load as well
_COOL = 10.0  # degrees: a loop that starts heats a processor by more


def governor(scene: Scene) -> Finding:
    """Documentation/admin-guide/pm/cpufreq.rst, intel_pstate.rst and amd-pstate.rst.

    Powersave is the lowest clock there is, but with the active mode of the last two it follows the load.
    """
    names = (scene.read(f"{_CPU}/cpu{cpu}/cpufreq/scaling_governor") for cpu in scene.online)
    used = Counter(name for name in names if name)
    if not used:
        return unknown("the kernel does not set the clock here: firmware or a hypervisor does")
    driver = scene.read(f"{_CPU}/cpu{scene.online[0]}/cpufreq/scaling_driver").replace("-", "_")
    follows = _FOLLOWS_LOAD | ({"powersave"} if driver in _OWN_POWERSAVE else set())
    found = ", ".join(f"{name} on {_count(number, 'processor')}" for name, number in used.items())
    found += f" ({driver})" if driver else ""
    remedy = "Until the next boot: `sudo cpupower frequency-set -g performance`"
    if follows & set(used):
        return warning(f"{found}: the clock follows the load", remedy)
    if len(used) > 1:
        return warning(f"{found}: they differ", remedy)
    if "powersave" in used:
        return notice(f"{found}: the lowest clock there is, steady but slow", remedy)
    return ok(found)


def turbo(scene: Scene) -> Finding:
    """Documentation/admin-guide/pm/intel_pstate.rst (no_turbo) and cpufreq.rst (boost)."""
    for file, on, off in (("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0")):
        setting = scene.read(f"{_CPU}/{file}")
        if setting == on:
            return notice(
                "on: the clock depends on temperature and on how many cores work",
                f"For a lower but steadier clock, until the next boot: `echo {off} | sudo tee /{_CPU}/{file}`",
            )
        if setting:
            return ok("off")
    return unknown("the kernel does not tell")


def temperature(scene: Scene) -> Finding:
    """Documentation/driver-api/thermal/sysfs-api.rst, and Documentation/hwmon/ for coretemp and k10temp.

    The least room below a trip point that slows the machine down or stops it; at one that is "active" a
    fan starts. Files hold thousandths of a degree.
    """
    rooms: list[tuple[float, float, str]] = []
    for zone in scene.entries("sys/class/thermal", "thermal_zone"):
        for file in scene.entries(zone, "trip_point_"):
            point, is_type, _ = file.partition("_type")
            kind = scene.read(file) if is_type else ""
            if kind in ("passive", "hot", "critical"):
                now, at = scene.number(f"{zone}/temp"), scene.number(f"{point}_temp")
                if now is not None and at is not None and at > 0:  # at 0 or below: not in use
                    rooms.append((at - now, now, f"{kind}, {scene.read(f'{zone}/type')}"))
    for chip in scene.entries("sys/class/hwmon", "hwmon"):
        name = scene.read(f"{chip}/name")
        if name in ("coretemp", "k10temp"):
            now, at = scene.number(f"{chip}/temp1_input"), scene.number(f"{chip}/temp1_crit")
            if now is not None and at:
                rooms.append((at - now, now, f"critical, {name}"))
    if not rooms:
        return unknown("no sensor of this machine can be read")
    room, now, sensor = min(rooms)
    side = "below" if room >= 0 else "above"
    found = f"{now / 1000:.0f} °C, {abs(room) / 1000:.0f} °C {side} the nearest limit ({sensor})"
    if room < _COOL * 1000:
        return warning(found, "Let the machine cool down, free its vents, or give fewer --threads.")
    return ok(found)


def heat(scene: Scene) -> Finding:
    """Documentation/admin-guide/thermal/intel_thermal_throttle.rst: only Intel's processors count it."""
    worst: dict[str, float] = {}
    for kind in ("core", "package"):
        files = (f"{_CPU}/cpu{cpu}/thermal_throttle/{kind}_throttle_count" for cpu in scene.cpus)
        counts = [count for file in files if (count := scene.number(file)) is not None]
        if counts:
            worst[kind] = max(counts)
    if not worst:
        return unknown("the kernel does not count it for this processor")
    if not any(worst.values()):
        return ok("never since boot")
    return notice(
        " and ".join(f"a {kind} {count:,.0f} times" for kind, count in worst.items() if count)
        + " since boot",
        "If the counts grow during a run, cool the machine or give fewer --threads: "
        f"`grep . /{_CPU}/cpu*/thermal_throttle/*_throttle_count`",
    )


def power(scene: Scene) -> Finding:
    """Documentation/ABI/testing/sysfs-class-power; a battery whose scope is Device is that of a mouse."""
    supplies = [
        supply
        for supply in scene.entries("sys/class/power_supply")
        if scene.read(f"{supply}/scope") != "Device"
    ]
    batteries = [supply for supply in supplies if scene.read(f"{supply}/type") == "Battery"]
    plugged = scene.facts.plugged
    if batteries:
        lines = [scene.read(f"{supply}/online") for supply in supplies if supply not in batteries]
        drained = any(scene.read(f"{battery}/status") == "Discharging" for battery in batteries)
        plugged = "1" in lines if any(lines) else not drained
    if plugged is None:
        return ok("no battery")
    return ok("plugged in") if plugged else warning("on battery: the clock is held low", "Plug it in.")


# Read from user space on their kinds of machine.
_FAST_CLOCKS = (
    "tsc kvm-clock hyperv_clocksource_tsc_page arch_sys_counter riscv_clocksource timebase tod".split()
)


def clock(scene: Scene) -> Finding:
    """Documentation/timers/timekeeping.rst and vdso(7): a clock that is not these is read by a system call."""
    folder = "sys/devices/system/clocksource/clocksource0"
    name = scene.read(f"{folder}/current_clocksource")
    if not name:
        return unknown("the kernel does not tell")
    if name in _FAST_CLOCKS:
        return ok(name)
    if "tsc" in scene.read(f"{folder}/available_clocksource").split():
        remedy = f"Until the next boot: `echo tsc | sudo tee /{folder}/current_clocksource`"
    else:
        remedy = "The kernel trusts no faster one; its log says why: `sudo dmesg | grep -i clocksource`"
    return warning(f"{name}: to read it takes a system call, about a microsecond", remedy)


# Who else wants the processors.

_BUSY = 0.5  # load: a process that runs half of the time
_WAITING = 5.0  # percent of the last ten seconds in which somebody waited for a processor
_YOUNGEST = 200  # how many processes are looked at: more would take too long
_STOLEN = 0.01


def load(scene: Scene) -> Finding:
    """proc(5) for the load average, Documentation/accounting/psi.rst for pressure.

    Both are of the whole machine and hold what was run just before. It is a warning where the load leaves
    fewer processors than there are threads, or where processes did wait.
    """
    average, waited = scene.facts.load, _pressure(scene.read("proc/pressure/cpu"))
    if average is None and waited is None:
        return unknown("the system does not tell")
    processors = len(scene.online)
    told = [f"{average:.2f} on {_count(processors, 'processor')}"] if average is not None else []
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


def siblings(scene: Scene) -> Finding:
    """Documentation/ABI/testing/sysfs-devices-system-cpu: smt/active and smt/control."""
    active = scene.read(f"{_CPU}/smt/active")
    if not active:
        return unknown("the kernel does not tell")
    if active == "0":
        return ok("off, or none to be seen")
    remedy = (
        "Keep the machine to yourself or, until the next boot, switch them off: "
        f"`echo off | sudo tee /{_CPU}/smt/control`"
    )
    if not scene.conditions.cpus:
        return notice("on: launches are not pinned, so that two threads may share a core", remedy)
    return notice("on: launches use one thread of each core, others may run on its sibling", remedy)


def isolated(scene: Scene) -> Finding:
    """Documentation/admin-guide/kernel-parameters.txt: isolcpus takes processors out of load balancing.

    Threads are not spread over processors that are isolated so: all stay where they started.
    """
    text = scene.read(f"{_CPU}/isolated")
    if not text:
        return ok("none")
    ours = len(set(_members(text)) & set(scene.conditions.cpus))
    if ours > 1 and scene.conditions.threads > 1:
        return warning(
            f"{text}, and launches use {ours} of them: the kernel does not spread threads over them",
            "Give --threads 1, or isolate processors by a cpuset partition in place of isolcpus.",
        )
    return ok(f"{text}; launches use {ours or 'none'} of them")


def nodes(scene: Scene) -> Finding:
    """Documentation/admin-guide/mm/numaperf.rst: the memory of another node is slower."""
    members: dict[str, set[int]] = {}
    for node in scene.entries("sys/devices/system/node", "node"):
        cpus = set(_members(scene.read(f"{node}/cpulist")))
        if cpus:  # a node may be memory alone
            members[node.rpartition("/node")[2]] = cpus
    ours = {name: len(cpus & set(scene.cpus)) for name, cpus in members.items()}
    used = [name for name, number in ours.items() if number]
    if not used:
        return unknown("the kernel does not tell")
    if len(members) == 1:
        return ok("one")
    if len(used) == 1:
        return ok(f"{len(members)}; launches use node {used[0]} alone")
    best = max(used, key=lambda name: ours[name])
    return notice(
        f"launches use {len(used)} nodes: memory is near to some threads and far from others",
        f"Stay on one node: `numactl --cpunodebind={best} --membind={best} bench run`",
    )


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


def stolen(scene: Scene) -> Finding:
    """proc(5), stat: user nice system idle iowait irq softirq steal; guests are part of user."""
    for line in scene.read("proc/stat").splitlines():
        if line.startswith("cpu "):
            user, nice, system, idle, waiting, irq, softirq, steal = map(int, line.split()[1:9])
            busy = user + nice + system + irq + softirq + steal
            whole, wanted = steal / max(1, busy + idle + waiting), steal / max(1, busy)
            found = f"{whole * 100:.2f} % of all time since boot, {wanted * 100:.2f} % of the time asked for"
            remedy = "The host is overcommitted: use dedicated processors or another machine or hour."
            if whole > _STOLEN:
                return warning(found, remedy)
            return notice(found, remedy) if wanted > _STOLEN else ok(found)
    return unknown("the kernel does not tell")


# What a container allows.

_CGROUP = "sys/fs/cgroup"
_FULL = 0.9  # of a limit: from here on the kernel reclaims memory while the loop runs


def _groups(scene: Scene, controller: str) -> list[str]:
    """The control groups around this process, version 1 or 2, the innermost first.

    In a container /proc may name groups of the host that are not mounted: then only the mount is left.
    """
    found = []
    for line in scene.read("proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        parts = PurePosixPath(path).parts[1:]
        mounts = [f"{_CGROUP}/{controller}"] if names else [_CGROUP, f"{_CGROUP}/unified"]
        for mount in mounts:
            found += ["/".join([mount, *parts[:depth]]) for depth in range(len(parts), 0, -1)]
    return [group for group in found if "/.." not in group] + [_CGROUP, f"{_CGROUP}/{controller}"]


def _tightest_quota(scene: Scene) -> tuple[float, float, str]:
    """Processors' worth of time, the period in microseconds and the group that sets it; inf without one."""
    tightest = (math.inf, 0.0, "")
    for group in _groups(scene, "cpu"):
        words = scene.read(f"{group}/cpu.max").split() or [
            scene.read(f"{group}/cpu.cfs_quota_us"),
            scene.read(f"{group}/cpu.cfs_period_us"),
        ]
        if words[0] not in ("max", "-1", ""):
            quota, period = float(words[0]), float(words[1])
            tightest = min(tightest, (quota / period, period, group))
    return tightest


def quota(scene: Scene) -> Finding:
    """Documentation/scheduler/sched-bwc.rst: a group that has used up its time stops until the period ends."""
    processors, period, group = _tightest_quota(scene)
    if math.isinf(processors):
        return ok("none")
    found = f"{processors:g} processors' worth in each {period / 1000:g} ms"
    stat = scene.counts(f"{group}/cpu.stat")
    stopped = stat.get("nr_throttled", 0)
    if not stopped and processors >= len(scene.cpus):
        return ok(f"{found}, more than launches can use")
    lost = stat.get("throttled_usec", 0) / 1e6 or stat.get("throttled_time", 0) / 1e9
    past = f"in {stopped:,} of {stat.get('nr_periods', 0):,} periods, {lost:,.1f} s in all"
    return notice(
        f"{found}; stopped {past if stopped else 'never yet'}",
        "Give the container whole processors in place of a quota: --cpuset-cpus of docker run, "
        "the static CPU manager policy of Kubernetes.",
    )


def threads(scene: Scene) -> Finding:
    """Threads asked for, against processors and quota."""
    asked, cores, allowed = scene.conditions.threads, len(scene.cpus), _tightest_quota(scene)[0]
    found = f"{_count(asked, 'thread')} on {_count(cores, 'processor')}"
    if asked > cores:
        return warning(f"{found}: they wait for each other", f"Give --threads {cores}.")
    if asked > allowed:
        fitting = f"Give --threads {int(allowed)}." if allowed >= 1 else "Allow it a whole processor."
        return warning(f"{found}, but a quota of {allowed:g}: launches are stopped again and again", fitting)
    return ok(found)


def memory_limit(scene: Scene) -> Finding:
    """Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.high) and cgroup-v1/memory.rst.

    Cached files that are not in use do not count: they are given back at once.
    """
    tightest: tuple[float, float] | None = None
    for group in _groups(scene, "memory"):
        for limit, used, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.high", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most = scene.number(f"{group}/{limit}")  # none where it reads max
            if most is not None and most < 2**60:  # version 1 writes no limit as a huge one
                idle = scene.counts(f"{group}/memory.stat").get(cached, 0)
                taken = max(0.0, (scene.number(f"{group}/{used}") or 0.0) - idle)
                tightest = min(tightest or (most, taken), (most, taken))
    if tightest is None:
        return ok("none")
    most, taken = tightest
    found = f"{_bytes(most)}, of which {_bytes(taken)} are in use"
    if taken > _FULL * most:
        return warning(found, "Raise it (--memory of docker run), or end what else runs in the container.")
    return ok(found)


# Memory.

_LOW = 0.1


def free_memory(scene: Scene) -> Finding:
    """proc(5), MemAvailable of meminfo, as psutil reads it."""
    whole, available = scene.facts.memory, scene.facts.available
    if not whole or available is None:
        return unknown("the system does not tell")
    found = f"{_bytes(available)} of {_bytes(whole)}"
    if available < _LOW * whole:
        return warning(found, "End what fills the memory.")
    return ok(found)


def swap(scene: Scene) -> Finding:
    """proc(5), swaps and meminfo, as psutil reads them."""
    whole, used = scene.facts.swap, scene.facts.swapped
    if whole is None or used is None:
        return unknown("the system does not tell")
    if used:
        emptied = ", then empty it: `sudo swapoff -a && sudo swapon -a`" if scene.is_linux else "."
        return warning(f"{_bytes(used)} of {_bytes(whole)} in use", f"End what fills the memory{emptied}")
    if whole and scene.is_linux:
        return notice(f"{_bytes(whole)}, none in use", "While you measure: `sudo swapoff -a`")
    return ok("none" if not whole else "none in use")


def huge_pages(scene: Scene) -> Finding:
    """Documentation/admin-guide/mm/transhuge.rst.

    With `always`, which blocks get huge pages depends on how fragmented memory is just then, and khugepaged
    merges pages while the loop runs: launches differ. But they are faster for it, so that it is the
    right setting where the model will run with it: a notice. With `madvise` no block of torch or of
    the C library has them unless asked for.
    """
    words = scene.read("sys/kernel/mm/transparent_hugepage/enabled").split()
    chosen = next((word.strip("[]") for word in words if word.startswith("[")), "")
    if not chosen:
        return unknown("the kernel does not tell")
    if chosen != "always":
        return ok(chosen)
    return notice(
        "always: which blocks get them depends on how fragmented memory is",
        "Unless the model will run with them as well, until the next boot: "
        "`echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled`",
    )


_NO_RANDOMIZE = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2)


def layout(scene: Scene) -> Finding:
    """Documentation/admin-guide/sysctl/kernel.rst (randomize_va_space) and personality(2).

    Random is what the harness is made for: each round has a layout of its own. With a fixed one all
    launches share what may be a lucky layout, and no interval tells.
    """
    setting = scene.read("proc/sys/kernel/randomize_va_space")
    if not setting:
        return unknown("the kernel does not tell")
    if int(scene.read("proc/self/personality") or "0", 16) & _NO_RANDOMIZE:
        return notice(
            "the same in all launches (personality): intervals do not cover what it does",
            "Start bench without setarch -R, and not from a debugger.",
        )
    if setting == "2":
        return ok("random: intervals cover what it does, since each round has its own")
    return notice(
        f"{'the same in all launches' if setting == '0' else 'the heap is the same in all launches'} "
        f"({setting}): intervals do not cover what it does",
        "Until the next boot: `echo 2 | sudo tee /proc/sys/kernel/randomize_va_space`",
    )


_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "tbbmalloc", "snmalloc")
_PRELOADS = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES")


def allocator(scene: Scene) -> list[Finding]:
    """mallopt(3) for the variables, ld.so(8) for preloads: neither is undone by pinning."""
    environ = scene.environ
    preloads = [
        (name, environ.get(name, ""), f"Unless the model will run so: `unset {name}`") for name in _PRELOADS
    ]
    preloads.append(("the system", scene.read("etc/ld.so.preload"), "Take it out of /etc/ld.so.preload."))
    found = [
        notice(f"{place} preloads {other}: pinning does not reach it", undo)
        for place, text, undo in preloads
        for other in _ALLOCATORS
        if other in text
    ]
    for name in sorted(environ):
        if name.startswith("MALLOC_") or (name == "GLIBC_TUNABLES" and "glibc.malloc" in environ[name]):
            told = f"{_setting(scene, name)}: the allocator is not as it comes"
            found.append(notice(told, f"Unless the model will run so: `unset {name}`"))
    if scene.conditions.allocator != "pinned":
        found.append(notice("not pinned: launches differ more", "Leave out --allocator system."))
    elif not scene.facts.mallopt:
        found.append(
            notice("cannot be pinned: this C library is not glibc", "Give more launches: --launches 12.")
        )
    return found or [ok("pinned")]


# Settings that libraries read from the environment.

_BINDINGS = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_HW_SUBSET")
_SPINS = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_UNBOUND = ("false", "none", "disabled")


def openmp(scene: Scene) -> list[Finding]:
    """The OpenMP specification, chapter Environment Variables; the manuals of libgomp and of Intel's OpenMP.

    A launch is held to one processor a core once its libraries are loaded; threads that OpenMP binds go
    where the process was allowed before. KMP_ names are read by Intel's OpenMP alone.
    """
    asked = scene.conditions.threads
    values = {name: value.strip().lower() for name, value in scene.environ.items() if value.strip()}
    found: list[Finding] = []
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if values.get(name, str(asked)) != str(asked):
            told = f"{_setting(scene, name)}: not used, launches have {_count(asked, 'thread')}"
            found.append(notice(told, f"If you mean it, give it as --threads, else: `unset {name}`"))
    unbound = values.get("OMP_PROC_BIND") == "false"
    for name in _BINDINGS:
        ignored = unbound and not name.startswith("KMP_")
        if name in values and not ignored and not any(word in values[name] for word in _UNBOUND):
            told = f"{_setting(scene, name)}: OpenMP binds threads, whatever processors a launch was given"
            found.append(warning(told, f"Leave that to the harness: `unset {name}`"))
    if values.get("OMP_WAIT_POLICY") == "passive":
        told = "OMP_WAIT_POLICY=PASSIVE: threads sleep between operations, which makes short steps slow"
        found.append(notice(told, "Unless the model will run so: `unset OMP_WAIT_POLICY`"))
    for name in _SPINS:
        if name in values:
            told = f"{_setting(scene, name)}: decides how long threads wait before they sleep"
            found.append(notice(told, f"Unless the model will run so: `unset {name}`"))
    limit = values.get("OMP_THREAD_LIMIT", "")
    if limit.isdecimal() and int(limit) < asked:
        told = f"{_setting(scene, 'OMP_THREAD_LIMIT')}: fewer threads work than launches report"
        found.append(warning(told, "Let --threads decide: `unset OMP_THREAD_LIMIT`"))
    if values.get("OMP_DYNAMIC") in ("true", "1"):
        told = f"{_setting(scene, 'OMP_DYNAMIC')}: how many threads work depends on the load"
        found.append(warning(told, "Let --threads decide: `unset OMP_DYNAMIC`"))
    return found or [ok("none that disturbs")]


_NEUTRAL = ("", "0")
_TORCH = {
    "PYTORCH_ALLOC_CONF": "",
    "PYTORCH_CUDA_ALLOC_CONF": "",
    "PYTORCH_HIP_ALLOC_CONF": "",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "each block is taken from the driver anew",
    "CUDA_LAUNCH_BLOCKING": "each operation waits for the one before it",
}


def torch_settings(scene: Scene) -> list[Finding]:
    """The notes of PyTorch: CUDA semantics, and CUDA environment variables."""
    found: list[Finding] = []
    for name, effect in _TORCH.items():
        if scene.environ.get(name, "").strip() in _NEUTRAL:
            continue
        if effect:
            found.append(
                warning(f"{_setting(scene, name)}: {effect}", f"It is for debugging: `unset {name}`")
            )
        else:
            told = f"{_setting(scene, name)}: the device allocator is not as it comes"
            found.append(notice(told, f"Set it in every run that is compared, or: `unset {name}`"))
    return found or [ok("none that disturbs")]


def _setting(scene: Scene, name: str) -> str:
    return f"{name}={scene.environ[name]}"


# GPUs.


def gpus(scene: Scene) -> list[Finding]:
    """The manual of nvidia-smi: persistence mode, clocks throttle reasons, power limits."""
    return [finding for index, card in enumerate(scene.cards) for finding in _of_card(index, card)]


def _of_card(index: int, card: Card) -> list[Finding]:
    """What disturbs on one GPU, or that nothing does."""
    name = f"GPU {getattr(card, 'index', index)}"
    found: list[Finding] = []
    if card.persistence is False:
        told = "persistence off: the driver sets the card up anew for each launch"
        found.append(notice(told, "Until the next boot: `sudo nvidia-smi -pm 1`", name))
    others = sorted(set(card.processes or ()) - {os.getpid()})
    if others:
        pids = ", ".join(map(str, others[:4])) + (", ..." if len(others) > 4 else "")
        told = f"{_count(len(others), 'other process', 'other processes')} on the card (pid {pids})"
        found.append(warning(told, "End what else uses the card, or choose another; see: `nvidia-smi`", name))
    if card.throttled:
        told = f"slowed down now: {', '.join(sorted(card.throttled)).replace('_', ' ')}"
        found.append(
            warning(
                told,
                "Let it cool or raise its power limit, as the reason is: `nvidia-smi -q -d PERFORMANCE`",
                name,
            )
        )
    room = _difference(card.slowdown_temperature, card.temperature)
    if room is not None and room < _COOL:
        told = f"{card.temperature:.0f} °C, {room:.0f} °C below where it slows down"
        found.append(warning(told, "Let the card cool down, or give it more air.", name))
    cut = _difference(card.default_power_limit, card.power_limit)
    if cut is not None and cut >= 1:
        told = f"power limit {card.power_limit:.0f} W, {cut:.0f} W below its default"
        set_back = f"`sudo nvidia-smi -i {index} -pl {card.default_power_limit:.0f}`"
        remedy = f"Unless the model will run so (-i takes the number that nvidia-smi shows): {set_back}"
        found.append(notice(told, remedy, name))
    if found:
        return found
    facts = [card.name]
    facts += (
        [f"{card.temperature:.0f} °C, {room:.0f} °C below where it slows down"] if room is not None else []
    )
    facts += [f"power limit {card.power_limit:.0f} W"] if card.power_limit is not None else []
    return [ok(", ".join(facts), name)]


def _difference(more: float | None, less: float | None) -> float | None:
    return None if more is None or less is None else more - less


# In this order they are asked.

Check = Callable[[Scene], Finding | list[Finding]]

CHECKS: Mapping[str, Check] = {
    "load": load,
    "stolen time": stolen,
    "virtual machine": virtual,
    "frequency governor": governor,
    "turbo": turbo,
    "temperature": temperature,
    "slowed by heat": heat,
    "power supply": power,
    "clock source": clock,
    "SMT": siblings,
    "isolated processors": isolated,
    "NUMA nodes": nodes,
    "processor quota": quota,
    "threads": threads,
    "memory limit": memory_limit,
    "free memory": free_memory,
    "swap": swap,
    "huge pages": huge_pages,
    "address layout": layout,
    "allocator": allocator,
    "OpenMP settings": openmp,
    "PyTorch settings": torch_settings,
    "GPUs": gpus,
}

# These need no /proc.
EVERYWHERE = (load, power, threads, free_memory, swap, allocator, openmp, torch_settings, gpus)


def _members(text: str) -> list[int]:
    """The numbers of a list such as `0-2,5`."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _bytes(number: float) -> str:
    for step, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= step:
            return f"{number / step:.1f} {unit}"
    return f"{number:.0f} B"
