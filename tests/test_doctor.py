"""Each check on small trees like /sys and /proc: what it says in each state, and that nothing is raised or written."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace

import pytest

from bench.case import Conditions
from bench.machine import doctor
from bench.machine.doctor import CHECKS, EVERYWHERE, Facts, Finding, Noise, as_json, current_facts, examine

CPU = "sys/devices/system/cpu"
THERMAL = "sys/class/thermal/thermal_zone0"
SUPPLY = "sys/class/power_supply"
CLOCK = "sys/devices/system/clocksource/clocksource0"
NODE = "sys/devices/system/node"
CGROUP = "sys/fs/cgroup"

GIB = 2**30
FOUR = Conditions(threads=4, cpus=(0, 1, 2, 3))
QUIET = Facts(processors=4, load=0.02, memory=16 * GIB, available=12 * GIB, swap=0, swapped=0)


@pytest.fixture
def look(tmp_path):
    """Examines a machine that has these files, and gives what one check found, or all where none is named."""

    def look(check, files=None, conditions=FOUR, environ=None, facts=QUIET, cards=()):
        (tmp_path / "proc").mkdir(exist_ok=True)
        for path, text in (files or {}).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f"{text}\n")
        found = examine(conditions, tmp_path, environ or {}, facts, cards)
        return [finding for finding in found if check in ("", finding.name)]

    return look


@pytest.fixture
def one(look):
    def one(check, files=None, **given):
        (finding,) = look(check, files, **given)
        assert bool(finding.remedy) is (finding.state in ("notice", "warning"))
        return finding

    return one


def governors(*names, driver=""):
    files = {f"{CPU}/cpu{number}/cpufreq/scaling_governor": name for number, name in enumerate(names)}
    return {**files, f"{CPU}/online": f"0-{len(names) - 1}", f"{CPU}/cpu0/cpufreq/scaling_driver": driver}


class TestSpeed:
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
    def test_governor(self, one, files, state, found):
        finding = one("frequency governor", files)
        assert finding.state == state
        assert found in finding.found
        assert ("`sudo cpupower frequency-set -g performance`" in finding.remedy) is (
            state in ("notice", "warning")
        )

    def test_a_processor_that_is_offline_has_no_governor(self, one):
        files = {**governors("performance", "schedutil"), f"{CPU}/online": "0"}
        assert one("frequency governor", files).state == "ok"

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
    def test_turbo(self, one, file, setting, state, command):
        finding = one("turbo", {f"{CPU}/{file}": setting})
        assert finding.state == state
        assert command in finding.remedy

    def test_turbo_that_is_not_told(self, one):
        assert one("turbo").state == "unknown"

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
    def test_temperature_of_a_zone(self, one, now, kind, at, state, found):
        files = {f"{THERMAL}/type": "acpitz", f"{THERMAL}/temp": now}
        files |= {f"{THERMAL}/trip_point_0_type": kind, f"{THERMAL}/trip_point_0_temp": at}
        finding = one("temperature", files)
        assert finding.state == state
        assert found in finding.found

    def test_the_sensor_nearest_to_its_limit_counts(self, one):
        files = {f"{THERMAL}/temp": 50000}
        files |= {f"{THERMAL}/trip_point_1_type": "critical", f"{THERMAL}/trip_point_1_temp": 100000}
        chip = "sys/class/hwmon/hwmon3"
        files |= {f"{chip}/name": "coretemp", f"{chip}/temp1_input": 92000, f"{chip}/temp1_crit": 100000}
        finding = one("temperature", files)
        assert finding.state == "warning"
        assert finding.found == "92 °C, 8 °C below the nearest limit (critical, coretemp)"

    def test_the_sensor_of_a_disk_does_not_count(self, one):
        chip = "sys/class/hwmon/hwmon0"
        files = {f"{chip}/name": "nvme", f"{chip}/temp1_input": 80000, f"{chip}/temp1_crit": 84000}
        assert one("temperature", files).state == "unknown"

    @pytest.mark.parametrize(
        ("core", "package", "state", "found"),
        [
            (0, 0, "ok", "never"),
            (3, 0, "notice", "a core 3 times since boot"),
            (3, 1200, "notice", "a core 3 times and a package 1,200 times since boot"),
            ("", "", "unknown", "does not count"),
        ],
    )
    def test_heat(self, one, core, package, state, found):
        folder = f"{CPU}/cpu2/thermal_throttle"
        files = {f"{folder}/core_throttle_count": core, f"{folder}/package_throttle_count": package}
        finding = one("slowed by heat", files)
        assert finding.state == state
        assert found in finding.found

    @pytest.mark.parametrize(
        ("files", "plugged", "state", "found"),
        [
            ({}, None, "ok", "no battery"),
            ({"AC/type": "Mains", "AC/online": 1}, None, "ok", "no battery"),
            ({"AC/online": 1, "BAT0/type": "Battery", "BAT0/status": "Charging"}, None, "ok", "plugged in"),
            (
                {"AC/online": 0, "BAT0/type": "Battery", "BAT0/status": "Discharging"},
                None,
                "warning",
                "on battery",
            ),
            ({"AC/online": 0, "C/online": 1, "BAT0/type": "Battery"}, None, "ok", "plugged in"),
            ({"BAT0/type": "Battery", "BAT0/status": "Discharging"}, None, "warning", "on battery"),
            ({"BAT0/type": "Battery", "BAT0/status": "Full"}, None, "ok", "plugged in"),
            ({"U/type": "USB", "BAT0/type": "Battery", "BAT0/status": "Full"}, None, "ok", "plugged in"),
            ({"M/type": "Battery", "M/scope": "Device", "M/status": "Discharging"}, None, "ok", "no battery"),
            ({}, False, "warning", "on battery"),
            ({}, True, "ok", "plugged in"),
        ],
    )
    def test_power(self, one, files, plugged, state, found):
        files = {f"{SUPPLY}/{path}": text for path, text in files.items()}
        finding = one("power supply", files, facts=replace(QUIET, plugged=plugged))
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
    def test_clock(self, one, name, available, state, remedy):
        files = {f"{CLOCK}/current_clocksource": name, f"{CLOCK}/available_clocksource": available}
        finding = one("clock source", files)
        assert finding.state == state
        assert remedy in finding.remedy


class TestOthers:
    @pytest.mark.parametrize(
        ("load", "waited", "threads", "state"),
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
    def test_load(self, one, load, waited, threads, state):
        files = {f"{CPU}/online": "0-3"}
        if waited:
            files["proc/pressure/cpu"] = (
                f"some avg10={waited} avg60=0.00 avg300=0.00 total=1\nfull avg10=99.00"
            )
        finding = one(
            "load", files, conditions=replace(FOUR, threads=threads), facts=replace(QUIET, load=load)
        )
        assert finding.state == state
        assert load is None or f"{load:.2f} on 4 processors" in finding.found
        assert waited is None or f"waited {float(waited):.1f} % of the last 10 s" in finding.found

    def test_a_busy_machine_names_the_youngest_processes_that_run(self, one):
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
        finding = one("load", files, facts=replace(QUIET, load=3.0))
        assert finding.found.endswith("running now: my (job) 100 (100), my (job) 11 (11), my (job) 10 (10)")

    @pytest.mark.parametrize(
        ("line", "state", "found"),
        [
            ("cpu  500 0 300 9000 100 0 50 0 0 0", "ok", "0.00 % of all time"),
            ("cpu  500 0 300 90000 100 0 50 5 0 0", "ok", "0.01 % of all time since boot, 0.58 % of"),
            ("cpu  500 0 300 90000 100 0 50 50 0 0", "notice", "0.05 % of all time since boot, 5.56 % of"),
            ("cpu  500 0 300 3000 100 0 50 50 0 0", "warning", "1.25 % of all time"),
            ("cpu  0 0 0 0 0 0 0 0 0 0", "ok", "0.00 %"),
            ("cpu  500 0 300", "unknown", "could not be examined: ValueError"),
            ("", "unknown", "does not tell"),
        ],
    )
    def test_stolen_time(self, one, line, state, found):
        finding = one("stolen time", {"proc/stat": f"{line}\ncpu0 1 1 1 1 1 1 1 999 0 0"})
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
    def test_virtual_machine(self, one, files, state):
        finding = one("virtual machine", files)
        assert finding.state == state
        assert ("interleaved" in finding.remedy) is (state == "notice")

    @pytest.mark.parametrize(
        ("active", "cpus", "state", "found"),
        [
            (1, (0, 1), "notice", "one thread of each core"),
            (1, (), "notice", "not pinned"),
            (0, (0, 1), "ok", "off"),
            ("", (0, 1), "unknown", "does not tell"),
        ],
    )
    def test_smt(self, one, active, cpus, state, found):
        finding = one("SMT", {f"{CPU}/smt/active": active}, conditions=Conditions(threads=1, cpus=cpus))
        assert finding.state == state
        assert found in finding.found

    @pytest.mark.parametrize(
        ("isolated", "threads", "state", "found"),
        [
            ("", 4, "ok", "none"),
            ("8-15", 4, "ok", "8-15; launches use none of them"),
            ("3,8", 4, "ok", "3,8; launches use 1 of them"),
            ("2-3", 1, "ok", "2-3; launches use 2 of them"),
            ("2-3", 4, "warning", "launches use 2 of them: the kernel does not spread threads"),
        ],
    )
    def test_isolated_processors(self, one, isolated, threads, state, found):
        files = {f"{CPU}/isolated": isolated}
        finding = one("isolated processors", files, conditions=replace(FOUR, threads=threads))
        assert finding.state == state
        assert found in finding.found

    @pytest.mark.parametrize(
        ("lists", "state", "found"),
        [
            (["0-7"], "ok", "one"),
            (["0-7", ""], "ok", "one"),
            (["4-7", "0-3"], "ok", "2; launches use node 1 alone"),
            (["0,8", "1-3"], "notice", "launches use 2 nodes"),
            ([], "unknown", "the kernel does not tell"),
        ],
    )
    def test_numa_nodes(self, one, lists, state, found):
        files = {f"{NODE}/node{number}/cpulist": text for number, text in enumerate(lists)}
        finding = one("NUMA nodes", {**files, f"{NODE}/online": "0-1"})
        assert finding.state == state
        assert finding.found.startswith(found)
        assert ("`numactl --cpunodebind=1 --membind=1 bench run`" in finding.remedy) is (state == "notice")


class TestContainer:
    STAT = "nr_periods 4000\nnr_throttled 120\nthrottled_usec 3200000"

    @pytest.mark.parametrize(
        ("files", "state", "found"),
        [
            ({}, "ok", "none"),
            ({"cpu.max": "max 100000"}, "ok", "none"),
            (
                {"cpu.max": "400000 100000"},
                "ok",
                "4 processors' worth in each 100 ms, more than launches can use",
            ),
            (
                {"cpu.max": "150000 100000"},
                "notice",
                "1.5 processors' worth in each 100 ms; stopped never yet",
            ),
            (
                {"cpu.max": "400000 100000", "cpu.stat": STAT},
                "notice",
                "stopped in 120 of 4,000 periods, 3.2 s in all",
            ),
            ({"cpu/cpu.cfs_quota_us": -1, "cpu/cpu.cfs_period_us": 100000}, "ok", "none"),
            (
                {
                    "cpu/cpu.cfs_quota_us": 50000,
                    "cpu/cpu.cfs_period_us": 25000,
                    "cpu/cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 1500000000",
                },
                "notice",
                "2 processors' worth in each 25 ms; stopped in 2 of 9 periods, 1.5 s in all",
            ),
            ({"cpu.max": "a few"}, "unknown", "could not be examined: ValueError"),
        ],
    )
    def test_quota(self, one, files, state, found):
        finding = one("processor quota", {f"{CGROUP}/{path}": text for path, text in files.items()})
        assert finding.state == state
        assert found in finding.found

    @pytest.mark.parametrize(
        ("own", "files"),
        [
            (
                "0::/a/b",
                {"cpu.max": "max 100000", "a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"},
            ),
            ("0::/a/b", {"a/b/cpu.max": "200000 100000"}),
            ("0::/not/mounted", {"cpu.max": "200000 100000"}),
            ("0::/../..", {"cpu.max": "200000 100000", "../cpu.max": "100000 100000"}),
            ("4:cpu,cpuacct:/a\n0::/", {"cpu/a/cpu.cfs_quota_us": 200000, "cpu/a/cpu.cfs_period_us": 100000}),
            (
                "4:memory:/b\n3:cpu:/a",
                {
                    "cpu/a/cpu.cfs_quota_us": 200000,
                    "cpu/a/cpu.cfs_period_us": 100000,
                    "cpu/b/cpu.cfs_quota_us": 100000,
                    "cpu/b/cpu.cfs_period_us": 100000,
                },
            ),
        ],
    )
    def test_the_tightest_quota_of_the_groups_around_us_counts(self, one, own, files):
        files = {f"{CGROUP}/{path}": text for path, text in files.items()}
        finding = one("processor quota", {**files, "proc/self/cgroup": own})
        assert finding.found.startswith("2 processors' worth")

    @pytest.mark.parametrize(
        ("threads", "quota", "state", "remedy"),
        [
            (4, "max 100000", "ok", ""),
            (4, "400000 100000", "ok", ""),
            (5, "max 100000", "warning", "Give --threads 4."),
            (4, "250000 100000", "warning", "Give --threads 2."),
            (1, "50000 100000", "warning", "Allow it a whole processor."),
            (2, "200000 100000", "ok", ""),
        ],
    )
    def test_threads(self, one, threads, quota, state, remedy):
        conditions = replace(FOUR, threads=threads)
        finding = one("threads", {f"{CGROUP}/cpu.max": quota}, conditions=conditions)
        assert (finding.state, finding.remedy) == (state, remedy)

    @pytest.mark.parametrize(
        ("files", "state", "found"),
        [
            ({}, "ok", "none"),
            ({"memory.max": "max", "memory.current": 5 * GIB}, "ok", "none"),
            ({"memory.max": 4 * GIB, "memory.current": GIB}, "ok", "4.0 GiB, of which 1.0 GiB are in use"),
            ({"memory.max": 4 * GIB, "memory.current": 4 * GIB - 1}, "warning", "4.0 GiB, of which 4.0 GiB"),
            (
                {"memory.max": 4 * GIB, "memory.current": 4 * GIB, "memory.stat": f"inactive_file {2 * GIB}"},
                "ok",
                "4.0 GiB, of which 2.0 GiB are in use",
            ),
            (
                {"memory.max": 8 * GIB, "memory.high": 2**20, "memory.current": 2**20},
                "warning",
                "1.0 MiB, of which 1.0 MiB",
            ),
            ({"memory/memory.limit_in_bytes": 9223372036854771712}, "ok", "none"),
            (
                {
                    "memory/memory.limit_in_bytes": 2 * GIB,
                    "memory/memory.usage_in_bytes": 2 * GIB,
                    "memory/memory.stat": f"inactive_file 0\ntotal_inactive_file {GIB}",
                },
                "ok",
                "2.0 GiB, of which 1.0 GiB are in use",
            ),
        ],
    )
    def test_memory_limit(self, one, files, state, found):
        finding = one("memory limit", {f"{CGROUP}/{path}": text for path, text in files.items()})
        assert finding.state == state
        assert found in finding.found


class TestMemory:
    @pytest.mark.parametrize(
        ("available", "state", "found"),
        [
            (12 * GIB, "ok", "12.0 GiB of 16.0 GiB"),
            (GIB, "warning", "1.0 GiB of 16.0 GiB"),
            (None, "unknown", "does not tell"),
        ],
    )
    def test_free_memory(self, one, available, state, found):
        finding = one("free memory", facts=replace(QUIET, available=available))
        assert finding.state == state
        assert found in finding.found

    @pytest.mark.parametrize(
        ("swap", "swapped", "state", "found"),
        [
            (0, 0, "ok", "none"),
            (2 * GIB, 0, "notice", "2.0 GiB, none in use"),
            (2 * GIB, 3 * 2**20, "warning", "3.0 MiB of 2.0 GiB in use"),
            (None, None, "unknown", "does not tell"),
        ],
    )
    def test_swap(self, one, swap, swapped, state, found):
        finding = one("swap", facts=replace(QUIET, swap=swap, swapped=swapped))
        assert finding.state == state
        assert found in finding.found

    @pytest.mark.parametrize(
        ("setting", "state", "found"),
        [
            ("[always] madvise never", "notice", "always"),
            ("always [madvise] never", "ok", "madvise"),
            ("always madvise [never]", "ok", "never"),
            ("", "unknown", "does not tell"),
        ],
    )
    def test_huge_pages(self, one, setting, state, found):
        finding = one("huge pages", {"sys/kernel/mm/transparent_hugepage/enabled": setting})
        assert finding.state == state
        assert found in finding.found

    @pytest.mark.parametrize(
        ("setting", "personality", "state", "found"),
        [
            (2, "00000000", "ok", "random"),
            (2, "", "ok", "random"),
            (2, "00040000", "notice", "the same in all launches (personality)"),
            (1, "00000000", "notice", "the heap is the same in all launches (1)"),
            (0, "00000000", "notice", "the same in all launches (0)"),
            ("", "", "unknown", "the kernel does not tell"),
        ],
    )
    def test_address_layout(self, one, setting, personality, state, found):
        files = {"proc/sys/kernel/randomize_va_space": setting, "proc/self/personality": personality}
        finding = one("address layout", files)
        assert finding.state == state
        assert finding.found.startswith(found)

    def test_a_pinned_allocator_is_all_there_is_to_say(self, look):
        assert look("allocator") == [Finding("allocator", "ok", "pinned")]

    @pytest.mark.parametrize(
        ("environ", "files", "found", "remedy"),
        [
            (
                {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"},
                {},
                "LD_PRELOAD preloads jemalloc",
                "`unset LD_PRELOAD`",
            ),
            ({"LD_PRELOAD": "a.so:libtcmalloc_minimal.so.4"}, {}, "preloads tcmalloc", "`unset LD_PRELOAD`"),
            (
                {},
                {"etc/ld.so.preload": "/lib/libmimalloc.so"},
                "the system preloads mimalloc",
                "/etc/ld.so.preload",
            ),
            ({"MALLOC_ARENA_MAX": "2"}, {}, "MALLOC_ARENA_MAX=2", "`unset MALLOC_ARENA_MAX`"),
            (
                {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
                {},
                "glibc.malloc.hugetlb=1",
                "`unset GLIBC_TUNABLES`",
            ),
        ],
    )
    def test_what_pinning_does_not_reach(self, one, environ, files, found, remedy):
        finding = one("allocator", files, environ=environ)
        assert finding.state == "notice"
        assert found in finding.found
        assert remedy in finding.remedy

    def test_other_preloads_and_tunables_are_let_be(self, one):
        environ = {"LD_PRELOAD": "libfaketime.so", "GLIBC_TUNABLES": "glibc.cpu.x86_ibt=on"}
        assert one("allocator", environ=environ).state == "ok"

    def test_an_allocator_that_is_not_to_be_pinned(self, one):
        finding = one("allocator", conditions=replace(FOUR, allocator="system"))
        assert (finding.state, finding.remedy) == ("notice", "Leave out --allocator system.")

    def test_a_c_library_without_the_settings(self, one):
        assert "not glibc" in one("allocator", facts=replace(QUIET, mallopt=False)).found


class TestSettings:
    def test_none_is_all_there_is_to_say(self, look):
        assert look("OpenMP settings") == [Finding("OpenMP settings", "ok", "none that disturbs")]

    @pytest.mark.parametrize(
        ("name", "value", "state"),
        [
            ("OMP_NUM_THREADS", "8", "notice"),
            ("MKL_NUM_THREADS", "1", "notice"),
            ("OMP_NUM_THREADS", "4,2", "notice"),
            ("OMP_NUM_THREADS", "4", "ok"),
            ("OMP_NUM_THREADS", "", "ok"),
            ("OMP_PROC_BIND", "close", "warning"),
            ("OMP_PROC_BIND", "TRUE", "warning"),
            ("OMP_PROC_BIND", "false", "ok"),
            ("OMP_PLACES", "cores", "warning"),
            ("GOMP_CPU_AFFINITY", "0-3", "warning"),
            ("KMP_AFFINITY", "granularity=fine,compact,1,0", "warning"),
            ("KMP_AFFINITY", "disabled", "ok"),
            ("KMP_AFFINITY", "verbose,none", "ok"),
            ("OMP_WAIT_POLICY", "passive", "notice"),
            ("OMP_WAIT_POLICY", "ACTIVE", "ok"),
            ("GOMP_SPINCOUNT", "0", "notice"),
            ("KMP_BLOCKTIME", "0", "notice"),
            ("OMP_THREAD_LIMIT", "2", "warning"),
            ("OMP_THREAD_LIMIT", "4", "ok"),
            ("OMP_DYNAMIC", "TRUE", "warning"),
            ("OMP_DYNAMIC", "false", "ok"),
            ("OMP_STACKSIZE", "4M", "ok"),
        ],
    )
    def test_openmp(self, one, name, value, state):
        finding = one("OpenMP settings", environ={name: value})
        assert finding.state == state
        if state != "ok":
            assert finding.found.startswith(f"{name}=")
            assert f"`unset {name}`" in finding.remedy

    def test_where_openmp_binds_nothing_its_places_do_not_matter(self, one):
        environ = {"OMP_PROC_BIND": "false", "OMP_PLACES": "cores", "GOMP_CPU_AFFINITY": "0-3"}
        assert one("OpenMP settings", environ=environ).state == "ok"

    def test_each_setting_is_a_finding_of_its_own(self, look):
        environ = {"OMP_DYNAMIC": "true", "OMP_PROC_BIND": "spread", "OMP_NUM_THREADS": "1"}
        found = look("OpenMP settings", environ=environ)
        assert [finding.found.partition("=")[0] for finding in found] == [
            "OMP_NUM_THREADS",
            "OMP_PROC_BIND",
            "OMP_DYNAMIC",
        ]

    @pytest.mark.parametrize(
        ("name", "value", "state"),
        [
            ("PYTORCH_ALLOC_CONF", "expandable_segments:True", "notice"),
            ("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64", "notice"),
            ("PYTORCH_CUDA_ALLOC_CONF", "", "ok"),
            ("CUDA_LAUNCH_BLOCKING", "1", "warning"),
            ("CUDA_LAUNCH_BLOCKING", "0", "ok"),
            ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1", "warning"),
        ],
    )
    def test_pytorch(self, one, name, value, state):
        finding = one("PyTorch settings", environ={name: value})
        assert finding.state == state
        if state != "ok":
            assert finding.found.startswith(f"{name}={value}: ")
            assert f"`unset {name}`" in finding.remedy


@dataclass(frozen=True)
class FakeCard:
    name: str = "NVIDIA H100"
    persistence: bool | None = True
    processes: frozenset[int] | None = frozenset()
    throttled: frozenset[str] | None = frozenset()
    temperature: float | None = 40.0
    slowdown_temperature: float | None = 87.0
    power_limit: float | None = 700.0
    default_power_limit: float | None = 700.0


class TestGpus:
    def test_a_card_that_nothing_disturbs_is_one_row(self, look):
        found = "NVIDIA H100, 40 °C, 47 °C below where it slows down, power limit 700 W"
        assert look("GPU 0", cards=[FakeCard()]) == [Finding("GPU 0", "ok", found)]

    def test_a_card_that_tells_nothing_raises_nothing(self, look):
        card = FakeCard("NVIDIA T4", None, None, None, None, None, None, None)
        assert look("GPU 0", cards=[card]) == [Finding("GPU 0", "ok", "NVIDIA T4")]

    @pytest.mark.parametrize(
        ("change", "state", "found", "remedy"),
        [
            ({"persistence": False}, "notice", "persistence off", "`sudo nvidia-smi -pm 1`"),
            ({"processes": frozenset({7})}, "warning", "1 other process on the card (pid 7)", "`nvidia-smi`"),
            (
                {"processes": frozenset({16, 9, 8, 7, 6})},
                "warning",
                "5 other processes on the card (pid 6, 7, 8, 9, ...)",
                "`nvidia-smi`",
            ),
            (
                {"throttled": frozenset({"thermal", "power_cap"})},
                "warning",
                "slowed down now: power cap, thermal",
                "`nvidia-smi -q -d PERFORMANCE`",
            ),
            ({"temperature": 80.0}, "warning", "80 °C, 7 °C below where it slows down", "cool"),
            (
                {"power_limit": 500.0},
                "notice",
                "power limit 500 W, 200 W below its default",
                "`sudo nvidia-smi -i 0 -pl 700`",
            ),
        ],
    )
    def test_what_disturbs(self, one, change, state, found, remedy):
        finding = one("GPU 0", cards=[replace(FakeCard(), **change)])
        assert finding.state == state
        assert found in finding.found
        assert remedy in finding.remedy

    def test_this_process_is_no_other_process(self, one):
        card = FakeCard(processes=frozenset({os.getpid()}))
        assert one("GPU 0", cards=[card]).state == "ok"

    def test_a_limit_above_its_default_is_no_matter(self, one):
        assert one("GPU 0", cards=[FakeCard(power_limit=750.0)]).state == "ok"

    def test_cards_are_numbered_as_they_come_or_as_they_say(self, look):
        @dataclass(frozen=True)
        class Numbered(FakeCard):
            index: int = 5

        found = look("", cards=[FakeCard(), FakeCard(temperature=85.0, persistence=False), Numbered()])
        names = [finding.name for finding in found if finding.name.startswith("GPU")]
        assert names == ["GPU 0", "GPU 1", "GPU 1", "GPU 5"]


LINUX = [name for name in CHECKS if name != "GPUs"]


class TestTheWhole:
    def test_every_check_answers_in_the_same_order(self, look):
        assert [finding.name for finding in look("")] == LINUX
        assert [finding.name for finding in look("", {"proc/stat": "cpu 1", f"{CPU}/smt/active": 1})] == LINUX

    def test_cards_come_last(self, look):
        assert [finding.name for finding in look("", cards=[FakeCard()])] == [*LINUX, "GPU 0"]

    def test_a_system_without_proc_is_asked_what_any_system_tells(self, tmp_path):
        found = examine(FOUR, tmp_path, {"OMP_DYNAMIC": "true"}, replace(QUIET, load=9.0, plugged=False))
        assert [finding.name for finding in found] == [
            *(name for name, check in CHECKS.items() if check in EVERYWHERE and name != "GPUs"),
            "kernel",
        ]
        states = {finding.name: finding.state for finding in found}
        assert states["kernel"] == "unknown"
        assert states["load"] == states["power supply"] == states["OpenMP settings"] == "warning"

    def test_no_remedy_of_linux_is_given_elsewhere(self, tmp_path):
        facts = replace(QUIET, swap=GIB, swapped=GIB, available=0)
        found = examine(FOUR, tmp_path, {}, facts)
        assert not any("sudo" in finding.remedy for finding in found)

    def test_swap_that_is_not_in_use_is_as_it_should_be_elsewhere(self, tmp_path):
        found = examine(FOUR, tmp_path, {}, replace(QUIET, swap=GIB, swapped=0))
        assert Finding("swap", "ok", "none in use") in found

    @pytest.mark.parametrize("text", ["", "?", "1", "-1", "nan", "some avg10", "9-", ":", "a: b\n0::", "[x"])
    def test_no_text_in_any_file_makes_it_raise(self, look, text):
        read = [
            f"{CPU}/{file}"
            for file in (
                "online",
                "isolated",
                "smt/active",
                "intel_pstate/no_turbo",
                "cpufreq/boost",
                "cpu0/cpufreq/scaling_governor",
                "cpu0/cpufreq/scaling_driver",
                "cpu0/thermal_throttle/core_throttle_count",
            )
        ]
        read += [f"proc/{file}" for file in ("stat", "cpuinfo", "self/cgroup", "self/personality", "7/stat")]
        read += ["proc/pressure/cpu", "proc/sys/kernel/randomize_va_space", "etc/ld.so.preload"]
        read += [f"{THERMAL}/{file}" for file in ("temp", "type", "trip_point_0_type", "trip_point_0_temp")]
        read += [f"{SUPPLY}/BAT0/{file}" for file in ("type", "online", "status")]
        read += [f"{CGROUP}/{file}" for file in ("cpu.max", "cpu.stat", "memory.max", "memory.stat")]
        read += [f"{CLOCK}/current_clocksource", f"{NODE}/node0/cpulist"]
        read += ["sys/kernel/mm/transparent_hugepage/enabled"]
        found = look("", dict.fromkeys(read, text), facts=replace(QUIET, load=9.0))
        assert [finding.name for finding in found] == LINUX

    def test_files_that_are_no_text_or_folders_do_not_make_it_raise(self, tmp_path):
        for path in ("proc/stat", "proc/cpuinfo", f"{CPU}/online", f"{CGROUP}/cpu.max"):
            (tmp_path / path).mkdir(parents=True)
        (tmp_path / "proc/self").mkdir()
        (tmp_path / "proc/self/cgroup").write_bytes(b"\xff\xfe\x00:\xff")
        found = examine(FOUR, tmp_path, {}, QUIET)
        assert [finding.name for finding in found] == LINUX

    def test_a_check_that_fails_is_an_unknown_and_no_more(self, look, monkeypatch):
        def broken(scene):
            raise RuntimeError("no such luck")

        monkeypatch.setattr(doctor, "CHECKS", {"swap": CHECKS["swap"], "luck": broken})
        assert look("luck") == [
            Finding("luck", "unknown", "could not be examined: RuntimeError: no such luck")
        ]

    def test_nothing_is_written(self, look, tmp_path):
        look("", {f"{CPU}/smt/active": 1, **governors("powersave")})
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        examine(FOUR, tmp_path, {}, QUIET)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    def test_launches_that_are_not_pinned_may_use_every_processor(self, look):
        loose = Conditions(threads=3, cpus=())
        (finding,) = look("threads", {f"{CPU}/online": "0,2"}, conditions=loose)
        assert (finding.state, finding.found) == (
            "warning",
            "3 threads on 2 processors: they wait for each other",
        )

    def test_this_machine_is_examined(self):
        found = examine(Conditions(threads=1))
        assert len(found) >= len(EVERYWHERE) - 1
        assert {finding.state for finding in found} <= {"ok", "notice", "warning", "unknown"}
        assert not any("could not be examined" in finding.found for finding in found)
        for finding in found:
            assert finding.found
            assert bool(finding.remedy) is (finding.state in ("notice", "warning"))
            assert finding.remedy.count("`") % 2 == 0


class TestFacts:
    def test_this_machine_has_memory_and_processors(self):
        facts = current_facts()
        assert facts.processors >= 1
        assert facts.memory > facts.available > 0

    def test_what_the_system_refuses_is_not_told(self, monkeypatch):
        def refuse(*_):
            raise OSError("no")

        for place, name in (
            (doctor.psutil, "virtual_memory"),
            (doctor.psutil, "swap_memory"),
            (os, "getloadavg"),
        ):
            monkeypatch.setattr(place, name, refuse)
        monkeypatch.delattr(doctor.psutil, "sensors_battery", raising=False)
        facts = current_facts()
        assert (facts.memory, facts.available, facts.swap, facts.load, facts.plugged) == (None,) * 5


def test_json_holds_all_and_no_number_that_json_has_not():
    noise = Noise("cpu", 40, 20, 0.05, 0.98, math.nan, math.inf, 3)
    told = json.loads(as_json([Finding("swap", "notice", "2 GiB", "`swapoff -a`")], [noise]))
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
