"""Progress on standard error: for a run, a bar on a terminal and plain lines elsewhere; for an A/B, its verdicts."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from ..ab.pairs import Launched
from ..analysis.compare.side_by_side import SideBySide
from ..analysis.compare.verdict import Row
from ..analysis.run.largest_batch import Search
from ..analysis.run.stopping import StopRule
from ..measurement import TIMED, Failure
from ..plurals import counted
from ..report.row_words import from_to, work_differences
from ..report.safe_text import plain
from ..report.units import percent
from ..running.plan import Job, Plan, Record
from .screen import FailurePrinter, print_line

LINE_EVERY = 10.0  # seconds between two plain lines within a round


def run_progress(
    plan: Plan, rule: StopRule, quiet: bool, done: int = 0, debug: bool = False
) -> QuietProgress:
    """The progress that fits the kind of standard error; `done` launches were completed before.

    With `debug`, the traceback of a failure is printed below it.
    """
    printer = FailurePrinter(debug)
    if quiet:
        return QuietProgress(printer)
    estimate = RunEstimate(plan, rule, done)
    return (
        BarProgress(estimate, printer) if sys.stderr.isatty() else LineProgress(estimate, sys.stderr, printer)
    )


class RunEstimate:
    """How many launches are completed and how many remain, by the current estimate of the stop rule."""

    def __init__(
        self, plan: Plan, rule: StopRule, before: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan, self._rule, self._before, self._clock = plan, rule, before, clock
        self._began = clock()
        # How many untimed launches each case still needs; in a resumed run, most are completed.
        self._untimed = Counter() if before else Counter(case for case, _ in plan.untimed_launches)
        self.launches = 0  # completed in this part of the run

    def end(self, record: Record) -> None:
        self.launches += 1
        if record.kind != TIMED:
            self._untimed[record.case] -= 1

    @property
    def done(self) -> int:
        return self._before + self.launches

    @property
    def total(self) -> int:
        """All launches, including the estimate of those that remain."""
        untimed = sum(max(0, number) for number in self._untimed.values())
        return self.done + untimed + sum(self._rule.remaining(case) for case in self._plan.cases)

    @property
    def cases(self) -> str:
        """How many cases need no more launches of any kind."""
        ended = sum(not self._rule.wants(case) and self._untimed[case] <= 0 for case in self._plan.cases)
        return f"{ended} of {counted(len(self._plan.cases), 'case')} done"

    @property
    def elapsed(self) -> float:
        return self._clock() - self._began

    @property
    def left(self) -> float | None:
        """Seconds until the end, at the rate so far; None before the first launch."""
        if not self.launches:
            return None
        expected = self.elapsed / self.launches * (self.total - self.done)
        budget = self._plan.schedule.time_budget
        return expected if budget is None else max(0.0, min(expected, budget - self.elapsed))


@contextmanager
def waiting(what: str, quiet: bool) -> Iterator[None]:
    """Shows on a terminal the work that takes a few seconds before the first launch."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(what):
        yield


@contextmanager
def searching(quiet: bool) -> Iterator[Callable[[Search, int], None]]:
    """Gives a function that shows each batch size before it is tried: updated in place on a terminal, else one line
    each.
    """
    if quiet:
        yield lambda _search, _size: None
    elif sys.stderr.isatty():
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


class QuietProgress:
    """Prints only the failures; it is called before and after each launch."""

    def __init__(self, failures: FailurePrinter, out: TextIO | None = None) -> None:
        self._failures, self._out = failures, sys.stderr if out is None else out

    def begin(self, job: Job) -> None: ...

    def end(self, record: Record) -> None:
        if isinstance(record, Failure):
            self._failures.print(record, self._out)

    def close(self) -> None: ...


class LineProgress(QuietProgress):
    """A line when a round begins, every ten seconds in a long one, and for every failure."""

    def __init__(
        self,
        estimate: RunEstimate,
        out: TextIO,
        failures: FailurePrinter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(failures, out)
        self._estimate, self._clock = estimate, clock
        self._last: tuple[int, float] = (0, float("-inf"))  # round and time of the last line

    def begin(self, job: Job) -> None:
        now = self._clock()
        if job.round == self._last[0] and now - self._last[1] < LINE_EVERY:
            return
        self._last = (job.round, now)
        estimate = self._estimate
        left = "" if estimate.left is None else f", about {clock_time(estimate.left)} left"
        line = (
            f"round {job.round}, launch {estimate.done + 1} of about {estimate.total}, {estimate.cases}, "
            f"{clock_time(estimate.elapsed)} elapsed{left}: {job.case.label}"
        )
        print(plain(line), file=self._out, flush=True)

    def end(self, record: Record) -> None:
        self._estimate.end(record)
        super().end(record)


class BarProgress(QuietProgress):
    """A bar with launches and cases, the elapsed and the remaining time, and the case."""

    def __init__(self, estimate: RunEstimate, failures: FailurePrinter) -> None:
        super().__init__(failures)
        self._estimate = estimate
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
        if estimate.done:  # the stop rule gets the earlier records only as the run replays them
            made = f"{counted(estimate.done, 'launch', 'launches')} made"
            state |= {"total": None, "launches": made, "cases": ""}
        self._task = self._bar.add_task("launches", case="starting", **state)
        self._bar.start()

    def _state(self) -> dict[str, Any]:
        estimate = self._estimate
        return {
            "completed": estimate.done,
            "total": estimate.total,
            "launches": f"{estimate.done} of {counted(estimate.total, 'launch', 'launches')},",
            "cases": estimate.cases,
            "left": "" if estimate.left is None else f"{clock_time(estimate.left)} left",
        }

    def begin(self, job: Job) -> None:
        self._bar.update(self._task, case=plain(job.case.label), **self._state())

    def end(self, record: Record) -> None:
        self._estimate.end(record)
        self._bar.update(self._task, **self._state())
        if isinstance(record, Failure):
            text = self._failures.text(record)
            self._bar.console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


def clock_time(seconds: float) -> str:
    """Seconds as minutes:seconds, or hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class PairProgress:
    """A line for every decided case, every failure, and every ten seconds between; if quiet, only failures.

    It is called before each pair, and after each launch.
    """

    def __init__(
        self,
        judge: SideBySide,
        names: Sequence[str],
        out: TextIO,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        debug: bool = False,
    ) -> None:
        self._failures = FailurePrinter(debug)
        self._judge, self._open, self._all = judge, list(names), len(names)
        self._out, self._quiet, self._clock = out, quiet, clock
        self._began = clock()
        self._last_line = float("-inf")

    def begin(self, name: str, what: str) -> None:
        now = self._clock()
        if self._quiet or now - self._last_line < LINE_EVERY:
            return
        decided = f"{self._all - len(self._open)} of {counted(self._all, 'case')} decided"
        self._print(f"{what}, {decided}, {clock_time(now - self._began)} elapsed: {name}")

    def end(self, launched: Launched) -> None:
        if isinstance(launched.record, Failure):
            self._last_line = self._clock()
            self._failures.print(launched.record, self._out, f"{('base', 'candidate')[launched.side]}: ")
        # The judge gets a pair once both launches have ended, so cases decided by the pair before are printed now.
        self._print_verdicts()

    def close(self) -> None:
        self._print_verdicts()

    def _print_verdicts(self) -> None:
        for name in [name for name in self._open if self._judge.pairs(name) and not self._judge.wants(name)]:
            self._open.remove(name)
            if not self._quiet:
                rows = "; ".join(map(row_text, filter(_is_printed, self._judge.rows_of(name))))
                self._print(f"after {counted(self._judge.pairs(name), 'pair')}: {name}: {rows}")

    def _print(self, line: str) -> None:
        self._last_line = self._clock()
        print_line(plain(line), self._out)


def _is_printed(row: Row) -> bool:
    """The rows that are printed: times, different work, and changed quality."""
    if row.folded:
        return False
    fell = row.metric.kind == "quality" and row.verdict in ("regressed", "moved")
    return fell or bool(row.work) or row.metric.kind == "time"


def row_text(row: Row) -> str:
    """'train.step_time regressed, 1.052 (1.031 to 1.074)'; for different work what differs, for quality both values."""
    if row.work:
        return f"different work, {work_differences(row.work)}"
    if row.metric.kind == "quality":
        return f"{row.metric.name} {row.verdict}, {from_to(row)}"
    if row.ratio is None or row.low is None or row.high is None:
        return f"{row.metric.name} {row.verdict.replace('_', ' ')}"
    smallest = (
        f", detectable from {percent(row.smallest)}" if row.verdict == "inconclusive" and row.smallest else ""
    )
    return f"{row.metric.name} {row.verdict}, {row.ratio:.3f} ({row.low:.3f} to {row.high:.3f}){smallest}"
