"""Losses (cost functions) of torch.nn by name, and their metric.

Data sets give the index of the right class as the target; `loss_arguments.py` turns it into what each loss needs. A new
loss is an entry of LOSSES, and a function there only if its arguments need another form.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..suite.case import AxisValue, Case
from .axis_values import Numbers, error_of
from .precision import AUTOCAST

if TYPE_CHECKING:
    from torch import Tensor, nn

# name -> class in torch.nn, and the function in `loss_arguments` that makes its arguments; None: outputs and targets
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

# The default of KLDivLoss, "mean", is not the divergence, as torch's documentation says.
OPTIONS: Mapping[str, Mapping[str, Any]] = {"kl-div": {"reduction": "batchmean"}}

SEQUENCES = ("text",)  # data sets with a target for each position of a sequence

CHOICES: Mapping[str, Collection[AxisValue]] = {
    "loss": tuple(LOSSES),
    "label_smoothing": Numbers(0, whole=False, below=1),
}


def refusal(case: Case) -> str | None:
    """Why a case cannot have its loss; None if it can. Under autocast the loss is tried on the case's device."""
    reason, precision = conflict(case), case.get("precision")
    if reason is not None or precision not in AUTOCAST or case.loss not in LOSSES:
        return reason
    problem = autocast_error(case.loss, precision, case.device, case.get("dataset") in SEQUENCES)
    return None if problem is None else f"loss {case.loss!r} under precision {precision!r}: {problem}"


def conflict(case: Case) -> str | None:
    """Why the loss of a case does not fit its other axes; None if it does."""
    if case.get("label_smoothing") is not None and case.loss != "cross-entropy":
        return f"loss {case.loss!r} has no label_smoothing; in torch only cross-entropy has it"
    if case.loss == "ctc" and case.get("dataset") not in SEQUENCES:
        return (
            f"loss 'ctc' aligns sequences, and dataset {case.get('dataset')!r} has none; "
            f"choose dataset {' or '.join(SEQUENCES)}"
        )
    return None


@cache
def autocast_error(name: str, precision: str, device: str, sequences: bool) -> str | None:
    """What torch raises when the loss runs under autocast; None if it runs."""
    import torch  # only if needed

    place, number_format = torch.device(device), getattr(torch, AUTOCAST[precision])
    length = (4,) if sequences else ()

    def attempt() -> None:
        outputs = torch.zeros(2, 3, *length, dtype=number_format, device=place)
        targets = torch.zeros(2, *length, dtype=torch.long, device=place)
        with torch.autocast(place.type, number_format):
            loss_named(name)(outputs, targets)

    return error_of(attempt)


def build(case: Case) -> nn.Module:
    """The loss of a case. Raises UsageError where it does not fit the other axes."""
    if (reason := conflict(case)) is not None:
        raise UsageError(reason)
    smoothing = case.get("label_smoothing")
    return loss_named(case.loss, {} if smoothing is None else {"label_smoothing": smoothing})


def loss_named(name: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """The loss of this name, with torch's defaults except for `options` and OPTIONS."""
    from torch import nn  # in the worker only

    from . import loss_arguments

    kind, arguments = LOSSES[name]
    loss: nn.Module = getattr(nn, kind)(**OPTIONS.get(name, {}), **(options or {}))
    return loss if arguments is None else loss_arguments.AdaptedLoss(loss, getattr(loss_arguments, arguments))


def outputs(name: str, classes: int) -> int:
    """How many outputs a model has with this loss: ctc needs a blank besides the classes."""
    return classes + 1 if name == "ctc" else classes


def metrics(name: str) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The metrics of a test with this loss; none for ctc, whose outputs are not aligned with the targets."""
    return {} if name == "ctc" else {"accuracy": accuracy}


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of targets that have the largest output; classes are dimension 1 of the outputs."""
    return (outputs.argmax(dim=1) == targets).float().mean()
