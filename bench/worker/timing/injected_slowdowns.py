"""Slowdowns of known size, injected into a task to see whether the gate finds them.

A slowdown is real work: a busy wait when a batch of a stage is taken from its loader (on CUDA a kernel that keeps the
device busy), or one more layer after the model, trained with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ...measurement.messages import Slowdown
from ...training import Task

_HIDDEN = 64  # width of the layer that is added
_CYCLES = 10_000_000  # of the kernel that measures how long a cycle is


def add(task: Task, slowdown: Slowdown) -> None:
    """Injects the slowdown.

    Raises ValueError for an unknown kind and a stage without a loader, TypeError for a layer after a model whose output
    is not a tensor.
    """
    if slowdown.kind == "layer":
        add_layer(task)
    elif slowdown.kind == "wait":
        name = f"{slowdown.stage}_loader"
        loader = getattr(task, name)
        if loader is None:
            raise ValueError(f"the task has no {name}, before whose batches it could wait")
        setattr(task, name, Slowed(loader, slowdown.every, waiter(task.device, slowdown.seconds)))
    else:
        raise ValueError(f"unknown slowdown {slowdown.kind!r}")


class Slowed:
    """A loader that waits before every `every`-th batch, counted over all passes; otherwise unchanged."""

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
    """A function that keeps the device busy for this long; the host if there is no CUDA device."""
    if device.type != "cuda":
        return lambda: busy(seconds)
    cycles = int(seconds * _cycles_a_second(device))
    return lambda: torch.cuda._sleep(cycles)


def busy(seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
    """Waits without yielding the processor."""
    ends = clock() + seconds
    while clock() < ends:
        pass


def _cycles_a_second(device: torch.device) -> float:
    """Clock cycles per second in kernels of a CUDA device, from the second of two kernels."""
    with torch.cuda.device(device):
        torch.cuda._sleep(_CYCLES)
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        torch.cuda._sleep(_CYCLES)
        ended.record()
        ended.synchronize()
        return _CYCLES / (float(began.elapsed_time(ended)) / 1e3)


def add_layer(task: Task) -> None:
    """Adds one more layer after the model, with a shortcut, and to the optimizer, as a commit might."""
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
