"""Timers of a stage, between its suspensions, on the host's clock or on the device's.

All three have the same interface. `HostTimer` reads the host clock at each lap: every instant belongs to exactly one
phase. `EventTimer` only records a device event at the boundaries of steps, so that the host never waits inside a stage.
`EventPhaseTimer` records one at every lap, in a launch of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import torch

NANO = 1e-9
Clock = Callable[[], int]  # nanoseconds, monotonic


class Timer(Protocol):
    """Times a stage from `start` to `stop`; steps and phases are seconds.

    `rewind` stops the clock at the last `mark`, which follows a lap: the time after it until `stop` is not counted.
    `unfinished` is the time of the step that was interrupted by `stop`. `suspend` is called before the device is
    synchronised for `stop`; `beyond` is how long other streams then still worked after the timed one.
    """

    name: str
    unfinished: float
    beyond: float

    def start(self) -> None: ...
    def lap(self, phase: str) -> None: ...
    def step(self) -> None: ...
    def mark(self) -> None: ...
    def rewind(self) -> None: ...
    def suspend(self) -> None: ...
    def stop(self) -> tuple[list[float], dict[str, float]]: ...


class HostTimer:
    """Laps and steps on the host clock: for the CPU, whose work is done when a call returns."""

    name = "host"
    beyond = 0.0

    def __init__(self, clock: Clock = time.perf_counter_ns) -> None:
        self._running = clock

    def start(self) -> None:
        self._clock = self._running
        self._phases: dict[str, int] = {}
        self._steps: list[int] = []
        self._lap_began = self._step_began = self._marked = self._clock()

    def lap(self, phase: str) -> None:
        now = self._clock()
        self._phases[phase] = self._phases.get(phase, 0) + now - self._lap_began
        self._lap_began = now

    def step(self) -> None:
        now = self._clock()
        self._phases["other"] = self._phases.get("other", 0) + now - self._lap_began
        self._steps.append(now - self._step_began)
        self._lap_began = self._step_began = now

    def mark(self) -> None:
        self._marked = self._lap_began

    def rewind(self) -> None:
        marked = self._marked
        self._clock = lambda: marked

    def suspend(self) -> None:
        pass

    def stop(self) -> tuple[list[float], dict[str, float]]:
        self.lap("other")
        self.unfinished = round((self._lap_began - self._step_began) * NANO, 9)
        steps = [round(step * NANO, 9) for step in self._steps]
        return steps, {phase: round(total * NANO, 9) for phase, total in self._phases.items()}


class Event(Protocol):
    """A mark in a device's queue of work, as torch.cuda.Event and torch.Event are."""

    def record(self, stream: Any = None, /) -> None: ...
    def elapsed_time(self, other: Any) -> float: ...  # milliseconds


class EventTimer:
    """Steps on the device's own clock: the time between events recorded at their boundaries.

    `recorded` puts an event into the queue of the device's work and returns it. While `is_capturing`, work goes into a
    graph and not into the queue: an event would become part of the graph and have no time.
    """

    name = "device events"

    def __init__(
        self,
        recorded: Callable[[], Event],
        synchronize: Callable[[], None],
        is_capturing: Callable[[], bool] = lambda: False,
    ) -> None:
        self._recorded = recorded
        self._synchronize = synchronize
        self._is_capturing = is_capturing

    def _now(self) -> Event:
        return self._recorded() if self._stopped is None else self._stopped

    def start(self) -> None:
        self._stopped: Event | None = None
        self._last: Event | None = None
        self.beyond = 0.0
        self._marked = self._now()
        self._marks = [self._marked]

    def lap(self, phase: str) -> None:
        pass

    def step(self) -> None:
        self._marks.append(self._now())

    def mark(self) -> None:
        if not self._is_capturing():
            self._marked = self._now()

    def rewind(self) -> None:
        self._stopped = self._marked

    def suspend(self) -> None:
        self._last = self._now()

    def stop(self) -> tuple[list[float], dict[str, float]]:
        ended = self._now()
        self._synchronize()
        if self._last is not None:
            self.beyond = seconds(self._last, ended)
        self.unfinished = seconds(self._marks[-1], ended)
        return [seconds(a, b) for a, b in pairwise(self._marks)], {}


class EventPhaseTimer(EventTimer):
    """Phases on the device's own clock: the time between events recorded at every lap.

    A phase in which the device waits for the host (for a late batch) includes that wait. So does the first phase that
    ends after a capture: the device waits while the host captures a graph.
    """

    name = "device events at every lap"

    def start(self) -> None:
        super().start()
        self._laps: list[tuple[str, Event]] = [("other", self._marks[0])]

    def lap(self, phase: str) -> None:
        if not self._is_capturing():
            self._laps.append((phase, self._now()))

    def step(self) -> None:
        super().step()
        self._laps.append(("other", self._marks[-1]))

    def mark(self) -> None:
        self._marked = self._laps[-1][1]

    def stop(self) -> tuple[list[float], dict[str, float]]:
        self.lap("other")
        steps, phases = super().stop()
        for (_, before), (phase, after) in pairwise(self._laps):
            phases[phase] = phases.get(phase, 0.0) + seconds(before, after)
        return steps, phases


def seconds(before: Event, after: Event) -> float:
    """The time between two recorded events, of which the later one has completed."""
    return round(before.elapsed_time(after) / 1e3, 9)


def device_synchronizer(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has done all its work; it does nothing on the CPU."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)


def is_capturing(device: torch.device) -> bool:
    """Whether the current stream of a CUDA device captures a graph: its work is recorded there and not done."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def device_timer(device: torch.device, phases: bool) -> Timer:
    """The timer of a device: the host clock on the CPU, events elsewhere."""
    if device.type == "cpu":
        return HostTimer()

    def recorded() -> Event:
        # By itself an event goes to the current device, which need not be the one that a script's model is on.
        event: Event
        if device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(device))
        else:
            event = torch.Event(device.type, enable_timing=True)
            event.record(torch.accelerator.current_stream(device))
        return event

    timer = EventPhaseTimer if phases else EventTimer
    return timer(recorded, device_synchronizer(device), lambda: is_capturing(device))
