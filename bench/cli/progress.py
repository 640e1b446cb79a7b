"""What is seen of a run while it goes on: a bar on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from bench.measurement import Failure
from bench.runner import Job, Plan, Record

LINE_EVERY = 10.0  # seconds between two plain lines within a round: signs of life that do not fill a log


class Progress(Protocol):
    """Told of each launch before and after it."""

    def begin(self, job: Job) -> None: ...
    def end(self, record: Record) -> None: ...
    def close(self) -> None: ...


def progress(plan: Plan, quiet: bool) -> Progress:
    """The kind of progress that fits where standard error goes."""
    if quiet:
        return Silent()
    return Bar(plan) if sys.stderr.isatty() else Lines(plan, sys.stderr)


@contextmanager
def waiting(what: str, quiet: bool) -> Iterator[None]:
    """Says on a terminal what takes a few seconds before the first launch."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


class Silent:
    """Nothing but the failures."""

    def begin(self, job: Job) -> None: ...

    def end(self, record: Record) -> None:
        if isinstance(record, Failure):
            print(failure_line(record), file=sys.stderr)

    def close(self) -> None: ...


class Lines:
    """A line when a round begins, every ten seconds in a long one, and for every failure."""

    def __init__(self, plan: Plan, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._out, self._clock = plan, out, clock
        self._began = clock()
        self._said: tuple[int, float] = (0, float("-inf"))
        self._done = 0

    def begin(self, job: Job) -> None:
        now = self._clock()
        if job.round == self._said[0] and now - self._said[1] < LINE_EVERY:
            return
        self._said = (job.round, now)
        elapsed = now - self._began
        left = (
            f", about {clock_time(remaining(elapsed, self._done, self._plan.launches))} left"
            if self._done
            else ""
        )
        print(
            f"round {job.round}/{self._plan.schedule.launches}, launch {self._done + 1}/{self._plan.launches}, "
            f"{clock_time(elapsed)} elapsed{left}: {job.case.label}",
            file=self._out,
            flush=True,
        )

    def end(self, record: Record) -> None:
        self._done += 1
        if isinstance(record, Failure):
            print(failure_line(record), file=self._out, flush=True)

    def close(self) -> None: ...


class Bar:
    """A bar with the case, the round, the time that has passed and the time that is left."""

    def __init__(self, plan: Plan) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        self._bar = RichProgress(
            TextColumn("round {task.fields[round]}/{task.fields[rounds]}"),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=10)),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[case]}", markup=False, table_column=Column(ratio=2, no_wrap=True)),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task(
            "launches", total=plan.launches, round=0, rounds=plan.schedule.launches, case="starting"
        )
        self._bar.start()

    def begin(self, job: Job) -> None:
        self._bar.update(self._task, round=job.round, case=job.case.label)

    def end(self, record: Record) -> None:
        self._bar.advance(self._task)
        if isinstance(record, Failure):
            self._bar.console.print(failure_line(record), style="red", markup=False, highlight=False)

    def close(self) -> None:
        self._bar.stop()


def failure_line(failure: Failure) -> str:
    """A failure as one line: what, why, and where in the user's own code."""
    where = f" ({failure.where})" if failure.where else ""
    return f"{failure.failure}: {failure.case.id}: {' '.join(failure.message.split())}{where}"


def remaining(elapsed: float, done: int, total: int) -> float:
    """Seconds that the rest takes if it goes on as it went."""
    return elapsed / done * max(0, total - done)


def clock_time(seconds: float) -> str:
    """Seconds as minutes:seconds, or hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
