"""How many steps of each stage a launch takes that runs only part of a script."""

from __future__ import annotations

from collections.abc import Callable, Collection

from .observers import TRAIN


class StepLimits:
    """The most steps of a pass, which `limit` gives by its stage; None for no limit.

    A pass ends before that once `has_enough` says so of its stage.
    """

    def __init__(
        self,
        limit: Callable[[str], int] | None = None,
        has_enough: Callable[[str], bool] = lambda _: False,
    ) -> None:
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

    def are_met(self, stage: str, begun: Collection[str]) -> bool:
        """Whether another pass of a stage that has `begun` adds nothing: it, and training, have all their steps."""
        if self._limit is None or stage not in begun:
            return False
        seen = {stage, TRAIN} & set(begun)
        return all(self.done.get(name, 0) >= self._wanted[name] or self.has_enough(name) for name in seen)
