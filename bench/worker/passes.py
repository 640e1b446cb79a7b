"""One pass over a watched loader, and what its batches, loader and losses tell."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..batches import samples_in


@dataclass
class Pass:
    """One pass over a watched loader. `site` is where it is watched; `is_named` says whether its stage was."""

    stage: str
    site: str
    is_named: bool
    epoch: int
    length: int | None = None  # batches of its loader, where that is known
    cut: int | None = None  # steps after which it ends, and another begins
    given: int = 0
    is_last: bool = False  # all were given: its loop need not ask for more
    steps: int = 0
    backwards: int = 0
    total: Tensor | None = None  # of the losses times their samples, gathered on the device
    weight: int = 0  # those samples
    loader: weakref.ref[Any] | None = None
    ended: bool = False
    # Of the step that is under way:
    samples: int = 0  # those of its batch, or else of what its first module was called with
    is_told: bool = False  # by its batch
    fed: nn.Module | None = None
    counted: bool = False
    loss: Tensor | None = None
    scaled: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # by a GradScaler, and what they were
    worked: bool = False  # a module was called, or a backward pass made
    waits: bool = False  # the forward pass has ended, the backward pass has not begun

    @property
    def is_remnant(self) -> bool:
        """Whether it is what is left of a loop that counts steps, behind its last whole epoch."""
        return self.cut is not None and self.epoch > 0 and self.steps < self.cut

    def receive(self, batch: Any) -> None:
        """A batch for the next step."""
        self.given += 1
        self.is_last = self.given == self.length
        self.samples, self.fed = samples_of(batch), None
        self.is_told = self.samples > 0
        self.loss, self.scaled = None, []
        self.counted = self.worked = self.waits = False

    def feed(self, module: nn.Module, inputs: Iterable[Any]) -> None:
        """A module is called with these inputs; in a loop that has numbers for batches the samples are theirs."""
        if not self.is_told and self.fed in (None, module):
            self.fed = module
            self.samples += rows_of(inputs)

    def unscaled(self, loss: Tensor) -> Tensor:
        """The loss as it was before a GradScaler scaled it, if one did."""
        for scaled, plain in self.scaled:
            if scaled is loss:
                return plain
        return loss

    def keep(self, loss: Tensor) -> None:
        """Adds the loss of the step to the others, at once.

        A copy of each would lie in the midst of what the next step allocates, and a compiled model may write its
        next loss to the same place.
        """
        value = loss.detach()
        if value.dim():
            value = value.reshape(())
        if self.total is None:
            # A sum of many in bfloat16, which may be the script's default, soon takes no more of them.
            wide = torch.promote_types(value.dtype, torch.float32)
            self.total = torch.zeros((), dtype=wide, device=value.device)
        if value.device != self.total.device:
            value = value.to(self.total.device)
        samples = self.samples or 1
        self.total.add_(value, alpha=samples)
        self.weight += samples

    def mean_loss(self) -> float | None:
        """The mean loss over the samples; None where there was none."""
        return None if self.total is None else float(self.total) / self.weight


def reference_to(loader: Any) -> weakref.ref[Any] | None:
    """By which a loader is known again; None for a list, say: only its line tells it from one that takes its place."""
    try:
        return weakref.ref(loader)
    except TypeError:
        return None


def parameter_of(module: nn.Module) -> Tensor | None:
    """The first parameter of a module; None where there is none, or none that a user's own `parameters` tells."""
    try:
        return next((one for one in module.parameters() if isinstance(one, Tensor)), None)
    except TypeError:  # so torch itself says of a module that cannot be hashed, as a dataclass
        return None


def length_of(loader: Any) -> int | None:
    """How many batches a loader says that it has."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return None


def rows_of(inputs: Iterable[Any]) -> int:
    """The rows of the first tensor that a module is called with; 0 where there is none."""
    return next((len(one) for one in inputs if isinstance(one, Tensor) and one.dim()), 0)


def samples_of(batch: Any) -> int:
    """How many samples a batch has; 0 where it does not tell."""
    return samples_in(batch) or 0
