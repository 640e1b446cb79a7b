"""The loop over a few batches only: what launches apart from timing run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.optim.lr_scheduler import OneCycleLR

from ..training import Task, rows


class Window:
    """The first `steps` full batches of a loader, from its beginning again where it has fewer.

    A batch is full that has as many rows as the first one; `size` tells how many it has. There are fewer where
    `has_enough`, which is asked before each but the first, says so.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        steps: int,
        size: Callable[[Any], int] = lambda batch: rows(batch[1]),
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
                return  # an empty loader: the loop says so


def windowed(task: Task, train: int, validate: int | None = None, test: int | None = None) -> Task:
    """The task with so many steps a stage; None leaves a stage whole.

    A one-cycle schedule may be stepped no further than its end, which might come before that of the window.
    """
    if isinstance(task.scheduler, OneCycleLR):
        task.scheduler.total_steps += train
    steps = {"train_loader": train, "validate_loader": validate, "test_loader": test}
    loaders: dict[str, Any] = {
        name: Window(getattr(task, name), number) for name, number in steps.items() if number is not None
    }
    return dataclasses.replace(task, **loaders)
