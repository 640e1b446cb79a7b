"""How honest the intervals are: real launches, dealt into runs that stop by the rule of every run.

    python -m benchmarks.honesty [ROUNDS] [TOLERANCE]

Launches of a few cases, one of each a fork server. They are dealt in two ways:
at random, into 100 pseudo-runs: how many intervals hold the grand median, stop rule included;
in a row, as they came, into as many runs as they make (40 at the most): the same share. The difference
between the two is what the machine's drift from run to run adds, and no interval of one run can know.
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
from bench.running.rounds import Job, Plan, describe, launch, probe
from bench.suite.case import Schedule
from benchmarks import workload

PSEUDO_RUNS, RUNS_IN_A_ROW = 100, 40
AXES = {"device": ["cpu"], "batch_size": [64, 256], "optimizer": ["adam"], "mode": ["train", "no_grad"]}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    tolerance = float(sys.argv[2]) if len(sys.argv) > 2 else 0.02
    schedule = Schedule(max_launches=MOST_LAUNCHES, tolerance=tolerance, repeats=6)
    pool = measured(rounds)
    shuffle = random.Random(0)
    totals = {"at random": [0, 0], "in a row": [0, 0]}
    print(f"{rounds} rounds, tolerance {tolerance:.0%}, at most {MOST_LAUNCHES} launches; held / intervals")
    for name, launches in pool.items():
        clean = [one.measurement for one in analysed(launches) if one.counts]
        dealt = {
            "at random": [shuffle.sample(clean, MOST_LAUNCHES) for _ in range(PSEUDO_RUNS)],
            "in a row": list(in_a_row(clean, schedule)),
        }
        print(f"{name}: {len(clean)} launches, {len(launches) - len(clean)} disturbed")
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
        (listing,) = describe(workers, [workload.VISION], AXES)
        plan = Plan(listing.expansion.cases, {listing.name: listing.file}, Schedule())
        plan = probe(workers, plan).plan
        for number in range(1, rounds + 1):
            workers.renew()
            for position, case in enumerate(order.sample(plan.cases, len(plan.cases)), start=1):
                record = launch(workers, plan, Job(case, TIMED, number, position))
                assert isinstance(record, Measurement), record
                found.setdefault(case.id, []).append(record)
            if number % 20 == 0:
                print(f"round {number}/{rounds}", file=sys.stderr, flush=True)
    return found


def stopped(launches: Sequence[Measurement], schedule: Schedule) -> Sequence[Measurement]:
    """The launches that a run would have made of these."""
    rule = StopRule(schedule)
    for number, record in enumerate(launches):
        if not rule.wants(record.case):
            return launches[:number]
        rule.add(record)
    return launches


def in_a_row(launches: Sequence[Measurement], schedule: Schedule) -> Iterator[Sequence[Measurement]]:
    """One run after the other, each as long as the rule lets it be; what is left over is no run."""
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
    """By metric: how many intervals hold the grand median, of how many, with how many launches each."""
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
