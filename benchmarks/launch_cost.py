"""What a launch costs over the work that it measures, and what a round costs besides its launches.

    python -m benchmarks.launch_cost [LAUNCHES]

`fork to loop` is the time from the fork to the first step of the loop: the child's start, importing the
suite, building the task. `over the loop` is all that the parent waited beyond the loop itself.
"""

from __future__ import annotations

import sys
import time

from bench.case import Schedule
from bench.measurement import TIMED, Measurement
from bench.runner import Job, Plan, describe, launch, probe
from benchmarks import workload

ONE_CASE = {"device": ["cpu"], "batch_size": [64], "optimizer": ["adam"], "mode": ["train"]}


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    to_loop, over, nurseries = [], [], []
    with workload.workers() as workers:
        (listing,) = describe(workers, [workload.VISION], ONE_CASE)
        plan = Plan(listing.expansion.cases, {listing.name: listing.file}, Schedule())
        probe(workers, plan)
        for count in range(number):
            if count % 10 == 0:
                began = time.perf_counter()
                workers.close()
                workers.ask({"do": "describe", "files": [], "overrides": {}}, "ready.log")
                nurseries.append(time.perf_counter() - began)
            began = time.perf_counter()
            record = launch(workers, plan, Job(plan.cases[0], TIMED, 1, 1))
            waited = time.perf_counter() - began
            assert isinstance(record, Measurement), record
            to_loop.append(record.costs["before_build"] + record.costs["build"])
            over.append(waited - record.costs["loop"])
    print(f"{number} launches of {plan.cases[0].id}; milliseconds: minimum, median, maximum")
    for name, values in (
        ("fork to loop", to_loop),
        ("over the loop", over),
        ("a nursery's start", nurseries),
    ):
        print(f"{name:18}" + "".join(f"{value * 1e3:10.1f}" for value in workload.quantiles(values)))


if __name__ == "__main__":
    main()
