"""The arguments of each loss of torch.nn, from a model's outputs and the indices of the right classes.

Outputs are of shape (rows, classes) or (rows, classes, length), targets of shape (rows) or (rows, length); the
arguments have the shapes that torch.nn documents. No value is read, so that nothing waits for the device; new tensors
are on the device of the outputs, and floats have the type of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Arguments = tuple[Any, ...]


class AdaptedLoss(nn.Module):
    """A loss of torch.nn, called with the `arguments` of outputs and targets."""

    def __init__(self, loss: nn.Module, arguments: Callable[[Tensor, Tensor], Arguments]) -> None:
        super().__init__()
        self.loss = loss
        self.arguments = arguments

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.loss(*self.arguments(outputs, targets))
        return loss


def filled(scores: Tensor, classes: Tensor, other: float) -> Tensor:
    """1 at the right class and `other` elsewhere, with the shape and type of the scores."""
    return torch.full_like(scores, other, requires_grad=False).scatter_(1, classes.unsqueeze(1), 1.0)


def flat(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Each position of a sequence as a row, for losses that take (rows, classes) only."""
    return outputs.movedim(1, -1).flatten(0, -2), targets.flatten()


def one_hot(outputs: Tensor, targets: Tensor) -> Arguments:
    """Regression on 1 at the right class and 0 elsewhere."""
    return outputs, filled(outputs, targets, 0.0)


def one_hot_rows(outputs: Tensor, targets: Tensor) -> Arguments:
    return one_hot(*flat(outputs, targets))


def plus_minus_one(outputs: Tensor, targets: Tensor) -> Arguments:
    return outputs, filled(outputs, targets, -1.0)


def probabilities(outputs: Tensor, targets: Tensor) -> Arguments:
    """Each class separately: the sigmoid of its output, against 1 or 0."""
    return one_hot(outputs.sigmoid(), targets)


def log_probabilities(outputs: Tensor, targets: Tensor) -> Arguments:
    return outputs.log_softmax(1), targets


def log_distributions(outputs: Tensor, targets: Tensor) -> Arguments:
    """A row for each distribution, since `batchmean` divides by the number of rows."""
    return one_hot(*log_probabilities(*flat(outputs, targets)))


def unit_variance(outputs: Tensor, targets: Tensor) -> Arguments:
    """The variance is a plain number: torch would read a tensor to check that none is negative."""
    return *one_hot(outputs, targets), 1.0


def rows(outputs: Tensor, targets: Tensor) -> Arguments:
    """At least in single precision: on a CPU torch has no margin losses for half types."""
    scores, classes = flat(outputs, targets)
    return single(scores), classes


def class_lists(outputs: Tensor, targets: Tensor) -> Arguments:
    """Lists of one class, terminated by -1."""
    scores, classes = rows(outputs, targets)
    lists = torch.full_like(scores, -1, dtype=torch.long, requires_grad=False)
    lists[:, 0] = classes
    return scores, lists


def alignments(outputs: Tensor, targets: Tensor) -> Arguments:
    """The first half of each target, which is always short enough, even with a blank between two equal characters.

    Output 0 is the blank, and class c is output c + 1. Lengths are plain numbers, since torch would read tensors on a
    device. At least in single precision: torch has no ctc for half types.
    """
    scores = single(outputs).permute(2, 0, 1).log_softmax(2)
    length, count, _ = scores.shape
    return scores, targets[:, : length // 2] + 1, [length] * count, [length // 2] * count


def single(outputs: Tensor) -> Tensor:
    """Half types as float32, other types unchanged."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
