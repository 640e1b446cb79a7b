"""Whether the three ways to measure agree: the same step with `bench run`, `epochbench.watch` and pytest-benchmark.

    python -m benchmarks.entry_points [ROUNDS] [MODEL]...

In each round (30) and for each model, each way starts a process, with the pinned allocator, the same threads and wait
policy. The processes take turns of 24 steps, so that the machine's drift affects all of them. The figure is the ratio
of the median steps of two processes of a round, with the interval of the median over rounds. One thread each, since a
second one would spin during the turns of other processes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.analysis.launch.values import launch_values
from bench.analysis.run.estimate import estimate
from bench.measurement import TIMED
from bench.running.fork_server import launch_variables
from bench.running.plan import Job, Plan
from bench.running.preparation import describe, describe_script, probe
from bench.running.workers import Workers
from bench.suite.case import Case, Conditions, Schedule
from bench.suite.script import script as read_script
from benchmarks import workload
from benchmarks.entry_points.loop import BATCHES, EPOCHS, PLACE

HERE = Path(__file__).parent
SUITE, SCRIPT = HERE / "loop.py", HERE / "train.py"
RUN, WATCH, PYTEST = "bench run", "bench.watch", "pytest"


def plan_of_suite(workers: Workers, models: list[str]) -> Plan:
    (listing,) = describe(workers, [str(SUITE)], {"model": models} if models else {})
    return Plan(listing.expansion.cases, {listing.name: listing.file}, Schedule())


def plan_of_script(models: list[str]) -> Plan:
    axes = {"model": models}
    its = read_script(SCRIPT, [], list(axes))
    (listing,) = describe_script(its, axes)
    return Plan(listing.expansion.cases, {listing.name: listing.file}, Schedule(), script=its)


def of_launch(workers: Workers, plan: Plan, at: int, number: int) -> float:
    """The step time of one launch, seconds."""
    record = workload.measured(workers, plan, Job(plan.cases[at], TIMED, number, 1))
    return launch_values(record)["train.step_time"]


def of_pytest(conditions: Conditions, case: Case, folder: Path) -> float:
    """The median step of one process of pytest-benchmark, in seconds, over as many steps as a launch has."""
    file = folder / "benchmark.json"
    benchmark = (
        f"--benchmark-max-time=0 --benchmark-min-rounds={BATCHES * (EPOCHS - 1)} --benchmark-json={file}"
    )
    pytest = "-m pytest -q -p no:cacheprovider -o addopts= -o bench_allocator=pinned"
    subprocess.run(
        [sys.executable, *pytest.split(), *benchmark.split(), str(SUITE), "-k", f"model:{case['model']}"],
        cwd=workload.ROOT,
        env=launch_variables(conditions),
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (found,) = json.loads(file.read_text())["benchmarks"]
    assert found["extra_info"]["allocator"] == "pinned"
    assert found["extra_info"]["threads"] == conditions.threads
    return float(found["stats"]["median"])


def main() -> None:
    parser = workload.parser(rounds=30)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    options = parser.parse_args()
    rounds = options.rounds
    if rounds < 6:
        sys.exit("give 6 rounds or more: fewer have no 95 % interval")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with TemporaryDirectory() as made, ExitStack() as stack:
        place = Path(made)
        os.environ[PLACE] = made
        suites, scripts = (stack.enter_context(workload.workers(threads=1)) for _ in range(2))
        pool = stack.enter_context(ThreadPoolExecutor())
        suite = plan_of_suite(suites, options.models)
        models = [str(case["model"]) for case in suite.cases]
        script = plan_of_script(models)
        suite = probe(suites, suite).plan
        script = probe(scripts, script).plan
        for number in range(1, rounds + 1):
            suites.renew()
            scripts.renew()
            for at, model in enumerate(models):
                (place / "round").touch()
                measured = {
                    RUN: pool.submit(of_launch, suites, suite, at, number),
                    WATCH: pool.submit(of_launch, scripts, script, at, number),
                    PYTEST: pool.submit(of_pytest, suites.conditions, suite.cases[at], place),
                }
                for way, future in measured.items():
                    found[way, model].append(future.result())
                for file in [place / "round", *place.glob("arrived-*")]:
                    file.unlink()
            print(f"round {number}/{rounds}", file=sys.stderr)
    print(f"1 thread, pinned allocator, {rounds} rounds; ratio of median steps, with 95 % interval")
    for model in models:
        base = found[RUN, model]
        print(f"{model}: {RUN} {statistics.median(base) * 1e3:.3f} ms")
        for way in (WATCH, PYTEST):
            ratios = [value / own for value, own in zip(found[way, model], base, strict=True)]
            median = estimate(ratios)
            print(
                f"  {way:12} / {RUN}  {median.value:.4f} ({median.low:.4f} to {median.high:.4f}), "
                f"sd of a round {statistics.stdev(ratios):.3f}"
            )


if __name__ == "__main__":
    main()
