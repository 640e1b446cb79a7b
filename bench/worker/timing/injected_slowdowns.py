"""Slowdowns of known size, injected into a task to see whether the gate finds them.

A slowdown is real work: a busy wait when a batch of a stage is taken from its loader (on CUDA also a kernel that keeps
the device busy), or one more layer after the model, trained with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ...measurement.messages import Slowdown
from ...training import Task

_HIDDEN = 64  # width of the layer that is added
_CYCLES = 10_000_000  # of a kernel that tells how long a cycle is: a few milliseconds
_RAISING = 16  # such kernels until a device that was idle has raised its clock
_AGREE = 0.01  # two readings of a settled clock differ by less


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
    """A function that keeps host and CUDA device busy for this long, both at once.

    If a device waits for the host, a kernel alone would fill an idle gap and cost nothing; if it has work in its queue,
    a wait of the host alone would cost nothing.
    """
    if device.type != "cuda":
        return lambda: busy(seconds)
    cycles = int(seconds * settled(lambda: _cycles_a_second(device)))

    def wait() -> None:
        torch.cuda._sleep(cycles)
        busy(seconds)

    return wait


def settled(read: Callable[[], float], raising: int = _RAISING, most: int = 100) -> float:
    """The reading once two in a row agree, after some while the device raises its clock; the last one of `most`."""
    before = read()
    for number in range(1, most):
        now = read()
        if number >= raising and abs(now - before) < _AGREE * before:
            return now
        before = now
    return before


def busy(seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
    """Waits without yielding the processor."""
    ends = clock() + seconds
    while clock() < ends:
        pass


def _cycles_a_second(device: torch.device) -> float:
    """Clock cycles per second in kernels of a CUDA device."""
    with torch.cuda.device(device):
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
