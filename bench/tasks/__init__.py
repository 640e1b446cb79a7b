"""Data sets, models, losses, optimizers and schedulers by name, and `build`, which makes a Task from a case.

    suite = Suite(name="vision", build=tasks.build, choices=tasks.CHOICES, exclude=tasks.exclude, axes={...})

Each kind of ingredient is a module with its names in one table. Importing this package does not import torch: a suite
is declared without torch, and built only in the worker.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..suite.case import AxisValue, Case, spell
from . import datasets, loaders, losses, optimizers, precision, schedulers

if TYPE_CHECKING:
    from ..training import Task

INGREDIENTS = (datasets, loaders, losses, optimizers, schedulers, precision)

# The possible values of the axes of a suite with this `build`. Models are not listed: every classification model of
# torchvision is possible, and only torchvision knows them all.
CHOICES: Mapping[str, Collection[AxisValue]] = {
    axis: values for module in INGREDIENTS for axis, values in module.CHOICES.items()
}


def exclude(case: Case) -> str | None:
    """Why this combination is not possible, with torch's message if there is one; None if it is possible.

    It is called when suites are listed, so torch is imported only where the answer needs it.
    """
    refusals = (module.refusal(case) for module in INGREDIENTS if hasattr(module, "refusal"))
    return next((reason for reason in refusals if reason is not None), None)


def build(case: Case) -> Task:
    """The Task that the axes of the case name: dataset, loaders, model, loss, optimizer, scheduler, precision.

    A suite may add the axes `image_size` and `images` of fake-images. Raises UsageError for an unknown name and for
    data that is not available.
    """
    from ..training import Task
    from . import models  # torch: in the worker only

    for axis, values in CHOICES.items():
        if case.get(axis) not in values:
            raise UsageError(f"unknown {axis} {case.get(axis)!r}; there are {', '.join(map(spell, values))}")
    data = datasets.build(case)
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
