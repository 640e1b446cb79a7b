"""The checkup as a whole: every check answers in its place, and nothing is raised or written."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from scenes import CGROUP, CPU, FOUR, GIB, QUIET, build

from bench.machine import doctor
from bench.machine.doctor import CHECKS, EVERYWHERE, Finding, Noise, as_json, examine
from bench.machine.doctor.scene import unknown
from bench.report.safe_text import plain_json
from bench.suite.case import Conditions
from bench.system.gpu import GpuState

LINUX = [name for name in CHECKS if name != "GPUs"]


@pytest.fixture
def look(tmp_path):
    """Examines a machine that has these files."""

    def look(files=None, environ=None, facts=QUIET, cards=()):
        build(tmp_path, files or {})
        return examine(FOUR, tmp_path, environ or {}, facts, cards)

    return look


def names(findings):
    return [finding.name for finding in findings]


def test_every_check_answers_in_the_same_order(look):
    assert names(look()) == LINUX
    assert names(look({"proc/stat": "cpu 1", f"{CPU}/smt/active": 1})) == LINUX


def test_a_check_may_find_several_things(look):
    found = look(environ={"OMP_DYNAMIC": "true", "OMP_PROC_BIND": "close"})
    assert names(found).count("OpenMP settings") == 2


def test_cards_come_last_under_their_own_names(look):
    assert names(look(cards=[GpuState(2), GpuState(0)])) == [*LINUX, "GPU 2", "GPU 0"]


def test_a_system_without_proc_is_asked_what_any_system_tells(tmp_path):
    found = examine(FOUR, tmp_path, {"OMP_DYNAMIC": "true"}, replace(QUIET, load=9.0, plugged=False))
    everywhere = [name for name, check in CHECKS.items() if check in EVERYWHERE and name != "GPUs"]
    assert names(found) == [*everywhere, "kernel"]
    states = {finding.name: finding.state for finding in found}
    assert states["kernel"] == "unknown"
    assert states["load"] == states["power supply"] == states["OpenMP settings"] == "warning"


def test_no_remedy_of_linux_is_given_elsewhere(tmp_path):
    found = examine(FOUR, tmp_path, {}, replace(QUIET, swap=GIB, swapped=GIB, available=0))
    assert not any("sudo" in finding.remedy for finding in found)


def test_all_that_needs_no_proc_is_a_check():
    assert set(EVERYWHERE) < set(CHECKS.values())


READ = [
    *(
        f"{CPU}/{file}"
        for file in (
            "online",
            "isolated",
            "smt/active",
            "intel_pstate/no_turbo",
            "cpufreq/boost",
            "cpu0/cpufreq/scaling_governor",
            "cpu0/cpufreq/scaling_driver",
        )
    ),
    *(f"proc/{file}" for file in ("stat", "cpuinfo", "self/cgroup", "self/personality", "7/stat")),
    "proc/pressure/cpu",
    "proc/sys/kernel/randomize_va_space",
    "etc/ld.so.preload",
    *(
        f"sys/class/thermal/thermal_zone0/{file}"
        for file in ("temp", "type", "trip_point_0_type", "trip_point_0_temp")
    ),
    *(f"sys/class/power_supply/BAT0/{file}" for file in ("type", "online", "status")),
    *(f"{CGROUP}/{file}" for file in ("cpu.max", "cpu.stat", "memory.max", "memory.stat")),
    "sys/devices/system/clocksource/clocksource0/current_clocksource",
    "sys/devices/system/node/node0/cpulist",
    "sys/kernel/mm/transparent_hugepage/enabled",
]


@pytest.mark.parametrize("text", ["", "?", "1", "-1", "nan", "some avg10", "9-", ":", "a: b\n0::", "[x"])
def test_no_text_in_any_file_makes_it_raise(look, text):
    assert names(look(dict.fromkeys(READ, text), facts=replace(QUIET, load=9.0))) == LINUX


def test_files_that_are_no_text_or_folders_do_not_make_it_raise(tmp_path):
    for path in ("proc/stat", "proc/cpuinfo", f"{CPU}/online", f"{CGROUP}/cpu.max"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/cgroup").write_bytes(b"\xff\xfe\x00:\xff")
    assert names(examine(FOUR, tmp_path, {}, QUIET)) == LINUX


def test_a_check_that_fails_is_an_unknown_and_no_more(look, monkeypatch):
    def broken(scene):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(doctor, "CHECKS", {"swap": CHECKS["swap"], "luck": broken})
    assert look() == [
        Finding("swap", "ok", "none"),
        Finding("luck", "unknown", "could not be examined: RuntimeError: no such luck"),
    ]


def test_nothing_is_written(look, tmp_path):
    look({f"{CPU}/smt/active": 1, f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave"})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    look()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_this_machine_is_examined():
    found = examine(Conditions(threads=1))
    assert len(found) >= len(EVERYWHERE) - 1
    assert {finding.state for finding in found} <= {"ok", "notice", "warning", "unknown"}
    assert not any("could not be examined" in finding.found for finding in found)
    for finding in found:
        assert finding.found
        assert bool(finding.remedy) is (finding.state in ("notice", "warning"))
        assert finding.remedy.count("`") % 2 == 0


def test_words():
    assert unknown().found == "not reported by the kernel"


def test_json_holds_all_and_no_number_that_json_has_not():
    noise = Noise("cpu", 40, 20, 0.05, 0.98, math.nan, math.inf, 3)
    told = json.loads(plain_json(as_json([Finding("swap", "notice", "2 GiB", "`swapoff -a`")], [noise])))
    assert told["findings"] == [
        {"name": "swap", "state": "notice", "found": "2 GiB", "remedy": "`swapoff -a`"}
    ]
    assert told["noise"] == [
        {
            "device": "cpu",
            "launches": 40,
            "pairs": 20,
            "variation": 0.05,
            "pair_low": 0.98,
            "pair_high": None,
            "reveals": None,
            "contaminated": 3,
        }
    ]
