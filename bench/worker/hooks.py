"""What torch tells of a loop that is not ours: calls of modules, backward passes, steps of optimizers.

Functions of torch are wrapped for as long as the hooks are entered. Calls of modules are seen at `Module.__call__`
and not by torch's own global hooks: these take each module within a model out of its fast path, and torch.compile
compiles anew when they come or go. What is wrapped costs a module within another a tenth of a microsecond.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)


class Sees(Protocol):
    """Who is told; of modules, those that are called from outside of any other."""

    def forward_began(self, module: nn.Module, inputs: Iterable[Any]) -> None: ...
    def forward_ended(self, module: nn.Module) -> None: ...
    def scaled(self, loss: Tensor, plain: Tensor) -> None: ...
    def backward_began(self, loss: Any) -> None: ...
    def backward_ended(self) -> None: ...
    def zeroing_began(self) -> None: ...
    def zeroing_ended(self) -> None: ...
    def optimizer_began(self, optimizer: Optimizer) -> None: ...
    def optimizer_ended(self) -> None: ...


class Hooks:
    """Tells `sees` what happens in `thread` between entering and leaving; others, which fetch data say, go unheard."""

    def __init__(self, sees: Sees) -> None:
        self.thread = 0  # that the loop runs in; none yet
        self._sees = sees
        self._wrapped = ExitStack()
        self._is_inside = False  # of a module
        self._is_stepping = False
        self._optimizers: set[type] = set()  # classes whose `step` is wrapped

    def __enter__(self) -> Hooks:
        sees = self._sees
        self._wrap_call()
        # Tensor.backward calls it too.
        self._wrap(
            torch.autograd, "backward", lambda loss, *_: sees.backward_began(loss), sees.backward_ended
        )
        for has_gradients in (Optimizer, nn.Module):
            self._wrap(has_gradients, "zero_grad", lambda *_: sees.zeroing_began(), sees.zeroing_ended)
        self._wrap_scaler()
        self._wrap_optimizers()
        return self

    def __exit__(self, *_: object) -> None:
        self._wrapped.close()
        self._optimizers.clear()

    def _is_heard(self) -> bool:
        return threading.get_ident() == self.thread

    def _wrap_call(self) -> None:
        hooks, plain, is_compiling = self, nn.Module.__call__, torch.compiler.is_compiling

        # The profiler looks for the module under the name `self`.
        @functools.wraps(plain)
        def told(self: nn.Module, *arguments: Any, **named: Any) -> Any:
            # While torch.compile traces a model it must find nothing here that breaks its graph.
            if is_compiling() or hooks._is_inside or not hooks._is_heard():
                return plain(self, *arguments, **named)
            hooks._sees.forward_began(self, (*arguments, *named.values()))
            hooks._is_inside = True
            try:
                return plain(self, *arguments, **named)
            finally:
                hooks._is_inside = False
                hooks._sees.forward_ended(self)

        self._put(nn.Module, "__call__", plain, told)

    def _wrap(self, owner: Any, name: str, began: Callable[..., None], ended: Callable[[], None]) -> None:
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def told(*arguments: Any, **named: Any) -> Any:
            if not self._is_heard():
                return plain(*arguments, **named)
            began(*(arguments or tuple(named.values())))
            try:
                return plain(*arguments, **named)
            finally:
                ended()

        self._put(owner, name, plain, told)

    def _wrap_optimizers(self) -> None:
        """Tells of each outermost call of a `step`, from its first instant to its last, also where it raises.

        Torch's own hooks leave out what a `step` does around them, which is a third of that of a small SGD; they
        tell of optimizers that were there before.
        """
        hooks, sees, is_news, plain = self, self._sees, self._is_news, Optimizer._patch_step_function

        # Each optimizer calls it when it is made, copied or unpickled: before a scheduler takes hold of its `step`.
        @functools.wraps(plain)
        def told(self: Optimizer) -> None:
            plain(self)
            hooks._wrap_step(next(kind for kind in type(self).__mro__ if "step" in vars(kind)))

        self._put(Optimizer, "_patch_step_function", plain, told)
        before = register_optimizer_step_pre_hook(
            lambda optimizer, *_: sees.optimizer_began(optimizer) if is_news() else None
        )
        after = register_optimizer_step_post_hook(lambda *_: sees.optimizer_ended() if is_news() else None)
        self._wrapped.callback(before.remove)
        self._wrapped.callback(after.remove)

    def _is_news(self) -> bool:
        """Whether `sees` is to be told of the step of an optimizer: it is not part of one that it was told of."""
        return not self._is_stepping and self._is_heard()

    def _wrap_step(self, kind: type[Optimizer]) -> None:
        if kind in self._optimizers:
            return
        self._optimizers.add(kind)
        hooks, plain, is_compiling = self, kind.step, torch.compiler.is_compiling

        @functools.wraps(plain)
        def told(self: Optimizer, *arguments: Any, **named: Any) -> Any:
            if is_compiling() or not hooks._is_news():
                return plain(self, *arguments, **named)
            hooks._is_stepping = True
            hooks._sees.optimizer_began(self)
            try:
                return plain(self, *arguments, **named)
            finally:
                hooks._is_stepping = False
                hooks._sees.optimizer_ended()

        self._put(kind, "step", plain, told)

    def _wrap_scaler(self) -> None:
        plain, sees = torch.amp.GradScaler.scale, self._sees

        @functools.wraps(plain)
        def told(scaler: Any, outputs: Any) -> Any:
            made = plain(scaler, outputs)
            if isinstance(outputs, Tensor) and self._is_heard():
                sees.scaled(made, outputs)
            return made

        self._put(torch.amp.GradScaler, "scale", plain, told)

    def _put(self, owner: Any, name: str, plain: Any, told: Any) -> None:
        setattr(owner, name, told)
        self._wrapped.callback(setattr, owner, name, plain)


def loss_of(tensors: Any) -> Tensor | None:
    """The loss that a backward pass was asked for: a tensor of one number, alone or in a sequence."""
    if isinstance(tensors, Sequence) and len(tensors) == 1:
        tensors = tensors[0]
    return tensors if isinstance(tensors, Tensor) and tensors.numel() == 1 else None
