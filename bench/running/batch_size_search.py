"""The search for the largest batch that fits: its launches, one after the other, each in a fresh process.

The memory that a launch may take is computed before each launch, since other processes use memory too.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from ..analysis.run.largest_batch import Search, attempt, searches
from ..machine.doctor.memory import LIMITS
from ..measurement import SEARCHED
from ..suite.case import Case
from ..system.kernel import control_groups, read_file
from .launching import launch
from .plan import Job, Plan, Record
from .rounds import Budget
from .workers import RequestRunner

SHARE = 0.8  # of the free memory, for a launch on the CPU


def search(
    workers: RequestRunner,
    plan: Plan,
    limit: int | None = None,
    done: Sequence[Record] = (),
    announce: Callable[[Search, int], None] = lambda _search, _size: None,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
) -> Iterator[Record]:
    """Yields every launch of the searches for this plan's largest batches as it ends.

    On the CPU a launch may take `limit` bytes, or SHARE of the free memory if that is less. `done` are the records of
    an earlier part of the run: those sizes are not tried again. Ends early with the time budget, which runs from
    `began` on `clock`, by default from now; then some searches are unfinished.
    """
    budget = Budget(plan.schedule.time_budget, clock, began)
    known = {search.case: search for search in searches(done)}
    for case in plan.cases:
        if not case.seeks_largest:
            continue
        current = known.get(case, Search(case))
        if current.next is not None:
            workers.renew()
        while (size := current.next) is not None:
            if not budget.allows_launch():
                return
            announce(current, size)
            job = Job(case.sized(size), SEARCHED, 1, len(current.tries) + 1)
            limited = dataclasses.replace(plan, memory_limit=memory_limit(case, limit))
            record = launch(workers, limited, job)
            budget.spent()
            current = dataclasses.replace(current, tries=(*current.tries, attempt(record)))
            yield record


def memory_limit(case: Case, limit: int | None) -> int | None:
    """Bytes that a launch of this case may take; None on a device, where running out of memory is harmless."""
    if case.device != "cpu":
        return None
    share = int(SHARE * available())
    return share if limit is None else min(share, limit)


def available() -> int:
    """The smallest number of free bytes: of the machine, and of each control group around this process."""
    left = [psutil.virtual_memory().available]
    for group in control_groups("memory"):
        left += [free for names in LIMITS if (free := free_of(group, *names)) is not None]
    return max(0, min(left))


def free_of(group: Path, limit: str, used: str, idle: str) -> int | None:
    """The bytes left below a control group's limit, from its files of these names; idle cached files count as free.

    None if it has no limit of this name.
    """
    most, taken = read_file(group / limit), read_file(group / used)
    if not most.isdecimal() or not taken.isdecimal():
        return None
    for line in read_file(group / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == idle and number.isdecimal():
            return int(most) - max(0, int(taken) - int(number))
    return int(most) - int(taken)
