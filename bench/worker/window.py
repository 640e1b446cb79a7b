"""The loop over only a few batches, for untimed launches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.optim.lr_scheduler import OneCycleLR

from ..batches import samples_in, sizes_of
from ..training import Task


class Window:
    """The first `steps` full batches of a loader; it is iterated over again if it has fewer.

    A batch is full if it has as many samples as the first one; `size` returns this number. The window ends early once
    `has_enough` returns True.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        steps: int,
        size: Callable[[Any], int | None] = samples_in,
        has_enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self._loader = loader
        self._steps = steps
        self._size = size
        self._has_enough = has_enough

    def __iter__(self) -> Iterator[Any]:
        left, full = self._steps, None
        while left:
            before = left
            for batch in self._loader:
                size = self._size(batch)
                full = full or size
                if size == full:
                    yield batch
                    left -= 1
                if not left or self._has_enough():
                    return
            if left == before:
                return  # an empty loader: the loop raises an error

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":
            raise AttributeError(name)  # it is being copied, and has no attributes yet
        return getattr(self._loader, name)


def window(task: Task, loader: Iterable[Any], steps: int) -> Window:
    """The window of a loader of this task."""
    sizes = sizes_of(loader)
    return Window(loader, steps, lambda batch: task.samples_of(*task.pair(batch), sizes))


def windowed(task: Task, train: int, validate: int | None = None, test: int | None = None) -> Task:
    """The task with a limited number of steps per stage; None leaves a stage whole.

    A one-cycle schedule is made longer, since it raises when it is stepped beyond its end.
    """
    if isinstance(task.scheduler, OneCycleLR):
        task.scheduler.total_steps += train
    steps = {"train_loader": train, "validate_loader": validate, "test_loader": test}
    loaders: dict[str, Any] = {
        name: window(task, loader, number)
        for name, number in steps.items()
        if number is not None and (loader := getattr(task, name)) is not None
    }
    return dataclasses.replace(task, **loaders)
