"""Marks in a profile, which relate its events to the loop: recording them, and finding them again.

Each mark ends a section of the loop that belongs to one phase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, record_function

from ..training import Observer

NAME = "epochbench mark "  # followed by its number


@dataclass(frozen=True)
class Mark:
    """The end of a section of the loop. `step` is counted from 0 in its stage; `stage` is empty outside the loop."""

    stage: str
    step: int
    phase: str

    @property
    def is_counted(self) -> bool:
        """Whether the section is counted: not in the first train step, which allocates memory that stays."""
        return bool(self.stage) and (self.stage != "train" or self.step > 0)


OUTSIDE = Mark("", -1, "")


@dataclass(frozen=True)
class RecordedMark:
    """A mark in a profile, in its unit of time, on a `thread` of a process."""

    mark: Mark
    start: float
    end: float
    thread: tuple[Any, Any] = (None, None)


class Marks(Observer):
    """Puts a mark into the running profile at each lap of the loop; `marks` holds them all.

    If gradients of several batches are accumulated, all batches up to the first optimizer step are step 0.
    """

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.together = 1
        self._open: list[tuple[str, int]] = []

    def begin(self, stage: str) -> None:
        stretch = self._open[-1] if self._open else (OUTSIDE.stage, OUTSIDE.step)
        self.mark(*stretch, "other" if self._open else "")
        self._open.append((stage, 0))

    def lap(self, phase: str) -> None:
        self.mark(*self._open[-1], phase)

    def step(self, samples: int, loss: Tensor | None) -> None:
        stage, number = self._open.pop()
        self.mark(stage, number, "other")
        self._open.append((stage, number + 1))

    def end(self, stage: str, loss: float | None, metrics: Mapping[str, float]) -> None:
        self.mark(*self._open.pop(), "other")

    def mark(self, stage: str, step: int, phase: str) -> None:
        if stage == "train":
            step = max(0, step + 1 - self.together)
        with record_function(f"{NAME}{len(self.marks)}"):
            self.marks.append(Mark(stage, step, phase))


def number_of(event: str) -> int | None:
    """The number of a mark, from the name of its event; None for any other event."""
    number = event.removeprefix(NAME)
    return int(number) if number != event and number.isdecimal() else None


def marks_in_trace(events: Iterable[Mapping[str, Any]], marks: Sequence[Mark]) -> list[RecordedMark]:
    """The marks among the events of a Chrome trace in order of time; those on a device's track are ignored."""
    found = {}
    for event in events:
        number = number_of(str(event.get("name")))
        if number is not None and event.get("ph") == "X" and event.get("cat") == "user_annotation":
            start = event["ts"]
            thread = event.get("pid"), event.get("tid")
            found[number] = RecordedMark(marks[number], start, start + event["dur"], thread)
    return sorted(found.values(), key=lambda recorded: recorded.start)


def marks_in_profile(events: Iterable[FunctionEvent], marks: Sequence[Mark]) -> list[RecordedMark]:
    """The marks among the events of the profiler in order of time."""
    found = [
        RecordedMark(marks[number], event.time_range.start, event.time_range.end)
        for event in events
        if (number := number_of(event.name)) is not None
    ]
    return sorted(found, key=lambda recorded: recorded.start)


def activities_for(device: torch.device) -> tuple[list[ProfilerActivity], tuple[str, ...]]:
    """The activities that the profiler records for this device, and the limits if it cannot."""
    watched = [ProfilerActivity.CPU]
    if device.type == "cpu":
        return watched, ()
    wanted = getattr(ProfilerActivity, device.type.upper(), None)
    if wanted is None or wanted not in torch.profiler.supported_activities():
        return watched, ("device_not_profiled",)
    return [*watched, wanted], ()
