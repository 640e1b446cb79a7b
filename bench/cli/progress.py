"""What is seen of a run while it goes on: a bar on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from ..analysis.run.largest_batch import Search
from ..analysis.run.stopping import StopRule
from ..measurement import TIMED, Failure
from ..plurals import counted
from ..report.units import plain, plain_lines
from ..running.rounds import Job, Plan, Record
from .screen import say

LINE_EVERY = 10.0  # seconds between two plain lines within a round: signs of life that do not fill a log


class RunProgress(Protocol):
    """Told of each launch before and after it."""

    def begin(self, job: Job) -> None: ...
    def end(self, record: Record) -> None: ...
    def close(self) -> None: ...


def progress(plan: Plan, rule: StopRule, quiet: bool, done: int = 0, debug: bool = False) -> RunProgress:
    """The kind of progress that fits where standard error goes; `done` launches were made before.

    With `debug` the traceback of a failure stands below it.
    """
    told = Failures(debug)
    if quiet:
        return Silent(told)
    outlook = Outlook(plan, rule, done)
    return Bar(outlook, told) if sys.stderr.isatty() else LineProgress(outlook, sys.stderr, told=told)


class Failures:
    """How failures are said: a line each, and where tracebacks are asked for, each once: launches repeat them."""

    def __init__(self, debug: bool = False) -> None:
        self._debug = debug
        self._told: set[tuple[str, str, str]] = set()

    def said(self, failure: Failure, whose: str = "") -> str:
        """The line of a failure; `whose` stands before it."""
        line = f"{whose}{failure_line(failure)}"
        which = (failure.case.id, failure.message, failure.where)
        if not self._debug or not failure.detail or which in self._told:
            return line
        self._told.add(which)
        return f"{line}\n{textwrap.indent(plain_lines(failure.detail), '    ')}"

    def say(self, failure: Failure, out: TextIO, whose: str = "") -> None:
        """Prints it; a terminal folds the line, and no line of a traceback."""
        line, _, traceback = self.said(failure, whose).partition("\n")
        say(line, out)
        if traceback:
            print(traceback, file=out, flush=True)


class Outlook:
    """How far a run has come and how far it has to go, as the stop rule sees it at the moment."""

    def __init__(
        self, plan: Plan, rule: StopRule, before: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan, self._rule, self._before, self._clock = plan, rule, before, clock
        self._began = clock()
        # How many launches apart from timing each case is still to have; a run that goes on has had most of them.
        self._apart = Counter() if before else Counter(case for case, _ in plan.untimed_launches)
        self.launches = 0  # made in this part of the run

    def end(self, record: Record) -> None:
        self.launches += 1
        if record.kind != TIMED:
            self._apart[record.case] -= 1

    @property
    def done(self) -> int:
        return self._before + self.launches

    @property
    def total(self) -> int:
        """Launches, as far as can be said now."""
        apart = sum(max(0, number) for number in self._apart.values())
        return self.done + apart + sum(self._rule.remaining(case) for case in self._plan.cases)

    @property
    def cases(self) -> str:
        """How many cases need no more launches of any kind."""
        ended = sum(not self._rule.wants(case) and self._apart[case] <= 0 for case in self._plan.cases)
        return f"{ended} of {counted(len(self._plan.cases), 'case')} done"

    @property
    def elapsed(self) -> float:
        return self._clock() - self._began

    @property
    def left(self) -> float | None:
        """Seconds until the end, if it goes on as it went; None before the first launch."""
        if not self.launches:
            return None
        expected = self.elapsed / self.launches * (self.total - self.done)
        budget = self._plan.schedule.time_budget
        return expected if budget is None else max(0.0, min(expected, budget - self.elapsed))


@contextmanager
def waiting(what: str, quiet: bool) -> Iterator[None]:
    """Says on a terminal what takes a few seconds before the first launch."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def searching(quiet: bool) -> Iterator[Callable[[Search, int], None]]:
    """Gives what is told of each batch size before it is tried: a terminal shows the last, elsewhere each is a line."""
    if quiet:
        yield lambda _search, _size: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status("") as status:
            yield lambda search, size: status.update(Text(search_line(search, size)))
    else:
        yield lambda search, size: print(search_line(search, size), file=sys.stderr, flush=True)


def search_line(search: Search, size: int) -> str:
    """`largest batch of vision cpu max adam: trying 96 (64 fits, 128 does not)`."""
    fits = [f"{one.size} fits" for one in search.fitting[-1:]]
    fails = [f"{one.size} does not" if fits else f"{one.size} does not fit" for one in search.failing[:1]]
    known = f" ({', '.join([*fits, *fails])})" if fits or fails else ""
    return plain(f"largest batch of {search.case.label}: trying {size}{known}")


class Silent:
    """Nothing but the failures."""

    def __init__(self, told: Failures | None = None) -> None:
        self._told = told or Failures()

    def begin(self, job: Job) -> None: ...

    def end(self, record: Record) -> None:
        if isinstance(record, Failure):
            self._told.say(record, sys.stderr)

    def close(self) -> None: ...


class LineProgress:
    """A line when a round begins, every ten seconds in a long one, and for every failure."""

    def __init__(
        self,
        outlook: Outlook,
        out: TextIO,
        clock: Callable[[], float] = time.monotonic,
        told: Failures | None = None,
    ) -> None:
        self._outlook, self._out, self._clock = outlook, out, clock
        self._told = told or Failures()
        self._said: tuple[int, float] = (0, float("-inf"))

    def begin(self, job: Job) -> None:
        now = self._clock()
        if job.round == self._said[0] and now - self._said[1] < LINE_EVERY:
            return
        self._said = (job.round, now)
        outlook = self._outlook
        left = "" if outlook.left is None else f", about {clock_time(outlook.left)} left"
        line = (
            f"round {job.round}, launch {outlook.done + 1} of about {outlook.total}, {outlook.cases}, "
            f"{clock_time(outlook.elapsed)} elapsed{left}: {job.case.label}"
        )
        print(plain(line), file=self._out, flush=True)

    def end(self, record: Record) -> None:
        self._outlook.end(record)
        if isinstance(record, Failure):
            self._told.say(record, self._out)

    def close(self) -> None: ...


class Bar:
    """A bar with launches and cases, the time that has passed and the time that is left, the round and the case."""

    def __init__(self, outlook: Outlook, told: Failures | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        self._outlook, self._told = outlook, told or Failures()
        self._bar = RichProgress(
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6)),
            TextColumn("{task.fields[launches]}"),
            TextColumn("{task.fields[cases]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[case]}", markup=False, table_column=Column(ratio=2, no_wrap=True)),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        state = self._state()
        if outlook.done:  # the rule is told of an earlier part as the run goes through it
            state |= {
                "total": None,
                "launches": f"{counted(outlook.done, 'launch', 'launches')} made",
                "cases": "",
            }
        self._task = self._bar.add_task("launches", case="starting", **state)
        self._bar.start()

    def _state(self) -> dict[str, Any]:
        outlook = self._outlook
        left = "" if outlook.left is None else f"{clock_time(outlook.left)} left"
        launches = f"{outlook.done} of {counted(outlook.total, 'launch', 'launches')},"
        return {
            "completed": outlook.done,
            "total": outlook.total,
            "launches": launches,
            "cases": outlook.cases,
            "left": left,
        }

    def begin(self, job: Job) -> None:
        self._bar.update(self._task, case=plain(job.case.label), **self._state())

    def end(self, record: Record) -> None:
        self._outlook.end(record)
        self._bar.update(self._task, **self._state())
        if isinstance(record, Failure):
            said = self._told.said(record)
            self._bar.console.print(said, style="red", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


def failure_line(failure: Failure) -> str:
    """A failure as one line: what, why, and where in the user's own code."""
    where = f" ({failure.where})" if failure.where else ""
    return plain(f"{failure.failure}: {failure.case.id}: {failure.message}{where}")


def clock_time(seconds: float) -> str:
    """Seconds as minutes:seconds, or hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
