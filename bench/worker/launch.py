"""One launch: settle the process, build the task, run the loop with a meter attached, report."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import torch

from ..batches import agrees
from ..errors import BenchError
from ..measurement import COUNTED, PHASED, SEARCHED, STACKED, TIMED, Failure, Measurement, StageRecord
from ..suite.case import Case, Conditions
from ..suite.matrix import Suite
from ..suite.script import Script
from ..training import Task, fit
from ..user_errors import detail_of, message_of, one_line, where
from . import allocator, suites
from .axis_reads import Reads
from .counts import counters
from .environment import environment, usable_cpus
from .profile import profiler
from .script import run as script
from .script.recorder import ScriptError
from .timing import planted_slowdowns as plants
from .timing.guards import AfterWarmup
from .timing.memory_limit import AboveRoom, ceiling, check
from .timing.meters import NANO, MemoryMeter, Meter, device_synchronizer, device_timer
from .window import windowed

SEARCH_STEPS = 3  # of the stages that a search for the largest batch is about


class Diverged(BenchError):
    """A loss is no longer a finite number."""


def settle(conditions: Conditions, seed: int) -> dict[str, Any]:
    """Puts this process under the conditions; returns them as they took.

    `allocator` reads "pinned", "system", or "unpinned" where pinning was asked for and did not take.
    """
    took = "system"
    if conditions.allocator == "pinned":
        took = "pinned" if allocator.pin() else "unpinned"
    if conditions.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, conditions.cpus)
    torch.set_num_threads(conditions.threads)
    start_method = prefer_fork()
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    return {
        "allocator": took,
        "threads": torch.get_num_threads(),
        "cpus": list(usable_cpus()),
        "start_method": conditions.start_method,
        "loader_start_method": start_method,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2),
    }


def prefer_fork() -> str:
    """Loaders fork their workers on every Python version, so that their cost does not depend on it.

    Only the default is another: to ask for the method in force, or to set one, would fix it, and the user's own
    `set_start_method` would then raise.
    """
    context: Any = multiprocessing.context  # what is behind its default is not public
    if sys.platform == "linux":
        context._default_context._default_context = context._concrete_contexts["fork"]
    return str(
        multiprocessing.get_start_method(allow_none=True)
        or context._default_context._default_context.get_start_method()
    )


def describe_environment(conditions: Conditions, seed: int) -> dict[str, Any]:
    """The environment of the launches of this run, as JSON."""
    took = settle(conditions, seed)
    return environment(conditions, took["allocator"], seed).to_json()


def launch(request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one case once: `{"measurement": ..., "loop": [begin, end]}` or `{"failure": ...}` as JSON.

    `loop` is when the loop ran, on `time.monotonic`, which all processes share.

    Whatever the user's code raises becomes a Failure; nothing is raised.
    """
    case = Case.from_json(request["case"])
    place = {
        "case": case,
        "kind": request["kind"],
        "round": request["round"],
        "position": request["position"],
        "fork_server": os.getppid(),
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    try:
        measurement, loop = measure(case, request, place)
        if request["kind"] != SEARCHED:  # which asks what fits, not what is learnt
            check_finite(measurement.stages)
        return {"measurement": reported(measurement), "loop": loop}
    except BaseException as problem:  # KeyboardInterrupt too: here it is the user's code that raises it
        log = script.log_end(request["log"]) if "script" in request else ""
        return {"failure": failure(problem, place, request["suite_file"], log).to_json()}


def reported(measurement: Measurement) -> dict[str, Any]:
    """The measurement as JSON. Raises TypeError where what user code put into it cannot be kept."""
    try:
        told: dict[str, Any] = json.loads(json.dumps(measurement.to_json()))
        Measurement.from_json(told)
    except (TypeError, ValueError) as problem:
        raise TypeError(
            f"what was measured cannot be kept: {message_of(problem)}; names of metrics must be text, and losses and "
            f"metrics numbers"
        ) from None
    return told


def measure(
    case: Case, request: Mapping[str, Any], place: Mapping[str, Any]
) -> tuple[Measurement, tuple[float, float] | None]:
    """The launch itself, and when its loop ran. `costs` are on the clock that all processes share."""
    conditions = Conditions.from_json(request["conditions"])
    settled = settle(conditions, request["seed"])
    os.environ["EPOCHBENCH_DATA"] = conditions.data_root
    if "script" in request:
        return script_measured(case, request, {**place, "conditions": settled})
    device = torch.device(case.device)
    if device.type != "cpu":
        torch.accelerator.set_device_index(device.index or 0)
        torch.zeros((), device=device)  # the context is made here, before memory is watched
    suite = suites.find(request["suite_file"], case.suite)
    if request["kind"] in (TIMED, PHASED):
        return timed(case, request, {**place, "conditions": settled}, suite, device)
    if request["kind"] == SEARCHED:
        return tried(case, request, {**place, "conditions": settled}, suite, device), None
    return apart(case, request, {**place, "conditions": settled}, suite, device), None


def script_measured(
    case: Case, request: Mapping[str, Any], place: Mapping[str, Any]
) -> tuple[Measurement, tuple[float, float] | None]:
    """The launch of a script, which builds its own model on the device that it likes."""
    its = Script.from_json(request["script"])
    if request["kind"] in (TIMED, PHASED):
        return script.timed(its, case, request, place)
    began = time.perf_counter_ns()
    found: dict[str, Any] = {}
    if request["kind"] == COUNTED:
        found["counts"] = script.counted(its, case, request)
    else:
        found["profile"] = script.profiled(its, case, request, wishes(request))
    return Measurement(**place, clock="none", stages=(), costs=costs_apart(began, request), **found), None


def build(suite: Suite, case: Case, device: torch.device) -> Task:
    """The task of a case, on its device."""
    task = suite.build(case)
    if not isinstance(task, Task):
        raise TypeError(
            f"build of suite {suite.name!r} returned a {type(task).__name__}, not an epochbench.training.Task"
        )
    task.device = device
    task.model.to(device)
    if task.setup is not None:
        task.setup()
    return task


def timed(
    case: Case, request: Mapping[str, Any], place: Mapping[str, Any], suite: Suite, device: torch.device
) -> tuple[Measurement, tuple[float, float]]:
    """The whole loop with a meter attached."""
    memory = MemoryMeter(device)
    memory.start()
    began = time.perf_counter_ns()
    reads = Reads(case)
    task = build(suite, reads.case(), device)
    if "plant" in request:
        plants.add(task, request["plant"])
    built = time.perf_counter_ns()

    timer = device_timer(device, phases=request["kind"] == PHASED)
    steady = AfterWarmup()
    meter = Meter(
        task.model,
        task.optimizer,
        timer,
        device_synchronizer(device),
        records_graph=case.mode == "eval",
        warmed_up=steady.begin,
    )
    loop_began = time.monotonic()
    try:
        fit(task, case.epochs, case.mode, case.validate_every, meter)
    finally:
        meter.close()
    loop_ended = time.monotonic()
    ended = time.perf_counter_ns()
    seen = steady.end()
    peaks = memory.peaks()
    if task.teardown is not None:
        task.teardown()
    unread = [*reads.unread, *(axis for axis in request["idle"] if axis in case.used)]
    if unread:
        place = {**place, "conditions": {**place["conditions"], "unread": list(dict.fromkeys(unread))}}
    measurement = Measurement(
        **place,
        clock=timer.name,
        stages=tuple(meter.stages),
        memory=peaks,
        checks={**meter.checks, **samples_checked(task, meter.stages)},
        costs=costs_of_loop(request, began, built, ended),
        **seen,
    )
    return measurement, (loop_began, loop_ended)


def samples_checked(task: Task, stages: Iterable[StageRecord]) -> dict[str, bool]:
    """Whether each stage had the samples that its loader says, where one says it and the task does not."""
    if task.samples is not None:
        return {}
    found = [agrees(getattr(task, f"{record.stage}_loader"), record.samples) for record in stages]
    known = [holds for holds in found if holds is not None]
    return {"samples_as_the_loader_says": all(known)} if known else {}


def apart(
    case: Case, request: Mapping[str, Any], place: Mapping[str, Any], suite: Suite, device: torch.device
) -> Measurement:
    """What a launch apart from timing is made for: counts, or a profile."""
    began = time.perf_counter_ns()
    built: list[Task] = []

    def make() -> Task:
        built.append(build(suite, case, device))
        return built[0]

    found: dict[str, Any] = {}
    if request["kind"] == COUNTED:
        found["counts"] = counters.count(make, case, keeps_graph=request["graph"])
    else:
        found["profile"] = profiler.profiled(make(), case, wishes(request), device_synchronizer(device))
    if built[0].teardown is not None:
        built[0].teardown()
    return Measurement(**place, clock="none", stages=(), costs=costs_apart(began, request), **found)


def wishes(request: Mapping[str, Any]) -> profiler.ProfileOptions:
    """What the request asks of a profile."""
    return profiler.ProfileOptions(
        folder=Path(request["traces"]),
        name=request["trace_name"],
        steps=request["profile_steps"],
        stacks=request["kind"] == STACKED,
        cap=request["trace_cap"],
    )


def costs_of_loop(request: Mapping[str, Any], began: int, built: int, ended: int) -> dict[str, float]:
    """Seconds that a launch has spent before its task was built, on that, and in its loop."""
    return {
        "before_build": (began - request["launched_at"]) * NANO,
        "build": (built - began) * NANO,
        "loop": (ended - built) * NANO,
    }


def costs_apart(began: int, request: Mapping[str, Any]) -> dict[str, float]:
    """Seconds that a launch apart from timing has spent; it began then, on the clock that all processes share."""
    return {
        "before_build": (began - request["launched_at"]) * NANO,
        "apart": (time.perf_counter_ns() - began) * NANO,
    }


def tried(
    case: Case, request: Mapping[str, Any], place: Mapping[str, Any], suite: Suite, device: torch.device
) -> Measurement:
    """A few steps over full batches: whether the batch size fits, what it takes and how fast it is.

    On the CPU the `room` that the request leaves is for what the table calls its memory: a launch that takes more
    does not fit, and an allocation far above it fails, before the kernel kills something. Raises AboveRoom.
    """
    room = request["room"] if device.type == "cpu" else None
    memory = MemoryMeter(device)
    memory.start()
    timer = device_timer(device, phases=False)
    with ceiling(room, torch.get_num_threads()):
        began = time.perf_counter_ns()
        task = build(suite, case, device)
        built = time.perf_counter_ns()
        trains = case.mode == "train"
        evaluations = 1 if trains else SEARCH_STEPS
        short = windowed(task, SEARCH_STEPS, evaluations, evaluations)
        every = case.validate_every and min(case.validate_every, SEARCH_STEPS)
        meter = Meter(
            task.model,
            task.optimizer,
            timer,
            device_synchronizer(device),
            records_graph=case.mode == "eval",
        )
        try:
            fit(short, 1, case.mode, every, meter)
        finally:
            meter.close()
        ended = time.perf_counter_ns()
        peaks = memory.peaks()
        if task.teardown is not None:
            task.teardown()
    check(room, peaks["peak_rss"])
    return Measurement(
        **{**place, "conditions": {**place["conditions"], "data_samples": samples_of(task, trains)}},
        clock=timer.name,
        stages=tuple(meter.stages),
        memory=peaks,
        checks=meter.checks,
        costs=costs_of_loop(request, began, built, ended),
    )


def samples_of(task: Task, trains: bool) -> int | None:
    """The most samples that a batch can have: all of the data of the stages that matter, no more than there
    are to train on. None where one of them has no length.
    """
    there = suites.length_of(task.train_loader)
    if trains or there is None:
        return there
    evaluated = [
        suites.length_of(loader) for loader in (task.validate_loader, task.test_loader) if loader is not None
    ]
    known = [length for length in evaluated if length is not None]
    return min(there, max(known)) if known and len(known) == len(evaluated) else None


def check_finite(stages: Iterable[StageRecord]) -> None:
    """Raises Diverged where a stage ended with a loss that is no finite number; a script's may have none."""
    for record in stages:
        if record.loss is not None and not math.isfinite(record.loss):
            raise Diverged(
                f"the {record.stage} loss of epoch {record.epoch + 1} is {record.loss}; "
                f"try a smaller learning_rate"
            )


def failure(problem: BaseException, place: Mapping[str, Any], suite_file: str, log: str = "") -> Failure:
    """What a launch reports when its own code raised; `log` is the end of what it has printed."""
    told = detail_of(problem)
    return Failure(
        **place,
        failure=kind_of(problem),
        message=message_of(problem)
        if isinstance(problem, Diverged | ScriptError | AboveRoom)
        else one_line(problem),
        where=where(problem, suite_file),
        detail=f"{told}\nThe end of its log:\n{log}" if log else told,
    )


def kind_of(problem: BaseException) -> str:
    """Which of FAILURES an exception is."""
    if isinstance(problem, Diverged):
        return "diverged"
    starved = any(words in message_of(problem) for words in ("can't allocate memory", "std::bad_alloc"))
    if isinstance(problem, MemoryError | torch.OutOfMemoryError) or starved:
        return "out_of_memory"
    return "unsupported" if isinstance(problem, NotImplementedError) else "error"
