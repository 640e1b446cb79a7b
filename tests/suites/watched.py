"""A training script as anybody writes it: one layer, three batches an epoch, a validation behind each."""

import argparse
import sys

import torch
from torch import nn

import bench

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--behaviour", default="nothing")
options = parser.parse_args()


def batches(number):
    inputs = torch.randn(4 * number, 3)
    return list(zip(inputs.split(4), (inputs.sum(dim=1) > 0).long().split(4), strict=True))


train_loader, validate_loader = batches(3), batches(2)
model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=options.lr)
print("begins", options)

for _ in range(1 if options.behaviour == "stays" else options.epochs):
    model.train()
    for inputs, targets in bench.watch(train_loader):
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        if options.behaviour == "raises":
            raise ValueError("the user's own mistake")
        if options.behaviour == "exits":
            print("no more", file=sys.stderr)
            sys.exit(3)
        if options.behaviour == "hangs":
            import time

            time.sleep(3600)
    model.eval()
    with torch.no_grad():
        if options.behaviour == "forgets":
            for inputs, targets in bench.watch(validate_loader):
                criterion(model(inputs), targets)
        with bench.stage("validate"):
            for inputs, targets in bench.watch(validate_loader):
                criterion(model(inputs), targets)
    if options.behaviour == "diverges":
        with torch.no_grad():
            model[0].weight.fill_(float("nan"))

sys.exit(0)
