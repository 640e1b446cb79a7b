from __future__ import annotations

import resource
import sys

import numpy
import pytest
import torch

from bench.worker.ceiling import ceiling
from bench.worker.session import kind_of

MIB = 2**20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.ones(512 * MIB), lambda: numpy.ones(512 * MIB), lambda: bytearray(2**31)],
    ids=["torch", "numpy", "python"],
)
def test_what_goes_above_it_is_out_of_memory_and_it_is_gone_afterwards(allocate):
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises((RuntimeError, MemoryError)) as caught, ceiling(256 * MIB):
        allocate()
    assert kind_of(caught.value) == "out_of_memory"
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_stays_below_it_is_let_through():
    with ceiling(512 * MIB):
        assert len(torch.ones(8 * MIB)) == 8 * MIB


def test_none_is_no_limit():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with ceiling(None):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
