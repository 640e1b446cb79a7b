"""The same loop under torch.profiler: where the time of a few steps goes, and a trace.

The first stage runs a few steps without the profiler, then one with it that is discarded, then the profiled steps;
later stages are profiled from their first step. Marks divide the profile into phases.
"""

from __future__ import annotations

import gc
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import profile, schedule

from ...measurement import REMAINDER, OperatorTime, Profile
from ...measurement.messages import ProfileOptions
from ...suite.case import Case
from ...training import Task, fit
from ..marks import OUTSIDE, Mark, Marks, activities_for, marks_in_profile, number_of
from ..timing.timers import NANO, Clock
from ..window import windowed
from . import traces

WARM, PLAIN, WARMED = 2, 5, 1  # steps of the first stage before those that are profiled
BEFORE = WARM + PLAIN + WARMED
_MICRO = 1e-6

Interval = tuple[float, float]
Row = tuple[str, str, str, str, str]  # stage, phase, operator, kind, shapes


class ProfiledLoop(Marks):
    """Marks the loop, advances the profiler, and times the plain and the profiled steps.

    Stages may nest: an instant belongs to the innermost stage, and steps of an inner stage before the profiled ones are
    not counted.
    """

    is_of_one_thread = True  # the thread in which the profiler was started

    def __init__(
        self,
        profiler: Any,
        steps: int,
        synchronize: Callable[[], None] = lambda: None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        super().__init__()
        self.steps: dict[str, int] = {}  # profiled, by stage
        self.wall: dict[str, float] = {}
        self.plain_step = 0.0
        self.profiled_step = 0.0
        self._profiler = profiler
        self._most = steps
        self._synchronize = synchronize
        self._clock = clock
        self._booked = clock()  # time up to here has been assigned to stages
        self._done = 0  # steps before those that are profiled
        self._first = ""

    @property
    def before(self) -> int:
        """The number of steps that remain before the profiled ones."""
        return max(0, BEFORE - self._done)

    def begin(self, stage: str) -> None:
        if not self._open and self._done <= WARM:
            self._first = stage  # the plain steps are of this stage
        outer = self._open[-1][0] if self._open else ""
        super().begin(stage)
        self._book(outer)
        if not self.before:
            self.steps.setdefault(stage, 0)

    def step(self, samples: int, loss: Tensor | None) -> None:
        stage = self._open[-1][0]
        super().step(samples, loss)
        if not self.before:
            self.steps[stage] += 1
            if stage == self._first and self.steps[stage] == self._most:
                self._book(stage)  # here, not at the end of the stage: a loader may take long to shut down
                self.profiled_step = self.wall[stage] / self._most
            self._profiler.step()
        elif len(self._open) == 1:
            self._before(stage)

    def _before(self, stage: str) -> None:
        """One of the steps before the profiled ones has ended."""
        self._done += 1
        if self._done in (WARM, WARM + PLAIN):
            self._book(stage)
            if self._done > WARM and stage == self._first:
                self.plain_step = self.wall[stage] / PLAIN
            self.wall.clear()
        self._profiler.step()
        if not self.before:
            self.steps[stage] = 0
            self.mark(OUTSIDE.stage, OUTSIDE.step, OUTSIDE.phase)
            self._book(stage)
            self.wall.clear()

    def end(self, stage: str, loss: float | None, metrics: Mapping[str, float]) -> None:
        super().end(stage, loss, metrics)
        self._book(stage)

    def _book(self, stage: str) -> None:
        """Assigns the time since the last call to this stage."""
        self._synchronize()
        now = self._clock()
        if stage:
            self.wall[stage] = self.wall.get(stage, 0.0) + (now - self._booked) * NANO
        self._booked = now


def profiled(task: Task, case: Case, options: ProfileOptions, synchronize: Callable[[], None]) -> Profile:
    """Runs the loop under the profiler. Raises what the user's code raises, not for a file that cannot be written."""
    first, later = BEFORE + options.steps, options.steps
    task = windowed(task, first, later if case.mode == "train" else first, later)

    def fitted(loop: ProfiledLoop) -> None:
        fit(task, 1, case.mode, observer=loop)

    return profile_of(fitted, torch.device(case.device), options, synchronize)


def profile_of(
    run: Callable[[ProfiledLoop], object],
    device: torch.device,
    options: ProfileOptions,
    synchronize: Callable[[], None],
) -> Profile:
    """The profile of what `run` does; it passes the loop to its code as the observer."""
    activities, limits = activities_for(device)
    profiler = profile(
        activities=activities,
        schedule=schedule(wait=WARM + PLAIN, warmup=WARMED, active=1_000_000, repeat=1),
        record_shapes=True,
        profile_memory=not options.stacks,
        with_stack=options.stacks,
        experimental_config=torch._C._profiler._ExperimentalConfig(verbose=True) if options.stacks else None,
    )
    loop = ProfiledLoop(profiler, options.steps, synchronize)
    profiler.start()
    try:
        run(loop)
    finally:
        profiler.stop()
    if not any(loop.steps.values()):
        few = f"the loaders gave no more than the {BEFORE} batches that come before those that are profiled"
        return Profile({}, {}, loop.plain_step, 0.0, (), omitted=few, limits=limits)
    with without_garbage_collector():
        events = [] if options.stacks else list(profiler.events() or ())
        files = traces.save(profiler, loop.marks, options)
    return Profile(
        steps=loop.steps,
        wall=loop.wall,
        plain_step=loop.plain_step,
        profiled_step=loop.profiled_step,
        operators=() if options.stacks else operators(events, loop.marks),
        device=device_shares(events),
        limits=limits,
        **files,
    )


@contextmanager
def without_garbage_collector() -> Iterator[None]:
    """Disables Python's garbage collector: with it, reading a million events takes twice as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def operators(events: Sequence[FunctionEvent], marks: Sequence[Mark]) -> tuple[OperatorTime, ...]:
    """A row for each operator, kernel and group of shapes in each phase, and one for the remainder of a phase.

    The host self times of a phase add up to its time: an operator that spans several phases is counted in the first,
    and its time is split among them.
    """
    host = [event for event in events if event.device_type == DeviceType.CPU]
    recorded = marks_in_profile(host, marks)
    ends = [cut.start for cut in recorded]
    found: dict[Row, list[float]] = {}
    inside: dict[tuple[str, str], float] = {}  # host seconds of a phase that operators took

    def add(row: Row, *values: float) -> None:
        total = found.setdefault(row, [0.0] * len(values))
        for place, value in enumerate(values):
            total[place] += value

    for event in host:
        if number_of(event.name) is not None or event.name.startswith("ProfilerStep") or is_overhead(event):
            continue
        began, shapes = bisect_left(ends, event.time_range.start), shapes_of(event)
        for place, micros in own_time(event, ends).items():
            mark = recorded[place].mark if 0 < place < len(recorded) else OUTSIDE
            if not mark.stage:
                continue
            own = micros * _MICRO
            inside[mark.stage, mark.phase] = inside.get((mark.stage, mark.phase), 0.0) + own
            row = (mark.stage, mark.phase, event.name, "operator", shapes)
            if place != began:
                add(row, 0, own, own, 0.0, 0.0, 0)
                continue
            add(
                row,
                1,
                own,
                event.cpu_time_total * _MICRO,
                sum(kernel.duration for kernel in kernels_of(event)) * _MICRO,
                device_time(event) * _MICRO,
                event.self_cpu_memory_usage + event.self_device_memory_usage,
            )
            for kernel in kernels_of(event):
                seconds = kernel.duration * _MICRO
                add((mark.stage, mark.phase, kernel.name, "kernel", ""), 1, 0.0, 0.0, seconds, seconds, 0)
    for before, after in pairwise(recorded):
        mark = after.mark
        if mark.stage:
            wall = (after.end - before.end) * _MICRO
            add((mark.stage, mark.phase, REMAINDER, "remainder", ""), 1, wall, wall, 0.0, 0.0, 0)
    for (stage, phase), seconds in inside.items():
        rest = found.get((stage, phase, REMAINDER, "remainder", ""))
        if rest is not None:
            rest[1] = rest[2] = max(0.0, rest[1] - seconds)
    return tuple(_operator_time(row, *values) for row, values in found.items())


def is_overhead(event: FunctionEvent) -> bool:
    """Whether this is the profiler's own work, which overlaps an operator's time, on a separate track."""
    return getattr(event, "activity_type", None) == "overhead"


def kernels_of(event: FunctionEvent) -> list[Any]:
    """The kernels that the event itself launched; the device range of an annotation is not a kernel."""
    return [one for one in event.kernels if not (event.is_user_annotation and one.name == event.name)]


def device_time(event: FunctionEvent) -> float:
    """Microseconds of the kernels of an event and of all its calls."""
    own = sum(kernel.duration for kernel in kernels_of(event))
    return float(own + sum(device_time(child) for child in event.cpu_children))


def own_time(event: FunctionEvent, ends: Sequence[float]) -> dict[int, float]:
    """Microseconds in which the event itself ran, not its calls, by the index of the mark that ends the section.

    The index where it begins is always present. Marks inside of it are among its calls, so that the time between two
    calls contains no mark.
    """
    began = bisect_left(ends, event.time_range.start)
    if began == len(ends) or event.time_range.end <= ends[began]:
        return {began: max(0.0, event.self_cpu_time_total)}
    found, now = {began: 0.0}, event.time_range.start
    calls = [(child.time_range.start, child.time_range.end) for child in event.cpu_children]
    for start, end in [*union(calls), (event.time_range.end, event.time_range.end)]:
        place = bisect_left(ends, now)
        found[place] = found.get(place, 0.0) + max(0.0, start - now)
        now = end
    return found


def _operator_time(row: Row, calls: float, *values: float) -> OperatorTime:
    *times, size = values
    host_self, host_total, device_self, device_total = (round(seconds, 9) for seconds in times)
    return OperatorTime(*row, int(calls), host_self, host_total, device_self, device_total, int(size))


def shapes_of(event: FunctionEvent) -> str:
    """The shapes of an operator's inputs, such as '64x784 784x448'; scalars are omitted."""
    shapes: Iterable[Any] = event.input_shapes or ()
    return " ".join("x".join(map(str, shape)) for shape in shapes if isinstance(shape, list) and shape)


def device_shares(events: Iterable[FunctionEvent]) -> dict[str, float]:
    """Seconds of kernels and copies, and shares of the time from the first to the last of them.

    `kernel_time`, `copy_time`, `span` are seconds; `idle_share` of the span neither ran; `launch_gap` is the mean idle
    time before a kernel, seconds; `copy_overlap` is the share of the copies' time in which a kernel ran too. Empty if
    no work of the device was recorded.
    """
    kernels: list[Interval] = []
    copies: list[Interval] = []
    for event in events:
        if event.device_type == DeviceType.CPU or event.is_user_annotation:
            continue
        moved = event.name.startswith(("Memcpy", "Memset"))
        (copies if moved else kernels).append((event.time_range.start, event.time_range.end))
    return shares(kernels, copies, _MICRO)


def shares(kernels: Sequence[Interval], copies: Sequence[Interval], unit: float = 1.0) -> dict[str, float]:
    """As `device_shares`, of intervals in this unit of seconds."""
    busy = union([*kernels, *copies])
    if not busy:
        return {}
    span = busy[-1][1] - busy[0][0]
    gaps = [after[0] - before[1] for before, after in pairwise(busy)]
    computing, copying = union(kernels), union(copies)
    found = {
        "kernel_time": sum(end - start for start, end in kernels) * unit,
        "copy_time": sum(end - start for start, end in copies) * unit,
        "span": span * unit,
        "idle_share": sum(gaps) / span if span else 0.0,
        "launch_gap": sum(gaps) / len(kernels) * unit if kernels else 0.0,
    }
    if length(copying):
        found["copy_overlap"] = length(intersection(computing, copying)) / length(copying)
    return found


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The union of the intervals, in order."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def intersection(first: Sequence[Interval], second: Sequence[Interval]) -> list[Interval]:
    """The intersection of two lists of intervals, each in order and without overlaps."""
    found, i, j = [], 0, 0
    while i < len(first) and j < len(second):
        start, end = max(first[i][0], second[j][0]), min(first[i][1], second[j][1])
        if start < end:
            found.append((start, end))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return found


def length(intervals: Iterable[Interval]) -> float:
    return sum(end - start for start, end in intervals)
