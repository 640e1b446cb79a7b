"""The effect of a busy process on launches, and whether these are recognised as contaminated.

    python -m benchmarks.contamination [PAIRS]

Pairs (100) of launches, one undisturbed and one next to a process that computes endlessly, in random order, from one
fork server. With one thread and with the default number: the ratio of the times, busy / quiet, over pairs, and how many
launches of each kind are found contaminated. About ten minutes.
"""

from __future__ import annotations

import random

from bench.analysis.launch.contamination import contamination
from bench.analysis.launch.values import launch_values
from bench.analysis.run.estimate import estimate
from bench.cli.options import conditions
from bench.measurement import TIMED, Measurement
from bench.running.plan import Job
from benchmarks import workload

_PAIRS_A_FORK_SERVER = 5
METRICS = ("train.step_time", "epoch.time")


def main() -> None:
    pairs = workload.arguments(pairs=100).pairs
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
        plan = workload.plan_of(workers, file, suite, axes, timeout=120)
        for number in range(pairs):
            if number % _PAIRS_A_FORK_SERVER == 0:
                workers.renew()
            for beside in order.sample((True, False), 2):
                with workload.busy(beside):
                    record = workload.measured(workers, plan, Job(plan.cases[0], TIMED, number, 1))
                records[beside].append(record)
    print(f"{name}, {threads} thread{'s' * (threads > 1)}, {pairs} pairs")
    for metric in METRICS:
        values = {beside: [launch_values(record)[metric] for record in records[beside]] for beside in records}
        medians = {beside: estimate(values[beside]).value for beside in values}
        print(
            f"  {metric:16} quiet {medians[False] * 1e3:8.3f} ms, busy {medians[True] * 1e3:8.3f} ms: "
            f"medians {medians[True] / medians[False]:.4f}, pairs {workload.ratio(values[True], values[False])}"
        )
    contaminated = {
        beside: sum(bool(contamination(record)) for record in records[beside]) for beside in records
    }
    print(
        f"  contaminated: {contaminated[True]} of {pairs} busy launches, {contaminated[False]} of {pairs} quiet ones",
        flush=True,
    )


if __name__ == "__main__":
    main()
