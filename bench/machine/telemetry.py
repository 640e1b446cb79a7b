"""Memory, processors and cards that a launch uses while it runs, read by the parent.

A `LaunchTelemetry` collects the readings of one launch and returns when the next is due; `Telemetry` is the thread that
takes them. After each reading the thread sleeps long enough that readings cost at most half a percent of one processor.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..system.gpu import NO_VARIABLES, Gpu, GpuReading, cards_of
from .process_tree import ProcessTree, Usage

SHARE = 0.005  # of one processor: the most that readings may cost
SHORTEST, LONGEST = 0.025, 1.0  # seconds from one reading to the next
GROWTH = 1 / 8  # of the time since the launch began: launches of any length get similarly many readings

_COUNTER = 0.1  # seconds until a card's energy counter shows what was used
_ENDS = 1 / 4  # of the loop: the widest gap between the readings around its begin, or its end
_SLOWDOWNS = frozenset({"thermal", "power_brake", "hardware_slowdown"})


@dataclass(frozen=True)
class Readings:
    """The summary of the readings of one launch. A missing key was not measured.

    `telemetry`: readings (how many), cost (processors that taking them used), rss_peak and gpu_memory_peak (bytes), cpu
    (processors used), gpu_utilization (0 to 1), gpu_power (watts), gpu_temperature (degrees Celsius), energy and
    energy_per_sample (joules). Utilization, power and energy are those of the loop. `guards` show whether only the
    launch used a card, and at full speed: gpu_others (processes), gpu_throttled and gpu_power_capped (0 to 1),
    gpu_clock_low and gpu_clock_high (hertz).
    """

    telemetry: dict[str, float] = field(default_factory=dict)
    guards: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sample:
    """All cards at one moment."""

    at: float
    utilization: float | None
    power: float | None
    energy: float | None
    clocks: tuple[float, ...]
    throttle_reasons: frozenset[str] | None


class LaunchTelemetry:
    """The readings of one launch since `began`; all times here are of the same monotonic clock.

    `tree` reads the usage of its processes, `spent` the processor time of the thread that calls `take`.
    """

    def __init__(
        self,
        began: float,
        tree: Callable[[], Usage | None],
        gpus: Sequence[Gpu] = (),
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self.began = began
        self._tree = tree
        self._gpus = gpus
        self._spent = spent
        self._paid: float | None = None  # `spent` at the end of the last reading
        self._readings = 0
        self._cost = 0.0
        self._peaks: dict[str, float] = {}
        # Time and processor seconds of the first and the last reading.
        self._cpu: list[tuple[float, float]] = []
        self._own: set[int] = set()
        self._on_card: set[frozenset[int]] = set()
        self._samples: list[_Sample] = []

    def take(self, now: float) -> float:
        """Takes one reading; returns when the next is due."""
        before = self._spent() if self._paid is None else self._paid  # waking up is part of the cost
        if self._gpus:
            self._read_cards(now, [gpu.read() for gpu in self._gpus])
        usage = self._tree()
        if usage is not None:
            self._peak("rss_peak", usage.rss)
            self._cpu[1:] = [(now, usage.cpu)]
            self._own |= usage.pids
        self._paid = self._spent()
        cost = self._paid - before
        self._cost += cost
        self._readings += 1
        return now + max(min((now - self.began) * GROWTH, LONGEST), SHORTEST, cost / SHARE)

    def _read_cards(self, now: float, cards: Sequence[GpuReading]) -> None:
        utilization, power, energy = (_of_all(cards, name) for name in ("utilization", "power", "energy"))
        memory, reasons = _of_all(cards, "memory"), _of_all(cards, "throttle_reasons")
        for card in cards:
            if card.temperature is not None:
                self._peak("gpu_temperature", card.temperature)
        if memory:
            self._peak("gpu_memory_peak", sum(memory))
        processes = [card.processes for card in cards if card.processes is not None]
        if processes:
            self._on_card.add(frozenset().union(*processes))
        self._samples.append(
            _Sample(
                at=now,
                utilization=sum(utilization) / len(utilization) if utilization else None,
                power=sum(power) if power else None,
                energy=sum(energy) if energy else None,
                clocks=tuple(card.clock for card in cards if card.clock is not None),
                throttle_reasons=frozenset().union(*reasons) if reasons else None,
            )
        )

    def _peak(self, name: str, value: float) -> None:
        self._peaks[name] = max(float(value), self._peaks.get(name, 0.0))

    def readings(self, ended: float, loop: tuple[float, float] | None = None, samples: int = 0) -> Readings:
        """The summary of the readings, for a launch that has `ended`.

        `loop` is the begin and end of its training loop; if it is None, the whole launch is used instead. `samples` are
        the samples that the loop went through, 0 if unknown.
        """
        telemetry = {"readings": float(self._readings), **self._peaks}
        if ended > self.began:
            telemetry["cost"] = self._cost / (ended - self.began)
        if len(self._cpu) == 2:
            (first, before), (last, after) = self._cpu
            if last > first:
                telemetry["cpu"] = (after - before) / (last - first)
        window = loop or (self.began, math.inf)
        for name in ("utilization", "power"):
            mean = self._mean(name, window)
            if mean is not None:
                telemetry[f"gpu_{name}"] = mean
        energy = None if loop is None else self._energy(*loop)
        if energy is not None:
            telemetry["energy"] = energy
            if samples:
                telemetry["energy_per_sample"] = energy / samples
        return Readings(telemetry, {**self._sharing(), **({} if loop is None else self._speed(*loop))})

    def _mean(self, name: str, window: tuple[float, float]) -> float | None:
        """The mean of one quantity over a window, each reading weighted by the time since the one before."""
        begin, end = window
        total = length = 0.0
        previous = self.began
        for sample in self._samples:
            value, time_since = getattr(sample, name), sample.at - max(previous, begin)
            previous = sample.at
            if value is not None and begin <= sample.at <= end:
                total += value * time_since
                length += time_since
        return total / length if length > 0 else None

    def _energy(self, begin: float, end: float) -> float | None:
        """Joules from `begin` to `end`; None if there are no readings close to both."""
        known = [(sample.at, sample.energy) for sample in self._samples if sample.energy is not None]
        widest = (end - begin) * _ENDS
        if widest < _COUNTER:
            return None
        at_begin, at_end = _interpolated(known, begin, widest), _interpolated(known, end, widest)
        if at_begin is None or at_end is None:
            return None
        return at_end - at_begin if at_end >= at_begin else None  # the driver was reloaded, and counts from 0

    def _sharing(self) -> dict[str, float]:
        """The largest number of other processes on the cards at one reading.

        Not measured if the launch itself was never seen there: it ended before, or the driver gives pids from outside
        of this container, which cannot be compared with ours.
        """
        on_card = list(self._on_card)
        if not any(pids & self._own for pids in on_card):
            return {}
        return {"gpu_others": float(max(len(pids - self._own) for pids in on_card))}

    def _speed(self, begin: float, end: float) -> dict[str, float]:
        """Throttling, power caps and clocks of the cards in the loop."""
        inside = [sample for sample in self._samples if begin <= sample.at <= end]
        reasons = [sample.throttle_reasons for sample in inside if sample.throttle_reasons is not None]
        clocks = [clock for sample in inside for clock in sample.clocks]
        guards = {}
        if reasons:
            guards["gpu_throttled"] = sum(bool(names & _SLOWDOWNS) for names in reasons) / len(reasons)
            guards["gpu_power_capped"] = sum("power_cap" in names for names in reasons) / len(reasons)
        if clocks:
            guards["gpu_clock_low"], guards["gpu_clock_high"] = min(clocks), max(clocks)
        return guards


def _of_all(cards: Sequence[GpuReading], name: str) -> list[Any]:
    """The values of all cards; empty if one card has none, since a sum must include every card."""
    values = [getattr(card, name) for card in cards]
    return [] if None in values else values


def _interpolated(known: Sequence[tuple[float, float]], when: float, widest: float) -> float | None:
    """A value at one moment, interpolated between the readings around it; None if these are too far away."""
    place = bisect_left(known, (when,))
    if place < len(known) and known[place][0] == when:
        return known[place][1]
    if not 0 < place < len(known):
        return None
    (before, low), (after, high) = known[place - 1 : place + 1]
    if after - before > widest:
        return None
    return low + (high - low) * (when - before) / (after - before)


class Telemetry:
    """Watches one launch after the other, in a thread.

    `cards` gives the cards of a device, for a process with some variables; each is asked for once. `patience` is how
    many seconds a call waits for that thread, which a failed card may block forever; after that the readings taken so
    far are used.
    """

    def __init__(
        self,
        cards: Callable[[str, Mapping[str, str]], Sequence[Gpu]] = cards_of,
        clock: Callable[[], float] = time.monotonic,
        patience: float = 1.0,
    ) -> None:
        self._cards = cards
        self._opened: dict[tuple[str, tuple[tuple[str, str], ...]], Sequence[Gpu]] = {}
        self._clock = clock
        self._patience = patience
        self._watch: LaunchTelemetry | None = None
        # A launch: begin watching it. An Event: set it once the last reading is taken. None: end the thread.
        self._orders: queue.SimpleQueue[LaunchTelemetry | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def watch(self, pid: int, device: str = "cpu", variables: Mapping[str, str] = NO_VARIABLES) -> None:
        """A launch has begun: process `pid` leads it, on this device as a process with these variables calls it."""
        if not self._thread.is_alive():
            return  # closed
        key = device, tuple(sorted(variables.items()))
        if key not in self._opened:
            self._opened[key] = self._cards(device, variables)
        self._watch = LaunchTelemetry(self._clock(), ProcessTree(pid).read, self._opened[key])
        self._orders.put(self._watch)

    def end(self, loop: tuple[float, float] | None, samples: int = 0) -> Readings:
        """The readings of the launch, which has ended. The arguments are those of `LaunchTelemetry.readings`."""
        watch, self._watch = self._watch, None
        if watch is None:
            return Readings()
        ended, taken = self._clock(), threading.Event()
        self._orders.put(taken)
        taken.wait(self._patience)
        return watch.readings(ended, loop, samples)

    def close(self) -> None:
        """Ends the thread, and the watching of a launch that is still running; safe to call twice."""
        self._watch = None
        self._orders.put(None)
        self._thread.join(self._patience)

    def _run(self) -> None:
        watch: LaunchTelemetry | None = None
        due = 0.0
        while True:
            try:
                wait = None if watch is None else max(0.0, due - self._clock())
                order = self._orders.get(timeout=wait)
            except queue.Empty:
                if watch is not None:
                    due = watch.take(self._clock())
                continue
            if order is None:
                return
            if isinstance(order, LaunchTelemetry):
                watch, due = order, order.began
            else:
                if watch is not None:
                    watch.take(self._clock())
                watch = None
                order.set()
