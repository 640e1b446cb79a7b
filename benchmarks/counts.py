"""How exact the exact metrics are: each case counted repeatedly, with different threads and instruction sets.

    python -m benchmarks.counts [LAUNCHES] [SUITE]...

Each case of the suites (by default shipped ones) has LAUNCHES (20) counts launches, each from its own fork server; then
two with one thread, and two for each instruction set that torch can name. Metrics whose values differ within the same
settings are named, and portable ones that differ between settings. It prints how long a launch takes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.analysis.launch.derived_counts import count_values
from bench.measurement import COUNTED, Measurement, metric
from bench.running.launching import launch
from bench.running.plan import Job, Plan
from bench.running.preparation import describe, probe, suite_files
from bench.running.workers import Workers
from bench.suite.case import Case, Schedule, UntimedLaunches
from benchmarks import workload

SUITES = ("suites/vision.py", "suites/language.py", "suites/models.py", "suites/optimizers.py")
_OTHER = 2  # launches of each case with each other setting

Values = dict[str, float]


def main() -> None:
    parser = workload.parser(launches=20)
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    options = parser.parse_args()
    number, suites = options.launches, options.suites or SUITES
    same = counted(suites, number)
    other = {"1 thread": counted(suites, _OTHER, threads=1)}
    for capability in ("default", "avx2", "avx512"):
        with environment_variable("ATEN_CPU_CAPABILITY", capability):
            other[capability] = counted(suites, _OTHER)
    print(
        f"{number} launches a case at 2 threads, {_OTHER} with each other setting; metrics whose values differ"
    )
    for case, launches in same.items():
        moving = differing(launches)
        across = {
            name: differing([launches[0], *others[case]], portable_only=True)
            for name, others in other.items()
        }
        metrics = len(launches[0])
        said = "; ".join(f"{name}: {', '.join(moved)}" for name, moved in across.items() if moved)
        print(
            f"{case}: {metrics} metrics, differing: {', '.join(moving) or 'none'}; other settings: {said or 'none'}"
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
