"""The progress of an A/B on standard error: verdicts as they are reached, and lines between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from ..ab.pairs import Launched
from ..analysis.compare.side_by_side import SideBySide
from ..analysis.compare.verdict import Row
from ..measurement import Failure
from ..plurals import counted
from ..report.row_words import from_to, work_differences
from ..report.units import percent, plain
from .failures import FailurePrinter
from .progress import LINE_EVERY, clock_time
from .screen import print_line


class PairProgress:
    """A line for every case that is decided, every failure, and every ten seconds between; if quiet, failures alone.

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

    def begin(self, name: str, pair: int) -> None:
        now = self._clock()
        if self._quiet or now - self._last_line < LINE_EVERY:
            return
        what = f"pair {pair}" if pair else "counts"
        decided = f"{self._all - len(self._open)} of {counted(self._all, 'case')} decided"
        self._print(f"{what}, {decided}, {clock_time(now - self._began)} elapsed: {name}")

    def end(self, launched: Launched) -> None:
        if isinstance(launched.record, Failure):
            self._last_line = self._clock()
            self._failures.print(launched.record, self._out, f"{('base', 'candidate')[launched.side]}: ")
        # The judge gets a pair once both launches are back: what was decided before this one is printed now.
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
    """Times, different work, and quality that changed."""
    if row.folded:
        return False
    fell = row.metric.kind == "quality" and row.verdict in ("regressed", "moved")
    return fell or bool(row.work) or row.metric.kind == "time"


def row_text(row: Row) -> str:
    """'train.step_time regressed, 1.052 (1.031 to 1.074)'; of different work what differs, of quality both values."""
    if row.work:
        return f"different work, {work_differences(row.work)}"
    if row.metric.kind == "quality":
        return f"{row.metric.name} {row.verdict}, {from_to(row)}"
    if row.ratio is None or row.low is None or row.high is None:
        return f"{row.metric.name} {row.verdict.replace('_', ' ')}"
    smallest = (
        f", sees from {percent(row.smallest)}" if row.verdict == "inconclusive" and row.smallest else ""
    )
    return f"{row.metric.name} {row.verdict}, {row.ratio:.3f} ({row.low:.3f} to {row.high:.3f}){smallest}"
