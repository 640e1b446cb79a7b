from __future__ import annotations

from collections.abc import Iterator

import pytest
from stand_in import standing_in


@pytest.fixture(scope="session", autouse=True)
def modules_are_seen() -> None:
    """The profiler keeps the code of `Module.__call__` from its first profile of a process with stacks.

    Were that the one of a script, whose calls are wrapped, no later profile in this process would see a module.
    """
    import torch  # the first test of a process may be about how it is imported

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], with_stack=True):
        torch.nn.Identity()(torch.ones(1))


@pytest.fixture(scope="module")
def no_worker() -> Iterator[None]:
    """Whatever asks a worker asks this process."""
    with standing_in():
        yield
