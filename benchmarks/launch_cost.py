"""What a launch costs over the work that it measures, what a round costs besides, and what watching costs.

    python -m benchmarks.launch_cost [LAUNCHES]

`fork to loop` is the time from the fork to the first step of the loop: the child's start, importing the
suite, building the task. `over the loop` is all that the parent waited beyond the loop itself. Each launch
is made twice, in random order: watched by telemetry, as every run does it, and unwatched; the ratio of
their step times is over these pairs. `watcher` is the share of one processor that telemetry took.
"""

from __future__ import annotations

import random
import sys
import time

from bench.analysis.launch.values import launch_values
from bench.analysis.run.estimate import estimate
from bench.machine.telemetry import Telemetry
from bench.measurement import TIMED, Measurement
from bench.measurement.messages import DescribeRequest
from bench.running.rounds import Job, Plan, describe, launch, probe
from bench.suite.case import Schedule
from benchmarks import workload

ONE_CASE = {"device": ["cpu"], "batch_size": [64], "optimizer": ["adam"], "mode": ["train"]}


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    to_loop, over, fork_servers, shares = [], [], [], []
    steps: dict[bool, list[float]] = {True: [], False: []}
    order, telemetry = random.Random(0), Telemetry()
    with workload.workers() as workers:
        (listing,) = describe(workers, [workload.VISION], ONE_CASE)
        plan = Plan(listing.expansion.cases, {listing.name: listing.file}, Schedule())
        plan = probe(workers, plan).plan
        for count in range(number):
            if count % 10 == 0:
                began = time.perf_counter()
                workers.close()
                workers.ask(DescribeRequest(()), "ready.log")
                fork_servers.append(time.perf_counter() - began)
            for watched in order.sample((True, False), 2):
                began = time.perf_counter()
                record = launch(
                    workers, plan, Job(plan.cases[0], TIMED, 1, 1), telemetry if watched else None
                )
                waited = time.perf_counter() - began
                assert isinstance(record, Measurement), record
                steps[watched].append(launch_values(record)["train.step_time"])
                if watched:
                    to_loop.append(record.costs["before_build"] + record.costs["build"])
                    over.append(waited - record.costs["loop"])
                    shares.append(record.telemetry["cost"])
    telemetry.close()
    print(f"{number} launches of {plan.cases[0].id}; milliseconds: minimum, median, maximum")
    for name, values in (
        ("fork to loop", to_loop),
        ("over the loop", over),
        ("a fork server's start", fork_servers),
    ):
        print(f"{name:18}" + "".join(f"{value * 1e3:10.1f}" for value in workload.quantiles(values)))
    low, median, high = workload.quantiles(shares)
    print(f"watcher, of one processor: {median:.2%} ({low:.2%} to {high:.2%})")
    found = estimate([a / b for a, b in zip(steps[True], steps[False], strict=True)])
    print(f"step watched / unwatched: {found.value:.4f}, 95 % interval {found.low:.4f} to {found.high:.4f}")


if __name__ == "__main__":
    main()
