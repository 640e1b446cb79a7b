"""The shortest script that can be measured: a training loop with two added lines, which name its stages.

python examples/minimal.py
bench run --script examples/minimal.py --axis lr=0.1,0.01 -- --epochs 3
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import epochbench

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--batch-size", type=int, default=64)
options = parser.parse_args()

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
train, validate = random_split(data, [1400, 397])
train_loader = DataLoader(train, options.batch_size, shuffle=True)
validate_loader = DataLoader(validate, options.batch_size)

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9)

for epoch in range(options.epochs):
    model.train()
    for inputs, targets in epochbench.watch(train_loader):  # the first line
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()

    model.eval()
    correct = 0
    with torch.no_grad(), epochbench.stage("validate"):  # the second
        for inputs, targets in epochbench.watch(validate_loader):
            correct += (model(inputs).argmax(dim=1) == targets).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {correct / len(validate):.3f}")
