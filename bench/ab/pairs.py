"""Launches of both sides, pair by pair, in random order.

A round is a pair of every case that still needs one. Which side goes first is random but balanced: of two successive
pairs, one begins with each side. If interpreter and environment are equal, both sides fork from one fork server, whose
effects (such as the address layout) cancel in the pair; it is replaced now and then, since a layout may favour the code
of one side. Otherwise the fork servers of both sides are replaced every round, so that the pair stays the unit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..analysis.compare.side_by_side import SideBySide
from ..measurement import COUNTED, TIMED
from ..running.launching import Watch, launch
from ..running.plan import Job, Record
from ..running.rounds import Budget
from ..suite.case import Case
from .sides import Sides

RENEW_AFTER = 15.0  # seconds that a fork server serves: replacing it takes three


@dataclass(frozen=True)
class Launched:
    """The record of one launch of the base (0) or the candidate (1), with the name of its case."""

    side: int
    name: str
    record: Record


def base_first(seed: int, name: str, pair: int) -> bool:
    """Whether the base runs first in a pair, counted from 1: it does in one of two successive pairs."""
    first = random.Random(f"{seed}/{name}/{(pair - 1) // 2}").random() < 0.5
    return first if pair % 2 else not first


def measure(
    sides: Sides,
    cases: Mapping[str, tuple[Case, Case]],
    judge: SideBySide,
    watch: Watch | None = None,
    announce: Callable[[str, int], None] = lambda _name, _pair: None,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
    counts: bool = True,
) -> Iterator[Launched]:
    """Yields every launch as it ends, and gives each pair to the judge; stops early at the time budget.

    With `counts`, a counts launch of each side comes first. `cases` maps names to the case of each side.
    """
    schedule = sides[0].plan.schedule
    budget = Budget(schedule.time_budget, clock, began)
    for place, name in enumerate(cases if counts else (), start=1):
        if not budget.allows_launch():
            return
        announce(name, 0)
        yield from _pair(sides, cases[name], name, judge, (COUNTED, 1, place, True), watch)
        budget.spent()
    shared = sides[0].workers.shared is sides[1].workers.shared
    renewed = clock()
    number = 0
    while wanted := [name for name in cases if judge.wants(name)]:
        number += 1
        random.Random(f"{schedule.seed}/{number}").shuffle(wanted)
        if not shared or clock() - renewed >= RENEW_AFTER:
            for side in sides:
                side.workers.renew()
            renewed = clock()
        for place, name in enumerate(wanted, start=1):
            if not budget.allows_launch():
                return
            pair = judge.pairs(name) + 1
            announce(name, pair)
            leads = base_first(schedule.seed, name, pair)
            yield from _pair(sides, cases[name], name, judge, (TIMED, number, place, leads), watch)
            budget.spent()


def _pair(
    sides: Sides,
    cases: tuple[Case, Case],
    name: str,
    judge: SideBySide,
    what: tuple[str, int, int, bool],
    watch: Watch | None,
) -> Iterator[Launched]:
    """The two launches of a pair, one after the other, given to the judge together."""
    kind, number, place, base_led = what
    records: dict[int, Record] = {}
    for order, side in enumerate((0, 1) if base_led else (1, 0)):
        job = Job(cases[side], kind, number, 2 * place - 1 + order)
        records[side] = launch(sides[side].workers, sides[side].plan, job, watch)
        yield Launched(side, name, records[side])
    judge.add(name, number, (records[0], records[1]), base_led)
