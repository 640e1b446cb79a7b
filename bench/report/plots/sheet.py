"""The sheet of a picture: title and legend above, panels and rows, notes at the bottom, and its files.

matplotlib's objects are used without pyplot, whose import takes longer and which keeps figures in global state.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from ...analysis.run.estimate import LEVEL
from ...measurement import metric
from .pages import PlotCase, PlotPage, Value
from .style import INK, QUIET, SMALL, TITLE, Look, fit, inches, write_after

# Lengths are inches.
WIDTH = 10.0
_LINE = 0.19  # of text
_SMALL_LINE = 0.15
_ROW = 0.28
_LABEL = 3.7  # the maximum width of the label of a row

MOST_ROWS = 100  # a picture notes how many are not shown
MOST_PANELS = 16


def blank_sheet(
    page: PlotPage, title: str, height: float, keys: Mapping[str, Artist], notes: Sequence[str]
) -> Figure:
    """An empty sheet: title and keys above a body of this height, notes below it."""
    width = WIDTH - 0.3
    names = [fit(name, width - 1) for name in keys]
    long = any(isinstance(key, Line2D) for key in keys.values())  # dashes need length to be visible
    columns = _columns(names, width, 0.68 if long else 0.42)
    lines = _lines([*notes, *page.caveats], width)
    head = 0.6 + (_LINE * math.ceil(len(keys) / columns) + 0.08 if keys else 0)
    foot = 0.14 + _SMALL_LINE * len(lines)
    total = head + height + foot
    left = 0.15 / WIDTH
    figure = Figure(figsize=(WIDTH, total))
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0.01, foot / total, 0.98, height / total)))
    figure.text(left, 1 - 0.24 / total, fit(title, width, 12), size=12, weight="bold", color=INK)
    figure.text(left, 1 - 0.45 / total, fit(page.subtitle, width), color=QUIET)
    for number, line in enumerate(reversed(lines)):
        figure.text(left, (0.1 + _SMALL_LINE * number) / total, line, size=SMALL, color=QUIET)
    if keys:
        figure.legend(
            list(keys.values()),
            # matplotlib would ignore a name that begins with an underscore.
            [f" {name}" if name.startswith("_") else name for name in names],
            loc="upper left",
            bbox_to_anchor=(left, 1 - 0.56 / total),
            ncols=columns,
            borderpad=0.2,
            borderaxespad=0,
            handlelength=2.4 if long else 1.4,
            columnspacing=1.6 if long else 1.2,
        )
    return figure


def _columns(names: Sequence[str], width: float, beside: float) -> int:
    """The maximum number of legend columns that fit; matplotlib makes the first ones longer."""
    widths = [inches(name) + beside for name in names]
    for deep in range(1, len(names)):
        columns = math.ceil(len(names) / deep)
        short, longer = divmod(len(names), columns)
        starts = [column * short + min(column, longer) for column in range(columns + 1)]
        if sum(max(widths[start:end]) for start, end in pairwise(starts)) <= width:
            return columns
    return 1


def _lines(notes: Sequence[str], width: float) -> list[str]:
    """The notes on one line, or one per line if that is too long."""
    line = " ".join(notes)
    if inches(line, SMALL) <= width:
        return [line] if line else []
    return [fit(note, width, SMALL) for note in notes]


def about_intervals(values: Iterable[Value], sign: str = "Error bars") -> str:
    if all(math.isnan(value.low) for value in values):
        return f"Too few launches for a {LEVEL * 100:g} % interval."
    return f"{sign}: {LEVEL * 100:g} % interval of the median over launches."


def about_memory(names: Iterable[str]) -> list[str]:
    return [
        f"Memory: {metric(name).meaning}."
        for name in dict.fromkeys(names)
        if name.startswith(("memory.", "count."))
    ]


def panel_grid(
    page: PlotPage,
    title: str,
    rows: int,
    columns: int,
    keys: Mapping[str, Artist],
    notes: Sequence[str],
    x_label: str,
    low: float = 2.3,
    **options: Any,
) -> tuple[Figure, Any]:
    """A sheet with at most MOST_PANELS rows of panels, each `low`, or higher if there is only one."""
    shown = min(rows, MOST_PANELS)
    height = 3.2 if shown == 1 else low * shown
    figure = blank_sheet(page, title, height, keys, [*not_shown(shown, rows, "panels"), *notes])
    grid = figure.subplots(shown, columns, squeeze=False, **options)
    for axes in grid[-1]:
        axes.set_xlabel(x_label)
    return figure, grid


def not_shown(shown: int, total: int, things: str) -> list[str]:
    return [f"The first {shown} of {total} {things}; the tables have them all."] if shown < total else []


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    FigureCanvasAgg(figure)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    figure.savefig(png)
    figure.set_layout_engine("none")  # so that everything has the same place in both files
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def row_panels(
    page: PlotPage,
    title: str,
    found: Mapping[str, Sequence[PlotCase]],
    keys: Mapping[str, Artist],
    notes: Sequence[str],
    panel_axes: Collection[str] = (),
    one_scale: bool = False,
) -> tuple[Figure, list[tuple[Axes, Sequence[PlotCase]]]]:
    """Panels stacked vertically, one for each head in `found`, with a row for each case.

    The values of `panel_axes` are in the heads of the panels. With `one_scale`, panels share a scale and its label.
    """
    heads = list(found)[:MOST_PANELS]
    panels = [found[head][: MOST_ROWS // len(heads)] for head in heads]
    rows = [len(cases) for cases in panels]
    notes = [*not_shown(sum(rows), sum(map(len, found.values())), "cases"), *notes]
    height = _ROW * sum(rows) + (0.3 if one_scale else 0.6) * len(rows) + 0.3
    figure = blank_sheet(page, title, height, keys, notes)
    grid = figure.subplots(len(rows), 1, squeeze=False, sharex=one_scale, height_ratios=rows)[:, 0]
    for axes, head, cases in zip(grid, heads, panels, strict=True):
        label_rows(axes, [case.label(panel_axes) or case.mode for case in cases])
        axes.set_title(fit(head, WIDTH - _LABEL - 0.3, TITLE))
    return figure, list(zip(grid, panels, strict=True))


def label_rows(axes: Axes, labels: Sequence[str], most: float = _LABEL) -> None:
    """The first row is on top, as in a table. A label is at most `width` inches wide."""
    axes.set_yticks(range(len(labels)), [fit(label, most) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def bar(axes: Axes, y: float, thickness: float, value: Value, factor: float, look: Look, words: str) -> None:
    error = _error_bars([value], factor)
    axes.barh(y, value.value * factor, thickness, xerr=error, error_kw={"linewidth": 0.9}, **look.filled)
    write_after(axes, value.top * factor, y, words)


def line_with_error_bars(
    axes: Axes, x: Sequence[float], values: Sequence[Value], factor: float, look: Look
) -> None:
    heights = [value.value * factor for value in values]
    axes.errorbar(x, heights, _error_bars(values, factor), **look.curve, linewidth=1.4, elinewidth=1.0)


def _error_bars(values: Sequence[Value], factor: float) -> list[list[float]]:
    """How far each interval reaches below its value, and how far above."""
    below = [(value.value - value.low) * factor for value in values]
    above = [(value.high - value.value) * factor for value in values]
    return [below, above]


def clipped(percent: float, edge: float) -> float:
    """The value, limited to the edges."""
    return percent if math.isnan(percent) else max(-edge, min(edge, percent))
