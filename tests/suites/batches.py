"""A suite for each kind of batch that a loader of users may give: the axis `given`."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from bench import Suite
from bench.training import Task

ROWS, SIZE = 40, 16  # the last batch has 8


class Outputs(dict):
    """As a model may give them: scores, and what it has computed on the way."""


class Model(nn.Linear):
    def forward(self, inputs, weights=None):
        scores = super().forward(inputs if weights is None else inputs * weights)
        return Outputs(scores=scores, inputs=inputs)


def cross_entropy(outputs, targets):
    if isinstance(targets, list):
        targets = torch.tensor([int(one) if isinstance(one, str) else one["label"] for one in targets])
    return nn.functional.cross_entropy(outputs["scores"], targets)


def accuracy(outputs, targets):
    return (outputs["scores"].argmax(dim=1) == targets).float().mean()


# given -> what the loader makes of inputs and targets
KINDS = {
    "pair": lambda x, y: (x, y),
    "dict": lambda x, y: {"image": x, "label": y},
    "keywords": lambda x, y: {"inputs": x, "weights": torch.ones_like(x), "labels": y},
    "text": lambda x, y: (x, [str(int(one)) for one in y]),
    "metadata": lambda x, y: (x, [{"label": int(one), "path": "a.png"} for one in y]),
    "no target": lambda x, y: (x, None),
    "halved": lambda x, y: (x[::2], y[::2]),
    "three": lambda x, y: (x, y, 1.0),
    "rows": lambda x, y: x,
    "unclear": lambda x, y: (x, y.repeat(3)),
    "said": lambda x, y: (x[::2], y[::2]),
}


def build(case):
    change = KINDS[case["given"]]
    torch.manual_seed(0)
    data = [(torch.randn(8), n % 2) for n in range(ROWS)]

    def collate(samples):
        return change(torch.stack([x for x, _ in samples]), torch.tensor([y for _, y in samples]))

    loader = DataLoader(data, SIZE, collate_fn=collate)
    model = Model(8, 2)
    return Task(
        model=model,
        loss=(lambda outputs, _: outputs["scores"].square().mean())
        if case["given"] in ("no target", "unclear")
        else cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        train_loader=loader,
        validate_loader=loader,
        test_loader=None if case["given"] == "pair" else loader,
        metrics={"accuracy": accuracy} if case["given"] in ("pair", "dict", "keywords") else {},
        samples=(lambda inputs, targets: len(inputs)) if case["given"] == "said" else None,
    )


suite = Suite(
    name="batches",
    build=build,
    axes={"device": ["cpu"], "batch_size": [SIZE], "epochs": [2], "mode": ["train"], "given": list(KINDS)},
)
