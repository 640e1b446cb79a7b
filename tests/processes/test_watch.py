"""The door into a loop of any shape: outside of a measurement it is not there."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import bench
from bench.watch import listen


class Listener:
    def __init__(self):
        self.told = []

    def watch(self, loader, *said):
        self.told.append((loader, *said))
        return iter(loader)

    @contextmanager
    def stage(self, name):
        self.told.append(name)
        yield
        self.told.append(f"after {name}")


@pytest.fixture
def listener():
    listener = Listener()
    listen(listener)
    yield listener
    listen(None)


def test_without_a_listener_a_loader_is_itself():
    loader = [1, 2]
    assert bench.watch(loader) is loader
    assert bench.watch(loader, "no such stage", steps_per_epoch=-1, samples="none") is loader


def test_without_a_listener_a_stage_is_one_thing_that_does_nothing():
    first = bench.stage("validate")
    assert bench.stage("no such stage") is first
    with first, first:
        pass
    with pytest.raises(KeyError), first:
        raise KeyError  # nothing is swallowed


def test_a_listener_is_told_until_nobody_listens(listener):
    loader = [1, 2]
    with bench.stage("test"):
        assert list(bench.watch(loader, "train", steps_per_epoch=2, samples=3)) == loader
    listen(None)
    bench.watch([3])
    assert listener.told == ["test", (loader, "train", 2, 3), "after test"]


def test_a_script_needs_nothing_but_the_standard_library_for_it():
    code = (
        "import epochbench as bench, sys\n"
        "with bench.stage('validate'):\n    assert list(bench.watch([1])) == [1]\n"
        "print([name for name in ('torch', 'numpy', 'pandas', 'typer') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert done.stdout == "[]\n"
