"""Fork servers are forked from one process that has imported torch, but for `make test-long`, where all are real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tiers import LONG, launches
from warm import Warm

from bench.measurement.messages import Envelope, LaunchRequest
from bench.running import fork_server
from bench.suite.case import Conditions

IMPORTED = ("torch", "numpy", "psutil", "torchvision", "sklearn.datasets", "epochbench.worker.__main__")
IMPORTED += ("epochbench.worker.launch", "epochbench.worker.suites", "epochbench.tasks.models")


@pytest.fixture(scope="session")
def warm() -> Iterator[list[Warm]]:
    made: list[Warm] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture(scope="session", autouse=True)
def counted() -> Iterator[None]:
    """Notes who makes a launch. Verbs run in this process; those that run in one of their own are not seen."""
    send = fork_server.ForkServer._send

    def noting(self: Any, envelope: Envelope) -> None:
        if isinstance(envelope.request, LaunchRequest):
            launches.append(os.environ["PYTEST_CURRENT_TEST"].partition("[")[0].partition(" ")[0])
        send(self, envelope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork_server.ForkServer, "_send", noting)
        yield


@pytest.fixture(scope="module", autouse=True)
def fork_servers(request: pytest.FixtureRequest, warm: list[Warm]) -> Iterator[None]:
    """`REAL_FORK_SERVERS = True` in a module: its fork servers import for themselves in `make test` too."""

    def start(command: list[str], **options: Any) -> Any:
        if command[:2] != [sys.executable, "-P"]:
            return subprocess.Popen(command, **options)
        if not warm:
            warm.append(Warm(IMPORTED, fork_server.launch_variables(Conditions())))
        return warm[0].fork(command, **options)

    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux" and not (LONG or getattr(request.module, "REAL_FORK_SERVERS", False)):
            stand_in = SimpleNamespace(**{**vars(subprocess), "Popen": start})
            patch.setattr(fork_server, "subprocess", stand_in)
        yield
