"""The error rates of the gate on a machine, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..layout import ESSENTIAL, Column, Grid
from ..text_fitting import TEXT
from ..units import NOTHING, percent

if TYPE_CHECKING:
    from ...ab.error_rates import ErrorRate


def table(rows: Sequence[ErrorRate]) -> Grid:
    """A row a kind of decision: how often a change was found, and the error of its size."""
    columns = {
        "called": [str(row.found) for row in rows],
        "of": [str(row.decisions) for row in rows],
        "share": [f"{row.found / row.decisions:.0%}" for row in rows],
        "95 % interval": [f"{row.low:.0%} to {row.high:.0%}" for row in rows],
        "estimate off by": [_off(row.bias) for row in rows],
        "pairs": [f"{row.pairs:.0f}" for row in rows],
        "s a decision": [f"{row.seconds:.1f}" for row in rows],
    }
    return Grid(
        [
            Column("what was planted", [row.arm for row in rows], folds=TEXT),
            *(
                Column(head, cells, _PRIORITIES[head], right=True, name=_NAMES.get(head, ""))
                for head, cells in columns.items()
            ),
        ]
    )


_PRIORITIES = {
    "called": ESSENTIAL,
    "of": ESSENTIAL,
    "share": 1,
    "95 % interval": 2,
    "estimate off by": 3,
    "pairs": 4,
    "s a decision": 5,
}
_NAMES = {"of": "of so many decisions", "s a decision": "seconds a decision"}


def _off(bias: float | None) -> str:
    return NOTHING if bias is None else f"{'-' if bias < 0 else '+'}{percent(abs(bias))}"
