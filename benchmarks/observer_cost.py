"""The cost of meter and guards: the loop of Epochbench with both against a loop written by hand.

    python -m benchmarks.observer_cost [PAIRS]

One process, one model, one optimizer, one loader: pairs (400) of a train stage of either loop, in random order. The
figure is the ratio of their median steps within each pair, with the interval of the median over pairs. Both include
loading. About four minutes.
"""

from __future__ import annotations

import random
import statistics
import time

import torch

from bench.suite.case import Case
from bench.training import Task, train
from bench.worker.timing import launch_memory
from bench.worker.timing.guards import Guards
from bench.worker.timing.meter import Meter
from bench.worker.timing.timers import HostTimer
from benchmarks import workload


def bare_stage(task: Task) -> float:
    """The train stage as in tutorials; the median step in seconds."""
    steps = []
    task.model.train()
    total, seen = torch.zeros(()), 0
    began = time.perf_counter_ns()
    for inputs, targets in task.train_loader:
        inputs, targets = inputs.to(task.device), targets.to(task.device)
        outputs = task.model(inputs)
        loss = task.loss(outputs, targets)
        task.optimizer.zero_grad()
        loss.backward()
        task.optimizer.step()
        total += loss.detach() * len(targets)
        seen += len(targets)
        now = time.perf_counter_ns()
        steps.append(now - began)
        began = now
    float(total) / seen
    return statistics.median(steps[:-1]) / 1e9  # the last batch is not full


def metered_stage(task: Task) -> float:
    """The same stage in the loop of Epochbench, with meter and guards; the median step in seconds."""
    guards = Guards()
    guards.start()
    meter = Meter(task.model, task.optimizer, HostTimer())
    try:
        train(task, meter)
    finally:
        meter.close()
        guards.stop()
    (record,) = meter.stages
    return statistics.median(record.steps[:-1])


def main() -> None:
    pairs = workload.arguments(pairs=400).pairs
    launch_memory.pin()
    torch.manual_seed(0)
    order = random.Random(0)
    print(f"{torch.get_num_threads()} threads, {pairs} pairs each; ratio of median steps, metered / bare")
    cnn = {axis: values[0] for axis, values in workload.cnn.axes.items()}
    for name, case in (
        ("digits MLP", Case("mlp", {"dataset": "digits", "model": "mlp"})),
        ("CNN", Case("cnn", cnn)),
    ):
        task = workload.build(case)
        stages = [bare_stage, metered_stage]
        for stage in stages * 2:
            stage(task)
        metered, bare = [], []
        for _ in range(pairs):
            order.shuffle(stages)
            times = {stage: stage(task) for stage in stages}
            metered.append(times[metered_stage])
            bare.append(times[bare_stage])
        step = statistics.median(bare) * 1e3
        print(f"{name:12} bare step {step:7.3f} ms   ratio {workload.ratio(metered, bare)}")


if __name__ == "__main__":
    main()
