"""Losses (cost functions) of torch.nn by name, and the metric that goes with them.

Targets are numbers of classes, whatever the loss: `targets.py` turns them into what its class documents.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..suite.case import AxisValue, Case
from .choices import Shares
from .precision import AUTOCAST
from .trials import objection

if TYPE_CHECKING:
    from torch import Tensor, nn

# name -> class in torch.nn, and the function in `targets` that makes its arguments; None: as they are
LOSSES: Mapping[str, tuple[str, str | None]] = {
    "cross-entropy": ("CrossEntropyLoss", None),
    "nll": ("NLLLoss", "log_probabilities"),
    "mse": ("MSELoss", "one_hot"),
    "l1": ("L1Loss", "one_hot"),
    "huber": ("HuberLoss", "one_hot"),
    "smooth-l1": ("SmoothL1Loss", "one_hot"),
    "bce": ("BCELoss", "probabilities"),
    "bce-with-logits": ("BCEWithLogitsLoss", "one_hot"),
    "kl-div": ("KLDivLoss", "log_distributions"),
    "multi-margin": ("MultiMarginLoss", "rows"),
    "soft-margin": ("SoftMarginLoss", "plus_minus_one"),
    "multilabel-margin": ("MultiLabelMarginLoss", "class_lists"),
    "multilabel-soft-margin": ("MultiLabelSoftMarginLoss", "one_hot_rows"),
    "poisson-nll": ("PoissonNLLLoss", "one_hot"),
    "gaussian-nll": ("GaussianNLLLoss", "unit_variance"),
    "ctc": ("CTCLoss", "alignments"),
}

# Torch's default of KLDivLoss, "mean", is not the divergence, as its own documentation says.
OPTIONS: Mapping[str, Mapping[str, Any]] = {"kl-div": {"reduction": "batchmean"}}

SEQUENCES = ("text",)  # data sets with a target for each place of a sequence

CHOICES: Mapping[str, Collection[AxisValue]] = {"loss": tuple(LOSSES), "label_smoothing": Shares()}


def refusal(case: Case) -> str | None:
    """Why what the case asks of this room cannot be had; None where it can.

    Under autocast torch is asked: the loss is tried on a few numbers on the device of the case.
    """
    reason, precision = misfit(case), case.get("precision")
    if reason is not None or precision not in AUTOCAST or case.loss not in LOSSES:
        return reason
    problem = autocast_problem(case.loss, precision, case.device, case.get("dataset") in SEQUENCES)
    return None if problem is None else f"loss {case.loss!r} under precision {precision!r}: {problem}"


def misfit(case: Case) -> str | None:
    """Why the loss of the case does not fit its other axes; None where it does."""
    if case.get("label_smoothing") is not None and case.loss != "cross-entropy":
        return f"loss {case.loss!r} has no label_smoothing, which torch has for cross-entropy alone"
    if case.loss == "ctc" and case.get("dataset") not in SEQUENCES:
        return (
            f"loss 'ctc' aligns sequences, and the targets of dataset {case.get('dataset')!r} are none; "
            f"choose dataset {' or '.join(SEQUENCES)}"
        )
    return None


@cache
def autocast_problem(name: str, precision: str, device: str, sequences: bool) -> str | None:
    """The first line of what torch raises where the loss runs under autocast; None where it runs."""
    import torch  # only where the answer needs it

    place, number_format = torch.device(device), getattr(torch, AUTOCAST[precision])
    length = (4,) if sequences else ()

    def attempt() -> None:
        outputs = torch.zeros(2, 3, *length, dtype=number_format, device=place)
        targets = torch.zeros(2, *length, dtype=torch.long, device=place)
        with torch.autocast(place.type, number_format):
            made(name)(outputs, targets)

    return objection(attempt)


def build(case: Case) -> nn.Module:
    """The loss of the case. Raises UsageError where it does not fit the other axes."""
    if (reason := misfit(case)) is not None:
        raise UsageError(reason)
    smoothing = case.get("label_smoothing")
    return made(case.loss, {} if smoothing is None else {"label_smoothing": smoothing})


def made(name: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """The loss of this name with torch's own defaults, but for `options` and those of OPTIONS."""
    from torch import nn  # in the worker only

    from . import targets

    kind, arguments = LOSSES[name]
    loss: nn.Module = getattr(nn, kind)(**OPTIONS.get(name, {}), **(options or {}))
    return loss if arguments is None else targets.Adapted(loss, getattr(targets, arguments))


def outputs(name: str, classes: int) -> int:
    """How many outputs a model has under this loss: ctc needs a blank beside the classes."""
    return classes + 1 if name == "ctc" else classes


def metrics(name: str) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """What a test reports beside this loss. The outputs of ctc are not aligned with the targets: nothing."""
    return {} if name == "ctc" else {"accuracy": accuracy}


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of targets that have the largest output; the classes lie on dimension 1 of the outputs."""
    return (outputs.argmax(dim=1) == targets).float().mean()
