from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from fakes import FakeClock, FakeDevice

from bench.machine.lock import VARIABLE


@pytest.fixture(scope="session", autouse=True)
def own_lock(tmp_path_factory) -> Iterator[None]:
    """Tests lock no machine: two of them may run at once, beside a run of the user's."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(tmp_path_factory.mktemp("lock") / "lock")
    yield
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def device(clock: FakeClock) -> FakeDevice:
    return FakeDevice(clock)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: two would wait for each other whenever anything else runs on the machine."""
    import torch  # here, so that tests of records need not wait for it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def disk(tmp_path):
    """A file system of 128 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not allowed here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)
