"""The mean loss of a pass of a script, where the scale of its losses is known.

A script that accumulates gradients over several backward passes often divides each loss by their number. Such a loss is
multiplied by that number again if it is known for certain; otherwise the pass has no loss.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..timing.timers import is_capturing

# Torch's names for the nodes of operators that change the type or shape of a number, but not its value.
_SAME = ("ToCopy", "View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Alias", "Clone", "Expand")
# The names of the last node of a loss that was not divided.
_WHOLE = ("Loss", "Mean", "Sum", "BinaryCrossEntropy", "KlDiv", "LogSigmoid")
_DEEP = 8  # the most nodes that are followed


@dataclass
class Losses:
    """The losses of steps, weighted by their samples and summed on the device.

    They are not stored one by one: copies would change where the next step allocates memory, and a compiled model may
    write its next loss to the same place. A loss in the capture of a CUDA graph has no value yet, and adding it would
    add a kernel to the user's graph: the mean is then not known.
    """

    total: Tensor | None = None
    weight: int = 0
    divisors: set[float | None] = field(default_factory=set)  # the divisors of the losses; None if not known
    group: int = 0  # backward passes since the optimizer stepped
    groups: set[int] = field(default_factory=set)  # how many there were before each of its steps
    is_complete: bool = True

    def add(self, loss: Tensor, samples: int) -> None:
        """The loss of a step."""
        if is_capturing(loss.device):
            self.is_complete = False
            return
        self.divisors.add(divisor_of(loss))
        value = loss.detach()
        if value.dim():
            value = value.reshape(())
        if self.total is None:
            # A sum of many in bfloat16, which may be the script's default type, soon stops growing.
            wide = torch.promote_types(value.dtype, torch.float32)
            self.total = torch.zeros((), dtype=wide, device=value.device)
        if value.device != self.total.device:
            value = value.to(self.total.device)
        self.total.add_(value, alpha=samples)
        self.weight += samples

    def stepped(self) -> None:
        """The optimizer has stepped on the accumulated gradients."""
        if self.group:
            self.groups.add(self.group)
        self.group = 0

    @property
    def factor(self) -> float | None:
        """The factor that turns them into the losses of their batches; None if it is not known."""
        if self.divisors <= {1.0} or self.groups == {1}:
            return 1.0
        if not self.groups:  # which gradients were accumulated is not known
            return 1.0 if self.divisors <= {1.0, None} else None
        gathered = float(max(self.groups))  # the last group may be shorter
        return gathered if self.divisors == {gathered} else None

    def mean(self) -> float | None:
        """The mean loss over the samples; None if there is none, or its scale is not known."""
        factor = self.factor
        if self.total is None or factor is None or not self.is_complete:
            return None
        return float(self.total) * factor / self.weight


def divisor_of(loss: Tensor) -> float | None:
    """The number that a loss was divided by at the end; 1.0 if it was not divided, None if it is not known."""
    node: Any = loss.grad_fn
    for _ in range(_DEEP):
        if node is None:
            return None
        ends = _ends_with(node.name())
        if ends != "same":
            break
        node = node.next_functions[0][0]
    if ends not in ("divided", "multiplied"):
        return 1.0 if ends == "whole" else None
    other = getattr(node, "_saved_other", None)
    if not isinstance(other, Tensor) or other.numel() != 1 or other.requires_grad:
        return None
    if other.device.type != "cpu":
        return None  # to read it would wait for the device
    number = float(other)
    return round(number if ends == "divided" else 1 / (number or float("inf")), 6)


@functools.cache
def _ends_with(name: str) -> str:
    """What the last autograd node of a loss, by its name, did: whole, divided, multiplied, same or unknown."""
    for start, meaning in (("Div", "divided"), ("Mul", "multiplied"), *((one, "same") for one in _SAME)):
        if name.startswith(start):
            return meaning
    return "whole" if any(one in name for one in _WHOLE) else "unknown"


def loss_of(tensors: Any) -> Tensor | None:
    """The loss of a backward pass: a tensor of one number, alone or in a sequence.

    None for a tensor that torch.func traces, which has no value that could be kept.
    """
    if isinstance(tensors, Sequence) and len(tensors) == 1:
        tensors = tensors[0]
    if not isinstance(tensors, Tensor) or tensors.numel() != 1 or is_traced(tensors):
        return None
    return tensors


def is_traced(tensor: Tensor) -> bool:
    """Whether torch.func traces this tensor (vmap, grad): it becomes invalid when the transform ends."""
    traced: bool = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return traced
