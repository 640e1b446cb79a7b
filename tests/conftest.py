from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiers
from fakes import FakeClock, FakeDevice
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from bench.machine.lock import VARIABLE

# Quick: the same examples each time, so that a commit is not blamed for the luck of a draw. Long: new ones each
# time, and a failure says how to repeat it. A property that the machine is slow on is no failure in either.
CALM = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=tiers.EXAMPLES["quick"], derandomize=True, **CALM)
settings.register_profile("long", max_examples=tiers.EXAMPLES["long"], print_blob=True, **CALM)
settings.load_profile(os.environ.get("TEST_EXAMPLES", "quick"))
set_hypothesis_home_dir(Path(__file__).parents[1] / ".pytest_cache" / "hypothesis")


# Pages are as wide as a test says; pytest-xdist tells its workers of its own width.
os.environ.pop("COLUMNS", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what only `make test-long` runs."""
    if tiers.LONG:
        return
    long = [item for item in items if item.get_closest_marker("only_long")]
    items[:] = [item for item in items if not item.get_closest_marker("only_long")]
    config.hook.pytest_deselected(items=long)


def pytest_configure(config: pytest.Config) -> None:
    tiers.enforce()
    config.pluginmanager.register(tiers, "tiers")


@pytest.fixture(scope="session", autouse=True)
def own_lock(tmp_path_factory) -> Iterator[None]:
    """Tests lock no machine: two of them may run at once, beside a run of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("lock") / "lock"))
        yield


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


@pytest.fixture
def own(clock: FakeClock) -> Any:
    """A script's model, optimizer and batches."""
    from loops import Script

    return Script(clock)


@pytest.fixture
def meter(clock: FakeClock) -> Iterator[Any]:
    from bench.worker.timing.meter import Meter
    from bench.worker.timing.timers import HostTimer

    meter = Meter(None, None, HostTimer(clock), records_graph=None, clock=clock)
    yield meter
    meter.close()


@pytest.fixture
def recorder(meter: Any) -> Iterator[Any]:
    """Who listens to a script, and tells the meter."""
    from loops import listening

    from bench.worker.script.launches import CheckedModels
    from bench.worker.script.recorder import Recorder

    checks = CheckedModels(meter)
    yield from listening(Recorder(meter, around=checks.around, found=checks.found, stepping=checks.stepping))
