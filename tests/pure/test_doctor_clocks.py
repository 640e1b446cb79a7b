from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import CPU, FOUR, QUIET, one

from bench.machine.doctor import clocks
from bench.machine.doctor.scene import Scene

THERMAL = "sys/class/thermal/thermal_zone0"
SUPPLY = "sys/class/power_supply"
CLOCK = "sys/devices/system/clocksource/clocksource0"


def governors(*names, driver=""):
    files = {f"{CPU}/cpu{number}/cpufreq/scaling_governor": name for number, name in enumerate(names)}
    return {**files, f"{CPU}/online": f"0-{len(names) - 1}", f"{CPU}/cpu0/cpufreq/scaling_driver": driver}


@pytest.mark.parametrize(
    ("files", "state", "found"),
    [
        (governors("performance", "performance"), "ok", "performance on 2 processors"),
        (governors("userspace"), "ok", "userspace on 1 processor"),
        (governors("ondemand", driver="acpi-cpufreq"), "warning", "(acpi_cpufreq): the clock follows"),
        (governors("schedutil"), "warning", "the clock follows the load"),
        (governors("conservative"), "warning", "the clock follows the load"),
        (governors("powersave", driver="acpi-cpufreq"), "notice", "the lowest clock"),
        (governors("powersave", driver="intel_cpufreq"), "notice", "the lowest clock"),
        (governors("powersave", driver="intel_pstate"), "warning", "the clock follows the load"),
        (governors("powersave", driver="amd-pstate-epp"), "warning", "the clock follows the load"),
        (governors("performance", driver="amd-pstate-epp"), "ok", "performance"),
        (governors("performance", "schedutil"), "warning", "performance on 1 processor, schedutil on 1"),
        (governors("performance", "userspace"), "warning", "they differ"),
        ({}, "unknown", "hypervisor"),
    ],
)
def test_governor(tmp_path, files, state, found):
    finding = one(clocks.governor, tmp_path, files)
    assert finding.state == state
    assert found in finding.found
    assert ("`sudo cpupower frequency-set -g performance`" in finding.remedy) is (
        state in ("notice", "warning")
    )


def test_a_processor_that_is_offline_has_no_governor(tmp_path):
    files = {**governors("performance", "schedutil"), f"{CPU}/online": "0"}
    assert one(clocks.governor, tmp_path, files).state == "ok"


@pytest.mark.parametrize(
    ("file", "setting", "state", "command"),
    [
        (
            "intel_pstate/no_turbo",
            0,
            "notice",
            "`echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo`",
        ),
        ("intel_pstate/no_turbo", 1, "ok", ""),
        ("cpufreq/boost", 1, "notice", "`echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost`"),
        ("cpufreq/boost", 0, "ok", ""),
    ],
)
def test_turbo(tmp_path, file, setting, state, command):
    finding = one(clocks.turbo, tmp_path, {f"{CPU}/{file}": setting})
    assert finding.state == state
    assert command in finding.remedy


def test_turbo_that_is_not_told(tmp_path):
    assert one(clocks.turbo, tmp_path).state == "unknown"


@pytest.mark.parametrize(
    ("now", "kind", "at", "state", "found"),
    [
        (85000, "critical", 95000, "ok", "85 °C, 10 °C below"),
        (85100, "hot", 95000, "warning", "85 °C, 10 °C below the nearest limit (hot, acpitz)"),
        (96000, "passive", 95000, "warning", "96 °C, 1 °C above"),
        (94000, "active", 95000, "unknown", "no sensor"),
        (40000, "critical", 0, "unknown", "no sensor"),
        (40000, "passive", -274000, "unknown", "no sensor"),
        ("", "critical", 95000, "unknown", "no sensor"),
    ],
)
def test_temperature_of_a_zone(tmp_path, now, kind, at, state, found):
    files = {f"{THERMAL}/type": "acpitz", f"{THERMAL}/temp": now}
    files |= {f"{THERMAL}/trip_point_0_type": kind, f"{THERMAL}/trip_point_0_temp": at}
    finding = one(clocks.temperature, tmp_path, files)
    assert finding.state == state
    assert found in finding.found


def test_the_sensor_nearest_to_its_limit_counts(tmp_path):
    files = {f"{THERMAL}/temp": 50000}
    files |= {f"{THERMAL}/trip_point_1_type": "critical", f"{THERMAL}/trip_point_1_temp": 100000}
    chip = "sys/class/hwmon/hwmon3"
    files |= {f"{chip}/name": "coretemp", f"{chip}/temp1_input": 92000, f"{chip}/temp1_crit": 100000}
    finding = one(clocks.temperature, tmp_path, files)
    assert finding.state == "warning"
    assert finding.found == "92 °C, 8 °C below the nearest limit (critical, coretemp)"


def test_the_sensor_of_a_disk_does_not_count(tmp_path):
    chip = "sys/class/hwmon/hwmon0"
    files = {f"{chip}/name": "nvme", f"{chip}/temp1_input": 80000, f"{chip}/temp1_crit": 84000}
    assert one(clocks.temperature, tmp_path, files).state == "unknown"


@pytest.mark.parametrize(
    ("files", "state", "found"),
    [
        ({}, "ok", "no battery"),
        ({"AC/type": "Mains", "AC/online": 1}, "ok", "no battery"),
        ({"AC/online": 1, "BAT0/type": "Battery", "BAT0/status": "Charging"}, "ok", "plugged in"),
        (
            {"AC/online": 0, "BAT0/type": "Battery", "BAT0/status": "Discharging"},
            "warning",
            "on battery",
        ),
        ({"AC/online": 0, "C/online": 1, "BAT0/type": "Battery"}, "ok", "plugged in"),
        ({"BAT0/type": "Battery", "BAT0/status": "Discharging"}, "warning", "on battery"),
        ({"BAT0/type": "Battery", "BAT0/status": "Full"}, "ok", "plugged in"),
        ({"U/type": "USB", "BAT0/type": "Battery", "BAT0/status": "Full"}, "ok", "plugged in"),
        ({"M/type": "Battery", "M/scope": "Device", "M/status": "Discharging"}, "ok", "no battery"),
    ],
)
def test_power(tmp_path, files, state, found):
    files = {f"{SUPPLY}/{path}": text for path, text in files.items()}
    # psutil takes the battery of a mouse for the machine's own
    finding = one(clocks.power, tmp_path, files, facts=replace(QUIET, plugged=False))
    assert finding.state == state
    assert found in finding.found


@pytest.mark.parametrize(
    ("plugged", "state", "found"),
    [(None, "ok", "no battery"), (True, "ok", "plugged in"), (False, "warning", "on battery")],
)
def test_power_of_another_system(tmp_path, plugged, state, found):
    finding = clocks.power(Scene(FOUR, tmp_path, {}, replace(QUIET, plugged=plugged)))
    assert finding.state == state
    assert found in finding.found


@pytest.mark.parametrize(
    ("name", "available", "state", "remedy"),
    [
        ("tsc", "tsc hpet", "ok", ""),
        ("kvm-clock", "kvm-clock tsc", "ok", ""),
        ("arch_sys_counter", "arch_sys_counter", "ok", ""),
        ("hpet", "tsc hpet acpi_pm", "warning", f"`echo tsc | sudo tee /{CLOCK}/current_clocksource`"),
        ("acpi_pm", "hpet acpi_pm", "warning", "dmesg"),
        ("", "", "unknown", ""),
    ],
)
def test_clock(tmp_path, name, available, state, remedy):
    files = {f"{CLOCK}/current_clocksource": name, f"{CLOCK}/available_clocksource": available}
    finding = one(clocks.source, tmp_path, files)
    assert finding.state == state
    assert remedy in finding.remedy
