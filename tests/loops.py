"""Loops as people write them, on a clock that they move themselves, and somebody who listens to them."""

from __future__ import annotations

import torch
from fakes import FakeClock, batches
from torch import nn

from bench.watch import listen


class Layer(nn.Linear):
    """A layer that takes a second of the clock."""

    clock: FakeClock

    def forward(self, inputs):
        self.clock.advance(1.0)
        return super().forward(inputs)


class Loss(nn.CrossEntropyLoss):
    clock: FakeClock

    def forward(self, outputs, targets):
        self.clock.advance(4.0)
        loss = super().forward(outputs, targets)
        if loss.requires_grad:
            loss.register_hook(lambda _: self.clock.advance(8.0))
        return loss


class Script:
    """Two layers, SGD, and three batches to train on: what tests make their loops of."""

    def __init__(self, clock: FakeClock) -> None:
        torch.manual_seed(0)
        Layer.clock = Loss.clock = clock
        self.clock = clock
        self.train_loader, self.validate_loader = batches(12, 4), batches(8, 4)
        self.renew()
        self.criterion = Loss()

    def renew(self):
        self.model = nn.Sequential(Layer(3, 3), nn.ReLU(), Layer(3, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.optimizer.register_step_pre_hook(lambda *_: self.clock.advance(16.0))

    def step(self, inputs, targets):
        self.clock.advance(32.0)  # nothing that a hook sees
        loss = self.criterion(self.model(inputs), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def train(self, *loaders):
        for loader in loaders:
            for batch in loader:
                self.step(*batch)

    def validate(self, loader):
        for batch in loader:
            self.look(*batch)

    @torch.no_grad()
    def look(self, inputs, targets):
        self.criterion(self.model(inputs), targets)

    def slow(self, loader):
        for batch in loader:
            self.clock.advance(64.0)
            yield batch


def listening(recorder):
    listen(recorder)
    with recorder.hooks:
        yield recorder
    recorder.close()
    listen(None)


def seen(meter):
    return [(record.epoch, record.stage, len(record.steps)) for record in meter.stages]
