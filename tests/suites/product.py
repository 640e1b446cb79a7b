"""A suite whose step is one product of square matrices in bfloat16, and little else."""

import torch
from torch import nn

from bench import Suite
from bench.training import Task

STEPS = 20


def build(case):
    size, device = case["size"], torch.device(case.device)
    model = nn.Linear(size, size, bias=False, dtype=torch.bfloat16)
    rows = torch.rand(size, size, device=device).to(torch.bfloat16)
    batches = [(rows, torch.zeros(size, device=device))] * STEPS
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Task(model, lambda outputs, targets: outputs[0, 0].float(), optimizer, batches, None, batches)


suite = Suite(
    name="product",
    build=build,
    axes={"device": ["cpu"], "size": [64], "batch_size": [64], "epochs": [2], "mode": ["no_grad"]},
)
