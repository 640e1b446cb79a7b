"""One pass over a watched loader, and what its batches, loader and losses tell."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from .loss_values import Losses
from .samples import Samples, rows_given


@dataclass
class Pass:
    """One pass over a watched loader. `site` is where it is watched; `is_named` says whether its stage was."""

    stage: str
    site: str
    is_named: bool
    epoch: int
    length: int | None = None  # batches of its loader, where that is known
    window: int | None = None  # the most batches that are taken of it
    cut: int | None = None  # steps after which it ends, and another begins
    given: int = 0
    is_last: bool = False  # all were given: its loop need not ask for more
    steps: int = 0
    backwards: int = 0
    calls: int = 0  # of the module that is called first in each step
    losses: Losses = field(default_factory=Losses)
    loader: weakref.ref[Any] | None = None
    is_block: bool = False  # made of a stage that has no watched loader: one step
    has_forward: bool = False  # a module with parameters was called
    ended: bool = False
    idle: int = 0  # batches at its beginning after which the next was asked for with nothing done
    is_ahead: bool = False  # its batches are fetched one ahead of the loop
    is_known: bool = True  # how many samples its steps have
    waiting: deque[Samples] = field(
        default_factory=deque
    )  # those of batches that were given, the step's own first
    # Of the step that is under way:
    samples: int = 0  # those of its batch, or else of what its first module was called with
    is_told: bool = False  # by its batch
    is_sure: bool = False
    fed: nn.Module | None = None
    has_fed: bool = False  # all that counts: an optimizer evaluates the same batch again
    loss: Tensor | None = None
    scaled: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # by a GradScaler, and what they were
    worked: bool = False  # a module was called, or a backward pass made
    waits: bool = False  # the forward pass has ended, the backward pass has not begun

    @property
    def is_remnant(self) -> bool:
        """Whether it is what is left of a loop that counts steps, behind its last whole epoch."""
        return self.cut is not None and self.epoch > 0 and self.steps < self.cut

    @property
    def is_behind(self) -> bool:
        """Whether its loop has yet to work on a batch that was given: not each has had its part of the work."""
        done = self.backwards or self.calls
        return done % self.given != 0 if self.is_ahead else self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether the first step is the only one so far, and nothing was done in it."""
        return self.idle > 0 and not self.steps and not self.worked

    @property
    def may_be_far_behind(self) -> bool:
        """Whether several batches may be waiting for their part of the work, though none is left to give."""
        return self.idle > 1 and (self.backwards or self.calls) % self.given != 0

    def receive(self, samples: Samples) -> None:
        """A batch is given: for the next step, or for a later one where batches are fetched ahead."""
        self.given += 1
        self.is_last = self.given == self.length
        self.waiting.append(samples)
        if len(self.waiting) == 1:
            self.renew()

    def goes_on_from(self, before: Pass) -> None:
        """It is the next epoch of a loop that counts steps: batches that were fetched ahead are its own."""
        self.cut, self.given, self.is_ahead = before.cut, before.given, before.is_ahead
        self.waiting = before.waiting
        if self.waiting:
            self.renew()

    def renew(self) -> None:
        """The step of the first batch that waits begins."""
        self.samples, self.is_told = self.waiting[0].number, self.waiting[0].number > 0
        self.is_sure = self.waiting[0].is_known
        self.fed, self.has_fed = None, False
        self.loss, self.scaled = None, []
        self.worked = self.waits = False

    def count(self) -> int:
        """The step that is under way has ended: its samples, 1 where nothing tells them."""
        samples = self.samples
        self.steps += 1
        self.is_known = self.is_known and samples > 0 and self.is_sure
        self.waiting.popleft()
        if self.waiting:
            self.renew()
        else:
            self.worked = False
        return samples or 1

    def feed(self, module: nn.Module, inputs: Iterable[Any]) -> None:
        """A module is called with these inputs; in a loop that has numbers for batches the samples are theirs."""
        if self.fed is None:
            self.fed = module
        if self.fed is not module:
            return
        self.calls += 1
        if not self.is_told and not self.has_fed:
            rows = rows_given(inputs)
            self.is_sure = rows.is_known and (self.is_sure or not self.samples)
            self.samples += rows.number

    def unscaled(self, loss: Tensor) -> Tensor:
        """The loss as it was before a GradScaler scaled it, if one did."""
        for scaled, plain in self.scaled:
            if scaled is loss:
                return plain
        return loss


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
