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
from ..measurement import COUNTED, PHASED, TIMED
from ..running.launching import Watch, launch
from ..running.plan import Job, Record
from ..running.rounds import Budget
from ..suite.case import Case
from .sides import Sides

RENEW_AFTER = 15.0  # seconds that a fork server serves: replacing it takes three
PHASE_PAIRS = 5  # of a case on a device whose time has changed


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
    announce: Callable[[str, str], None] = lambda _name, _what: None,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
    counts: bool = True,
) -> Iterator[Launched]:
    """Yields every launch as it ends, and gives each pair to the judge; stops early at the time budget.

    With `counts`, a counts launch of each side comes first. `cases` maps names to the case of each side. On a device a
    timed launch has no phases: once the time of a case is known to have changed, pairs of phase launches follow.
    """
    budget = Budget(sides[0].plan.schedule.time_budget, clock, began)
    for pair in _order(sides, cases, judge, clock, counts):
        if not budget.allows_launch():
            return
        announce(pair.name, pair.called)
        yield from _launch_both(sides, cases[pair.name], pair, judge, watch)
        budget.spent()


@dataclass(frozen=True)
class _Pair:
    """A pair to measure: of which case, and its kind, round, place in the round, and whether the base runs first."""

    name: str
    kind: str
    number: int
    place: int
    base_led: bool
    called: str  # on the screen


def _order(
    sides: Sides,
    cases: Mapping[str, tuple[Case, Case]],
    judge: SideBySide,
    clock: Callable[[], float],
    counts: bool,
) -> Iterator[_Pair]:
    """The pairs in their order, each as the judge stands when it is asked for; renews fork servers between rounds."""
    for place, name in enumerate(cases if counts else (), start=1):
        yield _Pair(name, COUNTED, 1, place, True, "counts")
    seed = sides[0].plan.schedule.seed
    shared = sides[0].workers.shared is sides[1].workers.shared
    renewed = clock()
    number = 0
    without_phases = [name for name, (base, _) in cases.items() if base.device != "cpu"]
    while wanted := [name for name in cases if judge.wants(name)]:
        number += 1
        random.Random(f"{seed}/{number}").shuffle(wanted)
        if not shared or clock() - renewed >= RENEW_AFTER:
            for side in sides:
                side.workers.renew()
            renewed = clock()
        for place, name in enumerate(wanted, start=1):
            pair = judge.pairs(name) + 1
            yield _Pair(name, TIMED, number, place, base_first(seed, name, pair), f"pair {pair}")
        decided = [name for name in without_phases if not judge.wants(name)]
        without_phases = [name for name in without_phases if name not in decided]
        for name in filter(judge.time_changed, decided):
            for pair in range(1, PHASE_PAIRS + 1):
                leads = base_first(seed, name, pair)
                yield _Pair(
                    name, PHASED, pair, list(cases).index(name) + 1, leads, f"pair {pair} for the phases"
                )


def _launch_both(
    sides: Sides, cases: tuple[Case, Case], pair: _Pair, judge: SideBySide, watch: Watch | None
) -> Iterator[Launched]:
    """The two launches of a pair, one after the other, given to the judge together."""
    records: dict[int, Record] = {}
    for order, side in enumerate((0, 1) if pair.base_led else (1, 0)):
        job = Job(cases[side], pair.kind, pair.number, 2 * pair.place - 1 + order)
        records[side] = launch(sides[side].workers, sides[side].plan, job, watch)
        yield Launched(side, pair.name, records[side])
    judge.add(pair.name, pair.number, (records[0], records[1]), pair.base_led)
