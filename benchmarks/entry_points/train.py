"""The training loop written by hand, with the two lines of Epochbench."""

import argparse

import torch
from loop import EPOCHS, parts

import epochbench

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="mlp")
model, optimizer, criterion, batches, few = parts(parser.parse_args().model)

for _ in range(EPOCHS):
    model.train()
    total = torch.zeros(())
    for inputs, targets in epochbench.watch(batches):
        loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(targets)
    model.eval()
    with torch.no_grad(), epochbench.stage("validate"):
        for inputs, targets in epochbench.watch(few):
            criterion(model(inputs), targets)
