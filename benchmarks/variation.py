"""How much launches of one case differ, with the pinned and with the system allocator.

    python -m benchmarks.variation [ROUNDS]

Every round (20) has its own fork server; in it each case is launched once with either allocator, all in random order,
so that both are measured in the same minutes. The figure is the coefficient of variation of `train.step_time` between
launches: raw, and divided by the speed of the machine in each round (the median over all cases of their launches in
that round relative to the others). About four minutes.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
import sys
from collections import defaultdict

from bench.analysis.launch.values import launch_values
from bench.analysis.run.estimate import variation
from bench.measurement import TIMED
from bench.running.plan import Job, Plan
from bench.running.preparation import describe, probe
from bench.suite.case import ALLOCATORS, Case, Schedule
from benchmarks import workload


def main() -> None:
    rounds = workload.arguments(rounds=20).rounds
    order = random.Random(0)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with workload.workers() as workers:
        listings = describe(workers, [workload.VISION, workload.FILE], {})
        wanted = ("vision", "cnn")
        cases = [
            case
            for listing in listings
            for case in listing.expansion.cases
            if listing.name in wanted and case.mode == "train" and case.device == "cpu"
        ]
        plan = Plan(cases, {one.name: one.file for one in listings if one.name in wanted}, Schedule())
        plan = probe(workers, plan).plan
        given = workers.conditions
        for number in range(1, rounds + 1):
            workers.renew()
            jobs = [(case, kind) for case in cases for kind in ALLOCATORS]
            order.shuffle(jobs)
            for position, (case, kind) in enumerate(jobs, start=1):
                workers.conditions = dataclasses.replace(given, allocator=kind)
                record = workload.measured(workers, plan, Job(case, TIMED, number, position))
                found[case.id, kind].append(launch_values(record)["train.step_time"])
            print(f"round {number}/{rounds}", file=sys.stderr)

    report(cases, found, given.threads)


def report(cases: list[Case], found: dict[tuple[str, str], list[float]], threads: int) -> None:
    """The table: median, CV, and CV with the speed of each round divided out."""
    rounds = len(next(iter(found.values())))
    print(
        f"{threads} threads, {rounds} launches a case and allocator: train.step_time; median, CV, CV within rounds"
    )
    print(f"{'':20}" + "".join(f"{kind:>34}" for kind in ALLOCATORS))
    relative = {key: [value / statistics.median(values) for value in values] for key, values in found.items()}
    speed = [statistics.median(values[n] for values in relative.values()) for n in range(rounds)]
    for case in cases:
        label = " ".join(str(case[axis]) for axis in ("model", "batch_size", "optimizer"))
        cells = ""
        for kind in ALLOCATORS:
            within = [value / speed[n] for n, value in enumerate(relative[case.id, kind])]
            median = statistics.median(found[case.id, kind]) * 1e3
            cells += f"{median:13.3f} ms {share(found[case.id, kind])} {share(within)}"
        print(f"{label:20}{cells}")
    print(
        f"speed of the rounds, all cases together: from {min(speed):.2f} to {max(speed):.2f}, CV {share(speed)}"
    )


def share(values: list[float]) -> str:
    return f"{variation(values) or 0:8.1%}"


if __name__ == "__main__":
    main()
