"""Validation loss against time of training, a line for each configuration."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...analysis.run.time_to_quality import Group, QualityRow
from ...suite.case import spell
from ..terminal.time_to_quality import CLOCK
from ..units import digits, scale
from .pages import TRAIN, PlotPage, uneven
from .sheet import MOST_PANELS, WIDTH, blank_sheet
from .style import INK, TITLE, Look, fit, write_at_edge

_PANEL = 3.8  # inches high
_MOST_LINES = 12  # on a sheet
_MOST_MARKS = 12  # on a line
_MOST_DECADES = 4  # of a scale with ticks at 2 and 5


def draw(page: PlotPage) -> Figure | None:
    """A panel for each group with at least two configurations on the page, each with its own time axis."""
    names = {case.id: case.label() or case.mode for case in page.cases if case.kind == TRAIN}
    groups = [
        (group, [row for row in group.rows if row.case.id in names])
        for group in dict.fromkeys(case.group for case in page.cases if case.group is not None)
    ]
    panels = [(group, rows) for group, rows in groups if len(rows) > 1]
    if not panels:
        return None
    shown = [(group, _chosen(group, rows, len(panels))) for group, rows in panels[:MOST_PANELS]]
    drawn = {row.case.id for _, rows in shown for row in rows}
    looks = {case: Look.number(number) for number, case in enumerate(name for name in names if name in drawn)}
    keys = {names[case]: look.line() for case, look in looks.items()}
    notes = [CLOCK, "Medians over launches."]
    total = sum(len(rows) for _, rows in panels)
    if len(drawn) < total:
        notes.insert(
            0,
            f"{len(drawn)} of {total} configurations: those that reach the target first, and the fastest an epoch; "
            "the tables have them all.",
        )
    figure = blank_sheet(page, "Validation loss against time of training", _PANEL * len(shown), keys, notes)
    grid = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, (group, rows) in zip(grid, shown, strict=True):
        _draw_panel(axes, group, rows, looks)
        if len(panels) > 1:
            axes.set_title(fit(_head(group), WIDTH - 1, TITLE))
    return figure


def _chosen(group: Group, rows: Sequence[QualityRow], panels: int) -> list[QualityRow]:
    """Those that reach the target first, and the one with the fastest epoch."""
    most = max(2, _MOST_LINES // min(panels, MOST_PANELS))
    chosen = list(rows[:most])
    fastest = next((row for row in rows if row is group.fastest), None)
    if fastest is not None and fastest not in chosen:
        chosen[-1] = fastest
    return chosen


def _head(group: Group) -> str:
    """The description of the loss that is common to a panel."""
    smoothing = f", label smoothing {spell(group.label_smoothing)}" if group.label_smoothing else ""
    return f"{spell(group.dataset)}, {spell(group.loss)}{smoothing}"


def _draw_panel(axes: Axes, group: Group, rows: Sequence[QualityRow], looks: Mapping[str, Look]) -> None:
    factor, unit = scale([seconds for row in rows for seconds, _ in row.curve], "s")
    for row in rows:
        look = looks[row.case.id]
        axes.plot(
            [seconds * factor for seconds, _ in row.curve],
            [loss for _, loss in row.curve],
            **look.curve,
            linewidth=1.4,
            markevery=-(-len(row.curve) // _MOST_MARKS),
        )
    axes.axhline(group.target, color=INK, linewidth=0.7, zorder=1)
    write_at_edge(axes, group.target, f"target {digits(group.target)}")
    if _wants_log([loss for row in rows for _, loss in row.curve] + [group.target]):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    if _wants_log([row.curve[-1][0] for row in rows]):  # a short curve would be hidden at the edge
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel(f"training [{unit}]")
    axes.set_ylabel("validation loss")


def _wants_log(values: Collection[float]) -> bool:
    return min(values) > 0 and uneven(values)


def _plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic scale as plain numbers: 1, 2, 5, 10, or only powers of ten if there are many."""
    low, high = axis.get_view_interval()
    few = math.log10(high) - math.log10(low) < _MOST_DECADES
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
