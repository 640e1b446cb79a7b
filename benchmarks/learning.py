"""A suite of five small tasks that learn, for `quality.py`: unchanged, made to learn worse, and with sums reordered.

The axis `change` chooses one of the three; with `seeded` False each launch has another seed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench import Suite
from bench.suite.case import Case
from bench.training import Task

FILE = str(Path(__file__).resolve())
SPOILT = {
    "digits": "training images upside down",
    "frozen": "most layers frozen",
    "sequence": "a learning rate that is too high",
    "regression": "labels shuffled",
    "dropout": "dropout that stays on in evaluation",
}


def build(case: Case) -> Task:
    import torch  # in the worker only
    from torch import Tensor, nn
    from torch.nn.functional import dropout
    from torch.utils.data import DataLoader, TensorDataset

    class Halves(nn.Linear):
        """A linear layer that adds up two halves, the second first."""

        def forward(self, inputs: Tensor) -> Tensor:
            half = self.in_features // 2
            first, second = self.weight[:, :half], self.weight[:, half:]
            return inputs[..., half:] @ second.T + inputs[..., :half] @ first.T + self.bias

    class Loop(nn.Module):
        """A recurrent layer that returns its last output."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = nn.GRU(width, width, batch_first=True)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs)[0][:, -1]

    class Drops(nn.Module):
        """Dropout, in evaluation too if spoilt."""

        def forward(self, inputs: Tensor) -> Tensor:
            return dropout(inputs, 0.5, self.training or spoilt)

    name, spoilt = case["task"], case["change"] == "spoilt"
    if not case["seeded"]:
        torch.manual_seed(int.from_bytes(os.urandom(4), "big"))
    inputs, targets, classes = data(name)
    cut, last, width = len(inputs) * 6 // 10, len(inputs) * 8 // 10, 48
    first = (Halves if case["change"] == "reordered" else nn.Linear)(inputs.shape[-1], width)
    middle = {"sequence": Loop(width), "dropout": Drops()}.get(name, nn.Linear(width, width))
    model = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), nn.Linear(width, classes))
    train_inputs, train_targets = inputs[:cut], targets[:cut]
    rate = 3e-3
    if spoilt:
        if name == "digits":
            train_inputs = train_inputs.flip(-1)
        elif name == "frozen":
            model.requires_grad_(False)
            first.bias.requires_grad_(True)
        elif name == "regression":
            train_targets = train_targets[torch.randperm(cut)]
        elif name == "sequence":
            rate = 1.0

    def loader(*tensors: Tensor, shuffle: bool = False) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*tensors), case.batch_size, shuffle=shuffle)

    def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(1) == targets).float().mean()

    def r2(outputs: Tensor, targets: Tensor) -> Tensor:
        return 1 - (outputs - targets).square().mean() / targets.var()

    return Task(
        model=model,
        loss=nn.MSELoss() if name == "regression" else nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate),
        train_loader=loader(train_inputs, train_targets, shuffle=True),
        validate_loader=loader(inputs[cut:last], targets[cut:last]),
        test_loader=loader(inputs[last:], targets[last:]),
        metrics={"r2": r2} if name == "regression" else {"accuracy": accuracy},
    )


def data(name: str) -> Any:
    """Inputs, targets and the number of outputs: real digits, or the answers of a random teacher to random inputs."""
    import torch
    from sklearn.datasets import load_digits

    if name in ("digits", "frozen"):
        digits = load_digits()
        return torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target), 10
    chance = torch.Generator().manual_seed(1)
    inputs = torch.randn(1500, *((6, 12) if name == "sequence" else (24,)), generator=chance)
    taught = inputs.mean(1) if name == "sequence" else inputs
    answers = taught @ torch.randn(taught.shape[-1], 4, generator=chance)
    if name == "regression":
        return inputs, answers[:, :1] / 5, 1
    return inputs, answers.argmax(1), 4


suite = Suite(
    name="learning",
    build=build,
    axes={
        "device": ["cpu"],
        "batch_size": [64],
        "epochs": [5],
        "mode": ["train"],
        "task": list(SPOILT),
        "change": ["none", "spoilt", "reordered"],
        "seeded": [True, False],
    },
)
