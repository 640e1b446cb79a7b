"""The tensors that autograd saves for the backward pass, also in a loop that uses torch.func.

Functions such as torch.func.grad refuse to run under hooks for saved tensors: while one of them runs the hooks are off,
and what it saves is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import graph


class Keeps(Protocol):
    """Is told of saved tensors; `misses_saved` is set once some may have been missed."""

    misses_saved: bool

    def save(self, tensor: Tensor) -> Tensor: ...


@contextmanager
def saving(counter: Keeps) -> Iterator[None]:
    """Within, tells the counter of each tensor that autograd saves."""
    plain: Callable[[str], Any] = graph.disable_saved_tensors_hooks
    hooks = graph.saved_tensors_hooks(counter.save, lambda tensor: tensor)

    @contextmanager
    def without_ours(message: str) -> Iterator[None]:
        top = torch._C._autograd._top_saved_tensors_default_hooks(True)
        if top is None or top[0] is not hooks.pack_hook:
            with plain(message):  # the hooks are not ours
                yield
            return
        counter.misses_saved = True
        hooks.__exit__()
        try:
            with plain(message):
                yield
        finally:
            hooks.__enter__()

    graph.disable_saved_tensors_hooks = without_ours  # type: ignore[assignment]
    try:
        with hooks:
            yield
    finally:
        graph.disable_saved_tensors_hooks = plain  # type: ignore[assignment]
