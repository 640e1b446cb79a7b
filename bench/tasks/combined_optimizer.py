"""Several optimizers that step as one, each for some of the parameters of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class CombinedOptimizer(Optimizer):
    """Steps each of its `parts`, and shares their parameter groups and state: a scheduler changes all of them."""

    def __init__(self, *parts: Optimizer) -> None:
        groups = [group for part in parts for group in part.param_groups]
        super().__init__([{"params": group["params"]} for group in groups], {})
        self.parts = parts
        self.param_groups = groups
        for part in parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each part. Raises ValueError for a closure, which each part would evaluate separately."""
        if closure is not None:
            raise ValueError("several optimizers together take no closure")
        for part in self.parts:
            part.step()
        return None
