"""The modules that a script calls: which of them are its models and losses, and how these are called."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.loss import _Loss

from .passes import parameter_of


@dataclass
class CalledModule:
    """The phase that the calls of a module are, and how it is called in training."""

    module: weakref.ref[nn.Module]
    phase: str  # empty for modules without a phase, such as a transform of data
    has_trained: bool = False  # it was called with autograd
    has_trained_in_mode: bool = False  # with autograd, in training mode

    def is_evaluated(self, module: nn.Module) -> bool:
        """Whether a call inside of a training step does not belong to its forward pass.

        Such a call is without autograd, or in evaluation mode where the module was in training mode before.
        """
        has_autograd = torch.is_grad_enabled()
        if self.phase == "loss":
            return not has_autograd
        if self.has_trained and (not has_autograd or (self.has_trained_in_mode and not module.training)):
            return True
        if has_autograd:
            self.has_trained = True
            self.has_trained_in_mode = self.has_trained_in_mode or module.training
        return False


class CalledModules:
    """The modules that were called from outside of any other; `found` is told once of each that has parameters."""

    def __init__(self, found: Callable[[nn.Module], None] = lambda _: None) -> None:
        self.device: torch.device | None = None  # of the first parameter
        self._found = found
        self._called: dict[int, CalledModule] = {}  # by id, since not all modules can be hashed

    def get(self, module: nn.Module) -> CalledModule:
        called = self._called.get(id(module))
        if called is not None and called.module() is module:
            return called
        parameter = parameter_of(module)
        phase = "forward" if parameter is not None else "loss" if isinstance(module, _Loss) else ""
        called = self._called[id(module)] = CalledModule(weakref.ref(module), phase)
        if parameter is not None:
            self.device = self.device or parameter.device
            # Parameters of `functional_call` are not the module's own: it does not move.
            if isinstance(parameter, nn.Parameter):
                self._found(module)
        return called
