"""Workers: a fork server where launches are forked, a process for each where they are spawned.

They change from fork to spawn where a fork would not be safe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import UsageError
from ..measurement.messages import (
    CodeTree,
    DescribeRequest,
    LaunchRequest,
    PreloadReport,
    PreloadRequest,
    Request,
)
from ..suite.case import Conditions
from ..system.json_data import from_json
from ..system.text import end_of
from .fork_server import SHORT, Died, ForkServer, Interpreter, Refused, TimedOut

# The modules that every fork server imports; further ones are found by the probe of the suites.
_PRELOAD = (
    *("torch", "numpy", "psutil"),
    *("epochbench.worker.launch", "epochbench.worker.suites", "epochbench.tasks.models"),
)


class RequestRunner(Protocol):
    """Answers each request in a process of its own, as `Workers` does."""

    @property
    def conditions(self) -> Conditions: ...
    @property
    def variables(self) -> Mapping[str, str]: ...
    def ask(
        self, request: Request, log: str, timeout: float = ..., started: Callable[[int], None] = ...
    ) -> dict[str, Any]: ...
    def learn(self, modules: Sequence[str]) -> None: ...
    def renew(self) -> None: ...
    def interrupt(self) -> None: ...


class Workers:
    """Processes that answer requests, forked from a fork server or spawned one by one.

    A spawned launch imports everything itself: its fork server has imported nothing. `conditions` are those in force:
    if forking is not safe on this machine, `start_method` changes to spawn and `fallback` is the reason. `modules` are
    imported beforehand; `logs` is the folder of the logs, None for the fork server's scratch folder, which is
    temporary.
    """

    def __init__(
        self,
        conditions: Conditions,
        logs: Path | None = None,
        modules: Sequence[str] = _PRELOAD,
        interpreter: Interpreter | None = None,
    ) -> None:
        self._interpreter = interpreter or Interpreter()
        self.conditions = conditions
        self.logs = logs
        self.fallback = ""
        self.modules = list(modules)
        self._server: ForkServer | None = None
        self._asked: ForkServer | None = None  # the one that answers now, or answered last
        self._has_launched = False

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment variables of its processes, beside those of this one."""
        return self._interpreter.variables

    def wait_as_fits(self, devices: Collection[str]) -> None:
        """Lets idle OpenMP threads sleep if nothing is measured on the CPU.

        There they would take processors from what feeds a card: loader workers, and the thread that launches kernels.
        """
        policy = "ACTIVE" if "cpu" in devices else "PASSIVE"
        if policy != self.conditions.wait_policy:
            self.close()  # a running fork server has read the variable
            self.conditions = dataclasses.replace(self.conditions, wait_policy=policy)

    def like(self, conditions: Conditions, variables: Mapping[str, str]) -> Workers:
        """Further workers with the same modules, logs and interpreter, under these conditions and variables."""
        interpreter = dataclasses.replace(
            self._interpreter, variables={**self._interpreter.variables, **variables}
        )
        return Workers(conditions, self.logs, self.modules, interpreter)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None
        self._has_launched = False

    def renew(self) -> None:
        """Gives the next launch a new fork server, and so a new address layout."""
        if self._has_launched:
            self.close()

    def interrupt(self) -> None:
        """Ends the processes of the request that another thread waits for, which then raises Died."""
        if self._asked is not None:
            self._asked.interrupt()

    def learn(self, modules: Sequence[str]) -> None:
        """Makes every fork server import these modules too; a running one does so at once."""
        new = [module for module in modules if module not in self.modules]
        self.modules += new
        if self._server is not None and new and self.conditions.start_method == "fork":
            try:
                self._preload(self._server, new)
            except Refused as reason:
                self._spawn_from_now_on(str(reason))

    def ask(
        self,
        request: Request,
        log: str,
        timeout: float = SHORT,
        started: Callable[[int], None] = lambda _: None,
        tree: CodeTree | None = None,
    ) -> dict[str, Any]:
        """The answer to one request, in a process of its own that writes to this log of the run.

        `started` is called with its process id; `tree` has the user's code. Raises what `ForkServer.ask` raises, except
        Refused.
        """

        def asked(server: ForkServer, modules: Sequence[str] | None = None) -> dict[str, Any]:
            self._asked = server
            path = ((self.logs or server.scratch) / log).absolute()
            try:
                return server.ask(request, timeout, started, path, modules, tree)
            except (Died, TimedOut) as end:
                end.log = end_of(path)
                raise

        if self.conditions.start_method == "fork":
            try:
                server = self._ready()
                self._has_launched |= isinstance(request, LaunchRequest)
                return asked(server)
            except Refused as reason:
                self._spawn_from_now_on(str(reason))
        if not isinstance(request, PreloadRequest | DescribeRequest):
            spawned = dataclasses.replace(request.conditions, start_method="spawn")
            request = dataclasses.replace(request, conditions=spawned)
        server = ForkServer(self.conditions, self.logs, self._interpreter)
        try:
            return asked(server, self.modules)
        finally:
            server.close()

    def _ready(self) -> ForkServer:
        """A fork server that has imported its modules and can fork. Raises Refused if that is not possible."""
        while self._server is None or self._server.closed:
            server = self._server = ForkServer(self.conditions, self.logs, self._interpreter)
            self._preload(server, self.modules)
        return self._server

    def _preload(self, server: ForkServer, modules: Sequence[str]) -> None:
        """Imports modules in a fork server; a module that starts threads is from then on imported by the children
        instead.
        """
        answer = server.ask(PreloadRequest(tuple(modules)), SHORT)
        report = from_json(PreloadReport, answer["report"])
        if "torch" in report.failed:
            program = self._interpreter.program
            raise UsageError(f"{program} cannot import torch; install torch and torchvision for it")
        threaded = {module.partition(".")[0] for module in report.started_threads}
        if not threaded:
            return
        self.close()
        if threaded & {"torch", "numpy", "epochbench"}:
            raise Refused(f"importing {', '.join(sorted(threaded))} starts threads")
        self.modules = [module for module in self.modules if module.partition(".")[0] not in threaded]

    def _spawn_from_now_on(self, reason: str) -> None:
        self.close()
        self.fallback = reason
        self.conditions = dataclasses.replace(self.conditions, start_method="spawn")
