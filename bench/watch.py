"""Two lines in a training script with a loop of any shape, which then runs as it did.

    for inputs, targets in epochbench.watch(train_loader): ...

    with epochbench.stage("validate"):
        for inputs, targets in epochbench.watch(validate_loader): ...

Under `bench run --script` a listener measures each pass over a watched loader; otherwise `watch` returns the loader
and `stage` does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

Loader = TypeVar("Loader", bound=Iterable[Any])
Samples = int | Callable[[Any], Any]


class Listener(Protocol):
    """What measures the script: `worker/script/recorder.py`."""

    def watch(
        self, loader: Any, stage: str | None, steps_per_epoch: int | None, samples: Samples | None
    ) -> Any: ...
    def stage(self, name: str) -> AbstractContextManager[None]: ...


_listener: Listener | None = None
_NOTHING = nullcontext()


def watch(
    loader: Loader,
    stage: str | None = None,
    *,
    steps_per_epoch: int | None = None,
    samples: Samples | None = None,
) -> Loader:
    """The loader, to be iterated over: each pass is a stage of an epoch, each batch a step.

    `stage` is "train", "validate" or "test", for a loader that other code iterates over, such as a Trainer; by default
    the surrounding `stage` gives it. A pass is cut into epochs of `steps_per_epoch` where the loop counts steps alone.
    `samples` says how many rows of data a batch has where the batch does not: a number, or a function of the batch.
    """
    if _listener is None:
        return loader
    watched: Loader = _listener.watch(loader, stage, steps_per_epoch, samples)
    return watched


def stage(name: str) -> AbstractContextManager[None]:
    """The passes inside are of this stage: "train", "validate" or "test".

    Where a module is called and no watched loader is passed over, all that happens inside is one pass of one step.
    """
    return _NOTHING if _listener is None else _listener.stage(name)


def listen(listener: Listener | None) -> None:
    """From now on this listener gets passes and stages; None for no listener."""
    global _listener
    _listener = listener
