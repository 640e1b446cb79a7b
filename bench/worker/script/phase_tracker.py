"""Turns the reports of the hooks into phases, losses and samples of the innermost pass."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torch.optim import Optimizer

from .loss_values import loss_of
from .pass_tracker import PassTracker
from .passes import TRAIN, Pass, parameter_of


@dataclass
class CalledModule:
    """The phase to which calls of a module belong, and how it is called in training."""

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
    """The modules that were called from outside of any other; `found` is called once for each that has parameters."""

    def __init__(self, found: Callable[[nn.Module], None]) -> None:
        self.device: torch.device | None = (
            None  # of the first parameter, that of an accelerator before the CPU's
        )
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
            if self.device is None or self.device.type == "cpu":
                self.device = parameter.device
            # Parameters of `functional_call` are not the module's own: it does not move.
            if isinstance(parameter, nn.Parameter):
                self._found(module)
        return called


class UnmarkedListener(Protocol):
    """Learns what the script does outside of marked loops: `Discovery` and `PlannedLoops`."""

    def forward(self, module: nn.Module) -> None: ...
    def backward(self) -> None: ...
    def optimizer_stepped(self) -> None: ...


class PhaseTracker:
    """`stepping` is called with an optimizer before each of its steps, `graded` with the loss of a step before its
    backward pass. Losses are kept if `keeps_losses`. `unmarked` gets the same events.
    """

    def __init__(
        self,
        passes: PassTracker,
        modules: CalledModules,
        stepping: Callable[[Optimizer], None],
        graded: Callable[[Tensor], None],
        keeps_losses: bool,
        unmarked: UnmarkedListener | None = None,
    ) -> None:
        self._passes = passes
        self._modules = modules
        self._stepping = stepping
        self._graded = graded
        self._keeps_losses = keeps_losses
        self._unmarked = unmarked
        self._open = passes.open
        self._called = ""  # the phase of the running module call
        self._backwards = 0  # running, one within the other
        self._optimizing = False

    def forward_began(self, module: nn.Module, inputs: Iterable[Any]) -> None:
        self._called = ""
        if self._unmarked is not None and not self._backwards:
            self._unmarked.forward(module)
            self._modules.get(module)  # its device
        passes = self._passes
        if self._backwards or not (self._open or passes.expects_work):
            return  # a recomputation during the backward pass is part of it
        called = self._modules.get(module)
        if called.phase and passes.expects_work:
            passes.worked(trains=False)
        if not called.phase or not self._open:
            return
        current = self._open[-1]
        current.worked = True
        self._called = called.phase
        if current.stage == TRAIN and called.is_evaluated(module):
            if called.phase == "forward":
                passes.failed("evaluation_marked")
            self._called = "other"
            passes.lap("loss" if current.waits else self._between())
        elif called.phase == "forward":
            current.has_forward = True
            passes.lap(self._between())
            if current.stage != TRAIN or torch.is_grad_enabled():
                current.feed(module, inputs)

    def forward_ended(self, module: nn.Module) -> None:
        if self._backwards or not self._open:
            return
        if self._called:
            self._passes.lap(self._called)
        if self._called == "forward":
            self._open[-1].waits = True

    def scaled(self, loss: Tensor, plain: Tensor) -> None:
        if self._open:
            self._open[-1].scaled.append((loss, plain))

    def backward_began(self, loss: Any) -> None:
        self._backwards += 1
        if self._backwards > 1:
            return
        if self._passes.expects_work:
            self._passes.worked(trains=True)
        if not self._open:
            return
        current = self._open[-1]
        self._passes.lap("loss" if current.waits else self._between())
        current.waits = False
        current.worked = True
        current.backwards += 1
        current.losses.group += 1
        self._add_loss(current, loss_of(loss))

    def _add_loss(self, current: Pass, loss: Tensor | None) -> None:
        """The first loss of a step is its loss; further ones are evaluations of an optimizer's closure."""
        if loss is None:
            return
        loss = current.unscaled(loss)
        if self._optimizing:
            self._passes.observer.evaluation(loss)
        if current.loss is not None:
            return
        current.loss = loss
        self._graded(loss)
        if self._keeps_losses:
            current.losses.add(loss, current.samples or 1)

    def backward_ended(self) -> None:
        self._backwards -= 1
        if self._backwards:
            return
        if self._open:
            self._passes.lap("backward")
        if self._unmarked is not None:
            self._unmarked.backward()

    def backward_elsewhere(self) -> None:
        self._passes.trained_elsewhere()

    def zeroing_began(self) -> None:
        if self._open:
            current = self._open[-1]
            current.losses.stepped()
            self._passes.lap("loss" if current.waits else self._between())

    def zeroing_ended(self) -> None:
        if self._open:
            self._passes.lap("zero_grad")

    def optimizer_began(self, optimizer: Optimizer) -> None:
        self._stepping(optimizer)
        if self._open:
            self._passes.lap(self._between())
            self._optimizing = True

    def closure_began(self) -> None:
        """An optimizer evaluates the batch; samples of further evaluations are not counted again."""
        if self._open:
            self._open[-1].has_fed = self._open[-1].samples > 0

    def optimizer_ended(self, is_done: bool) -> None:
        self._optimizing = False
        if self._open:
            self._passes.lap("optimizer")
            if is_done:
                self._open[-1].losses.stepped()
        if self._unmarked is not None and is_done:
            self._unmarked.optimizer_stepped()

    def _between(self) -> str:
        return "optimizer" if self._optimizing else "other"
