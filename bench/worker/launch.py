"""One launch: puts the process under its conditions, measures a case of a suite or a script, and reports."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy
import torch

from ..errors import BenchError
from ..measurement import SEARCHED, Failure, Measurement, StageRecord
from ..measurement.messages import EnvironmentRequest, LaunchRequest, PeaksRequest
from ..suite.case import Conditions
from ..system.json_data import json_line, json_object, to_json
from ..system.kernel import usable_cpus
from ..user_errors import detail_of, message_of, one_line, where
from . import suite_launches
from .context import LaunchContext
from .environment import environment
from .script import launches as script_launches
from .script.errors import ScriptError
from .script.run import log_end
from .timing import launch_memory
from .timing.peaks import is_in_use, measured_peaks


class Diverged(BenchError):
    """A loss is no longer a finite number."""


def apply_conditions(conditions: Conditions, seed: int) -> dict[str, Any]:
    """Puts this process under the conditions; returns those in force.

    `allocator` is "pinned", "system", or "unpinned" where pinning was requested and is not possible.
    """
    taken = "system"
    if conditions.allocator == "pinned":
        taken = "pinned" if launch_memory.pin() else "unpinned"
    if conditions.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, conditions.cpus)
    torch.set_num_threads(conditions.threads)
    start_method = prefer_fork()
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    return {
        "allocator": taken,
        "threads": torch.get_num_threads(),
        "cpus": list(usable_cpus()),
        "start_method": conditions.start_method,
        "loader_start_method": start_method,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2),
    }


def prefer_fork() -> str:
    """Makes loaders fork their workers on every Python version, so that their cost does not depend on it.

    Only changes the default: getting or setting the method would fix it, and the user's own `set_start_method` would
    then raise.
    """
    context: Any = multiprocessing.context  # its default is not public
    if sys.platform == "linux":
        context._default_context._default_context = context._concrete_contexts["fork"]
    return str(
        multiprocessing.get_start_method(allow_none=True)
        or context._default_context._default_context.get_start_method()
    )


def describe_environment(request: EnvironmentRequest) -> dict[str, Any]:
    """The environment of the launches of this run, as JSON."""
    in_force = apply_conditions(request.conditions, request.seed)
    return environment(request, in_force["allocator"]).to_json()


def measure_peaks(request: PeaksRequest) -> list[dict[str, Any]]:
    """The peaks that could be measured, as JSON: none of a device that another program uses."""
    apply_conditions(request.conditions, request.seed)
    names = {name for name, _ in request.formats}
    in_use = {name for name in names if is_in_use(torch.device(name))}
    wanted = [(name, dtype) for name, dtype in request.formats if name not in in_use]
    return [to_json(peak) for peak in measured_peaks(wanted)]


def launch(request: LaunchRequest, context: LaunchContext) -> dict[str, Any]:
    """Runs one case once: `{"measurement": ..., "loop": [begin, end]}` or `{"failure": ...}` as JSON.

    `loop` is when the loop ran, on `time.monotonic`, which all processes share. Raises nothing: whatever the user's
    code raises becomes a Failure.
    """
    place = {
        "case": request.case,
        "kind": request.kind,
        "round": request.round,
        "position": request.position,
        "fork_server": os.getppid(),
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    try:
        conditions = apply_conditions(request.conditions, request.seed)
        os.environ["EPOCHBENCH_DATA"] = request.conditions.data_root
        measure = suite_launches.measure if request.script is None else script_launches.measure
        measurement, loop = measure(request, context, {**place, "conditions": conditions})
        if request.kind != SEARCHED:  # a search is about memory, not about the loss
            check_finite(measurement.stages)
        return {"measurement": as_json(measurement), "loop": loop}
    except BaseException as problem:  # KeyboardInterrupt too: only the user's code raises it here
        log = "" if request.script is None else log_end(context.log)
        return {"failure": failure(problem, place, str(request.suite_file), log).to_json()}


def as_json(measurement: Measurement) -> dict[str, Any]:
    """The measurement as JSON. Raises TypeError where values of the user's code cannot be kept."""
    try:
        data = json_object(json_line(measurement))
        Measurement.from_json(data)
    except (TypeError, ValueError) as problem:
        raise TypeError(
            f"what was measured cannot be kept: {message_of(problem)}; names of metrics must be text, and losses and "
            f"metrics numbers"
        ) from None
    return data


def check_finite(stages: Iterable[StageRecord]) -> None:
    """Raises Diverged where a stage ended with a loss that is not finite; a script may have none."""
    for record in stages:
        if record.loss is not None and not math.isfinite(record.loss):
            raise Diverged(
                f"the {record.stage} loss of epoch {record.epoch + 1} is {record.loss}; "
                f"try a smaller learning_rate"
            )


def failure(problem: BaseException, place: Mapping[str, Any], suite_file: str, log: str = "") -> Failure:
    """What a launch reports if its code raised; `log` is the end of its log."""
    detail = detail_of(problem)
    return Failure(
        **place,
        failure=kind_of(problem),
        message=message_of(problem)
        if isinstance(problem, Diverged | ScriptError | launch_memory.AboveMemoryLimit)
        else one_line(problem),
        where=where(problem, suite_file),
        detail=f"{detail}\nThe end of its log:\n{log}" if log else detail,
    )


def kind_of(problem: BaseException) -> str:
    """Which of FAILURES an exception is."""
    if isinstance(problem, Diverged):
        return "diverged"
    starved = any(words in message_of(problem) for words in ("can't allocate memory", "std::bad_alloc"))
    if isinstance(problem, MemoryError | torch.OutOfMemoryError) or starved:
        return "out_of_memory"
    return "unsupported" if isinstance(problem, NotImplementedError) else "error"
