"""The same loop under torch.profiler: where the time of a few steps goes, and a trace to look at.

The first stage runs a few steps without the profiler, then one with it that does not count, then those
that do; later stages are profiled from their first step. Marks cut the profile into phases.
"""

from __future__ import annotations

import gc
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import profile, schedule

from ...measurement import REMAINDER, OperatorTime, Profile
from ...suite.case import Case
from ...training import Task, fit
from ..marks import OUTSIDE, Mark, Marks, activities_for, number_of
from ..timing.meters import NANO, Clock
from ..window import windowed
from . import traces
from .timeline import device_shares, union

WARM, PLAIN, WARMED = 2, 5, 1  # steps of the first stage before those that are profiled
BEFORE = WARM + PLAIN + WARMED
_MICRO = 1e-6

Row = tuple[str, str, str, str, str]  # stage, phase, operator, kind, shapes


@dataclass(frozen=True)
class ProfileOptions:
    """What of a profile is asked for: steps a stage, whether Python's stacks, and where files go.

    A trace larger than `cap` bytes is not kept.
    """

    folder: Path
    name: str
    steps: int = 5
    stacks: bool = False
    cap: int = 50_000_000


class ProfiledLoop(Marks):
    """Marks the loop, steps the profiler on, and takes the time of its plain and its profiled steps.

    Stages may nest: an instant belongs to the innermost one, and steps of an inner stage that come before those
    that are profiled do not count.
    """

    is_of_one_thread = True  # the one that the profiler was started in

    def __init__(
        self,
        profiler: Any,
        steps: int,
        synchronize: Callable[[], None] = lambda: None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        super().__init__()
        self.steps: dict[str, int] = {}  # that were profiled, by stage
        self.wall: dict[str, float] = {}
        self.plain_step = 0.0
        self.profiled_step = 0.0
        self._profiler = profiler
        self._most = steps
        self._synchronize = synchronize
        self._clock = clock
        self._booked = clock()  # up to then, time has been given to stages
        self._done = 0  # steps before those that are profiled
        self._first = ""

    @property
    def before(self) -> int:
        """Steps that are still to come before those that are profiled."""
        return max(0, BEFORE - self._done)

    @property
    def _recording(self) -> bool:
        return not self.before

    def begin(self, stage: str) -> None:
        if not self._open and self._done <= WARM:
            self._first = stage  # no plain step was taken of another
        outer = self._open[-1][0] if self._open else ""
        super().begin(stage)
        self._book(outer)
        if self._recording:
            self.steps.setdefault(stage, 0)

    def step(self, samples: int, loss: Tensor | None) -> None:
        stage = self._open[-1][0]
        super().step(samples, loss)
        if self._recording:
            self.steps[stage] += 1
            if stage == self._first and self.steps[stage] == self._most:
                self._book(stage)  # here, not at the end of the stage: a loader may take long to shut down
                self.profiled_step = self.wall[stage] / self._most
            self._profiler.step()
        elif len(self._open) == 1:
            self._before(stage)

    def _before(self, stage: str) -> None:
        """One of the steps that lead up to the profiled ones has ended."""
        self._done += 1
        if self._done in (WARM, WARM + PLAIN):
            self._book(stage)
            if self._done > WARM and stage == self._first:
                self.plain_step = self.wall[stage] / PLAIN
            self.wall.clear()
        self._profiler.step()
        if self._recording:
            self.steps[stage] = 0
            self.mark(OUTSIDE.stage, OUTSIDE.step, OUTSIDE.phase)
            self._book(stage)
            self.wall.clear()

    def end(self, stage: str, loss: float | None, metrics: Mapping[str, float]) -> None:
        super().end(stage, loss, metrics)
        self._book(stage)

    def _book(self, stage: str) -> None:
        """Gives the time since the last call to this stage."""
        self._synchronize()
        now = self._clock()
        if stage:
            self.wall[stage] = self.wall.get(stage, 0.0) + (now - self._booked) * NANO
        self._booked = now


def profiled(task: Task, case: Case, wishes: ProfileOptions, synchronize: Callable[[], None]) -> Profile:
    """Runs the loop under the profiler. Raises what the user's code raises; a file that cannot be written does not."""
    first, later = BEFORE + wishes.steps, wishes.steps
    task = windowed(task, first, later if case.mode == "train" else first, later)

    def fitted(loop: ProfiledLoop) -> None:
        fit(task, 1, case.mode, observer=loop)

    return profile_of(fitted, torch.device(case.device), wishes, synchronize)


def profile_of(
    run: Callable[[ProfiledLoop], object],
    device: torch.device,
    wishes: ProfileOptions,
    synchronize: Callable[[], None],
) -> Profile:
    """The profile of what `run` does with the loop that it is to tell of its steps."""
    activities, limits = activities_for(device)
    profiler = profile(
        activities=activities,
        schedule=schedule(wait=WARM + PLAIN, warmup=WARMED, active=1_000_000, repeat=1),
        record_shapes=True,
        profile_memory=not wishes.stacks,
        with_stack=wishes.stacks,
        experimental_config=torch._C._profiler._ExperimentalConfig(verbose=True) if wishes.stacks else None,
    )
    loop = ProfiledLoop(profiler, wishes.steps, synchronize)
    profiler.start()
    try:
        run(loop)
    finally:
        profiler.stop()
    if not any(loop.steps.values()):
        few = f"the loaders gave no more than the {BEFORE} batches that come before those that are profiled"
        return Profile({}, {}, loop.plain_step, 0.0, (), omitted=few, limits=limits)
    with uncollected():
        events = [] if wishes.stacks else list(profiler.events() or ())
        found = traces.keep(profiler, loop.made, wishes)
    return Profile(
        steps=loop.steps,
        wall=loop.wall,
        plain_step=loop.plain_step,
        profiled_step=loop.profiled_step,
        operators=() if wishes.stacks else operators(events, loop.made),
        device=device_shares(events),
        trace=found.trace,
        stacks=found.stacks,
        omitted=found.omitted,
        limits=limits,
    )


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's garbage collector: going through a million new objects again and again takes twice as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def operators(events: Sequence[FunctionEvent], marks: Sequence[Mark]) -> tuple[OperatorTime, ...]:
    """A row for each operator, kernel and group of shapes in each phase, and one for what is left of a phase.

    The host's self times of a phase add up to its time: what goes on over several phases is counted where it
    begins, and has in each the time that it takes there.
    """
    host = [event for event in events if event.device_type == DeviceType.CPU]
    numbered = sorted(
        (event.time_range.start, event.time_range.end, number)
        for event in host
        if (number := number_of(event.name)) is not None
    )
    cuts = [(start, end, marks[number]) for start, end, number in numbered]
    ends = [start for start, _, _ in cuts]
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
            mark = cuts[place][2] if 0 < place < len(cuts) else OUTSIDE
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
    for (_, before, _), (_, end, mark) in pairwise(cuts):
        if mark.stage:
            wall = (end - before) * _MICRO
            add((mark.stage, mark.phase, REMAINDER, "remainder", ""), 1, wall, wall, 0.0, 0.0, 0)
    for (stage, phase), seconds in inside.items():
        rest = found.get((stage, phase, REMAINDER, "remainder", ""))
        if rest is not None:
            rest[1] = rest[2] = max(0.0, rest[1] - seconds)
    return tuple(_operator_time(row, *values) for row, values in found.items())


def is_overhead(event: FunctionEvent) -> bool:
    """Whether this is the profiler's own work, which lies inside of what an operator took, on a track of its own."""
    return getattr(event, "activity_type", None) == "overhead"


def kernels_of(event: FunctionEvent) -> list[Any]:
    """What the event itself put on a device. The range that an annotation has there is no kernel."""
    return [one for one in event.kernels if not (event.is_user_annotation and one.name == event.name)]


def device_time(event: FunctionEvent) -> float:
    """Microseconds of the kernels of an event and of all that it called."""
    own = sum(kernel.duration for kernel in kernels_of(event))
    return float(own + sum(device_time(child) for child in event.cpu_children))


def own_time(event: FunctionEvent, ends: Sequence[float]) -> dict[int, float]:
    """Microseconds in which the event and nothing that it called ran, by the place of the mark that ends the stretch.

    The place of its beginning is there in any case. Its marks are among what it called, so that no stretch
    between two calls crosses one.
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
    host_self, host_total, device_self, device_total, size = values
    stage, phase, operator, kind, shapes = row
    return OperatorTime(
        stage=stage,
        phase=phase,
        operator=operator,
        kind=kind,
        shapes=shapes,
        calls=int(calls),
        host_self=round(host_self, 9),
        host_total=round(host_total, 9),
        device_self=round(device_self, 9),
        device_total=round(device_total, 9),
        bytes=int(size),
    )


def shapes_of(event: FunctionEvent) -> str:
    """The shapes of an operator's inputs, such as '64x784 784x448'; scalars are left out."""
    shapes: Iterable[Any] = event.input_shapes or ()
    return " ".join("x".join(map(str, shape)) for shape in shapes if isinstance(shape, list) and shape)
