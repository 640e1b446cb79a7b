"""Every launch as its difference from the estimate of its case, coloured by round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ...measurement import metric
from ..units import interval, quantity
from .pages import EVALUATION, TRAIN, Dot, PlotCase, PlotPage
from .sheet import about_intervals, clipped, row_panels
from .style import COLOURS, FAINT, INK, Look, signed_percent, write_after, write_at_edge

_METRICS = {TRAIN: "train.step_time", EVALUATION: "epoch.time"}
_HEADS = {TRAIN: "step time, training", EVALUATION: "epoch time, evaluation modes"}

_MOST_ROUNDS = 16  # in a legend
# Percent from the estimate. The edge of the axis is between these two and beyond all used launches, which the others
# must not flatten; a launch beyond it is drawn at the edge, with its value.
_NEAREST, _FARTHEST = 5.0, 40.0


def draw(page: PlotPage) -> Figure | None:
    panels = {_HEADS[kind]: cases for kind, cases in page.having(_METRICS).items()}
    cases = [case for of_kind in panels.values() for case in of_kind]
    dots = [dot for case in cases for dot in case.launches.get(_METRICS[case.kind], ())]
    rounds = sorted({dot.round for dot in dots})
    if not rounds:
        return None
    edge = _edge(cases)
    looks = {number: _round_look(place, len(rounds)) for place, number in enumerate(rounds)}
    shown = rounds[:: math.ceil(len(rounds) / _MOST_ROUNDS)]
    keys = {f"round {number}": looks[number].line() for number in shown}
    about = about_intervals([case.values[_METRICS[case.kind]] for case in cases], sign="Grey")
    notes = [about, *_about_hollow(dots), "To the right: the estimate, and half its interval if any."]
    figure, drawn = row_panels(
        page, "Every launch and the estimate of its case", panels, keys, notes, one_scale=True
    )
    for axes, of_kind in drawn:
        for row, case in enumerate(of_kind):
            _draw_row(axes, row, case, looks, edge)
    low, high = axes.get_xlim()
    left, right = (1.2 if far >= edge else 1 for far in (-low, high))  # space for the figures there
    # So that small differences look small.
    low, high = axes.set_xlim(min(low, -1) * left, max(high, 1) * right)
    axes.set_xticks([tick for tick in axes.get_xticks() if max(low, -edge) <= tick <= min(high, edge)])
    axes.set_xlabel("difference from the estimate of the case [%]")
    return figure


def _about_hollow(dots: Iterable[Dot]) -> list[str]:
    """The note on hollow dots, if there are any."""
    used = {dot.is_used for dot in dots if dot.contaminated}
    if not used:
        return []
    if used == {True}:
        return ["Hollow: contaminated."]
    return [f"Hollow: contaminated, not in the estimate{' unless most are' if True in used else ''}."]


def _round_look(place: int, rounds: int) -> Look:
    """A colour for each round; many rounds get shades from the first to the last."""
    look = replace(Look.number(place), dash="")
    if rounds <= len(COLOURS):
        return look
    return replace(look, colour=to_hex(matplotlib.colormaps["cividis"](place / (rounds - 1))))


def _edge(cases: Iterable[PlotCase]) -> float:
    """The edge in percent from the estimate: 1.5 times the farthest used launch, within bounds."""
    far = [
        abs(percent)
        for case in cases
        for value, dots in [(case.values[_METRICS[case.kind]], case.launches.get(_METRICS[case.kind], ()))]
        for percent in _percent_from(value.value, [dot.value for dot in dots if dot.is_used])
        if math.isfinite(percent)
    ]
    return min(_FARTHEST, max(_NEAREST, 1.5 * max(far, default=0.0)))


def _draw_row(axes: Axes, row: int, case: PlotCase, looks: Mapping[int, Look], edge: float) -> None:
    """Within a row, rounds are drawn one below the other in their order."""
    name = _METRICS[case.kind]
    value, launches = case.values[name], case.launches.get(name, ())
    low, high, *percents = _percent_from(
        value.value, [value.low, value.high, *(dot.value for dot in launches)]
    )
    ends = [clipped(low, edge), clipped(high, edge)]
    axes.plot(ends, [row, row], color=FAINT, linewidth=12, solid_capstyle="butt", zorder=1)
    axes.plot([0, 0], [row - 0.5, row + 0.5], color=INK, linewidth=1, zorder=2)
    heights = {number: 0.7 * ((place + 0.5) / len(looks) - 0.5) for place, number in enumerate(looks)}
    for dot, percent in zip(launches, percents, strict=True):
        look, y = looks[dot.round], row + heights[dot.round]
        body = {"markerfacecolor": "white"} if dot.contaminated else {"markeredgewidth": 0}
        axes.plot([clipped(percent, edge)], [y], look.marker, color=look.colour, zorder=3, **body)
    for percent in {min(percents, default=0.0), max(percents, default=0.0)}:
        if abs(percent) > edge:
            write_after(axes, clipped(percent, edge), row, signed_percent(percent), left=percent < 0)
    words = quantity(value.value, metric(name).unit)
    if not math.isnan(value.low):
        words += f"  {interval(value.low, value.high, value.value)}"
    write_at_edge(axes, row, words)


def _percent_from(value: float, numbers: Iterable[float]) -> list[float]:
    """The difference of each from the value, in percent of it; NaN, which is not drawn, for a value of 0."""
    return [(number / value - 1) * 100 if value else math.nan for number in numbers]
