"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from bench.case import AxisValue, Case

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "rmsprop": "RMSprop"}  # name -> class in torch.optim

CHOICES: Mapping[str, Collection[AxisValue]] = {"optimizer": tuple(OPTIMIZERS)}


def refusal(case: Case) -> str | None:
    """Why what the case asks of this room cannot be had; None where it can."""
    return None


def build(name: str, parameters: Iterable[nn.Parameter], learning_rate: float) -> Optimizer:
    """The optimizer of this name with torch's own defaults."""
    from torch import optim  # in the worker only

    optimizer: Optimizer = getattr(optim, OPTIMIZERS[name])(parameters, lr=learning_rate)
    return optimizer
