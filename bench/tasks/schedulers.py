"""Learning-rate schedulers by name: all of the installed torch.optim.lr_scheduler.

Names are those of the classes in kebab case, without "LR". Arguments without a default in torch are derived from the
length of the training, so that the whole schedule takes place. A new scheduler of torch is available by its name; it
needs an entry of _ARGUMENTS only if it has arguments without a default.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..suite.case import AxisValue, Case
from .axis_values import exported_names

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau


def name_of(kind: str) -> str:
    """`ReduceLROnPlateau` -> reduce-on-plateau, `StepLR` -> step, `ChainedScheduler` -> chained."""
    words = re.findall(r"[A-Z][a-z]+", re.sub("LR|Scheduler", "", kind))
    return "-".join(words).lower()


# The axis value None means no scheduler.
SCHEDULERS: Mapping[str | None, str] = {
    **{name_of(kind): kind for kind in exported_names("optim.lr_scheduler") if kind != "LRScheduler"},
    None: "",
}

CHOICES: Mapping[str, Collection[AxisValue]] = {"scheduler": tuple(SCHEDULERS)}

# Those whose documentation says "should be called after each batch".
PER_STEP = ("CyclicLR", "OneCycleLR")


@dataclass(frozen=True)
class Length:
    """The length of the training: in optimizer steps, and in validations, after which most schedulers step."""

    steps: int
    validations: int


def length(case: Case, batches: int, accumulation_steps: int) -> Length:
    """The length of a case with this number of batches per epoch."""
    every = case.validate_every
    return Length(
        steps=case.epochs * math.ceil(batches / accumulation_steps),
        validations=case.epochs * (1 if every is None else max(1, batches // every)),
    )


def refusal(case: Case) -> str | None:
    """Why a case cannot have this scheduler; None if it can."""
    kind = SCHEDULERS[case.scheduler]
    if not kind or kind in _ARGUMENTS or case.mode != "train":
        return None
    if needed := _required(kind):
        return f"torch's {kind} needs {', '.join(needed)}, which only a suite of your own can give"
    return None


@cache
def _required(kind: str) -> tuple[str, ...]:
    """The arguments without a default of a scheduler that is not in _ARGUMENTS."""
    from torch.optim import lr_scheduler  # only if torch is needed

    parameters = inspect.signature(getattr(lr_scheduler, kind)).parameters.values()
    return tuple(p.name for p in parameters if p.default is p.empty and p.name != "optimizer")


def build(name: str | None, optimizer: Optimizer, length: Length) -> LRScheduler | ReduceLROnPlateau | None:
    """The scheduler of this name for a training of this length; None without one."""
    kind = SCHEDULERS[name]
    if not kind:
        return None
    from torch.optim import lr_scheduler  # in the worker only

    arguments = _ARGUMENTS[kind](optimizer, length) if kind in _ARGUMENTS else {}
    if kind == "ChainedScheduler":
        return lr_scheduler.ChainedScheduler(**arguments)
    scheduler: LRScheduler | ReduceLROnPlateau = getattr(lr_scheduler, kind)(optimizer, **arguments)
    return scheduler


def interval(name: str | None) -> str:
    """When a scheduler steps: after each "validation", or after each "step" of the optimizer."""
    return "step" if SCHEDULERS[name] in PER_STEP else "validation"


def _rates(optimizer: Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def _has_momentum(optimizer: Optimizer) -> bool:
    """Whether all groups have a momentum that a schedule can cycle inversely to the learning rate."""
    return all("momentum" in group or "betas" in group for group in optimizer.param_groups) and (
        "momentum" in optimizer.defaults or "betas" in optimizer.defaults
    )


def _warmup_then_cosine(optimizer: Optimizer, length: Length) -> dict[str, Any]:
    """A warm-up over the first half of the training, a cosine over the second."""
    from torch.optim import lr_scheduler

    half = max(1, length.validations // 2)
    warm = lr_scheduler.LinearLR(optimizer, total_iters=half)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, length.validations - half))
    return {"schedulers": [warm, fall], "milestones": [half]}


def _warmup_times_decay(optimizer: Optimizer, length: Length) -> dict[str, Any]:
    """A warm-up over the first half of the training, times a decay over all of it."""
    from torch.optim import lr_scheduler

    warm = lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=max(1, length.validations // 2))
    return {"schedulers": [warm, lr_scheduler.ExponentialLR(optimizer, gamma=_DECAY)]}


_DECAY = 0.9  # the factor of a validation, where torch has no default

# Arguments without a default in torch, or with one that is longer than most trainings.
_ARGUMENTS: Mapping[str, Callable[[Optimizer, Length], dict[str, Any]]] = {
    **dict.fromkeys(("ReduceLROnPlateau", "ConstantLR", "LinearLR"), lambda *_: {}),
    "LambdaLR": lambda _, length: {"lr_lambda": lambda number: 1 / (1 + number / length.validations)},
    "MultiplicativeLR": lambda *_: {"lr_lambda": lambda _: _DECAY},
    "StepLR": lambda _, length: {"step_size": max(1, length.validations // 3)},
    "MultiStepLR": lambda _, length: {
        "milestones": [max(1, length.validations // 2), max(2, length.validations * 3 // 4)]
    },
    "ExponentialLR": lambda *_: {"gamma": _DECAY},
    "PolynomialLR": lambda _, length: {"total_iters": length.validations},
    "CosineAnnealingLR": lambda _, length: {"T_max": length.validations},
    "CosineAnnealingWarmRestarts": lambda _, length: {"T_0": max(1, length.validations // 2)},
    "SequentialLR": _warmup_then_cosine,
    "ChainedScheduler": _warmup_times_decay,
    "CyclicLR": lambda optimizer, length: {
        "base_lr": [rate / 10 for rate in _rates(optimizer)],
        "max_lr": _rates(optimizer),
        "step_size_up": max(1, length.steps // 2),
        "cycle_momentum": _has_momentum(optimizer),
    },
    "OneCycleLR": lambda optimizer, length: {
        "max_lr": _rates(optimizer),
        "total_steps": length.steps,
        "cycle_momentum": _has_momentum(optimizer),
    },
}
