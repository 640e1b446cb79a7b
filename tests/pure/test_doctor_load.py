from __future__ import annotations

import os
from dataclasses import replace

import pytest
from scenes import CPU, FOUR, QUIET, one

from bench.machine.doctor import load


@pytest.mark.parametrize(
    ("average", "waited", "threads", "state"),
    [
        (0.1, "0.00", 4, "ok"),
        (0.1, None, 4, "ok"),
        (None, "1.20", 4, "ok"),
        (1.0, "0.00", 2, "notice"),
        (2.6, "0.00", 2, "warning"),
        (1.0, "0.00", 4, "warning"),
        (0.1, "12.50", 1, "warning"),
        (None, None, 4, "unknown"),
    ],
)
def test_load(tmp_path, average, waited, threads, state):
    files = {f"{CPU}/online": "0-3"}
    if waited:
        files["proc/pressure/cpu"] = f"some avg10={waited} avg60=0.00 avg300=0.00 total=1\nfull avg10=99.00"
    facts = replace(QUIET, load=average)
    finding = one(load.busy, tmp_path, files, conditions=replace(FOUR, threads=threads), facts=facts)
    assert finding.state == state
    assert average is None or f"{average:.2f} on 4 processors" in finding.found
    assert waited is None or f"waited {float(waited):.1f} % of the last 10 s" in finding.found


def test_a_busy_machine_names_the_youngest_processes_that_run(tmp_path):
    states = {
        2: "S",
        9: "R",
        10: "R",
        11: "R",
        100: "R",
        101: "D",
        os.getpid() + 1000: "S",
        os.getpid(): "R",
    }
    files = {f"proc/{pid}/stat": f"{pid} (my (job) {pid}) {state} 1 1" for pid, state in states.items()}
    finding = one(load.busy, tmp_path, files, facts=replace(QUIET, load=3.0))
    assert finding.found.endswith("running now: my (job) 100 (100), my (job) 11 (11), my (job) 10 (10)")


@pytest.mark.parametrize(
    ("line", "state", "found"),
    [
        ("cpu  500 0 300 9000 100 0 50 0 0 0", "ok", "0.00 % of all time"),
        ("cpu  500 0 300 90000 100 0 50 5 0 0", "ok", "0.01 % of all time since boot, 0.58 % of"),
        ("cpu  500 0 300 90000 100 0 50 50 0 0", "notice", "0.05 % of all time since boot, 5.56 % of"),
        ("cpu  500 0 300 3000 100 0 50 50 0 0", "warning", "1.25 % of all time"),
        ("cpu  0 0 0 0 0 0 0 0 0 0", "ok", "0.00 %"),
        ("", "unknown", "not reported by"),
    ],
)
def test_stolen_time(tmp_path, line, state, found):
    finding = one(load.stolen, tmp_path, {"proc/stat": f"{line}\ncpu0 1 1 1 1 1 1 1 999 0 0"})
    assert finding.state == state
    assert found in finding.found


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"proc/cpuinfo": "processor : 0\nflags : fpu tsc hypervisor\n"}, "notice"),
        ({"proc/cpuinfo": "processor : 0\nflags : fpu tsc\n"}, "ok"),
        ({"proc/cpuinfo": "processor : 0\nFeatures : fp asimd\n"}, "unknown"),
        ({"proc/cpuinfo": "Features : fp\n", "sys/hypervisor/type": "xen"}, "notice"),
        ({}, "unknown"),
    ],
)
def test_virtual_machine(tmp_path, files, state):
    finding = one(load.virtual, tmp_path, files)
    assert finding.state == state
    assert ("interleaved" in finding.remedy) is (state == "notice")
