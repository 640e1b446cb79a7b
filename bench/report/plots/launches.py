"""Every launch beside the estimate of its case, in percent of it: a slow round is seen by its colour."""

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
from .lettering import signed, write_after
from .pages import EVALUATION, TRAIN, Dot, PlotPage, Shown
from .rows import row_panels
from .sheet import about_intervals
from .style import COLOURS, FAINT, INK, QUIET, SMALL, Look

_METRICS = {TRAIN: "train.step_time", EVALUATION: "epoch.time"}
_HEADS = {TRAIN: "step time, training", EVALUATION: "epoch time, evaluation modes"}

_MOST_ROUNDS = 16  # in a legend
# Percent from the estimate: a launch farther than the edge is drawn there, with its figure. The edge lies
# between these two, where it leaves room for all launches that count: the others must not flatten them.
_NEAREST, _FARTHEST = 5.0, 40.0


def draw(page: PlotPage) -> Figure | None:
    found = {_HEADS[kind]: cases for kind, cases in page.having(_METRICS).items()}
    cases = [case for of_kind in found.values() for case in of_kind]
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
    figure, panels = row_panels(page, "Every launch beside its estimate", found, keys, notes, one_scale=True)
    for axes, of_kind in panels:
        for row, case in enumerate(of_kind):
            _draw_row(axes, row, case, looks, edge)
    low, high = axes.get_xlim()
    left, right = (1.2 if far >= edge else 1 for far in (-low, high))  # room for the figures there
    low, high = axes.set_xlim(min(low, -1) * left, max(high, 1) * right)  # a calm case looks calm
    axes.set_xticks([tick for tick in axes.get_xticks() if max(low, -edge) <= tick <= min(high, edge)])
    axes.set_xlabel("difference from the estimate of the case [%]")
    return figure


def _about_hollow(dots: Iterable[Dot]) -> list[str]:
    """What a hollow dot stands for, where there are any."""
    counted = {dot.counts for dot in dots if dot.disturbed}
    if not counted:
        return []
    if counted == {True}:
        return ["Hollow: disturbed."]
    return [f"Hollow: disturbed, not counted{' unless most are' if True in counted else ''}."]


def _round_look(place: int, rounds: int) -> Look:
    """A round has a colour of its own; many of them are shaded from the first to the last."""
    look = replace(Look.number(place), dash="")
    if rounds <= len(COLOURS):
        return look
    return replace(look, colour=to_hex(matplotlib.colormaps["cividis"](place / (rounds - 1))))


def _edge(cases: Iterable[Shown]) -> float:
    """Percent from the estimate: half as far again as the farthest launch that counts, within bounds."""
    far = [
        abs(percent)
        for case in cases
        for value, dots in [(case.values[_METRICS[case.kind]], case.launches.get(_METRICS[case.kind], ()))]
        for percent in _away(value.value, [dot.value for dot in dots if dot.counts])
        if math.isfinite(percent)
    ]
    return min(_FARTHEST, max(_NEAREST, 1.5 * max(far, default=0.0)))


def _draw_row(axes: Axes, row: int, case: Shown, looks: Mapping[int, Look], edge: float) -> None:
    """Within the row the rounds stand one below the other, in their order."""
    name = _METRICS[case.kind]
    value, launches = case.values[name], case.launches.get(name, ())
    low, high, *away = _away(value.value, [value.low, value.high, *(dot.value for dot in launches)])
    ends = [_held(low, edge), _held(high, edge)]
    axes.plot(ends, [row, row], color=FAINT, linewidth=12, solid_capstyle="butt", zorder=1)
    axes.plot([0, 0], [row - 0.5, row + 0.5], color=INK, linewidth=1, zorder=2)
    heights = {number: 0.7 * ((place + 0.5) / len(looks) - 0.5) for place, number in enumerate(looks)}
    for dot, percent in zip(launches, away, strict=True):
        look, y = looks[dot.round], row + heights[dot.round]
        body = {"markerfacecolor": "white"} if dot.disturbed else {"markeredgewidth": 0}
        axes.plot([_held(percent, edge)], [y], look.marker, color=look.colour, zorder=3, **body)
    for percent in {min(away, default=0.0), max(away, default=0.0)}:
        if abs(percent) > edge:
            write_after(axes, _held(percent, edge), row, signed(percent), left=percent < 0)
    words = quantity(value.value, metric(name).unit)
    if not math.isnan(value.low):
        words += f"  {interval(value.low, value.high, value.value)}"
    axes.text(1.01, row, words, transform=axes.get_yaxis_transform(), va="center", size=SMALL, color=QUIET)


def _away(value: float, numbers: Iterable[float]) -> list[float]:
    """How far each is from the value, in percent of it; NaN, which is not drawn, where that says nothing."""
    return [(number / value - 1) * 100 if value else math.nan for number in numbers]


def _held(percent: float, edge: float) -> float:
    return percent if math.isnan(percent) else max(-edge, min(edge, percent))
