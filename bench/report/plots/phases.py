"""The phases of a train step: a bar for each case, a segment for each phase."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...measurement import PHASES
from ..units import quantity, scale
from .pages import TRAIN, PlotCase, PlotPage, uneven
from .sheet import row_panels
from .style import Look, write_after, write_inside

_LEGIBLE = 0.06  # of the width of an axis: '12 %' does not fit into a narrower segment

# There are more phases than distinguishable colours: those that rarely take long are hatched.
_LOOKS = {
    "data": Look("#E69F00"),
    "transfer": Look("#F0E442", "////"),
    "forward": Look("#56B4E9"),
    "loss": Look("#AAAAAA"),
    "zero_grad": Look("#FFFFFF", "----"),
    "backward": Look("#0072B2"),
    "clip": Look("#009E73", "////"),
    "optimizer": Look("#009E73"),
    "scheduler": Look("#D55E00", "\\\\\\\\"),
    "metrics": Look("#CC79A7", "xxxx"),
    "other": Look("#555555"),
}


def draw(page: PlotPage) -> Figure | None:
    cases = [case for case in page.cases if case.kind == TRAIN and case.phases]
    phases = [phase for phase in PHASES if any(phase in case.phases for case in cases)]
    if not phases:
        return None
    # On one scale, the phases of a small model would be invisible next to those of a large one.
    panel_axes = page.workload_axes if uneven([case.step for case in cases]) else []
    panels: dict[str, list[PlotCase]] = {}
    for case in cases:
        panels.setdefault(case.panel(panel_axes), []).append(case)
    keys = {phase: _LOOKS[phase].bar() for phase in phases}
    notes = ["Means over steps and launches, so that the phases add up."]
    figure, drawn = row_panels(page, "Phases of a train step", panels, keys, notes, panel_axes)
    for axes, of_panel in drawn:
        _draw_bars(axes, of_panel, phases)
    return figure


def _draw_bars(axes: Axes, cases: Sequence[PlotCase], phases: Sequence[str]) -> None:
    factor, unit = scale([case.step for case in cases], "s")
    widest = max(case.step for case in cases) * factor or 1.0
    for row, case in enumerate(cases):
        left = 0.0
        for phase in phases:
            seconds, share = case.phases.get(phase, (0.0, 0.0))
            look, width = _LOOKS[phase], seconds * factor
            axes.barh(row, width, 0.76, left, **look.filled)
            if width > _LEGIBLE * widest:
                write_inside(axes, left + width / 2, row, f"{share * 100:.0f} %", look)
            left += width
        write_after(axes, left, row, quantity(case.step, "s"))
    axes.set_xlim(0, widest * 1.1)
    axes.set_xlabel(f"mean time of a step [{unit}]")
