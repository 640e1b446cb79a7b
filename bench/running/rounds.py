"""The order of launches: rounds until the stop rule, or the time budget, ends them.

A round is one launch of every case that still needs one, in random order, from a new fork server: launches of one case
never share an address layout. The stop rule decides which cases need more. The order of a round follows from the seed
and its number, and its cases from the records of the rounds before, so that an interrupted run resumes as if it had not
been interrupted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..measurement import TIMED, Failure
from ..suite.case import Case
from .launching import Watch, launch
from .plan import Job, Plan, Record
from .workers import RequestRunner

_FINISH = 5.0  # seconds of a budget, at most, reserved for tables and pictures


class StoppingRule(Protocol):
    """The stop rule, as a run needs it; `analysis/run/stopping.py` has the one in use."""

    def add(self, record: Record) -> None: ...
    def wants(self, case: Case) -> bool: ...


def run(
    workers: RequestRunner,
    plan: Plan,
    rule: StoppingRule,
    done: Sequence[Record] = (),
    watch: Watch | None = None,
    announce: Callable[[Job], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
) -> Iterator[Record]:
    """Yields every launch of the plan as it ends; stops early at the time budget.

    `done` are the records of an earlier part of the run: those launches are not repeated. The budget runs from `began`
    on `clock`, by default from now.
    """
    budget = Budget(plan.schedule.time_budget, clock, began)
    known = {(record.round, record.kind, record.case.id): record for record in done}
    number = 0
    failed: set[str] = set()  # ids of cases
    while True:
        number += 1
        wanted = [(case, TIMED) for case in plan.cases if rule.wants(case)]
        order = random.Random(f"{plan.schedule.seed}/{number}")
        order.shuffle(wanted)
        if number == 1:  # after the timed ones, which have priority in the budget
            wanted += order.sample(plan.untimed_launches, len(plan.untimed_launches))
        if not wanted:
            return
        is_new = True
        for position, (case, kind) in enumerate(wanted, start=1):
            if kind != TIMED and case.id in failed:
                continue
            if earlier := known.get((number, kind, case.id)):
                rule.add(earlier)
                failed |= _failed(earlier, number)
                continue
            if not budget.allows_launch():
                return
            if is_new:
                workers.renew()
                is_new = False
            job = Job(case, kind, number, position)
            announce(job)
            record = launch(workers, plan, job, watch)
            rule.add(record)
            failed |= _failed(record, number)
            budget.spent()
            yield record


def _failed(record: Record, number: int) -> set[str]:
    """The case of a failure in the first round; it gets no untimed launches."""
    return {record.case.id} if number == 1 and isinstance(record, Failure) else set()


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
