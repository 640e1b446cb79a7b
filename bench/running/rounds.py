"""The order of launches: rounds until the stop rule, or the time budget, ends them.

A round is one launch of every case that still needs one, in random order, from a new fork server: launches of one case
never share an address layout. The stop rule decides which cases need more. The order of a round follows from the seed
and its number, and its cases from the records of the rounds before, so that an interrupted run resumes as if it had not
been interrupted.

Where several equal cards are lanes, as many rounds run at the same time, each on one card: launches of one round have
the card in common, so that it is a block of the statistics, as the round is.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from ..measurement import TIMED, Failure
from ..suite.case import Case
from .lanes import Lane, at_once
from .launching import Watch, launch
from .plan import Job, Plan, Record
from .workers import RequestRunner

_FINISH = 5.0  # seconds of a budget, at most, reserved for tables and pictures


class StoppingRule(Protocol):
    """The stop rule, as a run needs it; `analysis/run/stopping.py` has the one in use."""

    def add(self, record: Record) -> None: ...
    def remaining(self, case: Case) -> int: ...


def run(
    workers: RequestRunner,
    plan: Plan,
    rule: StoppingRule,
    done: Sequence[Record] = (),
    watch: Watch | None = None,
    announce: Callable[[Job], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
    lanes: Mapping[str, Sequence[Lane]] = MappingProxyType({}),
) -> Generator[Record, None, None]:
    """Yields every launch of the plan as it ends; stops early at the time budget.

    `done` are the records of an earlier part of the run: those launches are not repeated. The budget runs from `began`
    on `clock`, by default from now. `lanes` has, by device, the cards on which launches of its cases run at the same
    time; all others are made by `workers`, one after the other, while no other launch runs.
    """
    made = _Run(Lane(workers, watch), plan, rule, done, announce, clock, began, lanes)
    number = 1
    while rounds := made.next_rounds(number):
        for parts in made.steps(rounds):
            yield from made.launched(parts)
            if made.is_over:
                return
        number += len(rounds)


class _Run:
    """A run as far as it has come. A part is the launches of one round on one lane, in their order."""

    def __init__(
        self,
        alone: Lane,
        plan: Plan,
        rule: StoppingRule,
        done: Sequence[Record],
        announce: Callable[[Job], None],
        clock: Callable[[], float],
        began: float | None,
        lanes: Mapping[str, Sequence[Lane]],
    ) -> None:
        self._alone, self._plan, self._rule, self._announce, self._lanes = alone, plan, rule, announce, lanes
        self._known = {(record.round, record.kind, record.case.id): record for record in done}
        self._failed: set[str] = set()  # ids of cases
        self._over = threading.Event()  # set from the thread of a lane
        every_lane = [alone, *(lane for several in lanes.values() for lane in several)]
        seconds = plan.schedule.time_budget
        self._budgets = {id(lane): Budget(seconds, clock, began) for lane in every_lane}

    @property
    def is_over(self) -> bool:
        """Whether the time budget has ended."""
        return self._over.is_set()

    def next_rounds(self, first: int) -> list[list[Job]]:
        """The launches of the next rounds, which run at the same time as far as there are lanes; empty at the end.

        As many rounds as there are lanes, or fewer: a case is in as many of them as it is expected to need. The untimed
        launches follow the timed ones of the first round, which have priority in the budget.
        """
        remaining = {case: self._rule.remaining(case) for case in self._plan.cases}
        spread = {case: self._lanes[case.device] for case in remaining if case.device in self._lanes}
        for case, lanes in spread.items():
            remaining[case] = min(remaining[case], len(lanes))
        rounds = []
        for offset in range(max([1, *(remaining[case] for case in spread)])):
            order = random.Random(f"{self._plan.schedule.seed}/{first + offset}")
            wanted = [(case, TIMED) for case, number in remaining.items() if number > offset]
            order.shuffle(wanted)
            if first + offset == 1:
                wanted += order.sample(self._plan.untimed_launches, len(self._plan.untimed_launches))
            jobs = enumerate(wanted, start=1)
            rounds.append([Job(case, kind, first + offset, place) for place, (case, kind) in jobs])
        return rounds if any(rounds) else []

    def steps(self, rounds: Sequence[Sequence[Job]]) -> Iterator[list[tuple[Lane, list[Job]]]]:
        """These rounds as parts, of which those of a step run at the same time.

        On lanes, the untimed launches have a step of their own, since the whole first round is to be known by then: a
        case that failed in it has none.
        """
        for jobs in rounds:
            yield [(self._alone, [job for job in jobs if job.case.device not in self._lanes])]
        for device, lanes in self._lanes.items():
            on_device = [[job for job in jobs if job.case.device == device] for jobs in rounds]
            timed = [[job for job in jobs if job.kind == TIMED] for jobs in on_device]
            untimed = [job for jobs in on_device for job in jobs if job.kind != TIMED]
            yield list(zip(lanes, timed, strict=False))
            yield [(lane, untimed[number :: len(lanes)]) for number, lane in enumerate(lanes)]

    def launched(self, parts: Sequence[tuple[Lane, list[Job]]]) -> Iterator[Record]:
        """The new records of these parts, which the stop rule has got by then; known ones are only given to it."""
        for _, jobs in parts:
            for job in jobs:
                if earlier := self._earlier(job):
                    self._add(earlier)
        left = [(lane, [job for job in jobs if not self._earlier(job)]) for lane, jobs in parts]
        left = [(lane, jobs) for lane, jobs in left if jobs]

        def interrupt() -> None:
            for lane, _ in left:
                lane.interrupt()

        for item in at_once([self._launches(lane, jobs) for lane, jobs in left], interrupt):
            if isinstance(item, Job):
                self._announce(item)
            else:
                self._add(item)
                yield item

    def _earlier(self, job: Job) -> Record | None:
        return self._known.get((job.round, job.kind, job.case.id))

    def _add(self, record: Record) -> None:
        self._rule.add(record)
        self._failed |= _failed(record)

    def _launches(self, lane: Lane, jobs: Sequence[Job]) -> Iterator[Job | Record]:
        """Each launch before it is made, and its record: on the thread of a lane where there are several."""
        failed, budget, is_new = set(self._failed), self._budgets[id(lane)], True
        for job in jobs:
            if job.kind != TIMED and job.case.id in failed:
                continue
            if not budget.allows_launch():
                self._over.set()
                break
            if is_new:
                lane.workers.renew()
                is_new = False
            yield job
            record = launch(lane.workers, self._plan, job, lane.watch)
            failed |= _failed(record)
            budget.spent()
            yield record
        if lane is not self._alone:
            # Linux ends a fork server with the thread that started it; it is to be gone before the next launch.
            lane.workers.renew()


def _failed(record: Record) -> set[str]:
    """The case of a failure in the first round; it gets no untimed launches."""
    return {record.case.id} if record.round == 1 and isinstance(record, Failure) else set()


class Budget:
    """Whether there is time for another launch as long as the longest so far, and for the end of the run."""

    def __init__(self, seconds: float | None, clock: Callable[[], float], began: float | None = None) -> None:
        self._clock = clock
        self._ends = None
        if seconds is not None:
            self._ends = (clock() if began is None else began) + seconds - min(_FINISH, seconds / 10)
        self._longest = 0.0
        self._launch_began = 0.0

    def allows_launch(self) -> bool:
        if self._ends is None:
            return True
        self._launch_began = self._clock()
        return self._launch_began + self._longest < self._ends

    def spent(self) -> None:
        """Records the end of the launch that was allowed."""
        if self._ends is not None:
            self._longest = max(self._longest, self._clock() - self._launch_began)
