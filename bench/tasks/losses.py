"""Losses (cost functions) by name, and the metric that goes with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from bench.case import AxisValue, Case

if TYPE_CHECKING:
    from torch import Tensor, nn

LOSSES = {"cross-entropy": "CrossEntropyLoss"}  # name -> class in torch.nn

CHOICES: Mapping[str, Collection[AxisValue]] = {"loss": tuple(LOSSES)}


def refusal(case: Case) -> str | None:
    """Why what the case asks of this room cannot be had; None where it can."""
    return None


def build(name: str) -> nn.Module:
    """The loss of this name."""
    from torch import nn  # in the worker only

    loss: nn.Module = getattr(nn, LOSSES[name])()
    return loss


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of targets that have the largest output; the classes lie on dimension 1 of the outputs."""
    return (outputs.argmax(dim=1) == targets).float().mean()
