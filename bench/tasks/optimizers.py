"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "rmsprop": "RMSprop"}  # name -> class in torch.optim


def build(name: str, parameters: Iterable[nn.Parameter], learning_rate: float) -> Optimizer:
    """The optimizer of this name with torch's own defaults."""
    from torch import optim  # in the worker only

    optimizer: Optimizer = getattr(optim, OPTIMIZERS[name])(parameters, lr=learning_rate)
    return optimizer
