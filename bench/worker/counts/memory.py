"""The memory of tensors, allocation by allocation, as the profiler reports it.

The category of an allocation follows from its phase and from the addresses of parameters, gradients and the optimizer's
state when the phase ends. Marks in the profile relate its events to the loop.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch._C._profiler import _ExtraFields_Allocation
from torch.nn.parameter import is_lazy
from torch.profiler import profile

from ...measurement import MemoryTimeline
from ...system.json_data import json_object
from ...training import Task
from ..marks import OUTSIDE, Marks, activities_for, number_of

PARAMETERS, GRADIENTS, STATE, ACTIVATIONS = "parameters", "gradients", "optimizer state", "activations"
BATCH, BEFORE, TEMPORARY = "batch", "made before the loop", "temporary"
CATEGORIES = (PARAMETERS, GRADIENTS, STATE, ACTIVATIONS, BATCH, BEFORE, TEMPORARY)

_MADE_IN = {"data": BATCH, "transfer": BATCH, "forward": ACTIVATIONS, "loss": ACTIVATIONS}

_MOST_POINTS = 2000  # of a timeline: more than a picture can show


@dataclass
class _Block:
    """One allocation. Its category is known when its phase ends."""

    size: int
    category: str = TEMPORARY


@dataclass(frozen=True)
class _Change:
    """A block was allocated, or freed (a negative `bytes`), in the section that `mark` ends."""

    nanoseconds: int
    bytes: int
    block: _Block
    mark: int


@dataclass(frozen=True)
class MemoryFound:
    """By the names of METRICS without "count.": sums over the counted steps by stage, and `totals` that belong to no
    step.
    """

    by_stage: Mapping[str, Mapping[str, int]]
    totals: Mapping[str, int]
    timeline: MemoryTimeline | None


class MemoryTrace(Marks):
    """Records from entering to leaving; `watch` gets the task once it is built."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._where: list[Mapping[int, str]] = []  # at each mark, the category by address
        self._task: Task | None = None
        self._steps: dict[str, int] = {}  # by stage
        watched, _ = activities_for(device)
        self._profile = profile(activities=watched, profile_memory=True)

    def __enter__(self) -> MemoryTrace:
        self._profile.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._profile.stop()

    def watch(self, task: Task) -> None:
        self._task = task
        self.together = task.accumulation_steps
        self.mark(OUTSIDE.stage, OUTSIDE.step, OUTSIDE.phase)

    def mark(self, stage: str, step: int, phase: str) -> None:
        self._where.append(self._known(phase))
        super().mark(stage, step, phase)

    def _known(self, phase: str) -> dict[int, str]:
        """Categories by address; updated only after phases that may have changed them."""
        if self._task is None or phase not in ("", "backward", "optimizer"):
            return {}
        parameters, buffers = list(self._task.model.parameters()), list(self._task.model.buffers())
        return {
            **{storage(t): STATE for t in tensors_in(list(self._task.optimizer.state.values()))},
            **{storage(t): GRADIENTS for t in tensors_in([p.grad for p in parameters])},
            **{storage(t): PARAMETERS for t in tensors_in([*parameters, *buffers])},
        }

    def step(self, samples: int, loss: Tensor | None) -> None:
        stage = self._open[-1][0]
        self._steps[stage] = self._steps.get(stage, 0) + 1
        super().step(samples, loss)

    @property
    def counted_steps(self) -> dict[str, int]:
        """How many steps of each stage are counted: all but the first of training, or its first group of batches."""
        return {
            stage: number - (self.together if stage == "train" else 0)
            for stage, number in self._steps.items()
        }

    def found(self) -> MemoryFound:
        """The sums over the counted steps, and the timeline of the last step of the first stage."""
        changes, times = self._changes()
        level = peak = 0
        by_stage = {stage: {"allocations": 0, "allocated_bytes": 0} for stage in self._steps}
        for change in changes:
            level += change.bytes
            peak = max(peak, level)
            mark = self.marks[change.mark] if change.mark < len(self.marks) else OUTSIDE
            if change.bytes > 0 and mark.is_counted and mark.stage in by_stage:
                by_stage[mark.stage]["allocations"] += 1
                by_stage[mark.stage]["allocated_bytes"] += change.bytes
        return MemoryFound(by_stage, {"peak_live_bytes": peak}, self._timeline(changes, times))

    def _changes(self) -> tuple[list[_Change], list[int]]:
        """All changes in the order of time with the category of each block, and the time of each mark."""
        live: dict[int, _Block] = {}
        fresh: list[_Block] = []
        changes: list[_Change] = []
        times: list[int] = []
        for nanoseconds, address, size in sorted(self._events(), key=lambda event: event[0]):
            if address is None:
                mark = self.marks[size]
                for block in fresh:
                    block.category = _MADE_IN.get(mark.phase, TEMPORARY) if mark.stage else BEFORE
                fresh.clear()
                for place, category in self._where[size].items():
                    if place in live:
                        live[place].category = category
                times.append(nanoseconds)
            elif size > 0:
                block = live[address] = _Block(size)
                fresh.append(block)
                changes.append(_Change(nanoseconds, size, block, len(times)))
            elif address in live:  # else it was allocated before recording began
                block = live.pop(address)
                changes.append(_Change(nanoseconds, -block.size, block, len(times)))
        return changes, times

    def _events(self) -> Iterator[tuple[int, int | None, int]]:
        """Each allocation as (time, address, bytes), freed bytes negative; each mark as (time, None, number)."""
        results: Any = self._profile.profiler.kineto_results  # type: ignore[union-attr]
        waiting = list(results.experimental_event_tree())
        while waiting:
            event = waiting.pop()
            waiting += event.children
            extra = event.extra_fields
            if isinstance(extra, _ExtraFields_Allocation):
                if extra.alloc_size and extra.device.type == self._device.type:
                    yield event.start_time_ns, extra.ptr, extra.alloc_size
            elif (number := number_of(event.name)) is not None:
                yield event.start_time_ns, None, number

    def trace(self) -> list[dict[str, Any]]:
        """The events of the profile as a Chrome trace has them."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "trace.json"
            self._profile.export_chrome_trace(str(path))
            events: list[dict[str, Any]] = json_object(path.read_bytes())["traceEvents"]
        return events

    def _timeline(self, changes: Iterable[_Change], times: Sequence[int]) -> MemoryTimeline | None:
        """The timeline of the last whole step of the first stage."""
        stage = next((mark.stage for mark in self.marks if mark.stage), "")
        last = max(
            (mark.step for mark in self.marks if mark.stage == stage and mark.phase == "other"), default=-1
        )
        step = [n for n, mark in enumerate(self.marks) if mark.stage == stage and mark.step == last - 1]
        if not stage or not step or not step[0]:
            return None
        begins = times[step[0] - 1]
        levels = dict.fromkeys(CATEGORIES, 0)
        points: list[tuple[int, dict[str, int]]] = []
        for change in changes:
            if change.mark > step[-1]:
                break
            levels[change.block.category] += change.bytes
            if change.mark >= step[0]:
                points.append((change.nanoseconds, dict(levels)))
            else:
                points = [(begins, dict(levels))]
        kept = thinned(points)
        return MemoryTimeline(
            seconds=tuple(round((at - begins) * 1e-9, 9) for at, _ in kept),
            bytes={name: tuple(level[name] for _, level in kept) for name in CATEGORIES},
            phases=tuple(self.marks[n].phase for n in step),
            ends=tuple(round((times[n] - begins) * 1e-9, 9) for n in step),
        )


def thinned(points: Sequence[tuple[int, dict[str, int]]]) -> Sequence[tuple[int, dict[str, int]]]:
    """At most _MOST_POINTS points: of neighbouring points the one with the most bytes, so that peaks stay."""
    together = -(-len(points) // _MOST_POINTS)
    if together <= 1:
        return points
    groups = [points[start : start + together] for start in range(0, len(points), together)]
    return [max(group, key=lambda point: sum(point[1].values())) for group in groups]


def tensors_in(value: Any) -> Iterable[Tensor]:
    """The tensors in nested tuples, lists and mappings that have memory: of a sparse one its indices and values.

    Other layouts (compressed, oneDNN's) do not expose the address of their memory, and are ignored; parameters of a
    lazy module have none yet.
    """
    if isinstance(value, Tensor):
        if is_lazy(value):
            return
        if value.layout is torch.strided:
            yield value
        elif value.layout is torch.sparse_coo:
            yield from (value._indices(), value._values())
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_in(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from tensors_in(one)


def storage(tensor: Tensor) -> int:
    """The address of a tensor's memory: the same for all its views."""
    return tensor.untyped_storage().data_ptr()


def held(tensors: Iterable[Tensor]) -> int:
    """Bytes of the memory behind these tensors; shared memory counts once."""
    return sum({storage(t): t.untyped_storage().nbytes() for t in tensors}.values())
