"""The launches of a suite's case: timed, counted, profiled, and those that try a batch size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

import torch

from ..batches import agrees
from ..measurement import PHASED, SEARCHED, TIMED, Measurement, StageRecord
from ..measurement.messages import LaunchRequest
from ..suite.case import Case
from ..suite.matrix import Suite
from ..training import Task, fit
from . import suites
from .axis_reads import Reads
from .context import LaunchContext
from .counts import counters
from .devices import device_conditions
from .profile import profiler
from .timing import injected_slowdowns
from .timing.guards import AfterWarmup
from .timing.launch_memory import MemoryMeter, check, limited
from .timing.meter import Meter
from .timing.timers import NANO, Timer, device_synchronizer, device_timer
from .window import windowed

SEARCH_STEPS = 3  # of each stage, in a launch that tries a batch size


def measure(
    request: LaunchRequest, context: LaunchContext, place: Mapping[str, Any]
) -> tuple[Measurement, tuple[float, float] | None]:
    """The launch, and for a timed one when its loop ran on `time.monotonic`."""
    device = torch.device(request.case.device)
    if device.type != "cpu":
        torch.accelerator.set_device_index(device.index or 0)
        torch.zeros((), device=device)  # the context is made here, before memory is watched
    suite = suites.find(str(request.suite_file), request.case.suite)
    if request.kind in (TIMED, PHASED):
        return timed(request, context, place, suite, device)
    if request.kind == SEARCHED:
        return tried(request, context, place, suite, device), None
    return untimed(request, context, place, suite, device), None


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
    request: LaunchRequest,
    context: LaunchContext,
    place: Mapping[str, Any],
    suite: Suite,
    device: torch.device,
) -> tuple[Measurement, tuple[float, float]]:
    """The whole loop with a meter attached."""
    case = request.case
    memory = MemoryMeter(device)
    memory.start()
    began = time.perf_counter_ns()
    reads = Reads(case)
    task = build(suite, reads.case(), device)
    if request.slowdown is not None:
        injected_slowdowns.add(task, request.slowdown)
    built = time.perf_counter_ns()

    timer = device_timer(device, phases=request.kind == PHASED)
    steady = AfterWarmup()
    meter = meter_of(task, case, timer, steady.begin)
    loop_began = time.monotonic()
    with closing(meter):
        fit(task, case.epochs, case.mode, case.validate_every, meter)
    loop_ended = time.monotonic()
    ended = time.perf_counter_ns()
    seen = steady.end()
    peaks = memory.peaks()
    if task.teardown is not None:
        task.teardown()
    conditions = {**place["conditions"], **device_conditions(device)}
    unread = [*reads.unread, *(axis for axis in request.idle if axis in case.used)]
    if unread:
        conditions["unread"] = list(dict.fromkeys(unread))
    measurement = Measurement(
        **{**place, "conditions": conditions},
        clock=timer.name,
        stages=tuple(meter.stages),
        memory=peaks,
        checks={**meter.checks, **samples_checked(task, meter.stages)},
        costs=costs_of_loop(context, began, built, ended),
        **seen,
    )
    return measurement, (loop_began, loop_ended)


def meter_of(task: Task, case: Case, timer: Timer, warmed_up: Callable[[], None] = lambda: None) -> Meter:
    """The meter for the loop of a task."""
    synchronize, is_graphed = device_synchronizer(task.device), case.mode == "eval"
    return Meter(task.model, task.optimizer, timer, synchronize, is_graphed, warmed_up=warmed_up)


def samples_checked(task: Task, stages: Iterable[StageRecord]) -> dict[str, bool]:
    """Whether each stage had as many samples as its loader; empty if the task or no loader gives the number."""
    if task.samples is not None:
        return {}
    found = [agrees(getattr(task, f"{record.stage}_loader"), record.samples) for record in stages]
    known = [holds for holds in found if holds is not None]
    return {"samples_as_the_loader_says": all(known)} if known else {}


def untimed(
    request: LaunchRequest,
    context: LaunchContext,
    place: Mapping[str, Any],
    suite: Suite,
    device: torch.device,
) -> Measurement:
    """The counts or the profile of a case."""
    case = request.case
    began = time.perf_counter_ns()
    built: list[Task] = []

    def make() -> Task:
        built.append(build(suite, case, device))
        return built[0]

    details: dict[str, Any]
    if request.profile is None:
        details = {"counts": counters.count(make, case, keeps_graph=request.graph)}
    else:
        details = {"profile": profiler.profiled(make(), case, request.profile, device_synchronizer(device))}
    if built[0].teardown is not None:
        built[0].teardown()
    conditions = {**place["conditions"], **device_conditions(device)}
    if str(case.get("compile")).startswith("max-autotune"):
        conditions["algorithms_by_time"] = True  # its setting is in force only while it compiles
    place, costs = {**place, "conditions": conditions}, context.untimed_costs(began)
    return Measurement(**place, clock="none", stages=(), costs=costs, **details)


def costs_of_loop(context: LaunchContext, began: int, built: int, ended: int) -> dict[str, float]:
    """Seconds that a launch spent before building its task, on building it, and in its loop."""
    return {
        "before_build": context.seconds_before(began),
        "build": (built - began) * NANO,
        "loop": (ended - built) * NANO,
    }


def tried(
    request: LaunchRequest,
    context: LaunchContext,
    place: Mapping[str, Any],
    suite: Suite,
    device: torch.device,
) -> Measurement:
    """A few steps over full batches: whether the batch size fits, how much memory it takes and how fast it is.

    On the CPU the memory limit of the request applies to the memory of a launch as tables show it: a launch that takes
    more does not fit, and an allocation far above it fails, before the kernel kills a process. Raises AboveMemoryLimit.
    """
    case = request.case
    memory_limit = request.memory_limit if device.type == "cpu" else None
    memory = MemoryMeter(device)
    memory.start()
    timer = device_timer(device, phases=False)
    with limited(memory_limit, torch.get_num_threads()):
        began = time.perf_counter_ns()
        task = build(suite, case, device)
        built = time.perf_counter_ns()
        trains = case.mode == "train"
        evaluations = 1 if trains else SEARCH_STEPS
        short = windowed(task, SEARCH_STEPS, evaluations, evaluations)
        every = case.validate_every and min(case.validate_every, SEARCH_STEPS)
        meter = meter_of(task, case, timer)
        with closing(meter):
            fit(short, 1, case.mode, every, meter)
        ended = time.perf_counter_ns()
        peaks = memory.peaks()
        if task.teardown is not None:
            task.teardown()
    check(memory_limit, peaks["peak_rss"])
    return Measurement(
        **{**place, "conditions": {**place["conditions"], "data_samples": samples_of(task, trains)}},
        clock=timer.name,
        stages=tuple(meter.stages),
        memory=peaks,
        checks=meter.checks,
        costs=costs_of_loop(context, began, built, ended),
    )


def samples_of(task: Task, trains: bool) -> int | None:
    """The most samples that a batch can have: all of the training data, or of the smaller evaluated data.

    None if one of them has no length.
    """
    to_train = suites.length_of(task.train_loader)
    if trains or to_train is None:
        return to_train
    evaluated = [
        suites.length_of(loader) for loader in (task.validate_loader, task.test_loader) if loader is not None
    ]
    known = [length for length in evaluated if length is not None]
    return min(to_train, max(known)) if known and len(known) == len(evaluated) else None
