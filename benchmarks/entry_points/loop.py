"""The same model, batches and optimizer for all three ways: a suite, and the parts of the loop in `train.py`."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from epochbench.training import Task

from epochbench import Case, Suite

BATCHES, EPOCHS, WAYS = 24, 12, 3
PLACE = "ENTRY_POINTS_PLACE"  # the variable with the folder in which the processes take turns


class Turns:
    """Batches of several processes that take turns to pass over theirs.

    All begin together, so that changes of the machine affect all of them. Without a round there is nothing to wait for.
    The waiting is part of the first step of a pass, which does not affect the median.
    """

    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches
        self._arrived = False

    def __iter__(self) -> Iterator[Any]:
        place = Path(os.environ.get(PLACE, "nowhere"))
        if not (place / "round").exists():
            yield from self._batches
            return
        if not self._arrived:
            self._arrived = True
            (place / f"arrived-{os.getpid()}").touch()
            while len(list(place.glob("arrived-*"))) < WAYS:
                time.sleep(0.01)
        with (place / "turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield from self._batches
        time.sleep(0.002)  # or the one that had it takes it again


def parts(name: str) -> tuple[Any, Any, Any, Turns, list[Any]]:
    """Model, optimizer, loss, batches and few batches, in memory, so that reading them is not measured."""
    import torch  # in the worker only
    from torch import nn

    layers: list[nn.Module]
    if name == "mlp":
        layers = [nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
        shape: tuple[int, ...] = (128, 64)
    else:
        layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10)]
        shape = (64, 3, 32, 32)
    model = nn.Sequential(*layers)
    batches = [(torch.randn(shape), torch.randint(10, shape[:1])) for _ in range(BATCHES)]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return model, optimizer, nn.CrossEntropyLoss(), Turns(batches), batches[:2]


def build(case: Case) -> Task:
    """The parts as a task."""
    model, optimizer, loss, batches, few = parts(case["model"])
    return Task(model, loss, optimizer, train_loader=batches, validate_loader=few, test_loader=few)


suite = Suite(
    name="loop",
    build=build,
    axes={"device": ["cpu"], "model": ["mlp", "cnn"], "batch_size": [64], "epochs": [EPOCHS]},
)
