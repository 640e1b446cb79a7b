"""The error rates of the gate on quality: injected losses of quality, and false alarms without one.

    python -m benchmarks.quality [SESSIONS]

Five small tasks (`learning.py`), judged as `bench ab` judges them after three pairs: with an injected loss of quality,
as identical code in SESSIONS (30) sessions, and with the same sums in another order. All launches have the same seed,
as in every command. Then one task whose launches have different seeds: launches of it, with and without the loss of
quality, are drawn at random into 2,000 sessions of 14 pairs. About three minutes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.analysis.compare.policy import policy
from bench.analysis.compare.quality_change import quality_change, quality_verdicts, repeats
from bench.analysis.compare.sequential import looks_at
from bench.analysis.compare.side_by_side import Matched, SideBySide
from bench.analysis.compare.sides import CaseSide, Observed
from bench.analysis.compare.verdict import Row
from bench.analysis.launch.values import launch_values
from bench.cli.ab_sessions import asked_of_pairs
from bench.measurement import TIMED, Measurement, metric
from bench.running.plan import Job, Plan
from bench.running.workers import Workers
from bench.suite.case import Case
from benchmarks import learning, workload

PAIRS = 3
ORDERS = 10  # sessions with sums in another order
POOL, DEALT, PAIRS_DEALT = 40, 2_000, 14
UNSEEDED = "dropout"


def main() -> None:
    sessions = workload.arguments(sessions=30).sessions
    with workload.workers(threads=1) as workers:
        plan = workload.plan_of(workers, learning.FILE)
        by_name = {(case["task"], case["change"], case["seeded"]): case for case in plan.cases}
        tasks = list(learning.SPOILT)

        def session(task: str, change: str) -> list[Row]:
            sides = by_name[task, "none", True], by_name[task, change, True]
            return judged([measured(workers, plan, sides) for _ in range(PAIRS)])

        print("injected: verdicts, and the metric of the test")
        found = 0
        for task in tasks:
            rows = session(task, "spoilt")
            found += bool(falls(rows))
            print(f"  {task:10} {learning.SPOILT[task]:36} {said(rows)}")
        print(f"  reported in {found} of {len(tasks)}")
        for change, number in (("none", sessions), ("reordered", ORDERS)):
            made = [session(tasks[one % len(tasks)], change) for one in range(number)]
            alarms, largest = sum(bool(falls(rows)) for rows in made), max(map(moved, made))
            print(f"{change}: {alarms} of {number} sessions raised an alarm; the largest change was {largest:.2g} "
                  f"of its tolerance")  # fmt: skip
        pools = {
            change: pool(workers, plan, by_name[UNSEEDED, change, False]) for change in ("none", "spoilt")
        }
    for change in pools:
        alarms = sum("regressed" in dealt(pools, change, number).values() for number in range(DEALT))
        print(f"{UNSEEDED}, launches that differ, {change}: {alarms} of {DEALT} sessions report a fall")


def pool(workers: Workers, plan: Plan, case: Case) -> list[dict[str, float]]:
    """The quality metrics of many launches."""
    made = [launch_values(launched(workers, plan, case, number)) for number in range(POOL)]
    return [{name: one[name] for name in one if metric(name).kind == "quality"} for one in made]


def launched(workers: Workers, plan: Plan, case: Case, number: int) -> Measurement:
    return workload.measured(workers, plan, Job(case, TIMED, number + 1, 1))


def measured(workers: Workers, plan: Plan, sides: tuple[Case, Case]) -> tuple[Measurement, Measurement]:
    return launched(workers, plan, sides[0], 0), launched(workers, plan, sides[1], 0)


def judged(pairs: Sequence[tuple[Measurement, Measurement]]) -> list[Row]:
    """The rows of quality of one case, with no difference of the sides declared."""
    case = Matched("case", CaseSide("learning", "cpu"), CaseSide("learning", "cpu"))
    judge = SideBySide([case], asked_of_pairs(["quality.*"], ()))
    for number, pair in enumerate(pairs, start=1):
        judge.add("case", number, pair, number % 2 == 0)
    return [row for row in judge.end() if row.metric.kind == "quality"]


def falls(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.verdict == "regressed"]


def moved(rows: Sequence[Row]) -> float:
    """The largest change, relative to the tolerance of its row."""
    return max(
        abs(row.candidate - row.base) / row.policy.tolerance(row.base)
        for row in rows
        if row.base is not None and row.candidate is not None
    )


def said(rows: Sequence[Row]) -> str:
    (tested,) = (row for row in rows if row.metric.name in ("quality.test_accuracy", "quality.test_r2"))
    fell = ", ".join(row.metric.name.removeprefix("quality.") for row in falls(rows))
    return f"{tested.metric.name} {tested.base:.3f} to {tested.candidate:.3f} {tested.verdict}; fell: {fell}"


def dealt(pools: dict[str, list[dict[str, float]]], change: str, seed: int) -> dict[str, str]:
    """The verdicts of a session of random launches; for identical code no launch is on both sides."""
    chance = random.Random(seed)
    base = chance.sample(pools["none"], PAIRS_DEALT)
    rest = [one for one in pools[change] if one not in base]
    hands = base, chance.sample(rest, PAIRS_DEALT)
    sides = [
        CaseSide("learning", "cpu", {
            name: Observed.of({number: one[name] for number, one in enumerate(hand)}) for name in hand[0]
        })
        for hand in hands
    ]  # fmt: skip
    found = {}
    for name, seen in sides[0].observed.items():
        tolerance = policy(metric(name), "learning", "case", "cpu").tolerance(seen.value)
        other, alike = sides[1].observed[name], all(map(repeats, sides))
        found[name] = quality_change(
            seen, other, tolerance, metric(name).better, alike, looks_at(PAIRS_DEALT)
        )
    return quality_verdicts(found)


if __name__ == "__main__":
    main()
