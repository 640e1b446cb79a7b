"""Launches of both sides, pair by pair, in random order.

A round is a pair of every case that still needs one. Which side goes first is random but balanced: of two successive
pairs, one begins with each side. If interpreter and environment are equal, both sides fork from one fork server, whose
effects (such as the address layout) cancel in the pair; it is replaced now and then, since a layout may favour the code
of one side. Otherwise the fork servers of both sides are replaced every round, so that the pair stays the unit.

Where several equal cards are lanes, as many rounds run at the same time; both launches of a pair run on one card, whose
effect cancels as well.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..analysis.compare.side_by_side import SideBySide
from ..measurement import COUNTED, PHASED, TIMED
from ..running.lanes import at_once
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


@dataclass(frozen=True)
class PairLane:
    """Where pairs are measured one after the other: the sides with workers of this lane, and what watches launches."""

    sides: Sides
    watch: Watch | None = None

    def interrupt(self) -> None:
        """Ends the launch that another thread waits for, which then fails."""
        for side in self.sides:
            side.workers.interrupt()

    def renew(self) -> None:
        """Gives the next launches of both sides new fork servers."""
        for side in self.sides:
            side.workers.renew()


def measure(
    sides: Sides,
    cases: Mapping[str, tuple[Case, Case]],
    judge: SideBySide,
    watch: Watch | None = None,
    announce: Callable[[str, str], None] = lambda _name, _what: None,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
    counts: bool = True,
    lanes: Mapping[str, Sequence[PairLane]] = MappingProxyType({}),
) -> Generator[Launched, None, None]:
    """Yields every launch as it ends, and gives each pair to the judge; stops early at the time budget.

    With `counts`, a counts launch of each side comes first. `cases` maps names to the case of each side. On a device a
    timed launch has no phases: once the time of a case is known to have changed, pairs of phase launches follow.
    `lanes` has, by device, the cards on which pairs of its cases run at the same time.
    """
    made = _Session(PairLane(sides, watch), cases, judge, announce, clock, began, lanes)
    for parts in made.steps(counts):
        yield from made.launched(parts)
        if made.is_over:
            return


@dataclass(frozen=True)
class _Pair:
    """A pair to measure: of which case, and its kind, round, place in the round, and whether the base runs first."""

    name: str
    kind: str
    number: int
    place: int
    base_led: bool
    called: str  # on the screen


@dataclass(frozen=True)
class _Ended:
    """A pair whose launches have ended, the base's first."""

    pair: _Pair
    records: tuple[Record, Record]


_Part = tuple[PairLane, Sequence[_Pair]]  # one after the other


class _Session:
    """The pairs of an A/B as far as it has come."""

    def __init__(
        self,
        alone: PairLane,
        cases: Mapping[str, tuple[Case, Case]],
        judge: SideBySide,
        announce: Callable[[str, str], None],
        clock: Callable[[], float],
        began: float | None,
        lanes: Mapping[str, Sequence[PairLane]],
    ) -> None:
        self._alone, self._cases, self._judge, self._announce = alone, cases, judge, announce
        self._clock, self._lanes = clock, lanes
        self._schedule = alone.sides[0].plan.schedule
        self._over = threading.Event()  # set from the thread of a lane
        every_lane = [alone, *(lane for several in lanes.values() for lane in several)]
        self._budgets = {id(lane): Budget(self._schedule.time_budget, clock, began) for lane in every_lane}

    @property
    def is_over(self) -> bool:
        """Whether the time budget has ended."""
        return self._over.is_set()

    def _lanes_of(self, name: str) -> Sequence[PairLane]:
        """The lanes of a case; none where its sides are on different devices."""
        base, candidate = self._cases[name]
        return self._lanes.get(base.device, ()) if base.device == candidate.device else ()

    def steps(self, counts: bool) -> Iterator[Sequence[_Part]]:
        """The parts that run at the same time, each step as the judge stands when it is asked for."""
        if counts:
            places = enumerate(self._cases, start=1)
            yield from self._dealt([_Pair(name, COUNTED, 1, place, True, "counts") for place, name in places])
        shared = self._alone.sides[0].workers.shared is self._alone.sides[1].workers.shared
        renewed = self._clock()
        number = 1
        without_phases = [name for name, (base, _) in self._cases.items() if base.device != "cpu"]
        while rounds := self._next_rounds(number):
            number += len(rounds)
            for pairs in rounds:
                if not shared or self._clock() - renewed >= RENEW_AFTER:
                    self._alone.renew()
                    renewed = self._clock()
                yield from ([(self._alone, [pair])] for pair in pairs if not self._lanes_of(pair.name))
            for lanes in self._lanes.values():
                on_lanes = [
                    [pair for pair in pairs if self._lanes_of(pair.name) is lanes] for pairs in rounds
                ]
                yield list(zip(lanes, on_lanes, strict=False))
            decided = [name for name in without_phases if not self._judge.wants(name)]
            without_phases = [name for name in without_phases if name not in decided]
            for name in filter(self._judge.time_changed, decided):
                yield from self._dealt(list(self._phase_pairs(name)))

    def _next_rounds(self, first: int) -> list[list[_Pair]]:
        """The pairs of the next rounds, as many as there are lanes; no case has more than until its next look."""
        wanted = {name: self._judge.pairs_to_look(name) for name in self._cases}
        for name in wanted:
            if lanes := self._lanes_of(name):
                wanted[name] = min(wanted[name], len(lanes))
        spread = [wanted[name] for name in wanted if self._lanes_of(name)]
        rounds = []
        for offset in range(max([1, *spread])):
            names = [name for name, number in wanted.items() if number > offset]
            random.Random(f"{self._schedule.seed}/{first + offset}").shuffle(names)
            pairs = []
            for place, name in enumerate(names, start=1):
                pair = self._judge.pairs(name) + 1 + offset
                leads = base_first(self._schedule.seed, name, pair)
                pairs.append(_Pair(name, TIMED, first + offset, place, leads, f"pair {pair}"))
            rounds.append(pairs)
        return rounds if any(rounds) else []

    def _phase_pairs(self, name: str) -> Iterator[_Pair]:
        place = list(self._cases).index(name) + 1
        for pair in range(1, PHASE_PAIRS + 1):
            leads = base_first(self._schedule.seed, name, pair)
            yield _Pair(name, PHASED, pair, place, leads, f"pair {pair} for the phases")

    def _dealt(self, pairs: Sequence[_Pair]) -> Iterator[Sequence[_Part]]:
        """Pairs of which none waits for another: one after the other, or dealt to the lanes of their device."""
        yield from ([(self._alone, [pair])] for pair in pairs if not self._lanes_of(pair.name))
        for lanes in self._lanes.values():
            on_lanes = [pair for pair in pairs if self._lanes_of(pair.name) is lanes]
            yield [(lane, on_lanes[number :: len(lanes)]) for number, lane in enumerate(lanes)]

    def launched(self, parts: Sequence[_Part]) -> Iterator[Launched]:
        """The launches of these parts as they end. The judge gets the pairs in the order of their numbers, whichever
        ended first: a look must not choose among pairs by how long they took.
        """
        parts = [(lane, pairs) for lane, pairs in parts if pairs]

        def interrupt() -> None:
            for lane, _ in parts:
                lane.interrupt()

        ended: list[_Ended] = []
        try:
            for item in at_once([self._launches(lane, pairs) for lane, pairs in parts], interrupt):
                if isinstance(item, _Pair):
                    self._announce(item.name, item.called)
                elif isinstance(item, _Ended):
                    ended.append(item)
                else:
                    yield item
        finally:
            for one in sorted(ended, key=lambda one: one.pair.number):
                self._judge.add(one.pair.name, one.pair.number, one.records, one.pair.base_led)

    def _launches(self, lane: PairLane, pairs: Sequence[_Pair]) -> Iterator[_Pair | Launched | _Ended]:
        """Each pair before it is measured, and its launches: on the thread of a lane where there are several."""
        budget = self._budgets[id(lane)]
        if lane is not self._alone:
            lane.renew()
        for pair in pairs:
            if not budget.allows_launch():
                self._over.set()
                break
            yield pair
            records: dict[int, Record] = {}
            for order, number in enumerate((0, 1) if pair.base_led else (1, 0)):
                side = lane.sides[number]
                job = Job(self._cases[pair.name][number], pair.kind, pair.number, 2 * pair.place - 1 + order)
                records[number] = launch(side.workers, side.plan, job, lane.watch)
                yield Launched(number, pair.name, records[number])
            yield _Ended(pair, (records[0], records[1]))
            budget.spent()
        if lane is not self._alone:
            lane.renew()  # see `running/rounds.py`: a fork server ends with the thread that started it
