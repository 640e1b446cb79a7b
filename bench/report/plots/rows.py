"""Pictures with a row for each case: panels, labels, bars."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .pages import PlotCase, PlotPage, Value
from .sheet import MOST_PANELS, MOST_ROWS, WIDTH, blank_sheet, left_out
from .style import TITLE, Look
from .texts import fit, write_after

# Lengths are inches.
_ROW = 0.28
_LABEL = 3.7  # the most that the label of a row takes


def row_panels(
    page: PlotPage,
    title: str,
    found: Mapping[str, Sequence[PlotCase]],
    keys: Mapping[str, Artist],
    notes: Sequence[str],
    panel_axes: Collection[str] = (),
    one_scale: bool = False,
) -> tuple[Figure, list[tuple[Axes, Sequence[PlotCase]]]]:
    """A panel for each head in `found`, one above the other, with a row for each case.

    The values of `panel_axes` stand in the heads of the panels. With `one_scale`, panels share it and its label.
    """
    heads = list(found)[:MOST_PANELS]
    panels = [found[head][: MOST_ROWS // len(heads)] for head in heads]
    rows = [len(cases) for cases in panels]
    notes = [*left_out(sum(rows), sum(map(len, found.values())), "cases"), *notes]
    height = _ROW * sum(rows) + (0.3 if one_scale else 0.6) * len(rows) + 0.3
    figure = blank_sheet(page, title, height, keys, notes)
    grid = figure.subplots(len(rows), 1, squeeze=False, sharex=one_scale, height_ratios=rows)[:, 0]
    for axes, head, cases in zip(grid, heads, panels, strict=True):
        label_rows(axes, [case.label(panel_axes) or case.mode for case in cases])
        axes.set_title(fit(head, WIDTH - _LABEL - 0.3, TITLE))
    return figure, list(zip(grid, panels, strict=True))


def label_rows(axes: Axes, labels: Sequence[str], most: float = _LABEL) -> None:
    """The first row is on top, as in a table. A label is at most so many inches wide."""
    axes.set_yticks(range(len(labels)), [fit(label, most) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def bar(axes: Axes, y: float, thickness: float, value: Value, factor: float, look: Look, words: str) -> None:
    error = error_bars([value], factor)
    axes.barh(y, value.value * factor, thickness, xerr=error, error_kw={"linewidth": 0.9}, **look.filled)
    write_after(axes, value.top * factor, y, words)


def error_bars(values: Sequence[Value], factor: float) -> list[list[float]]:
    """How far each interval reaches below its value, and how far above."""
    below = [(value.value - value.low) * factor for value in values]
    above = [(value.high - value.value) * factor for value in values]
    return [below, above]


def clipped(percent: float, edge: float) -> float:
    """The value, or the edge that it lies beyond."""
    return percent if math.isnan(percent) else max(-edge, min(edge, percent))
