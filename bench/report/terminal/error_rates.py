"""The error rates of the gate on a machine, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..layout import ESSENTIAL, Column, Grid
from ..text_fitting import TEXT
from ..units import NOTHING, percent

if TYPE_CHECKING:
    from ...ab.error_rates import ErrorRate


def table(rows: Sequence[ErrorRate]) -> Grid:
    """A row a kind of decision: how often a change was found, and the error of its size."""

    def column(head: str, priority: int, cells: Iterable[str], name: str = "") -> Column:
        return Column(head, [*cells], priority, right=True, name=name)

    return Grid(
        [
            Column("what was planted", [row.arm for row in rows], folds=TEXT),
            column("called", ESSENTIAL, (str(row.found) for row in rows)),
            column("of", ESSENTIAL, (str(row.decisions) for row in rows), "of so many decisions"),
            column("share", 1, (f"{row.found / row.decisions:.0%}" for row in rows)),
            column("95 % interval", 2, (f"{row.low:.0%} to {row.high:.0%}" for row in rows)),
            column("estimate off by", 3, (_off(row.bias) for row in rows)),
            column("pairs", 4, (f"{row.pairs:.0f}" for row in rows)),
            column("s a decision", 5, (f"{row.seconds:.1f}" for row in rows), "seconds a decision"),
        ]
    )


def _off(bias: float | None) -> str:
    return NOTHING if bias is None else f"{'-' if bias < 0 else '+'}{percent(abs(bias))}"
