"""The largest batch that fits: the launches of the search, one after the other, each a fresh process.

What a launch may take of this machine's memory is said before each: others use it too.
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
from .rounds import Asks, Budget, Job, Plan, Record, launch

SHARE = 0.8  # of the memory that is free, for a launch on the CPU


def search(
    workers: Asks,
    plan: Plan,
    limit: int | None = None,
    done: Sequence[Record] = (),
    announce: Callable[[Search, int], None] = lambda _search, _size: None,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
) -> Iterator[Record]:
    """Every launch of the searches for this plan's largest batches, as it comes back.

    On the CPU a launch may take `limit` bytes, or SHARE of what is free if that is less. `done` are the records of an
    earlier part of the run: those sizes are not tried again. Ends early where the time budget does, which runs from
    `began` on `clock`, by default from here; then some searches are not over.
    """
    budget = Budget(plan.schedule.time_budget, clock, began)
    known = {one.case: one for one in searches(done)}
    for case in plan.cases:
        if not case.seeks_largest:
            continue
        found = known.get(case, Search(case))
        if found.next is not None:
            workers.renew()
        while (size := found.next) is not None:
            if not budget.has_room():
                return
            announce(found, size)
            job = Job(case.sized(size), SEARCHED, 1, len(found.tries) + 1)
            record = launch(workers, dataclasses.replace(plan, room=room(case, limit)), job)
            budget.spent()
            found = dataclasses.replace(found, tries=(*found.tries, attempt(record)))
            yield record


def room(case: Case, limit: int | None) -> int | None:
    """Bytes that a launch of this case may take; None on a device, whose own memory ends without harm."""
    if case.device != "cpu":
        return None
    share = int(SHARE * available())
    return share if limit is None else min(share, limit)


def available() -> int:
    """Bytes that are free to take: of the machine, and of each control group around this process."""
    left = [psutil.virtual_memory().available]
    for group in control_groups("memory"):
        left += [free for names in LIMITS if (free := free_of(group, *names)) is not None]
    return max(0, min(left))


def free_of(group: Path, limit: str, used: str, idle: str) -> int | None:
    """What the files of these names say is left of a control group's limit: idle cached files are given back.

    None where it has no limit of this name; one above any machine's memory only says that no smaller one holds.
    """
    most, taken = read_file(group / limit), read_file(group / used)
    if not most.isdecimal() or not taken.isdecimal():
        return None
    for line in read_file(group / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == idle and number.isdecimal():
            return int(most) - max(0, int(taken) - int(number))
    return int(most) - int(taken)
