"""How good the gate is on a machine, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..layout import KEPT, TEXT, Column, Grid
from ..units import NOTHING, percent


class RateRow(Protocol):
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


def table(scores: Sequence[RateRow]) -> Grid:
    """A row for each kind of decision: how often a change was called, and how far its size was off."""
    columns = {
        "called": [str(one.found) for one in scores],
        "of": [str(one.decisions) for one in scores],
        "share": [f"{one.found / one.decisions:.0%}" for one in scores],
        "95 % interval": [f"{one.low:.0%} to {one.high:.0%}" for one in scores],
        "estimate off by": [_off(one.bias) for one in scores],
        "pairs": [f"{one.pairs:.0f}" for one in scores],
        "s a decision": [f"{one.seconds:.1f}" for one in scores],
    }
    return Grid(
        [
            Column("what was planted", [one.arm for one in scores], folds=TEXT),
            *(
                Column(head, cells, _PRIORITIES[head], right=True, name=_NAMES.get(head, ""))
                for head, cells in columns.items()
            ),
        ]
    )


_PRIORITIES = {
    "called": KEPT,
    "of": KEPT,
    "share": 1,
    "95 % interval": 2,
    "estimate off by": 3,
    "pairs": 4,
    "s a decision": 5,
}
_NAMES = {"of": "of so many decisions", "s a decision": "seconds a decision"}


def _off(bias: float | None) -> str:
    return NOTHING if bias is None else f"{'-' if bias < 0 else '+'}{percent(abs(bias))}"
