"""The cost of a launch besides the measured loop, of a fork server's start, and of telemetry.

    python -m benchmarks.launch_cost [LAUNCHES]

`fork to loop` is the time from the fork to the first step of the loop: starting the child, importing the suite,
building the task. `over the loop` is the whole time that the parent waited, without the loop. Each launch (50) takes
place twice, in random order: with telemetry, as in every run, and without; the ratio of step times is of these pairs.
`watcher` is the share of one processor that telemetry used. About a minute.
"""

from __future__ import annotations

import random
import time

from bench.analysis.launch.values import launch_values
from bench.machine.telemetry import Telemetry
from bench.measurement import TIMED
from bench.measurement.messages import DescribeRequest
from bench.running.plan import Job
from benchmarks import workload

ONE_CASE = {"device": ["cpu"], "batch_size": [64], "optimizer": ["adam"], "mode": ["train"]}


def main() -> None:
    number = workload.arguments(launches=50).launches
    to_loop, over, fork_servers, shares = [], [], [], []
    steps: dict[bool, list[float]] = {True: [], False: []}
    order, telemetry = random.Random(0), Telemetry()
    with workload.workers() as workers:
        plan = workload.plan_of(workers, workload.VISION, axes=ONE_CASE)
        for count in range(number):
            if count % 10 == 0:
                began = time.perf_counter()
                workers.close()
                workers.ask(DescribeRequest(()), "ready.log")
                fork_servers.append(time.perf_counter() - began)
            for watched in order.sample((True, False), 2):
                began = time.perf_counter()
                record = workload.measured(
                    workers, plan, Job(plan.cases[0], TIMED, 1, 1), telemetry if watched else None
                )
                waited = time.perf_counter() - began
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
    print(f"step watched / unwatched: {workload.ratio(steps[True], steps[False])}")


if __name__ == "__main__":
    main()
