"""Learning-rate schedulers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

# name -> class in torch.optim.lr_scheduler; None is an axis value of its own: no scheduler
SCHEDULERS: dict[str | None, str] = {"reduce-on-plateau": "ReduceLROnPlateau", None: ""}


def build(name: str | None, optimizer: Optimizer) -> LRScheduler | ReduceLROnPlateau | None:
    """The scheduler of this name with torch's own defaults, or None."""
    if name is None:
        return None
    from torch.optim import lr_scheduler  # in the worker only

    scheduler: LRScheduler | ReduceLROnPlateau = getattr(lr_scheduler, SCHEDULERS[name])(optimizer)
    return scheduler
