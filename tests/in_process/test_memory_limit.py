from __future__ import annotations

import resource
import subprocess
import sys

import numpy
import pytest
import torch

from bench.worker.launch import kind_of
from bench.worker.timing.launch_memory import AboveMemoryLimit, check, limited

MIB = 2**20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.ones(512 * MIB), lambda: numpy.ones(512 * MIB), lambda: bytearray(2**31)],
    ids=["torch", "numpy", "python"],
)
def test_what_goes_above_it_is_out_of_memory_and_it_is_gone_afterwards(allocate):
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises((RuntimeError, MemoryError)) as caught, limited(256 * MIB):
        allocate()
    assert kind_of(caught.value) == "out_of_memory"
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_stays_below_it_is_let_through():
    with limited(512 * MIB):
        assert len(torch.ones(8 * MIB)) == 8 * MIB


def test_none_is_no_limit():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with limited(None):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before


PINNED = """
from bench.worker.timing.launch_memory import pin
from bench.worker.timing.launch_memory import limited

assert pin()
with limited(20 * 2**20):
    kept = [bytes(2**20) for _ in range(16)]
    try:
        bytearray(2**30)
    except MemoryError:
        print("stopped")
"""


def test_what_the_pinned_allocator_asks_for_in_advance_is_no_memory_that_is_taken():
    done = subprocess.run([sys.executable, "-c", PINNED], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("stopped\n", "")


def test_what_was_taken_is_held_against_the_room():
    check(200 * MIB, 200 * MIB)
    check(None, 2**50)
    with pytest.raises(AboveMemoryLimit, match="it took 201 MiB, where it may take 200 MiB") as caught:
        check(200 * MIB, 201 * MIB)
    assert kind_of(caught.value) == "out_of_memory"
