"""What each loss of torch.nn is given, made of a model's outputs and the numbers of the right classes.

Outputs are of shape (rows, classes) or (rows, classes, length), targets of shape (rows) or (rows, length).
Shapes are as the docstrings of torch.nn ask for them. No value is read on the way, so that nothing waits for
the device; what is made lies where the outputs lie, and floats have the type of what they are compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Arguments = tuple[Any, ...]


class Adapted(nn.Module):
    """A loss of torch.nn, called with what `arguments` makes of outputs and targets."""

    def __init__(self, loss: nn.Module, arguments: Callable[[Tensor, Tensor], Arguments]) -> None:
        super().__init__()
        self.loss = loss
        self.arguments = arguments

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.loss(*self.arguments(outputs, targets))
        return loss


def filled(scores: Tensor, classes: Tensor, other: float) -> Tensor:
    """One at the right class and `other` at every other, in shape and type of the scores."""
    return torch.full_like(scores, other, requires_grad=False).scatter_(1, classes.unsqueeze(1), 1.0)


def flat(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Each place of a sequence as a row of its own, for what takes (rows, classes) only."""
    return outputs.movedim(1, -1).flatten(0, -2), targets.flatten()


def one_hot(outputs: Tensor, targets: Tensor) -> Arguments:
    """Regression on one at the right class and zero at every other."""
    return outputs, filled(outputs, targets, 0.0)


def one_hot_rows(outputs: Tensor, targets: Tensor) -> Arguments:
    return one_hot(*flat(outputs, targets))


def plus_minus_one(outputs: Tensor, targets: Tensor) -> Arguments:
    return outputs, filled(outputs, targets, -1.0)


def probabilities(outputs: Tensor, targets: Tensor) -> Arguments:
    """Each class apart: the sigmoid of its output, against one or zero."""
    return one_hot(outputs.sigmoid(), targets)


def log_probabilities(outputs: Tensor, targets: Tensor) -> Arguments:
    return outputs.log_softmax(1), targets


def log_distributions(outputs: Tensor, targets: Tensor) -> Arguments:
    """A row for each distribution, since `batchmean` divides by the number of rows."""
    return one_hot(*log_probabilities(*flat(outputs, targets)))


def unit_variance(outputs: Tensor, targets: Tensor) -> Arguments:
    """The variance is a plain number: of a tensor torch would read whether one is negative."""
    return *one_hot(outputs, targets), 1.0


def rows(outputs: Tensor, targets: Tensor) -> Arguments:
    """In single precision at least: on a CPU torch has the margin losses for no half type."""
    scores, classes = flat(outputs, targets)
    return single(scores), classes


def class_lists(outputs: Tensor, targets: Tensor) -> Arguments:
    """Lists of one class, which -1 ends."""
    scores, classes = rows(outputs, targets)
    lists = torch.full_like(scores, -1, dtype=torch.long, requires_grad=False)
    lists[:, 0] = classes
    return scores, lists


def alignments(outputs: Tensor, targets: Tensor) -> Arguments:
    """The first half of each target, which always fits: between two equal characters lies a blank.

    Output 0 is the blank, and class c is output c + 1. Lengths are plain numbers, since of tensors on a
    device torch would read them. In single precision at least: torch has ctc for no half type.
    """
    scores = single(outputs).permute(2, 0, 1).log_softmax(2)
    length, count, _ = scores.shape
    return scores, targets[:, : length // 2] + 1, [length] * count, [length // 2] * count


def single(outputs: Tensor) -> Tensor:
    """Half types as float32, the rest as it is."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
