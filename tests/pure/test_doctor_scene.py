from __future__ import annotations

import os
from dataclasses import replace

import psutil
import pytest
from scenes import CPU, FOUR, QUIET, build

from bench.machine.doctor.scene import Scene, SystemFacts, current_facts


@pytest.fixture
def scene(tmp_path):
    return Scene(FOUR, tmp_path, {}, QUIET)


def test_linux_is_where_proc_is(scene):
    assert not scene.is_linux
    (scene.root / "proc").mkdir()
    assert scene.is_linux


def test_processors_are_those_that_are_online_and_else_as_many_as_there_are(scene):
    assert scene.online == [0, 1, 2, 3]
    build(scene.root, {f"{CPU}/online": "0-1,8"})
    assert scene.online == [0, 1, 8]
    assert scene.cpus == [0, 1, 2, 3]
    assert replace(scene, conditions=replace(FOUR, cpus=())).cpus == [0, 1, 8]


def test_files_are_read_as_text_numbers_and_counts(scene):
    build(scene.root, {"a": "12.5", "b": "max", "c": "nr_throttled 3\nuser_usec 17\nbad\nworse x\na b 1"})
    assert (scene.read("a"), scene.read("none")) == ("12.5", "")
    assert (scene.number("a"), scene.number("b"), scene.number("none")) == (12.5, None, None)
    assert scene.counts("c") == {"nr_throttled": 3, "user_usec": 17}
    assert scene.read(scene.root / "a") == "12.5"  # as control groups are given


def test_entries_are_in_the_order_of_their_numbers(scene):
    build(scene.root, {f"cpu/{name}": "" for name in ("cpu10", "cpu2", "other")})
    assert scene.entries("cpu", "cpu") == ["cpu/cpu2", "cpu/cpu10"]
    assert scene.entries("none") == []


def test_this_machine_has_memory_and_processors():
    facts = current_facts()
    assert facts.processors >= 1
    assert facts.memory > facts.available > 0


def test_what_the_system_refuses_is_not_told(monkeypatch):
    def refuse(*_):
        raise OSError("no")

    for place, name in ((psutil, "virtual_memory"), (psutil, "swap_memory"), (os, "getloadavg")):
        monkeypatch.setattr(place, name, refuse)
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    assert current_facts() == SystemFacts(processors=os.cpu_count(), mallopt=current_facts().mallopt)
