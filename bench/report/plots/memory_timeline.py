"""The memory of tensors over one step: live bytes by category, phases shaded, the peak marked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...measurement import MemoryTimeline
from ..safe_text import one_line
from ..units import quantity, scale
from .pages import PlotCase, PlotPage
from .sheet import WIDTH, blank_sheet
from .style import INK, QUIET, SMALL, Look, fit, inches

# From the bottom: permanent categories, then temporary ones.
_LOOKS = {
    "parameters": Look("#0072B2"),
    "optimizer state": Look("#009E73", "////"),
    "made before the loop": Look("#DDDDDD", "xxxx"),
    "gradients": Look("#D55E00"),
    "batch": Look("#000000"),
    "activations": Look("#56B4E9", "----"),
    "temporary": Look("#E69F00"),
    "other": Look("#FFFFFF", "...."),
}
_HEIGHT = 3.4  # inches
_LONGEST = 1e6  # seconds: the record of a longer step is damaged, and its numbers are too wide
_SHADE = "#F0F0F0"


def draw(page: PlotPage) -> Figure | None:
    """The timeline of the case that takes the most memory; `bench profile` draws that of each."""
    having = [case for case in page.cases if case.timeline is not None]
    if not having:
        return None
    return draw_case(page, max(having, key=lambda case: max(_totals(case.timeline), default=0)))


def draw_case(page: PlotPage, case: PlotCase) -> Figure | None:
    timeline = case.timeline
    if timeline is None or not _totals(timeline) or not timeline.ends or not 0 < timeline.ends[-1] < _LONGEST:
        return None
    categories = _categories(timeline)
    keys = {name: _LOOKS[name].bar() for name in categories}
    notes = [
        f"{one_line(case.id)}.",
        "One step under the profiler, which makes it longer; the bytes are exact.",
    ]
    figure = blank_sheet(page, f"Memory over a step: {case.label() or case.mode}", _HEIGHT, keys, notes)
    axes = figure.subplots()
    seconds, unit = scale([timeline.ends[-1]], "s")
    size, size_unit = scale([max(_totals(timeline))], "B")
    x = [at * seconds for at in timeline.seconds]
    x.append(timeline.ends[-1] * seconds)
    bottom = [0.0] * len(x)
    for name, values in categories.items():
        top = [below + value * size for below, value in zip(bottom, [*values, values[-1]], strict=True)]
        axes.fill_between(x, bottom, top, step="post", **{**_LOOKS[name].filled, "linewidth": 0})
        bottom = top
    _shade_phases(axes, timeline, seconds)
    _mark_peak(axes, timeline, seconds, size)
    axes.set_xlim(0, x[-1])
    axes.set_ylim(0, max(_totals(timeline)) * size * 1.22 or 1)
    axes.set_xlabel(f"time in the step [{unit}]")
    axes.set_ylabel(f"bytes of live tensors [{size_unit}]")
    axes.grid(False, axis="x")
    return figure


def _categories(timeline: MemoryTimeline) -> dict[str, Sequence[int]]:
    """The bytes of each category that has any, from the bottom; categories without a style are combined."""
    categories: dict[str, Sequence[int]] = {name: timeline.bytes.get(name, ()) for name in _LOOKS}
    unknown = [values for name, values in timeline.bytes.items() if name == "other" or name not in _LOOKS]
    categories["other"] = [sum(values) for values in zip(*unknown, strict=True)]
    return {name: values for name, values in categories.items() if any(values)}


def _totals(timeline: MemoryTimeline | None) -> list[int]:
    """All bytes at each moment."""
    if timeline is None:
        return []
    return [sum(values) for values in zip(*timeline.bytes.values(), strict=True)]


def _shade_phases(axes: Axes, timeline: MemoryTimeline, factor: float) -> None:
    """Shades every second phase, and writes the name above if it fits."""
    cuts = [0.0, *(end * factor for end in timeline.ends)]
    total = cuts[-1] or 1.0
    for number, ((start, end), name) in enumerate(zip(pairwise(cuts), timeline.phases, strict=True)):
        phase = one_line(name)
        if number % 2:
            axes.axvspan(start, end, color=_SHADE, zorder=-1, linewidth=0)
        if (end - start) / total * (WIDTH - 1.6) > inches(phase, SMALL):
            axes.text(
                (start + end) / 2,
                0.985,
                phase,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                size=SMALL,
                color=QUIET,
            )


def _mark_peak(axes: Axes, timeline: MemoryTimeline, seconds: float, size: float) -> None:
    totals = _totals(timeline)
    peak = max(range(len(totals)), key=totals.__getitem__)
    at = timeline.seconds[peak]
    phase = next((name for name, end in zip(timeline.phases, timeline.ends, strict=True) if at <= end), "")
    axes.plot(
        [at * seconds], [totals[peak] * size], marker="v", color=INK, markersize=6, zorder=5, clip_on=False
    )
    right = at > timeline.ends[-1] / 2
    axes.annotate(
        fit(f"peak {quantity(totals[peak], 'B')} in {one_line(phase)}", WIDTH / 2 - 1, SMALL),
        (at * seconds, totals[peak] * size),
        xytext=(-6 if right else 6, 4),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom",
        size=SMALL,
        color=INK,
    )
