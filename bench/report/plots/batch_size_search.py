"""The search for the largest batch: throughput and memory of every size that was tried, and which did not fit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...analysis.run.largest_batch import Try
from ..units import scale
from .batch_sizes import batch_size_axis
from .lettering import fit
from .pages import PlotPage, Searched, settings
from .sheet import MOST_PANELS, WIDTH, about_memory, blank_sheet, left_out
from .style import INK, TITLE, Look

_PANEL = 3.2  # inches high
_LOW_PANEL = 2.6  # where there are several

# Attribute of a try, what it is called, its unit.
_COLUMNS = (("throughput", "throughput", "samples/s"), ("memory", "peak memory", "B"))


def draw(page: PlotPage) -> Figure | None:
    """A line for each search, a row of panels for each of the settings that change what is measured."""
    sizes = _sizes(page.searches)
    if len(sizes) < 2 or not any(one.search.fitting for one in page.searches):
        return None
    apart = settings(one.parts for one in page.searches)
    rows: dict[str, list[Searched]] = {}
    for one in page.searches:
        rows.setdefault(", ".join(one.parts[axis] for axis in apart if axis in one.parts), []).append(one)
    shown = list(rows)[:MOST_PANELS]
    looks = _looks(page, apart)
    found = {setting: _found(rows[setting], apart) for setting in shown}
    alone = found[shown[0]] if len(shown) == 1 else {}
    keys: dict[str, Artist] = {alone.get(name, name): look.line() for name, look in looks.items()}
    notes = [
        *left_out(len(shown), len(rows), "panels"),
        "A few steps at each size, without an interval: the run itself measures the largest.",
        *about_memory([page.memory]),
    ]
    height = _PANEL if len(shown) == 1 else _LOW_PANEL * len(shown)
    figure = blank_sheet(page, "The largest batch that fits", height, {**keys, **_marks(rows, shown)}, notes)
    grid = figure.subplots(len(shown), 2, squeeze=False)
    for panels, setting in zip(grid, shown, strict=True):
        for axes, (attribute, name, unit) in zip(panels, _COLUMNS, strict=True):
            _draw(axes, rows[setting], attribute, unit, apart, looks, f"{name} [{{}}]")
            batch_size_axis(axes, _ticks(sizes))
            axes.set_ylim(bottom=0)
            head = name if len(shown) == 1 else f"{setting} ({', '.join(found[setting].values())})"
            axes.set_title(fit(head, WIDTH / 2 - 1, TITLE))
    for axes in grid[-1]:
        axes.set_xlabel("batch size [samples]")
    return figure


def _sizes(searches: Iterable[Searched]) -> list[int]:
    return sorted({one.size for searched in searches for one in searched.search.tries})


def _ticks(sizes: Sequence[int]) -> list[int]:
    """The ends and the doublings between them: the last sizes of a search lie side by side."""
    return [size for size in sizes if size in (sizes[0], sizes[-1]) or size.bit_count() == 1]


def _looks(page: PlotPage, apart: Collection[str]) -> dict[str, Look]:
    """As in the other pictures, where the lines are the same."""
    there = page.looks(apart)
    names = dict.fromkeys(one.line(apart) for one in page.searches)
    new = (Look.number(number) for number in range(len(there), len(there) + len(names)))
    return {name: there.get(name) or next(new) for name in names}


def _found(searches: Sequence[Searched], apart: Collection[str]) -> dict[str, str]:
    """By line, its name with the size that was found, where one was."""
    names = {one.line(apart): one.search for one in searches}
    return {
        name: f"{name}: {search.batch_size}" if search.next is None and search.fitting else name
        for name, search in names.items()
    }


def _marks(rows: Mapping[str, Sequence[Searched]], shown: Sequence[str]) -> dict[str, Artist]:
    """What the marks mean that are no point of a line."""
    searches = [one.search for setting in shown for one in rows[setting]]
    marks: dict[str, Artist] = {}
    if any(search.next is None and search.fitting for search in searches):
        marks["the largest that fits"] = Line2D([], [], linestyle="", **_RING, color=INK)
    if any(search.failing for search in searches):
        marks["did not fit"] = Line2D([], [], linestyle="", **_CROSS, color=INK)
    return marks


_RING: Mapping[str, Any] = {"marker": "o", "markersize": 11, "fillstyle": "none", "markeredgewidth": 1.2}
_CROSS: Mapping[str, Any] = {"marker": "x", "markersize": 5, "markeredgewidth": 1.4}


def _draw(
    axes: Axes,
    searches: Sequence[Searched],
    attribute: str,
    unit: str,
    apart: Collection[str],
    looks: Mapping[str, Look],
    label: str,
) -> None:
    curves = [
        (looks[one.line(apart)], one, [(at, value) for at, value in _points(one.search.fitting, attribute)])
        for one in searches
    ]
    factor, shown = scale([value for _, _, points in curves for _, value in points], unit)
    for number, (look, one, points) in enumerate(curves):
        axes.plot(
            [at for at, _ in points],
            [value * factor for _, value in points],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dash,
            linewidth=1.4,
        )
        if points and one.search.next is None and points[-1][0] == one.search.batch_size:
            at, value = points[-1]
            axes.plot([at], [value * factor], linestyle="", **_RING, color=look.colour, clip_on=False)
        # In a lane of its own at the foot: there is no value to draw it at.
        failed = [tried.size for tried in one.search.failing]
        lanes = [0.035 + min(0.05, 0.3 / len(curves)) * number] * len(failed)
        axes.plot(
            failed,
            lanes,
            linestyle="",
            **_CROSS,
            color=look.colour,
            transform=axes.get_xaxis_transform(),
        )
    axes.set_ylabel(label.format(shown))


def _points(tries: Iterable[Try], attribute: str) -> list[tuple[int, float]]:
    found = ((one.size, getattr(one, attribute)) for one in tries)
    return [(at, float(value)) for at, value in found if value is not None]
