from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from bench.machine import process_tree
from bench.machine.process_tree import ProcessTree
from bench.machine.telemetry import LaunchTelemetry

BUSY = """
import os
if child := os.fork():
    print(child, flush=True)
parent = os.getppid()
while os.getppid() == parent:  # an orphan ends by itself
    pass
"""


@pytest.fixture
def busy():
    """A process that works, and has a child that does; both are at it when the test begins."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    process.child = int(process.stdout.readline())
    yield process
    end(process)


def end(process):
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()
    process.stdout.close()


@pytest.fixture(params=[pytest.param(True, id="listed"), pytest.param(False, id="searched")])
def way(request, monkeypatch):
    """Both ways in which children are found."""
    if request.param and not process_tree._LISTS_CHILDREN:
        pytest.skip("this system does not list the children of a thread")
    monkeypatch.setattr(process_tree, "_LISTS_CHILDREN", request.param)


def used(tree, seconds):
    """Reads the tree until its processes have used so much time: as long as that takes."""
    usage = tree.read()
    while usage.cpu < seconds:
        usage = tree.read()
    return usage


@pytest.mark.usefixtures("way")
def test_a_tree_holds_the_process_and_its_children(busy):
    usage = used(ProcessTree(busy.pid), 0.1)
    assert usage.pids == {busy.pid, busy.child}
    assert usage.rss > psutil.Process(busy.pid).memory_info().rss > 2**20


@pytest.mark.usefixtures("way")
def test_the_time_of_a_child_that_has_ended_stays(busy):
    tree = ProcessTree(busy.pid)
    before = used(tree, 0.1)
    os.kill(busy.child, 9)
    for _ in range(10):
        after = tree.read()
    assert after.cpu >= before.cpu


@pytest.mark.usefixtures("way")
def test_a_process_that_has_died_is_no_tree(busy):
    tree = ProcessTree(busy.pid)
    assert tree.read() is not None
    end(busy)
    assert tree.read() is None
    assert ProcessTree(busy.pid).read() is None


def test_a_real_launch_is_seen_until_it_dies(busy):
    tree = ProcessTree(busy.pid)
    watch = LaunchTelemetry(0.0, tree.read)
    watch.take(0.0)
    used(tree, 0.2)
    assert watch.take(1.0) > 1.0
    end(busy)
    watch.take(2.0)
    told = watch.readings(2.0, (0.5, 1.5)).telemetry
    assert told["readings"] == 3
    assert told["rss_peak"] > 2**20
    assert told["cpu"] > 0
    assert told["cost"] > 0
