"""What is seen of an A/B while it goes on: verdicts as they fall, and signs of life between them, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from ..measurement import Failure
from ..plurals import counted
from ..report.quality_words import from_to
from ..report.units import percent, plain
from ..report.work_words import work_differences
from .progress import LINE_EVERY, Failures, clock_time
from .screen import say

if TYPE_CHECKING:
    from ..ab.pairs import Launched
    from ..ab.session import Session
    from ..analysis.compare.side_by_side import SideBySide
    from ..analysis.compare.verdict import Row


class PairProgress(Protocol):
    """Told of each pair before it, and of each launch after it."""

    def begin(self, name: str, pair: int) -> None: ...
    def end(self, launched: Launched) -> None: ...
    def close(self) -> None: ...


def pairing(session: Session, judge: SideBySide, quiet: bool, debug: bool = False) -> PairProgress:
    """Lines on standard error; of a quiet command the failures alone."""
    names = list(session.matching.pairs)
    return Verdicts(judge, names, sys.stderr, quiet, told=Failures(debug))


class Verdicts:
    """A line for every case that is decided, every failure, and every ten seconds between."""

    def __init__(
        self,
        judge: SideBySide,
        names: list[str],
        out: TextIO,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        told: Failures | None = None,
    ) -> None:
        self._told = told or Failures()
        self._judge, self._open, self._all = judge, list(names), len(names)
        self._out, self._quiet, self._clock = out, quiet, clock
        self._began = clock()
        self._said = float("-inf")

    def begin(self, name: str, pair: int) -> None:
        now = self._clock()
        if self._quiet or now - self._said < LINE_EVERY:
            return
        what = f"pair {pair}" if pair else "counts"
        decided = f"{self._all - len(self._open)} of {counted(self._all, 'case')} decided"
        self._say(f"{what}, {decided}, {clock_time(now - self._began)} elapsed: {name}")

    def end(self, launched: Launched) -> None:
        if isinstance(launched.record, Failure):
            self._said = self._clock()
            self._told.say(launched.record, self._out, f"{('base', 'candidate')[launched.side]}: ")
        # The judge hears of a pair once both launches are back: what was decided before this one is said now.
        self._verdicts()

    def close(self) -> None:
        self._verdicts()

    def _verdicts(self) -> None:
        for name in [name for name in self._open if self._judge.pairs(name) and not self._judge.wants(name)]:
            self._open.remove(name)
            if not self._quiet:
                said = "; ".join(map(said_of, filter(_is_said, self._judge.rows_of(name))))
                self._say(f"after {counted(self._judge.pairs(name), 'pair')}: {name}: {said}")

    def _say(self, line: str) -> None:
        self._said = self._clock()
        say(plain(line), self._out)


def _is_said(row: Row) -> bool:
    """A time, what the sides did unlike, and what was learnt where it changed."""
    if row.folded:
        return False
    fell = row.metric.kind == "quality" and row.verdict in ("regressed", "moved")
    return fell or bool(row.work) or row.metric.kind == "time"


def said_of(row: Row) -> str:
    """'train.step_time regressed, 1.052 (1.031 to 1.074)'; of other work what differs, of quality both values."""
    if row.work:
        return f"different work, {work_differences(row.work)}"
    if row.metric.kind == "quality":
        return f"{row.metric.name} {row.verdict}, {from_to(row)}"
    if row.ratio is None or row.low is None or row.high is None:
        return f"{row.metric.name} {row.verdict.replace('_', ' ')}"
    seen = f", sees from {percent(row.smallest)}" if row.verdict == "inconclusive" and row.smallest else ""
    return f"{row.metric.name} {row.verdict}, {row.ratio:.3f} ({row.low:.3f} to {row.high:.3f}){seen}"
