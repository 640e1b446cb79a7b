"""Torch ingredients by name, and `build`, which makes a Task of the names in a case.

    suite = Suite(name="vision", build=tasks.build, choices=tasks.CHOICES, axes={...})

Reading this folder imports no torch: a suite is declared without it, and built in the worker only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..suite.case import AxisValue, Case, spell
from . import datasets, loaders, losses, optimizers, precision, schedulers

if TYPE_CHECKING:
    from ..training import Task

ROOMS = (datasets, loaders, losses, optimizers, schedulers, precision)

# The values that the axes of a suite with this build may have. Models are not among them: every
# classification model of torchvision is one, and only torchvision knows them all.
CHOICES: Mapping[str, Collection[AxisValue]] = {
    axis: values for room in ROOMS for axis, values in room.CHOICES.items()
}


def exclude(case: Case) -> str | None:
    """Why this combination cannot be had, in torch's words where torch has some; None where it can.

    It is asked when suites are listed: torch is imported only where the answer needs it.
    """
    return next((reason for room in ROOMS if (reason := room.refusal(case)) is not None), None)


def build(case: Case) -> Task:
    """The Task that the axes of the case name: dataset, loaders, model, loss, optimizer, scheduler, precision.

    Optional axes of a suite's own: `image_size` and `images` (of fake-images). Raises UsageError for a
    name that does not exist and for data that cannot be had.
    """
    from ..training import Task
    from . import models  # torch: in the worker only

    for axis, values in CHOICES.items():
        if case.get(axis) not in values:
            raise UsageError(f"unknown {axis} {case.get(axis)!r}; there are {', '.join(map(spell, values))}")
    data = datasets.of(case)
    model = models.build(case.get("model"), data.shape, losses.outputs(case.loss, data.classes))
    precision.prepare(case, model)
    optimizer = optimizers.build(case, model)
    train, validate, test = loaders.build(data, case)
    accumulation = case.get("accumulation_steps") or 1
    length = schedulers.length(case, len(train), accumulation)
    return Task(
        model=model,
        loss=losses.build(case),
        optimizer=optimizer,
        scheduler=schedulers.build(case.scheduler, optimizer, length),
        scheduler_interval=schedulers.interval(case.scheduler),
        train_loader=train,
        validate_loader=validate,
        test_loader=test,
        metrics=losses.metrics(case.loss),
        step=precision.step(case),
        scaler=precision.scaler(case),
        accumulation_steps=accumulation,
        clip_grad_norm=case.get("clip_grad_norm"),
    )
