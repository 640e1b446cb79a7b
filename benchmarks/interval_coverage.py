"""The coverage of the intervals: real launches, divided into runs that end by the stop rule of every run.

    python -m benchmarks.interval_coverage [ROUNDS [TOLERANCE]]

Launches of four cases, one of each case from every fork server (ROUNDS: 300). They are divided in two ways: at random
into 100 pseudo-runs, and in their order into as many runs as they make (at most 40). The figure is how many intervals
contain the grand median. The difference between the two is the machine's drift between runs, which the interval of one
run cannot include. About 20 minutes.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Iterator, Sequence

from bench.analysis.launch.values import analysed
from bench.analysis.run.estimate import estimate
from bench.analysis.run.stopping import StopRule, tolerance_of
from bench.cli.options import MOST_LAUNCHES
from bench.measurement import TIMED, Measurement
from bench.running.plan import Job
from bench.suite.case import Schedule
from benchmarks import workload

PSEUDO_RUNS, RUNS_IN_A_ROW = 100, 40
AXES = {"device": ["cpu"], "batch_size": [64, 256], "optimizer": ["adam"], "mode": ["train", "no_grad"]}


def main() -> None:
    options = workload.arguments(rounds=300, tolerance=0.02)
    rounds, tolerance = options.rounds, options.tolerance
    schedule = Schedule(max_launches=MOST_LAUNCHES, tolerance=tolerance, repeats=6)
    pool = measured(rounds)
    shuffle = random.Random(0)
    totals = {"at random": [0, 0], "in a row": [0, 0]}
    print(f"{rounds} rounds, tolerance {tolerance:.0%}, at most {MOST_LAUNCHES} launches; held / intervals")
    for name, launches in pool.items():
        clean = [one.measurement for one in analysed(launches) if one.used]
        dealt = {
            "at random": [shuffle.sample(clean, MOST_LAUNCHES) for _ in range(PSEUDO_RUNS)],
            "in a row": list(in_a_row(clean, schedule)),
        }
        print(f"{name}: {len(clean)} launches, {len(launches) - len(clean)} contaminated")
        for how, hands in dealt.items():
            for metric, (held, number, count) in shares(hands, clean, schedule).items():
                totals[how][0] += held
                totals[how][1] += number
                print(
                    f"  {how:10} {metric:16} {held:4} of {number:4} ({held / number:.1%}), {count:.1f} launches a run"
                )
    for how, (held, number) in totals.items():
        print(
            f"{how}, all cases and metrics: {held} of {number} intervals ({held / number:.1%}) hold the grand median"
        )


def measured(rounds: int) -> dict[str, list[Measurement]]:
    """The launches, by case."""
    found: dict[str, list[Measurement]] = {}
    order = random.Random(0)
    with workload.workers() as workers:
        plan = workload.plan_of(workers, workload.VISION, axes=AXES)
        for number in range(1, rounds + 1):
            workers.renew()
            for position, case in enumerate(order.sample(plan.cases, len(plan.cases)), start=1):
                record = workload.measured(workers, plan, Job(case, TIMED, number, position))
                found.setdefault(case.id, []).append(record)
            if number % 20 == 0:
                print(f"round {number}/{rounds}", file=sys.stderr, flush=True)
    return found


def stopped(launches: Sequence[Measurement], schedule: Schedule) -> Sequence[Measurement]:
    """The launches after which a run would have stopped."""
    rule = StopRule(schedule)
    for number, record in enumerate(launches):
        if not rule.wants(record.case):
            return launches[:number]
        rule.add(record)
    return launches


def in_a_row(launches: Sequence[Measurement], schedule: Schedule) -> Iterator[Sequence[Measurement]]:
    """One run after the other, each ended by the stop rule; launches at the end that make no whole run are dropped."""
    rest = list(launches)
    for _ in range(RUNS_IN_A_ROW):
        made = stopped(rest, schedule)
        if len(made) == len(rest):
            return
        yield made
        rest = rest[len(made) :]


def shares(
    hands: Sequence[Sequence[Measurement]], all_launches: Sequence[Measurement], schedule: Schedule
) -> dict[str, tuple[int, int, float]]:
    """For each metric: how many intervals contain the grand median, of how many, and the launches per run."""
    grand: dict[str, list[float]] = {}
    for one in analysed(all_launches):
        for metric, value in one.values.items():
            grand.setdefault(metric, []).append(value)
    found: dict[str, list[bool]] = {}
    counts = []
    for hand in hands:
        made = analysed(stopped(hand, schedule))
        counts.append(len(made))
        for metric in made[0].values:
            if tolerance_of(metric, schedule.tolerance) is None or metric.startswith("memory"):
                continue
            interval = estimate([one.values[metric] for one in made])
            assert interval.low is not None
            assert interval.high is not None
            truth = statistics.median(grand[metric])
            found.setdefault(metric, []).append(interval.low <= truth <= interval.high)
    return {metric: (sum(held), len(held), statistics.fmean(counts)) for metric, held in found.items()}


if __name__ == "__main__":
    main()
