from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import CGROUP, CPU, FOUR, build, one

from bench.machine.doctor import placement
from bench.machine.processors import default_threads
from bench.suite.case import Conditions

NODE = "sys/devices/system/node"
STAT = "nr_periods 4000\nnr_throttled 120\nthrottled_usec 3200000"


@pytest.mark.parametrize(
    ("active", "cpus", "state", "found"),
    [
        (1, (0, 1), "notice", "one thread of each core"),
        (1, (), "notice", "not pinned"),
        (0, (0, 1), "ok", "off"),
        ("", (0, 1), "unknown", "not reported by"),
    ],
)
def test_smt(tmp_path, active, cpus, state, found):
    finding = one(
        placement.siblings,
        tmp_path,
        {f"{CPU}/smt/active": active},
        conditions=Conditions(threads=1, cpus=cpus),
    )
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
def test_isolated_processors(tmp_path, isolated, threads, state, found):
    files = {f"{CPU}/isolated": isolated}
    finding = one(placement.isolated, tmp_path, files, conditions=replace(FOUR, threads=threads))
    assert finding.state == state
    assert found in finding.found


@pytest.mark.parametrize(
    ("lists", "state", "found"),
    [
        (["0-7"], "ok", "one"),
        (["0-7", ""], "ok", "one"),
        (["4-7", "0-3"], "ok", "2; launches use only node 1"),
        (["0,8", "1-3"], "notice", "launches use 2 nodes"),
        ([], "unknown", "not reported by the kernel"),
    ],
)
def test_numa_nodes(tmp_path, lists, state, found):
    files = {f"{NODE}/node{number}/cpulist": text for number, text in enumerate(lists)}
    finding = one(placement.nodes, tmp_path, {**files, f"{NODE}/online": "0-1"})
    assert finding.state == state
    assert finding.found.startswith(found)
    assert ("`numactl --cpunodebind=1 --membind=1 bench run`" in finding.remedy) is (state == "notice")


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
        ({"cpu.max": "a few"}, "ok", "none"),
    ],
)
def test_quota(tmp_path, files, state, found):
    finding = one(placement.quota, tmp_path, {f"{CGROUP}/{path}": text for path, text in files.items()})
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
def test_the_tightest_quota_of_the_groups_around_us_counts(tmp_path, own, files):
    build(tmp_path, {f"{CGROUP}/{path}": text for path, text in files.items()} | {"proc/self/cgroup": own})
    assert one(placement.quota, tmp_path).found.startswith("2 processors' worth")
    assert default_threads(tuple(range(8)), tmp_path / CGROUP, tmp_path / "proc/self/cgroup") == 2


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
def test_threads(tmp_path, threads, quota, state, remedy):
    conditions = replace(FOUR, threads=threads)
    finding = one(placement.threads, tmp_path, {f"{CGROUP}/cpu.max": quota}, conditions=conditions)
    assert (finding.state, finding.remedy) == (state, remedy)


def test_launches_that_are_not_pinned_may_use_every_processor(tmp_path):
    loose = Conditions(threads=3, cpus=())
    finding = one(placement.threads, tmp_path, {f"{CPU}/online": "0,2"}, conditions=loose)
    assert (finding.state, finding.found) == (
        "warning",
        "3 threads on 2 processors: they wait for each other",
    )
