"""That launches end: many in a row, with loader workers, and beside a busy process.

    python -m benchmarks.soak [LAUNCHES]

Counts launches that failed or hung, and processes that were left behind.
"""

from __future__ import annotations

import sys
import time

import psutil

from bench.measurement import TIMED, Failure
from bench.running.rounds import Job, Plan, describe, launch, probe
from bench.suite.case import Schedule
from benchmarks import workload

TIMEOUT = 60.0


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    settings = (
        ("2 threads", "short", 2, False),
        ("2 threads, 2 loader workers", "with_workers", 2, False),
        ("2 threads beside a busy process", "short", 2, True),
        ("1 thread beside a busy process", "short", 1, True),
    )
    bad = 0
    for name, suite, threads, beside in settings:
        with workload.workers(threads=threads) as workers, workload.busy(beside):
            (listing,) = (one for one in describe(workers, [workload.FILE], {}) if one.name == suite)
            plan = Plan(listing.expansion.cases, {suite: listing.file}, Schedule(timeout=TIMEOUT))
            plan = probe(workers, plan).plan
            began, failures = time.monotonic(), []
            for count in range(1, number + 1):
                if count % 20 == 1:
                    workers.renew()
                record = launch(workers, plan, Job(plan.cases[0], TIMED, count, 1))
                if isinstance(record, Failure):
                    failures.append(record)
            seconds = (time.monotonic() - began) / number
        left = descendants()
        hung = sum(failure.failure == "timeout" for failure in failures)
        bad += len(failures) + len(left)
        print(
            f"{name:34} {number} launches, {seconds * 1e3:6.0f} ms each: {len(failures)} failed, {hung} of them hung, "
            f"{len(left)} processes left behind",
            flush=True,
        )
    sys.exit(bad > 0)


def descendants() -> set[int]:
    """The processes below this one."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


if __name__ == "__main__":
    main()
