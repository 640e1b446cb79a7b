"""Learning-rate schedulers by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from bench.case import AxisValue, Case

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

# name -> class in torch.optim.lr_scheduler; None is an axis value of its own: no scheduler
SCHEDULERS: dict[str | None, str] = {"reduce-on-plateau": "ReduceLROnPlateau", None: ""}

CHOICES: Mapping[str, Collection[AxisValue]] = {"scheduler": tuple(SCHEDULERS)}


def refusal(case: Case) -> str | None:
    """Why what the case asks of this room cannot be had; None where it can."""
    return None


def build(name: str | None, optimizer: Optimizer) -> LRScheduler | ReduceLROnPlateau | None:
    """The scheduler of this name with torch's own defaults, or None."""
    if name is None:
        return None
    from torch.optim import lr_scheduler  # in the worker only

    scheduler: LRScheduler | ReduceLROnPlateau = getattr(lr_scheduler, SCHEDULERS[name])(optimizer)
    return scheduler
