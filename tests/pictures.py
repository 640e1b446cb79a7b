"""What a picture shows, told from the objects of its figure: nothing is rendered."""

from __future__ import annotations

from matplotlib.axis import Axis
from matplotlib.figure import Figure


def texts_of(figure: Figure) -> list[str]:
    """The texts in a figure: those of its sheet, its legends, and of each panel with the ticks in its range."""
    found = [text.get_text() for text in figure.texts]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    for axes in figure.axes:
        found += [axes.get_title(where) for where in ("left", "center", "right")]
        found += [axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
        if axes.axison:
            found += [*_ticks(axes.xaxis), *_ticks(axes.yaxis)]
        if (legend := axes.get_legend()) is not None:
            found += [text.get_text() for text in legend.get_texts()]
    return [text for text in found if text]


def _ticks(axis: Axis) -> list[str]:
    if not axis.get_visible():
        return []
    axis.get_majorticklabels(), axis.get_minorticklabels()  # which puts the ticks in their places
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [
        tick.label1.get_text()
        for tick in ticks
        if low <= tick.get_loc() <= high and tick.label1.get_visible()
    ]
