"""The share of a train step that waits for data, against the number of loader workers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...measurement import metric
from ..units import scale
from .pages import PlotCase, PlotPage, Value
from .sheet import MOST_PANELS, WIDTH, about_intervals, line_with_error_bars, panel_grid
from .style import TITLE, Look, fit

_OPTIONS = ("pin_memory", "prefetch_factor", "persistent_workers")
_LOADER = ("workers", "placement", *_OPTIONS)  # the axes of a loader: the others have panels
_ONE_LOADER = "DataLoader"  # if none of these axes varies


@dataclass(frozen=True)
class _Point:
    """A case in this picture: its line, its tick and its values."""

    line: str
    tick: str
    placement: str  # empty where items are loaded one by one
    workers: int
    waits: Value  # a share
    throughput: Value


def draw(page: PlotPage) -> Figure | None:
    """A row of panels for each workload: the share of a step that waits on the left, the throughput on the right."""
    cases = [case for case in page.cases if "data" in case.phases and "train.throughput" in case.values]
    varying = {
        axis for case in cases for axis, part in case.parts.items() if part != cases[0].parts.get(axis)
    }
    if varying.isdisjoint({"workers", "placement"}):
        return None
    workloads: dict[str, list[_Point]] = {}
    for case in cases:
        workers = _value(case, "workers") or "0"
        if workers.isdecimal():
            workload = case.panel(axis for axis in case.parts if axis in varying - {*_LOADER})
            workloads.setdefault(workload, []).append(_point(case, int(workers), varying))
    if not workloads:
        return None
    shown = dict(list(workloads.items())[:MOST_PANELS])
    for here in shown.values():
        here.sort(key=lambda point: (point.placement, point.workers))
    points = [point for here in shown.values() for point in here]
    # From the left: every number of workers, then the placements.
    ordered = sorted(points, key=lambda point: (point.placement, point.workers))
    ticks, looks = list(dict.fromkeys(point.tick for point in ordered)), _looks(points)
    notes = [about_intervals(value for point in points for value in (point.waits, point.throughput))]
    keys = {line: look.line() for line, look in looks.items()}
    title = "Waiting for data against loader workers"
    placed = any(point.placement for point in points)
    x_label = "workers, or placement without any" if placed else "workers"
    figure, grid = panel_grid(page, title, len(workloads), 2, keys, notes, x_label)
    for (left, right), (workload, here) in zip(grid, shown.items(), strict=True):
        factor, unit = scale([point.throughput.value for point in here], metric("train.throughput").unit)
        _draw_lines(left, here, [point.waits for point in here], 100, ticks, looks)
        _draw_lines(right, here, [point.throughput for point in here], factor, ticks, looks)
        left.set_ylim(-4, 104)  # markers at an end are whole
        left.set_ylabel("waits for data [% of step]")
        right.set_ylim(bottom=0)
        right.set_ylabel(f"throughput [{unit}]")
        for axes in (left, right):
            axes.set_xticks(range(len(ticks)), [fit(tick, (WIDTH / 2 - 1) / len(ticks)) for tick in ticks])
            axes.set_xlim(-0.5, len(ticks) - 0.5)
            axes.set_title(fit(workload, WIDTH / 2 - 1, TITLE))
    return figure


def _point(case: PlotCase, workers: int, varying: set[str]) -> _Point:
    placement = _value(case, "placement")
    # A placement has no workers, and so no worker options.
    options = [axis for axis in _OPTIONS if axis in varying and (not placement or _value(case, axis))]
    parts = [case.parts[axis] for axis in ["placement", *options] if axis != "placement" or placement]
    return _Point(
        line=", ".join(parts) or _ONE_LOADER,
        tick=placement or (str(workers) if "workers" in case.parts else _ONE_LOADER),
        placement=placement,
        workers=workers,
        # If phases were measured in a separate launch, the share has no interval.
        waits=case.values.get("train.data_share", Value(case.phases["data"][1], math.nan, math.nan)),
        throughput=case.values["train.throughput"],
    )


def _value(case: PlotCase, axis: str) -> str:
    """The value of an axis as text; empty for None, and if the axis does not vary."""
    value = case.parts.get(axis, "").partition("=")[2]
    return "" if value == "none" else value


def _looks(points: Sequence[_Point]) -> dict[str, Look]:
    """The style of each line, placements last: they are limits for the others."""
    looks: dict[str, Look] = {}
    for point in sorted(points, key=lambda point: bool(point.placement)):
        look = looks.setdefault(point.line, Look.number(len(looks)))
        if point.placement:
            looks[point.line] = replace(look, dash=":")
    return looks


def _draw_lines(
    axes: Axes,
    points: Sequence[_Point],
    values: Sequence[Value],
    factor: float,
    ticks: Sequence[str],
    looks: Mapping[str, Look],
) -> None:
    """A line for each loader; the line of a placement, which is one point, crosses the whole panel."""
    axes.update_datalim([(0, 0)])  # the scale includes zero, with a margin above the rest
    lines: dict[str, list[tuple[_Point, Value]]] = {}
    for point, value in zip(points, values, strict=True):
        lines.setdefault(point.line, []).append((point, value))
    loaders = [line for line, on_it in lines.items() if not on_it[0][0].placement]
    for line, on_it in lines.items():
        look, here = looks[line], [value for _, value in on_it]
        # Lines are shifted by a few percent, so that neither markers nor error bars overlap.
        place = loaders.index(line) - (len(loaders) - 1) / 2 if line in loaders else 0
        aside = 0.08 * place * min(1, 4 / max(1, len(loaders)))
        if line not in loaders:
            axes.axhline(here[0].value * factor, color=look.colour, linestyle=look.dash, linewidth=1.2)
        at = [ticks.index(point.tick) + aside for point, _ in on_it]
        line_with_error_bars(axes, at, here, factor, look)
