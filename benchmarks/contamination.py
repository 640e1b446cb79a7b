"""What a busy process beside does to launches, and whether they are marked for it.

    python -m benchmarks.contamination [PAIRS]

Launches alone and beside one process that computes without end take turns, each from a fork server that
serves both. At one thread the medians are compared: ratio beside / alone, over pairs. At the default
number of threads it is counted how many of each are marked contaminated.
"""

from __future__ import annotations

import random
import sys

from bench.analysis.launch.contamination import contamination
from bench.analysis.launch.values import launch_values
from bench.analysis.run.estimate import estimate
from bench.cli.options import conditions
from bench.measurement import TIMED, Measurement
from bench.running.rounds import Job, Plan, describe, launch, probe
from bench.suite.case import Schedule
from benchmarks import workload

_PAIRS_A_FORK_SERVER = 5
METRICS = ("train.step_time", "epoch.time")


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for threads in dict.fromkeys((1, conditions().threads)):
        for name, axes in (
            ("mlp", {"batch_size": [64], "optimizer": ["adam"], "mode": ["train"], "device": ["cpu"]}),
            ("cnn", {}),
        ):
            compare(threads, name, axes, pairs if name == "mlp" else max(10, pairs // 4))


def compare(threads: int, name: str, axes: dict[str, list[object]], pairs: int) -> None:
    order = random.Random(0)
    file, suite = (workload.VISION, "vision") if name == "mlp" else (workload.FILE, "cnn")
    records: dict[bool, list[Measurement]] = {True: [], False: []}
    with workload.workers(threads=threads) as workers:
        (listing,) = (one for one in describe(workers, [file], axes) if one.name == suite)
        plan = Plan(listing.expansion.cases, {suite: file}, Schedule(timeout=120))
        plan = probe(workers, plan).plan
        for number in range(pairs):
            if number % _PAIRS_A_FORK_SERVER == 0:
                workers.renew()
            for beside in order.sample((True, False), 2):
                with workload.busy(beside):
                    record = launch(workers, plan, Job(plan.cases[0], TIMED, number, 1))
                assert isinstance(record, Measurement), record
                records[beside].append(record)
    print(f"{name}, {threads} thread{'s' * (threads > 1)}, {pairs} pairs")
    for metric in METRICS:
        values = {beside: [launch_values(record)[metric] for record in records[beside]] for beside in records}
        found = estimate([a / b for a, b in zip(values[True], values[False], strict=True)])
        medians = {beside: estimate(values[beside]).value for beside in values}
        print(
            f"  {metric:16} alone {medians[False] * 1e3:8.3f} ms, beside a busy process {medians[True] * 1e3:8.3f} ms: "
            f"medians {medians[True] / medians[False]:.4f}, pairs {found.value:.4f} "
            f"(95 % {found.low:.4f} to {found.high:.4f})"
        )
    marked = {beside: sum(bool(contamination(record)) for record in records[beside]) for beside in records}
    print(
        f"  marked contaminated: {marked[True]} of {pairs} beside a busy process, {marked[False]} of {pairs} alone",
        flush=True,
    )


if __name__ == "__main__":
    main()
