"""Whether our step is torch's: the mean step of a stage against `torch.utils.benchmark.Timer` on the same step.

    python -m benchmarks.step_time [PAIRS]

One process, one model, one optimizer, the same batches in memory: a train stage with the meter attached and as many
steps under the Timer, in turn; which of the two goes first is drawn at random. The figure is the ratio, ours over the
Timer's, pair by pair; the interval is that of the median over pairs.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer

from bench import tasks
from bench.analysis.run.estimate import estimate
from bench.suite.case import Case
from bench.training import Task, train
from bench.worker import allocator
from bench.worker.timing.meter import Meter
from bench.worker.timing.timers import HostTimer

STEPS = 24
CASES = (
    {"dataset": "digits", "model": "mlp", "optimizer": "sgd"},
    {"dataset": "digits", "model": "mlp", "optimizer": "adam"},
    {"dataset": "digits", "model": "embedding-mlp", "optimizer": "sparseadam"},
    {"dataset": "digits", "model": "embedding-mlp", "optimizer": "muon"},
    {"dataset": "digits", "model": "cnn", "optimizer": "adam"},
    {"dataset": "text", "model": "transformer", "optimizer": "adamw", "batch_size": 8},
)


def prepared(case: Case) -> Task:
    """The task of a case with so many full batches in a list: reading them is no part of the question."""
    task = tasks.build(case)
    size = case.batch_size
    whole = itertools.chain.from_iterable(itertools.repeat(task.train_loader))
    task.train_loader = list(itertools.islice((b for b in whole if len(b[1]) == size), STEPS))
    return task


def ours(task: Task) -> float:
    """The mean step of a train stage as every launch takes it, seconds."""
    meter = Meter(task.model, task.optimizer, HostTimer())
    try:
        train(task, meter)
    finally:
        meter.close()
    return statistics.fmean(meter.stages[0].steps)


def theirs(task: Task) -> Callable[[], float]:
    """The mean of the same step under torch's Timer, seconds."""
    batches = itertools.cycle(task.train_loader)
    total = torch.zeros(())

    def step() -> None:
        inputs, targets = next(batches)
        loss = task.loss(task.model(inputs), targets)
        task.optimizer.zero_grad()
        loss.backward()
        task.optimizer.step()
        total.add_(loss.detach() * len(targets))

    timer = Timer("step()", globals={"step": step}, num_threads=torch.get_num_threads())

    def timed() -> float:
        task.model.train()
        return float(timer.timeit(STEPS).mean)

    return timed


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    allocator.pin()
    order = random.Random(0)
    print(
        f"{torch.get_num_threads()} threads, {pairs} pairs of {STEPS} steps; ratio of mean steps, ours / Timer's"
    )
    for axes in CASES:
        torch.manual_seed(0)
        task = prepared(Case("step", axes))
        sides = {"ours": lambda task=task: ours(task), "theirs": theirs(task)}
        for side in [*sides.values()] * 2:
            side()
        ratios, steps = [], []
        for _ in range(pairs):
            found = {name: sides[name]() for name in order.sample(list(sides), 2)}
            ratios.append(found["ours"] / found["theirs"])
            steps.append(found["theirs"])
        median = estimate(ratios)
        name = f"{axes['model']}, {axes['optimizer']}"
        print(
            f"{name:28} {statistics.median(steps) * 1e3:7.3f} ms  {median.value:.4f} "
            f"({median.low:.4f} to {median.high:.4f}), sd of a pair {statistics.stdev(ratios):.3f}"
        )


if __name__ == "__main__":
    main()
