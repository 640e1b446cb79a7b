"""Two sides in one session: fresh launches of both, pair by pair, in an order that chance decides.

A round is a pair of every case that still wants one. Which side leads is balanced: of two pairs in a row one begins
with each, and chance says which. Both sides fork from the same fork server wherever interpreter and environment are
equal, so that what a fork server gives its children cancels in the pair; it is replaced now and then: a layout may
suit the code of one side better. Where the two must differ, both servers are replaced every round, so that each pair
is a pair of fork servers too, and the pair stays the unit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis.compare.side_by_side import SideBySide
from ..measurement import COUNTED, TIMED
from ..running.fork_server import Workers
from ..running.rounds import Budget, Job, Plan, Record, Watch, launch
from ..suite.case import Case, Conditions
from .trees import Tree
from .versions import Version

RENEW_AFTER = 15.0  # seconds that a fork server serves: replacing it takes three


class Guest:
    """One side's way to workers that it may share with the other: every request is answered in the side's tree."""

    def __init__(self, host: Workers, tree: Mapping[str, Any], logs: Path) -> None:
        self.host, self.logs, self._tree = host, logs, tree

    @property
    def conditions(self) -> Conditions:
        return self.host.conditions

    def ask(
        self,
        request: Mapping[str, Any],
        log: str,
        timeout: float | None = None,
        started: Callable[[int], None] = lambda _: None,
    ) -> dict[str, Any]:
        """As `fork_server.Workers.ask`."""
        given = {} if timeout is None else {"timeout": timeout}
        return self.host.ask({**request, "tree": self._tree}, str(self.logs / log), started=started, **given)

    def learn(self, modules: list[str]) -> None:
        self.host.learn(modules)

    def renew(self) -> None:
        self.host.renew()


@dataclass
class MeasuredSide:
    """One side of an A/B: what it is made of, where its code lies, and who measures it."""

    version: Version
    tree: Tree
    workers: Guest
    plan: Plan

    @property
    def label(self) -> str:
        """What the user called it, with the commit behind it."""
        known = not self.tree.commit or self.version.text == f"ref={self.tree.commit}"
        return self.version.text if known else f"{self.version.text} ({self.tree.commit})"


Sides = tuple[MeasuredSide, MeasuredSide]


@dataclass(frozen=True)
class Launched:
    """A launch that has come back: of the base (0) or the candidate (1), under the name of its case."""

    side: int
    name: str
    record: Record


def base_leads(seed: int, name: str, pair: int) -> bool:
    """Whether the base runs first in a pair, counted from 1: of two in a row it does in one."""
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
    """Every launch as it comes back, the judge told of each pair; ends early where the time budget does.

    Counts come first, a launch of each side, unless these are not wanted. `cases` has by name the case of each side.
    """
    schedule = sides[0].plan.schedule
    budget = Budget(schedule.time_budget, clock, began)
    for place, name in enumerate(cases if counts else (), start=1):
        if not budget.has_room():
            return
        announce(name, 0)
        yield from _pair(sides, cases[name], name, judge, (COUNTED, 1, place, True), watch)
        budget.spent()
    shared = sides[0].workers.host is sides[1].workers.host
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
            if not budget.has_room():
                return
            pair = judge.pairs(name) + 1
            announce(name, pair)
            leads = base_leads(schedule.seed, name, pair)
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
    """The two launches of a pair, one behind the other; the judge is told of both together."""
    kind, number, place, base_led = what
    made: dict[int, Record] = {}
    for order, side in enumerate((0, 1) if base_led else (1, 0)):
        job = Job(cases[side], kind, number, 2 * place - 1 + order)
        made[side] = launch(sides[side].workers, sides[side].plan, job, watch)
        yield Launched(side, name, made[side])
    judge.add(name, number, (made[0], made[1]), base_led)
