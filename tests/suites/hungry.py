"""A suite for which large batches do not fit: the axis `behaviour` says what becomes of those above 20 samples."""

import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bench import Suite
from bench.training import Task

FEATURES, SAMPLES, ENOUGH = 4, 100, 20
MIB = 2**18  # numbers of four bytes


class Hungry(nn.Module):
    def __init__(self, behaviour):
        super().__init__()
        self.behaviour = behaviour
        self.kept = None
        self.layer = nn.Linear(FEATURES, 2)

    def forward(self, inputs):
        if self.behaviour == "takes memory" and self.kept is None:
            self.kept = torch.zeros(len(inputs), 16 * MIB)
        if len(inputs) > ENOUGH and self.behaviour == "raises":
            raise ValueError("too many of them")
        if len(inputs) > ENOUGH and self.behaviour == "hangs":
            time.sleep(3600)
        if self.behaviour == "never fits":
            torch.empty(2**50)
        return self.layer(inputs)


def build(case):
    data = TensorDataset(torch.randn(SAMPLES, FEATURES), torch.randint(2, (SAMPLES,)))
    loader = DataLoader(data, case.batch_size)
    model = Hungry(case["behaviour"])
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=case.learning_rate),
        train_loader=loader,
        validate_loader=loader,
        test_loader=loader,
    )


suite = Suite(
    name="hungry",
    build=build,
    axes={
        "device": ["cpu"],
        "epochs": [2],
        "batch_size": ["max"],
        "behaviour": ["takes memory"],
        "mode": ["train"],
    },
)
