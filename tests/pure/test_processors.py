from __future__ import annotations

import math
import os

import pytest

from bench.machine.processors import cpu_quota, default_threads, usable_cores


@pytest.fixture
def allowed(monkeypatch):
    """Says which logical processors this process may run on."""

    def allow(*cpus):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(cpus), raising=False)

    return allow


def topology(folder, **siblings):
    """A tree like /sys/devices/system/cpu; `cpu0="0,2"` names the processors that share its core."""
    for cpu, shared in siblings.items():
        (folder / cpu / "topology").mkdir(parents=True)
        (folder / cpu / "topology/thread_siblings_list").write_text(f"{shared}\n")
    return folder


def test_two_threads_of_a_core_are_one_core(tmp_path, allowed):
    allowed(0, 1, 2, 3)
    assert usable_cores(topology(tmp_path, cpu0="0,2", cpu1="1,3", cpu2="0,2", cpu3="1,3")) == (0, 1)


def test_neighbouring_threads_are_one_core_too(tmp_path, allowed):
    allowed(0, 1, 2, 3)
    assert usable_cores(topology(tmp_path, cpu0="0-1", cpu1="0-1", cpu2="2-3", cpu3="2-3")) == (0, 2)


def test_cores_without_a_second_thread_all_count(tmp_path, allowed):
    allowed(0, 1, 2)
    assert usable_cores(topology(tmp_path, cpu0="0", cpu1="1", cpu2="2")) == (0, 1, 2)


def test_only_the_processors_that_are_ours_count(tmp_path, allowed):
    allowed(2, 3)
    tree = topology(tmp_path, cpu0="0,2", cpu1="1,3", cpu2="0,2", cpu3="1,3")
    assert usable_cores(tree) == (2, 3)


def test_where_the_topology_is_not_told_every_processor_is_a_core(tmp_path, allowed):
    allowed(5, 1, 3)
    assert usable_cores(tmp_path) == (1, 3, 5)


def test_a_system_without_affinity_counts_all_its_processors(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cores(tmp_path) == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("200000 100000\n", 2.0),
        ("150000 100000", 1.5),
        ("50000 100000\n", 0.5),
        ("max 100000\n", math.inf),
        ("max", math.inf),
        ("", math.inf),
        ("a few\n", math.inf),
    ],
)
def test_the_quota_of_a_container_is_processors_worth_of_time(tmp_path, text, quota):
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path) == quota


def test_no_control_group_is_no_limit(tmp_path):
    assert cpu_quota(tmp_path) == math.inf


@pytest.mark.parametrize(
    ("cores", "quota", "threads"),
    [
        ((0, 1, 2, 3), "max 100000", 4),
        ((0, 1, 2, 3), "250000 100000", 2),
        ((0, 1), "800000 100000", 2),
        ((0, 1), "50000 100000", 1),
        ((), "max 100000", 1),
    ],
)
def test_threads_are_cores_within_the_quota_and_at_least_one(tmp_path, cores, quota, threads):
    (tmp_path / "cpu.max").write_text(quota)
    assert default_threads(cores, tmp_path) == threads
