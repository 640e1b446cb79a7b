"""The speed of the processors, whether it is constant, and the clock that measures it."""

from __future__ import annotations

from collections import Counter

from ...plurals import counted
from .scene import CPU, Finding, Scene, notice, ok, unknown, warning

_FOLLOWS_LOAD = frozenset({"ondemand", "conservative", "schedutil", "interactive"})
_OWN_POWERSAVE = ("intel_pstate", "amd_pstate_epp")  # with these, powersave follows the load as well
_COOL = 10.0  # degrees: starting a loop heats a processor by more

# Read without a system call, each on its kind of machine.
_FAST_CLOCKS = (
    "tsc kvm-clock hyperv_clocksource_tsc_page arch_sys_counter riscv_clocksource timebase tod".split()
)


def governor(scene: Scene) -> Finding:
    """Documentation/admin-guide/pm/cpufreq.rst, intel_pstate.rst and amd-pstate.rst.

    Powersave means the lowest clock, but in the active mode of the last two drivers it follows the load.
    """
    names = (scene.read(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor") for cpu in scene.online)
    used = Counter(name for name in names if name)
    if not used:
        return unknown("the kernel does not set the clock here: firmware or a hypervisor does")
    driver = scene.read(f"{CPU}/cpu{scene.online[0]}/cpufreq/scaling_driver").replace("-", "_")
    follows = _FOLLOWS_LOAD | ({"powersave"} if driver in _OWN_POWERSAVE else set())
    found = ", ".join(f"{name} on {counted(number, 'processor')}" for name, number in used.items())
    found += f" ({driver})" if driver else ""
    remedy = "Until the next boot: `sudo cpupower frequency-set -g performance`"
    if follows & set(used):
        return warning(f"{found}: the clock follows the load", remedy)
    if len(used) > 1:
        return warning(f"{found}: they differ", remedy)
    if "powersave" in used:
        return notice(f"{found}: the lowest clock, steady but slow", remedy)
    return ok(found)


def turbo(scene: Scene) -> Finding:
    """Documentation/admin-guide/pm/intel_pstate.rst (no_turbo) and cpufreq.rst (boost)."""
    for file, on, off in (("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0")):
        setting = scene.read(f"{CPU}/{file}")
        if setting == on:
            return notice(
                "on: the clock depends on temperature and on how many cores work",
                f"For a lower but steadier clock, until the next boot: `echo {off} | sudo tee /{CPU}/{file}`",
            )
        if setting:
            return ok("off")
    return unknown()


def temperature(scene: Scene) -> Finding:
    """The smallest margin below a trip point that slows the machine down or stops it."""
    margins = [(at - now, now, sensor) for now, at, sensor in [*_zones(scene), *_chips(scene)]]
    if not margins:
        return unknown("no sensor of this machine can be read")
    margin, now, sensor = min(margins)
    side = "below" if margin >= 0 else "above"
    found = f"{now:.0f} °C, {abs(margin):.0f} °C {side} the nearest limit ({sensor})"
    if margin < _COOL:
        return warning(found, "Let the machine cool down, free its vents, or give fewer --threads.")
    return ok(found)


def _zones(scene: Scene) -> list[tuple[float, float, str]]:
    """Documentation/driver-api/thermal/sysfs-api.rst: temperature, limit and name; an "active" trip starts a fan."""
    found = []
    for zone in scene.entries("sys/class/thermal", "thermal_zone"):
        for file in scene.entries(zone, "trip_point_"):
            point, is_type, _ = file.partition("_type")
            kind = scene.read(file) if is_type else ""
            if kind in ("passive", "hot", "critical"):
                sensor = f"{kind}, {scene.read(f'{zone}/type')}"
                found += _degrees(scene, f"{zone}/temp", f"{point}_temp", sensor)
    return found


def _chips(scene: Scene) -> list[tuple[float, float, str]]:
    """Documentation/hwmon/coretemp.rst and k10temp.rst."""
    names = {chip: scene.read(f"{chip}/name") for chip in scene.entries("sys/class/hwmon", "hwmon")}
    return [
        degrees
        for chip, name in names.items()
        if name in ("coretemp", "k10temp")
        for degrees in _degrees(scene, f"{chip}/temp1_input", f"{chip}/temp1_crit", f"critical, {name}")
    ]


def _degrees(scene: Scene, now: str, limit: str, sensor: str) -> list[tuple[float, float, str]]:
    """Temperature and limit in degrees, from files in thousandths; empty if one is missing or not in use."""
    here, most = scene.number(now), scene.number(limit)
    return [] if here is None or most is None or not most > 0 else [(here / 1000, most / 1000, sensor)]


def power(scene: Scene) -> Finding:
    """Documentation/ABI/testing/sysfs-class-power; a battery with the scope Device belongs to a mouse or the like."""
    plugged = _plugged(scene) if scene.is_linux else scene.facts.plugged
    if plugged is None:
        return ok("no battery")
    return ok("plugged in") if plugged else warning("on battery: the clock is held low", "Plug it in.")


def _plugged(scene: Scene) -> bool | None:
    """Whether mains power is connected; None without a battery."""
    supplies = [
        supply
        for supply in scene.entries("sys/class/power_supply")
        if scene.read(f"{supply}/scope") != "Device"
    ]
    batteries = [supply for supply in supplies if scene.read(f"{supply}/type") == "Battery"]
    if not batteries:
        return None
    lines = [scene.read(f"{supply}/online") for supply in supplies if supply not in batteries]
    if any(lines):
        return "1" in lines
    return not any(scene.read(f"{battery}/status") == "Discharging" for battery in batteries)


def source(scene: Scene) -> Finding:
    """Documentation/timers/timekeeping.rst and vdso(7): any other clock is read by a system call."""
    folder = "sys/devices/system/clocksource/clocksource0"
    name = scene.read(f"{folder}/current_clocksource")
    if not name:
        return unknown()
    if name in _FAST_CLOCKS:
        return ok(name)
    if "tsc" in scene.read(f"{folder}/available_clocksource").split():
        remedy = f"Until the next boot: `echo tsc | sudo tee /{folder}/current_clocksource`"
    else:
        remedy = (
            "The kernel trusts no faster clock; its log has the reason: `sudo dmesg | grep -i clocksource`"
        )
    return warning(f"{name}: reading it takes a system call, about a microsecond", remedy)
