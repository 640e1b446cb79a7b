"""The optimizers side by side: share of a step, operators, and bytes of state."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..units import percent, quantity
from .pages import TRAIN, PlotCase, PlotPage
from .sheet import MOST_ROWS, blank_sheet, label_rows, not_shown
from .style import COLOURS, FAINT, Look, write_after

_SHARE, _OPERATORS = "train.optimizer_share", "count.optimizer_ops"
# The title of a panel, its metric, its unit.
_COUNTS = (("operators a step", _OPERATORS, "1"), ("optimizer state", "count.optimizer_state_bytes", "B"))
_ROW = 0.25  # inches
_LABEL = 2.2
_AXES = ("optimizer", "implementation")  # one of them must vary


def draw(page: PlotPage) -> Figure | None:
    cases = [case for case in page.cases if case.kind == TRAIN and _SHARE in case.values]
    if len({tuple(case.parts.get(axis) for axis in _AXES) for case in cases}) < 2:
        return None
    cases = sorted(cases, key=lambda case: case.values[_SHARE].value)
    shown = cases[-MOST_ROWS:]
    counts = _COUNTS if all(_OPERATORS in case.values for case in shown) else ()
    notes = [
        *not_shown(len(shown), len(cases), "cases"),
        "Next to a share: the time of the optimizer in a mean step. Dots are on logarithmic scales.",
    ]
    figure = blank_sheet(page, "The cost of the optimizers", _ROW * len(shown) + 0.5, {}, notes)
    widths = [1.5, *(1.0 for _ in counts)]
    grid = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes in grid:
        label_rows(axes, [case.label() or case.mode for case in shown], _LABEL)
    _shares(grid[0], shown)
    for axes, (title, name, unit) in zip(grid[1:], counts, strict=True):
        axes.set_title(title)
        _dots(axes, [case.values[name].value for case in shown], unit)
    return figure


def _shares(axes: Axes, cases: Sequence[PlotCase]) -> None:
    axes.set_title("share of a step")
    look = Look("#009E73")
    for row, case in enumerate(cases):
        share = case.values[_SHARE].value
        axes.barh(row, 1.0, 0.7, facecolor=FAINT)
        axes.barh(row, share, 0.7, **look.filled)
        seconds, _ = case.phases.get("optimizer", (0.0, 0.0))
        write_after(axes, share, row, f"{percent(share)}, {quantity(seconds, 's')}")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:.0f} %")


def _dots(axes: Axes, values: Sequence[float], unit: str) -> None:
    """On a logarithmic scale, with zero at its left end."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive) / 2, max(positive) * 2
    axes.set_xscale("log")
    axes.set_xlim(low, high * (high / low) ** 0.5)  # space for the words
    axes.set_xticks([], minor=True)
    axes.tick_params(axis="x", labelbottom=False, length=0)  # each dot has its value as text
    for row, value in enumerate(values):
        if value > 0:
            axes.plot(value, row, marker="o", color=COLOURS[0])
        write_after(axes, value or low, row, quantity(value, unit) if value else "none")
