"""The search for the largest batch: throughput and memory of every tried size, and the sizes that failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...analysis.run.largest_batch import Search, Try
from ..units import scale
from .batch_sizes import batch_size_axis
from .pages import PlotPage, workload_axes
from .sheet import MOST_PANELS, WIDTH, about_memory, panel_grid
from .style import INK, TITLE, Look, fit

_LOW_PANEL = 2.6  # inches

# Attribute of a try, its name, its unit.
_COLUMNS = (("throughput", "throughput", "samples/s"), ("memory", "peak memory", "B"))


def draw(page: PlotPage) -> Figure | None:
    """A line for each search, a row of panels for each workload."""
    sizes = sorted({tried.size for one in page.searches for tried in one.search.tries})
    if len(sizes) < 2 or not any(one.search.fitting for one in page.searches):
        return None
    panel_axes = workload_axes(one.parts for one in page.searches)
    rows: dict[str, dict[str, Search]] = {}  # by workload and line
    for one in page.searches:
        rows.setdefault(one.panel(panel_axes), {})[one.label(panel_axes)] = one.search
    shown = list(rows)[:MOST_PANELS]
    looks = _looks(page, panel_axes)
    names = {workload: _names(rows[workload]) for workload in shown}
    single = names[shown[0]] if len(shown) == 1 else {}
    keys: dict[str, Artist] = {single.get(line, line): look.line() for line, look in looks.items()}
    keys |= _marks([search for workload in shown for search in rows[workload].values()])
    notes = [
        "A few steps at each size, without an interval: the run itself measures the largest.",
        *about_memory([page.memory]),
    ]
    title, x_label = "The largest batch that fits", "batch size [samples]"
    # Ticks at the ends and the powers of two: the last sizes of a search are close to each other.
    ticks = [size for size in sizes if size in (sizes[0], sizes[-1]) or size.bit_count() == 1]
    figure, grid = panel_grid(page, title, len(rows), 2, keys, notes, x_label, _LOW_PANEL)
    for panels, workload in zip(grid, shown, strict=True):
        for axes, (attribute, name, unit) in zip(panels, _COLUMNS, strict=True):
            label = _draw(axes, rows[workload], attribute, unit, looks)
            axes.set_ylabel(f"{name} [{label}]")
            batch_size_axis(axes, ticks)
            axes.set_ylim(bottom=0)
            head = name if len(shown) == 1 else f"{workload} ({', '.join(names[workload].values())})"
            axes.set_title(fit(head, WIDTH / 2 - 1, TITLE))
    return figure


def _looks(page: PlotPage, panel_axes: Collection[str]) -> dict[str, Look]:
    """The style of each line, the same as in the other pictures."""
    known = page.looks(panel_axes)
    lines = dict.fromkeys(one.label(panel_axes) for one in page.searches)
    new = (Look.number(number) for number in range(len(known), len(known) + len(lines)))
    return {line: known.get(line) or next(new) for line in lines}


def _has_ended(search: Search) -> bool:
    """Whether the search has found the largest size."""
    return search.next is None and bool(search.fitting)


def _names(by_line: Mapping[str, Search]) -> dict[str, str]:
    """The name of each line, with the size that its search found."""
    return {
        line: f"{line}: {search.batch_size}" if _has_ended(search) else line
        for line, search in by_line.items()
    }


def _marks(searches: Sequence[Search]) -> dict[str, Artist]:
    """The legend of the marks."""
    marks: dict[str, Artist] = {}
    if any(map(_has_ended, searches)):
        marks["the largest that fits"] = Line2D([], [], linestyle="", **_RING, color=INK)
    if any(search.failing for search in searches):
        marks["did not fit"] = Line2D([], [], linestyle="", **_CROSS, color=INK)
    return marks


_RING: Mapping[str, Any] = {"marker": "o", "markersize": 11, "fillstyle": "none", "markeredgewidth": 1.2}
_CROSS: Mapping[str, Any] = {"marker": "x", "markersize": 5, "markeredgewidth": 1.4}


def _draw(
    axes: Axes, by_line: Mapping[str, Search], attribute: str, unit: str, looks: Mapping[str, Look]
) -> str:
    """Returns the unit of the scale."""
    curves = [(looks[line], search, _points(search.fitting, attribute)) for line, search in by_line.items()]
    factor, label = scale([value for _, _, points in curves for _, value in points], unit)
    for number, (look, search, points) in enumerate(curves):
        sizes, values = [size for size, _ in points], [value * factor for _, value in points]
        axes.plot(sizes, values, **look.curve, linewidth=1.4)
        if points and _has_ended(search) and sizes[-1] == search.batch_size:
            axes.plot(sizes[-1:], values[-1:], linestyle="", **_RING, color=look.colour, clip_on=False)
        # Sizes that did not fit have no value: their marks are at the bottom, at one height for each line.
        failed = [tried.size for tried in search.failing]
        heights = [0.035 + min(0.05, 0.3 / len(curves)) * number] * len(failed)
        at = axes.get_xaxis_transform()
        axes.plot(failed, heights, linestyle="", **_CROSS, color=look.colour, transform=at)
    return label


def _points(tries: Iterable[Try], attribute: str) -> list[tuple[int, float]]:
    values = ((tried.size, getattr(tried, attribute)) for tried in tries)
    return [(size, float(value)) for size, value in values if value is not None]
