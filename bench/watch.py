"""The door into a loop of any shape: two lines in a training script, which then runs as it did.

    for inputs, targets in bench.watch(train_loader): ...

    with bench.stage("validate"):
        for inputs, targets in bench.watch(validate_loader): ...

Under `bench run --script` somebody listens, and measures each pass over a watched loader; otherwise `watch`
gives back what it was given and `stage` does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

Loader = TypeVar("Loader", bound=Iterable[Any])


class Listener(Protocol):
    """Whoever measures the script, as `worker/recorder.py` does."""

    def watch(self, loader: Any) -> Any: ...
    def stage(self, name: str) -> AbstractContextManager[None]: ...


_listener: Listener | None = None
_NOTHING = nullcontext()


def watch(loader: Loader) -> Loader:
    """The loader, to be iterated over: each pass is a stage of an epoch, each batch a step."""
    if _listener is None:
        return loader
    watched: Loader = _listener.watch(loader)
    return watched


def stage(name: str) -> AbstractContextManager[None]:
    """The passes inside are of this stage: "train", "validate" or "test"."""
    return _NOTHING if _listener is None else _listener.stage(name)


def listen(listener: Listener | None) -> None:
    """Who is told of passes and stages from now on; nobody for None."""
    global _listener
    _listener = listener
