"""How exact the exact metrics are: every case counted again and again, under unlike threads and instruction sets.

    python -m benchmarks.counts [LAUNCHES] [SUITE]...

Each case of the suites (the shipped ones by default) has so many counts launches, each from a fork server that serves
all cases; then two more at one thread, and two for each instruction set that torch knows by name. A metric whose values
differ within like settings is named; so is a portable one that differs between unlike settings.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.analysis.launch.derived_counts import count_values
from bench.cli.options import suite_files
from bench.measurement import COUNTED, Measurement, metric
from bench.running.fork_server import Workers
from bench.running.rounds import Job, Plan, describe, launch, probe
from bench.suite.case import Case, Schedule, UntimedLaunches
from benchmarks import workload

SUITES = ("suites/vision.py", "suites/language.py", "suites/models.py", "suites/optimizers.py")
_UNLIKE = 2  # launches of each case under each unlike setting

Values = dict[str, float]


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    suites = sys.argv[2:] or SUITES
    like = counted(suites, number)
    unlike = {"1 thread": counted(suites, _UNLIKE, threads=1)}
    for capability in ("default", "avx2", "avx512"):
        with environment_variable("ATEN_CPU_CAPABILITY", capability):
            unlike[capability] = counted(suites, _UNLIKE)
    print(
        f"{number} launches a case at 2 threads, {_UNLIKE} at each unlike setting; metrics whose values differ"
    )
    for case, launches in like.items():
        moving = differing(launches)
        across = {
            name: differing([launches[0], *others[case]], portable_only=True)
            for name, others in unlike.items()
        }
        metrics = len(launches[0])
        said = "; ".join(f"{name}: {', '.join(moved)}" for name, moved in across.items() if moved)
        print(
            f"{case}: {metrics} metrics, differing: {', '.join(moving) or 'none'}; unlike settings: {said or 'none'}"
        )


def counted(suites: Sequence[str], number: int, threads: int | None = None) -> dict[str, list[Values]]:
    """The counts of each launch, by case."""
    found: dict[str, list[Values]] = {}
    with workload.workers() as workers:
        listings = describe(workers, suite_files([workload.ROOT / suite for suite in suites]), {})
        cases = [case for one in listings for case in one.expansion.cases]
        plan = Plan(cases, {one.name: one.file for one in listings}, Schedule(), UntimedLaunches(counts=True))
        plan = probe(workers, plan).plan
        began = time.monotonic()
        for round_number in range(1, number + 1):
            workers.renew()
            for case in cases:
                found.setdefault(case.id, []).append(values_of(workers, plan, case, round_number, threads))
        spent = (time.monotonic() - began) / (number * len(cases))
        print(f"{spent:.2f} s a launch", file=sys.stderr, flush=True)
    return found


def values_of(workers: Workers, plan: Plan, case: Case, number: int, threads: int | None) -> Values:
    record = launch(workers, plan, Job(case, COUNTED, number, 1), threads=threads)
    assert isinstance(record, Measurement), record
    assert record.counts is not None
    return count_values(record.counts)


def differing(launches: Sequence[Values], portable_only: bool = False) -> list[str]:
    """The metrics that are not the same in all of these launches."""
    names = dict.fromkeys(name for values in launches for name in values)
    return [
        name
        for name in names
        if len({values.get(name) for values in launches}) > 1
        and not (portable_only and metric(name).kind != "exact")
    ]


@contextmanager
def environment_variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


if __name__ == "__main__":
    main()
