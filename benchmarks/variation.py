"""How much launches of one case differ, with the pinned and with the system allocator.

    python -m benchmarks.variation [ROUNDS]

Every round has a nursery of its own; in it each case is launched once under either allocator, all in
random order, so that both are measured in the same minutes. The figure is the coefficient of variation
of the launches' `train.step_time`. The last lines say how much of it is the machine's own: the variation
of the rounds' speed, which all cases of a round share.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
import sys
from collections import defaultdict

from bench.analysis.estimate import variation
from bench.analysis.launch import launch_values
from bench.case import ALLOCATORS, Schedule
from bench.measurement import TIMED, Measurement
from bench.runner import Job, Plan, describe, launch, probe
from benchmarks import workload


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
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
        probe(workers, plan)
        given = workers.conditions
        for number in range(1, rounds + 1):
            workers.renew()
            jobs = [(case, kind) for case in cases for kind in ALLOCATORS]
            order.shuffle(jobs)
            for position, (case, kind) in enumerate(jobs, start=1):
                workers.conditions = dataclasses.replace(given, allocator=kind)
                record = launch(workers, plan, Job(case, TIMED, number, position))
                assert isinstance(record, Measurement), record
                found[case.id, kind].append(launch_values(record)["train.step_time"])
            print(f"round {number}/{rounds}", file=sys.stderr)

    print(f"{given.threads} threads, {rounds} launches a case and allocator: train.step_time, median and CV")
    print(f"{'case':44}{'pinned':>22}{'system':>22}")
    for case in cases:
        cells = []
        for kind in ALLOCATORS:
            values = found[case.id, kind]
            cells.append(f"{statistics.median(values) * 1e3:9.3f} ms {variation(values) or 0:7.1%}")
        label = " ".join(str(case[axis]) for axis in ("model", "batch_size", "optimizer"))
        print(f"{label:44}{cells[0]:>22}{cells[1]:>22}")
    for kind in ALLOCATORS:
        relative = [
            statistics.median(
                found[case.id, kind][n] / statistics.median(found[case.id, kind]) for case in cases
            )
            for n in range(rounds)
        ]
        print(f"{kind}: the rounds' own speed, all cases together, varies by {variation(relative) or 0:.1%}")


if __name__ == "__main__":
    main()
