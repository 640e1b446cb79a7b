"""A fork server that answers in the test's own process: the verbs, the requests and the worker's own code are real.

`standing_in` puts it in the place of the real one. What a launch needs a process for (crashes, limits, logs of what C
code prints, what is left behind) is for tests/processes.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import fakes
import pytest

from bench.measurement import Measurement
from bench.measurement.messages import CodeTree, Envelope, LaunchRequest, PreloadRequest, Request
from bench.running import fork_server
from bench.running import workers as running_workers
from bench.suite.case import Conditions
from bench.system.paths import is_own
from bench.worker import child, suites
from bench.worker.context import LaunchContext

COARSE = 2**24  # bytes

# What a launch measured, and on which tree, as a test would rather have it: of times that no machine can change.
Changed = Callable[[LaunchRequest, CodeTree | None, Measurement], Measurement]


def timed_as(seconds: Callable[[LaunchRequest, CodeTree | None], float]) -> Changed:
    """Each step of a launch takes so long, on a machine that nothing else disturbs; what was counted stays."""

    def changed(request: LaunchRequest, tree: CodeTree | None, made: Measurement) -> Measurement:
        step = seconds(request, tree)
        stages = []
        for stage in made.stages:
            wall = step * len(stage.steps)
            phases = {phase: took / stage.wall * wall for phase, took in stage.phases.items()}
            stages.append(
                dataclasses.replace(stage, wall=wall, steps=(step,) * len(stage.steps), phases=phases)
            )
        quiet = {"guards": fakes.guards(), "memory": {"peak_rss": 2**22}} if stages else {}
        return dataclasses.replace(made, stages=tuple(stages), **quiet)

    return changed


def in_coarse_steps(peaks: Callable[[Any], dict[str, int]]) -> Callable[[Any], dict[str, int]]:
    """The memory of a launch rounded up: how much of its heap a process that has run for long can use again varies."""

    def rounded(meter: Any) -> dict[str, int]:
        found = peaks(meter)
        return {**found, "peak_rss": (found["peak_rss"] // COARSE + 1) * COARSE}

    return rounded


@contextmanager
def standing_in(changed: Changed | None = None) -> Iterator[None]:
    """Within, every fork server is one of this process; `changed` gives the measurements that launches report."""
    import torch

    from bench.worker.timing import launch_memory

    one_thread = partial(torch.set_num_threads, 1)  # two would wait for each other on a busy machine
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "set_num_threads", lambda _: one_thread())
        patch.setattr(running_workers, "ForkServer", partial(InProcess, changed))
        # It would hold for all tests that come after it.
        patch.setattr(launch_memory, "pin", lambda: True)
        patch.setattr(launch_memory.MemoryMeter, "peaks", in_coarse_steps(launch_memory.MemoryMeter.peaks))
        patch.setattr("bench.worker.timing.peaks._LONG_ENOUGH", 0.0)
        for bound in (
            "_ON_CPU",
            "_MOST_ON_CPU",
            "_MOST_OF_THREAD",
        ):  # what the machine can do is not what is told
            patch.setattr(f"bench.worker.timing.peaks.{bound}", 1 << 20)
        threads = torch.get_num_threads()
        try:
            yield
        finally:
            patch.undo()
            torch.set_num_threads(threads)


class InProcess:
    """As `fork_server.ForkServer`, without a process."""

    def __init__(
        self,
        changed: Changed | None,
        conditions: Conditions,
        logs: Path | None = None,
        interpreter: fork_server.Interpreter | None = None,
    ) -> None:
        assert conditions.start_method == "fork"
        self._changed = changed
        self._variables = {} if interpreter is None else dict(interpreter.variables)
        self.scratch = Path(os.devnull)
        self.closed = False

    def ask(
        self,
        request: Request,
        timeout: float,
        started: Callable[[int], None] = lambda _: None,
        log: Path | None = None,
        modules: Sequence[str] | None = None,
        tree: CodeTree | None = None,
    ) -> dict[str, Any]:
        if isinstance(request, PreloadRequest):
            return {"report": {"started_threads": [], "failed": []}}
        assert log is not None
        assert modules is None
        sent = json.dumps(Envelope(0, request, log, None, tree).to_json())
        started(os.getpid())
        written = log if log.parent.is_dir() else Path(os.devnull)  # the scratch folder is the server's
        with as_it_was(), output_to(written):
            os.environ.update(self._variables)
            message = self._message(Envelope.from_json(json.loads(sent)))
        return {**fork_server._opened(json.loads(json.dumps(message))), "starved": False}

    def _message(self, envelope: Envelope) -> Mapping[str, Any]:
        try:
            answer = child.answer(envelope, LaunchContext(time.perf_counter_ns(), str(envelope.log)))
        except child.UsageError as problem:
            return {"usage": str(problem), "detail": problem.detail}
        except BaseException as problem:
            return child.error_message(problem)
        if (
            self._changed is not None
            and isinstance(envelope.request, LaunchRequest)
            and "measurement" in answer
        ):
            made = Measurement.from_json(answer["measurement"])
            answer["measurement"] = self._changed(envelope.request, envelope.tree, made).to_json()
        return {"answer": answer}

    def close(self) -> None:
        self.closed = True


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """What is printed meanwhile, by C code too, goes to the log of the launch."""
    before = [os.dup(1), os.dup(2)]
    try:
        with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
    finally:
        for number, copy in zip((1, 2), before, strict=True):
            os.dup2(copy, number)
            os.close(copy)


@contextmanager
def as_it_was() -> Iterator[None]:
    """Takes back what a request does to its process."""
    place, path, arguments, environ = Path.cwd(), list(sys.path), list(sys.argv), dict(os.environ)
    modules, folders = dict(sys.modules), set(suites._folders)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.chdir(place)
        sys.path[:], sys.argv[:] = path, arguments
        os.environ.clear()
        os.environ.update(environ)
        suites._folders.clear()
        suites._folders.update(folders)
        for name in [name for name in sys.modules if name not in modules and is_own(suites.file_of(name))]:
            del sys.modules[name]
        sys.modules.update(modules)
        if usable is not None:
            os.sched_setaffinity(0, usable)
        gc.enable()
