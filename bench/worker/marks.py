"""What launches under the profiler share: what it watches, and marks in it that tie its events to the loop.

Each mark ends a stretch that belongs to one phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, record_function

from ..training import Observer

NAME = "epochbench mark "  # and its number behind it


@dataclass(frozen=True)
class Mark:
    """The end of a stretch of the loop. `step` is counted from 0 in its stage; `stage` is empty outside the loop."""

    stage: str
    step: int
    phase: str

    @property
    def is_counted(self) -> bool:
        """Whether what happens in the stretch counts: all but the first train step, which makes what lasts."""
        return bool(self.stage) and (self.stage != "train" or self.step > 0)


OUTSIDE = Mark("", -1, "")


class Marks(Observer):
    """Puts a mark into the profile that is being recorded, at each lap of the loop; `made` holds them all.

    The batches up to the first step of an optimizer that takes several together are all step 0.
    """

    def __init__(self) -> None:
        self.made: list[Mark] = []
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
        with record_function(f"{NAME}{len(self.made)}"):
            self.made.append(Mark(stage, step, phase))


def number_of(event: str) -> int | None:
    """Which mark an event of this name is; None for any other."""
    number = event.removeprefix(NAME)
    return int(number) if number != event and number.isdecimal() else None


def activities_for(device: torch.device) -> tuple[list[ProfilerActivity], tuple[str, ...]]:
    """What the profiler is to watch for this device, and what it cannot."""
    watched = [ProfilerActivity.CPU]
    if device.type == "cpu":
        return watched, ()
    wanted = getattr(ProfilerActivity, device.type.upper(), None)
    if wanted is None or wanted not in torch.profiler.supported_activities():
        return watched, ("device_not_profiled",)
    return [*watched, wanted], ()
