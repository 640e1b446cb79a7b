"""What autograd keeps for the backward pass, told where torch.func is used as well."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch._functorch.eager_transforms as transforms
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from .hooks import is_traced

# Where torch.func refuses hooks for saved tensors: in the first what says so, in the second grad, vjp and their like.
# Forward derivatives take them, but what is saved there is gone when they end.
_REFUSE = (
    (torch.autograd.graph, "disable_saved_tensors_hooks"),
    (transforms, "grad_increment_nesting"),
    (transforms, "jvp_increment_nesting"),
)


class Saving:
    """While it is entered, `save` is called with each tensor that autograd keeps.

    torch.func takes no such hooks and raises where there are any: while it runs they are set aside, and `is_whole`
    is False from then on. Hooks of the user's own stay in its way, as they would be elsewhere.
    """

    def __init__(self, save: Callable[[Tensor], Tensor]) -> None:
        self.is_whole = True
        self._save = save
        self._hooks = saved_tensors_hooks(self._told, lambda tensor: tensor)
        self._aside = 0
        self._entered = ExitStack()

    def __enter__(self) -> Saving:
        for owner, name in _REFUSE:
            plain = getattr(owner, name)
            setattr(owner, name, self._without_hooks(plain))
            self._entered.callback(setattr, owner, name, plain)
        self._entered.enter_context(self._hooks)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def _told(self, tensor: Tensor) -> Tensor:
        if is_traced(tensor):
            self.is_whole = False
            return tensor
        return self._save(tensor)

    def _without_hooks(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        @contextmanager
        def inside(*arguments: Any, **named: Any) -> Iterator[Any]:
            if not self._aside and not self._is_on_top():
                with plain(*arguments, **named) as entered:
                    yield entered
                return
            self.is_whole = False
            if not self._aside:
                self._hooks.__exit__()
            self._aside += 1
            try:
                with plain(*arguments, **named) as entered:
                    yield entered
            finally:
                self._aside -= 1
                if not self._aside:
                    self._hooks.__enter__()

        return inside

    def _is_on_top(self) -> bool:
        """Whether no hooks of the user's own were entered after these."""
        top = torch._C._autograd._top_saved_tensors_default_hooks(True)
        return top is not None and top[0] is self._hooks.pack_hook
