"""Whether launches end: many in succession, with loader workers, and next to a busy process.

    python -m benchmarks.soak [LAUNCHES]

Counts launches (200 in each of four settings) that failed or hung, and leaked processes. Exit code 1 if there are any.
About twelve minutes.
"""

from __future__ import annotations

import sys
import time

import psutil

from bench.measurement import TIMED, Failure
from bench.running.launching import launch
from bench.running.plan import Job
from benchmarks import workload

TIMEOUT = 60.0


def main() -> None:
    number = workload.arguments(launches=200).launches
    settings = (
        ("2 threads", "short", 2, False),
        ("2 threads, 2 loader workers", "with_workers", 2, False),
        ("2 threads with a busy process", "short", 2, True),
        ("1 thread with a busy process", "short", 1, True),
    )
    bad = 0
    for name, suite, threads, beside in settings:
        with workload.workers(threads=threads) as workers, workload.busy(beside):
            plan = workload.plan_of(workers, workload.FILE, suite, timeout=TIMEOUT)
            began, failures = time.monotonic(), []
            for count in range(1, number + 1):
                if count % 20 == 1:
                    workers.renew()
                record = launch(workers, plan, Job(plan.cases[0], TIMED, count, 1))
                if isinstance(record, Failure):
                    failures.append(record)
            seconds = (time.monotonic() - began) / number
        leaked = descendants()
        hung = sum(failure.failure == "timeout" for failure in failures)
        bad += len(failures) + len(leaked)
        print(
            f"{name:34} {number} launches, {seconds * 1e3:6.0f} ms each: {len(failures)} failed, {hung} of them hung, "
            f"{len(leaked)} processes leaked",
            flush=True,
        )
    sys.exit(bad > 0)


def descendants() -> set[int]:
    """The descendants of this process."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


if __name__ == "__main__":
    main()
