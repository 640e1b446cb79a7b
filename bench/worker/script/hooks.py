"""Follows the loop of a script by its calls to torch: modules, backward passes, optimizer steps.

Functions of torch are wrapped while the hooks are entered. `Module.__call__` is wrapped instead of using torch's global
hooks: these take each submodule off its fast path, and torch.compile recompiles when they are added or removed. The
wrapper costs a tenth of a microsecond per call of a submodule.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader

from .phase_tracker import PhaseTracker
from .threads import ScriptThreads


class Hooks:
    """While entered, reports to `listener` what happens in the thread of the loop, and ignores other threads.

    `loader_made` is called for each DataLoader that is created. An error that ends the script is raised unless
    `excuses` returns True for it.
    """

    def __init__(
        self,
        listener: PhaseTracker,
        threads: ScriptThreads,
        loader_made: Callable[[DataLoader[Any]], None],
        excuses: Callable[[BaseException], bool],
    ) -> None:
        self._listener = listener
        self._threads = threads
        self._loader_made = loader_made
        self._excuses = excuses
        self._wrapped = ExitStack()
        self._is_inside = False  # of a module
        self._is_stepping = False
        self._optimizers: set[type] = set()  # classes with a wrapped `step`

    def __enter__(self) -> Hooks:
        listener = self._listener
        self._wrapped.enter_context(self._threads)
        self._wrap_call()
        # Tensor.backward calls the first, torch.func the second.
        self._wrap_backward("backward", lambda tensors, *_, **__: tensors)
        self._wrap_backward("grad", graded)
        for has_gradients in (Optimizer, nn.Module):
            self._wrap(
                has_gradients, "zero_grad", lambda *_: listener.zeroing_began(), listener.zeroing_ended
            )
        self._wrap_scaler()
        self._wrap_optimizers()
        self._wrap_loaders()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        self._wrapped.close()
        self._optimizers.clear()
        return error is not None and self._excuses(error)

    def _wrap_call(self) -> None:
        hooks, plain, is_compiling = self, nn.Module.__call__, torch.compiler.is_compiling

        # The profiler looks for the module under the name `self`.
        @functools.wraps(plain)
        def told(self: nn.Module, *arguments: Any, **named: Any) -> Any:
            # While torch.compile traces a model, nothing here may break its graph.
            if is_compiling() or hooks._is_inside or not hooks._threads.is_in_loop():
                return plain(self, *arguments, **named)
            hooks._listener.forward_began(self, (*arguments, *named.values()))
            hooks._is_inside = True
            try:
                return plain(self, *arguments, **named)
            finally:
                hooks._is_inside = False
                hooks._listener.forward_ended(self)

        self._put(nn.Module, "__call__", plain, told)

    def _wrap_backward(self, name: str, loss_in: Callable[..., Any]) -> None:
        """Reports each backward pass; one outside the loop's thread is first reported as `backward_elsewhere`."""
        plain, listener = getattr(torch.autograd, name), self._listener
        is_compiling = torch.compiler.is_compiling

        @functools.wraps(plain)
        def told(*arguments: Any, **named: Any) -> Any:
            if is_compiling():
                return plain(*arguments, **named)
            if not self._threads.is_in_loop():
                listener.backward_elsewhere()
                if not self._threads.is_in_loop():
                    return plain(*arguments, **named)
            if name == "grad":
                arguments, named = listed(arguments, named)
            listener.backward_began(loss_in(*arguments, **named))
            try:
                return plain(*arguments, **named)
            finally:
                listener.backward_ended()

        self._put(torch.autograd, name, plain, told)

    def _wrap_loaders(self) -> None:
        """Reports each DataLoader that is created."""
        plain, loader_made = DataLoader.__init__, self._loader_made

        @functools.wraps(plain)
        def told(self: DataLoader[Any], *arguments: Any, **named: Any) -> None:
            plain(self, *arguments, **named)
            loader_made(self)

        self._put(DataLoader, "__init__", plain, told)

    def _wrap(self, owner: Any, name: str, began: Callable[..., None], ended: Callable[[], None]) -> None:
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def told(*arguments: Any, **named: Any) -> Any:
            if not self._threads.is_in_loop():
                return plain(*arguments, **named)
            began(*(arguments or tuple(named.values())))
            try:
                return plain(*arguments, **named)
            finally:
                ended()

        self._put(owner, name, plain, told)

    def _wrap_optimizers(self) -> None:
        """Reports the begin and end of each outermost call of a `step`, also if it raises.

        Torch's own hooks miss what a `step` does around them, which is a third of a small SGD step; they are only used
        for optimizers created before.
        """
        hooks, plain = self, Optimizer._patch_step_function
        listener, is_outermost_step = self._listener, self._is_outermost_step

        # Each optimizer calls it when it is created, copied or unpickled: before a scheduler wraps its `step`.
        @functools.wraps(plain)
        def told(self: Optimizer) -> None:
            plain(self)
            hooks._wrap_step(next(kind for kind in type(self).__mro__ if "step" in vars(kind)))

        self._put(Optimizer, "_patch_step_function", plain, told)
        before = register_optimizer_step_pre_hook(
            lambda optimizer, *_: listener.optimizer_began(optimizer) if is_outermost_step() else None
        )
        after = register_optimizer_step_post_hook(
            lambda *_: listener.optimizer_ended(True) if is_outermost_step() else None
        )
        self._wrapped.callback(before.remove)
        self._wrapped.callback(after.remove)

    def _is_outermost_step(self) -> bool:
        """Whether a step of an optimizer in the loop is not part of another one."""
        return not self._is_stepping and self._threads.is_in_loop()

    def _wrap_step(self, kind: type[Optimizer]) -> None:
        if kind in self._optimizers:
            return
        self._optimizers.add(kind)
        hooks, plain, is_compiling = self, kind.step, torch.compiler.is_compiling

        @functools.wraps(plain)
        def told(self: Optimizer, *arguments: Any, **named: Any) -> Any:
            if is_compiling() or not hooks._is_outermost_step():
                return plain(self, *arguments, **named)
            hooks._is_stepping, is_done = True, False
            hooks._listener.optimizer_began(self)
            try:
                made = plain(
                    self, *map(hooks._telling, arguments), **{n: hooks._telling(v) for n, v in named.items()}
                )
                is_done = True
                return made
            finally:
                hooks._is_stepping = False
                hooks._listener.optimizer_ended(is_done)

        self._put(kind, "step", plain, told)

    def _telling(self, argument: Any) -> Any:
        """An argument of a `step`; calls of it are reported if it is the closure."""
        if not callable(argument) or isinstance(argument, nn.Module):
            return argument

        @functools.wraps(argument)
        def told(*arguments: Any, **named: Any) -> Any:
            self._listener.closure_began()
            return argument(*arguments, **named)

        return told

    def _wrap_scaler(self) -> None:
        plain, listener = torch.amp.GradScaler.scale, self._listener

        @functools.wraps(plain)
        def told(scaler: Any, outputs: Any) -> Any:
            made = plain(scaler, outputs)
            if isinstance(outputs, Tensor) and self._threads.is_in_loop():
                listener.scaled(made, outputs)
            return made

        self._put(torch.amp.GradScaler, "scale", plain, told)

    def _put(self, owner: Any, name: str, plain: Any, told: Any) -> None:
        setattr(owner, name, told)
        self._wrapped.callback(setattr, owner, name, plain)


def listed(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `torch.autograd.grad`, with a list in place of an iterator of inputs."""
    if len(arguments) > 1 and isinstance(arguments[1], Iterator):
        arguments = (arguments[0], list(arguments[1]), *arguments[2:])
    if isinstance(named.get("inputs"), Iterator):
        named = {**named, "inputs": list(named["inputs"])}
    return arguments, dict(named)


def graded(outputs: Any, inputs: Any, *others: Any, **named: Any) -> Any:
    """The loss of a call of `torch.autograd.grad`; None if it gives no gradients of parameters.

    None also if the gradients are differentiated further, as for a gradient penalty or a differential equation.
    """
    creates_graph = named.get("create_graph", others[2] if len(others) > 2 else False)
    if isinstance(inputs, Mapping):
        inputs = list(inputs.values())
    wanted = inputs if isinstance(inputs, Sequence) else [inputs]
    return outputs if not creates_graph and any(isinstance(one, nn.Parameter) for one in wanted) else None
