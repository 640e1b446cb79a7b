"""A pass over a watched loader, the limits of steps per stage, and the observers of passes."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ...measurement import WARMUP_EPOCHS
from .loss_values import Losses
from .samples import Samples, rows_given

TRAIN = "train"
_EPOCHS = 4  # into which a training of limited length is cut, after the first


class StageObserver(Protocol):
    """An Observer that accepts stages without a loss."""

    def epoch(self, number: int) -> None: ...
    def begin(self, stage: str) -> None: ...
    def lap(self, phase: str) -> None: ...
    def evaluation(self, loss: Tensor) -> None: ...
    def step(self, samples: int, loss: Any) -> None: ...
    def end(self, stage: str, loss: Any, metrics: Mapping[str, float]) -> None: ...


@runtime_checkable
class RewindingObserver(Protocol):
    """An Observer that can remove time from a stage that does not belong to it, as the Meter can."""

    def mark(self) -> None: ...
    def rewind(self) -> None: ...
    def drop(self) -> None: ...
    def forget(self) -> None: ...


@runtime_checkable
class CheckingObserver(Protocol):
    """An Observer that keeps the outcomes of checks of the work, as the Meter does."""

    def note(self, check: str, holds: bool) -> None: ...


@dataclass
class Pass:
    """One pass over a watched loader. `site` is where it is watched; `is_named` is whether its stage was named."""

    stage: str
    site: str
    is_named: bool
    epoch: int
    length: int | None = None  # batches of its loader, where that is known
    window: int | None = None  # the maximum number of batches
    cut: int | None = None  # the number of steps after which it ends and another begins
    continues: bool = False  # the one before it, which was cut
    is_stepwise: bool = False  # there is no loader: its last step is never complete
    given: int = 0
    is_last: bool = False  # all batches were given: its loop need not request more
    steps: int = 0
    backwards: int = 0
    calls: int = 0  # to the module that is called first in each step
    losses: Losses = field(default_factory=Losses)
    loader: weakref.ref[Any] | None = None
    is_block: bool = False  # of a stage that has no watched loader: one step
    has_forward: bool = False  # a module with parameters was called
    ended: bool = False
    idle: int = 0  # how often the next batch was requested before any work on the first
    is_ahead: bool = False  # its batches are fetched one step before they are used
    is_known: bool = True  # the numbers of samples of its steps
    waiting: deque[Samples] = field(default_factory=deque)  # of the given batches, from the current step's on
    # Of the current step:
    samples: int = 0  # of its batch, or else of the inputs of its first module
    is_told: bool = False  # by its batch
    is_sure: bool = False
    fed: nn.Module | None = None
    has_fed: bool = False  # all samples are counted: an optimizer evaluates the same batch again
    loss: Tensor | None = None
    scaled: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # by a GradScaler, and unscaled
    worked: bool = False  # a module was called, or a backward pass made
    waits: bool = False  # the forward pass has ended, the backward pass has not begun

    @property
    def is_remnant(self) -> bool:
        """Whether it is the partial epoch at the end of a loop that counts steps."""
        is_partial = self.cut is not None and self.steps < self.cut
        return is_partial and self.epoch > 0 and (self.continues or self.is_stepwise)

    @property
    def is_behind(self) -> bool:
        """Whether a batch was given on which its loop has not worked yet."""
        done = self.backwards or self.calls
        return done % self.given != 0 if self.is_ahead else self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether the first step is the only one so far, without any work in it."""
        return self.idle > 0 and not self.steps and not self.worked

    @property
    def may_be_far_behind(self) -> bool:
        """Whether its loop may still work on several batches although the loader has no more."""
        return self.idle > 1 and (self.backwards or self.calls) % self.given != 0

    def receive(self, samples: Samples) -> None:
        """A batch is given: for the next step, or for a later one where batches are fetched ahead."""
        self.given += 1
        self.is_last = self.given == self.length
        self.waiting.append(samples)
        if len(self.waiting) == 1:
            self.renew()

    def continue_from(self, before: Pass) -> None:
        """Continues as the next epoch of a loop that counts steps, with the batches that were fetched ahead."""
        self.cut, self.given, self.is_ahead = before.cut, before.given, before.is_ahead
        self.continues, self.is_stepwise = True, before.is_stepwise
        self.waiting = before.waiting
        if self.waiting:
            self.renew()

    def renew(self) -> None:
        """Begins the step of the first waiting batch."""
        self.samples, self.is_told = self.waiting[0].number, self.waiting[0].number > 0
        self.is_sure = self.waiting[0].is_known
        self.fed, self.has_fed = None, False
        self.loss, self.scaled = None, []
        self.worked = self.waits = False

    def count(self) -> int:
        """Ends the current step and returns its samples, 1 if the number is not known."""
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
        """A module is called with these inputs; they give the samples if the batch does not."""
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
        return next((plain for scaled, plain in self.scaled if scaled is loss), loss)


def reference_to(loader: Any) -> weakref.ref[Any] | None:
    """A weak reference to a loader; None for objects that cannot have one, such as a list."""
    try:
        return weakref.ref(loader)
    except TypeError:
        return None


def parameter_of(module: nn.Module) -> Tensor | None:
    """The first parameter of a module; None if it has none."""
    try:
        return next((one for one in module.parameters() if isinstance(one, Tensor)), None)
    except TypeError:  # torch raises it for a module that cannot be hashed, such as a dataclass
        return None


class StepLimits:
    """The most steps of a pass, which `limit` gives by its stage; None for no limit.

    A pass ends earlier once `has_enough` is True for its stage. `most` is the number of training steps after the first
    epoch with which the script ends; None for no limit.
    """

    def __init__(
        self,
        limit: Callable[[str], int] | None,
        has_enough: Callable[[str], bool],
        most: int | None = None,
    ) -> None:
        self._most = most
        self._trained: list[int] = []  # steps by epoch
        self.done: dict[str, int] = {}  # steps by stage
        self.has_enough = has_enough
        self._limit = limit
        self._next: dict[str, int] = {}  # limits of passes that have not begun
        self._wanted: dict[str, int] = {}  # limits of the first passes

    def next(self, stage: str) -> int | None:
        """The limit of the next pass of a stage: the same until the pass begins."""
        if self._limit is None:
            return None
        if stage not in self._next:
            self._next[stage] = self._limit(stage)
        return self._next[stage]

    def begin(self, stage: str) -> int | None:
        """The limit of a pass that begins."""
        steps = self.next(stage)
        if steps is not None:
            del self._next[stage]
            self._wanted.setdefault(stage, steps)
        return steps

    def step(self, stage: str) -> None:
        """A step of this stage has ended."""
        self.done[stage] = self.done.get(stage, 0) + 1

    def epoch(self, stage: str, length: int | None) -> int | None:
        """After how many steps a pass of this length is cut, so that the script ends after `most` of them."""
        if self._most is None or stage != TRAIN:
            return None
        steps = math.ceil(self._most / _EPOCHS)
        return steps if length is None or length > steps else None

    def ended(self, stage: str, steps: int) -> None:
        """An epoch of this stage has ended."""
        if stage == TRAIN:
            self._trained.append(steps)

    def are_met(self, stage: str, begun: Collection[str]) -> bool:
        """Whether another pass of a stage that has `begun` adds nothing: the stage and the training have all their
        steps.
        """
        if self._most is not None and stage == TRAIN and sum(self._trained[WARMUP_EPOCHS:]) >= self._most:
            return True
        if self._limit is None or stage not in begun:
            return False
        seen = {stage, TRAIN} & set(begun)
        return all(self.done.get(name, 0) >= self._wanted[name] or self.has_enough(name) for name in seen)
