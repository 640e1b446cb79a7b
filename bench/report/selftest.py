"""How good the gate is on a machine, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.table import Table

from .units import NOTHING, percent


class Score(Protocol):
    """One row, as `gate/selftest.py` makes it."""

    @property
    def arm(self) -> str: ...
    @property
    def decisions(self) -> int: ...
    @property
    def found(self) -> int: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def bias(self) -> float | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def pairs(self) -> float: ...


def table(scores: Sequence[Score]) -> Table:
    """A row for each kind of decision: how often a change was called, and how far its size was off."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    made.add_column("what was planted")
    for head in ("called", "of", "share (95 %)", "estimate off by", "pairs", "s a decision"):
        made.add_column(head, justify="right")
    for one in scores:
        off = NOTHING if one.bias is None else f"{'-' if one.bias < 0 else '+'}{percent(abs(one.bias))}"
        made.add_row(
            one.arm,
            str(one.found),
            str(one.decisions),
            f"{one.found / one.decisions:.0%} ({one.low:.0%} to {one.high:.0%})",
            off,
            f"{one.pairs:.0f}",
            f"{one.seconds:.1f}",
        )
    return made
