"""Slowdowns of known size, planted into a task to see whether the gate finds them.

A plant is work that is really done: a busy wait of so many seconds as the batches of a stage are taken from its loader
(on CUDA a kernel that keeps the device as long), or one more layer behind the model, trained with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ...training import Task

_HIDDEN = 64  # width of the layer that is added
_CYCLES = 10_000_000  # of the kernel that tells how long a cycle is


def add(task: Task, plant: Mapping[str, Any]) -> None:
    """Plants what `plant` says: `kind` is "wait" or "layer".

    A wait has the `stage` whose batches it comes before, `every` how many of them, and `seconds`. Raises ValueError
    for an unknown kind, TypeError for a layer behind a model whose output is no tensor.
    """
    if plant["kind"] == "layer":
        add_layer(task)
    elif plant["kind"] == "wait":
        name = f"{plant['stage']}_loader"
        if getattr(task, name) is None:
            raise ValueError(f"a wait has no place: the task has no {name}")
        if getattr(task, name) is None:
            raise ValueError(f"the task has no {name}, before whose batches a wait could be planted")
        setattr(
            task, name, Slowed(getattr(task, name), plant["every"], waiter(task.device, plant["seconds"]))
        )
    else:
        raise ValueError(f"unknown plant {plant['kind']!r}")


class Slowed:
    """A loader that waits before every so many of its batches, in all passes together; else as it was."""

    def __init__(self, loader: Any, every: int, wait: Callable[[], None]) -> None:
        self._loader, self._every, self._wait = loader, every, wait
        self._taken = 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            self._taken += 1
            if self._taken % self._every == 0:
                self._wait()
            yield batch

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def waiter(device: torch.device, seconds: float) -> Callable[[], None]:
    """Keeps the device, or where that is the host the host, busy for so long."""
    if device.type != "cuda":
        return lambda: busy(seconds)
    cycles = int(seconds * _cycles_a_second(device))
    return lambda: torch.cuda._sleep(cycles)


def busy(seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
    """Waits without giving the processor away."""
    ends = clock() + seconds
    while clock() < ends:
        pass


def _cycles_a_second(device: torch.device) -> float:
    """How fast the clock of a CUDA device's kernels runs, from the second of two kernels."""
    with torch.cuda.device(device):
        torch.cuda._sleep(_CYCLES)
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        torch.cuda._sleep(_CYCLES)
        ended.record()
        ended.synchronize()
        return _CYCLES / (float(began.elapsed_time(ended)) / 1e3)


def add_layer(task: Task) -> None:
    """One more layer behind the model, with a shortcut, and in the optimizer: as a commit would add it."""
    layer: torch.nn.Module | None = None

    def behind(_model: torch.nn.Module, _inputs: Any, outputs: Any) -> Any:
        nonlocal layer
        if not isinstance(outputs, torch.Tensor):
            raise TypeError(f"the layer goes behind a tensor, not a {type(outputs).__name__}")
        if layer is None:
            width = outputs.shape[-1]
            layer = torch.nn.Sequential(
                torch.nn.Linear(width, _HIDDEN), torch.nn.ReLU(), torch.nn.Linear(_HIDDEN, width)
            ).to(outputs.device, outputs.dtype)
            if task.optimizer is not None:
                task.optimizer.add_param_group({"params": list(layer.parameters())})
        return outputs + layer(outputs)

    task.model.register_forward_hook(behind)
