"""The two lines that mark the loop of a training script; without Epochbench they do nothing.

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
    """The loader, watched: each pass over it is a stage of an epoch, each batch is a step.

    `stage` is "train", "validate" or "test", for a loader that other code iterates over, such as a Trainer; by default
    the surrounding `stage` gives it. With `steps_per_epoch`, for loops that count only steps, a pass is divided into
    epochs of that many steps. `samples` gives the rows of data in a batch where its shapes do not: a number, or a
    function of the batch.
    """
    if _listener is None:
        return loader
    watched: Loader = _listener.watch(loader, stage, steps_per_epoch, samples)
    return watched


def stage(name: str) -> AbstractContextManager[None]:
    """The passes inside are of this stage: "train", "validate" or "test".

    If there is no pass over a watched loader inside, but a call of a module, everything inside is one pass of one step.
    """
    return _NOTHING if _listener is None else _listener.stage(name)


def listen(listener: Listener | None) -> None:
    """Sends passes and stages to this listener from now on; None removes it."""
    global _listener
    _listener = listener
