"""A forest plot of a comparison: the ratio of each row with its interval, and the line of no change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...analysis.compare.verdict import Row
from ...plurals import counted
from ..comparison import VERDICTS, case_names, ordered
from ..row_words import change, is_work_row, verdict_words, word, work_differences
from ..safe_text import one_line
from .pages import PlotPage, part
from .sheet import MOST_ROWS, blank_sheet, clipped, label_rows, not_shown
from .style import COLOURS, FAINT, INK, QUIET, SMALL, Look, fit, inches, write_at_edge

# A marker and a colour for each verdict; the marker of regressed points to the worse side.
_LOOKS: Mapping[str, Look] = {
    "regressed": Look(COLOURS[1], marker=">", dash=""),
    "moved": Look(COLOURS[3], marker="d", dash=""),
    "improved": Look(COLOURS[0], marker="<", dash=""),
    "different_work": Look(COLOURS[5], marker="X", dash=""),
    "not_measured": Look(QUIET, marker="x", dash=""),
    "inconclusive": Look(COLOURS[4], marker="D", dash=""),
    "equivalent": Look(COLOURS[2], marker="o", dash=""),
}
_OTHER = Look(INK, marker="s", dash="")

# Inches.
_ROW = 0.24
_AXIS = 0.75  # the numbers and the label of the axis
_TITLE = 8.2  # the maximum width of the title, measured as if it were not bold
_LABEL = 4.8  # the maximum width of the label of a row
_WORDS = 2.6  # the maximum width of the words to the right
_MOST_UNLIKE = 2  # cases whose different work is listed
# Percent from no change. The edge of the axis is between these two, and values beyond it are drawn at the edge: a row
# that doubled must not flatten the others.
_NEAREST, _FARTHEST = 2.0, 50.0


def draw(rows: Sequence[Row], title: str) -> Figure | None:
    """None if no row has a ratio."""
    found = [row for row in ordered(rows) if row.ratio is not None and not math.isnan(row.ratio)]
    shown = found[:MOST_ROWS]
    if not shown:
        return None
    edge = _edge(shown)
    same, names = case_names(shown)
    page = PlotPage(cases=(), subtitle="", caveats=(), suffix="")
    height = _ROW * len(shown) + _AXIS
    verdicts = {row.verdict for row in shown}
    keys: dict[str, Artist] = {word(name): _LOOKS[name].line() for name in VERDICTS if name in verdicts}
    if any(map(_band, shown)):
        keys["within the threshold"] = Patch(facecolor=FAINT)
    notes = _notes(rows, found, shown, same, edge)
    figure = blank_sheet(page, fit(title, _TITLE, 12), height, keys, notes)
    axes = figure.subplots()
    label_rows(axes, [_label(row, names) for row in shown], _LABEL)
    gate = any(row.gates for row in rows)
    for y, row in enumerate(shown):
        _draw_row(axes, y, row, edge)
        write_at_edge(axes, y, fit(f"{change(row)}, {verdict_words(row, gate)}", _WORDS, SMALL))
    axes.axvline(0, color=INK, linewidth=1, zorder=2)
    axes.set_xlim(-edge * 1.04, edge * 1.04)
    axes.set_xlabel("change in the direction in which more is worse [%]")
    return figure


def _notes(
    rows: Sequence[Row], found: Sequence[Row], shown: Sequence[Row], same: Mapping[str, str], edge: float
) -> list[str]:
    notes = [f"{whose[0].upper()}{one_line(whose[1:])}: {one_line(parts)}." for whose, parts in same.items()]
    notes += not_shown(len(shown), len(found), "rows")
    notes.append("Lines: 95 % interval. To the right: the change of the metric itself.")
    if any(clipped(end, edge) != end for row in shown for end in _ends(row)):
        notes.append("Open arrows: beyond the edge.")
    unlike = [row for row in rows if is_work_row(row)]
    notes += [f"Different work: {one_line(work_differences(row.work))}." for row in unlike[:_MOST_UNLIKE]]
    if len(unlike) > _MOST_UNLIKE:
        notes.append(f"Different work in {len(unlike) - _MOST_UNLIKE} more cases.")
    missing = len(rows) - len(found)
    if missing:
        notes.append(f"Not drawn, without a ratio: {counted(missing, 'row')}.")
    return notes


def _label(row: Row, names: Mapping[tuple[str, str], str]) -> str:
    """The case and the metric; of a long label the case is cut."""
    parts = [text.partition("=") for text in names[row.suite, row.case].split(", ")]
    case = ", ".join(part(name, value) if equals else name for name, equals, value in parts)
    metric = f": {row.metric.name}"
    return f"{fit(case, _LABEL - inches(one_line(metric)))}{metric}" if case else row.metric.name


def _draw_row(axes: Axes, y: int, row: Row, edge: float) -> None:
    look = _LOOKS.get(row.verdict, _OTHER)
    low, value, high = _ends(row)
    band = _band(row)
    if band:
        left, right = (clipped(end, edge) for end in (_percent(1 / (1 + band)), _percent(1 + band)))
        axes.barh(y, right - left, 1.0, left, color=FAINT, zorder=1)
    if low < high:
        ends = [clipped(low, edge), clipped(high, edge)]
        axes.plot(ends, [y, y], color=look.colour, linewidth=1.4, solid_capstyle="butt", zorder=3)
    # An interval that reaches beyond the edge ends in an arrow; so does a value.
    for end in {clipped(end, edge) for end in (low, value, high) if clipped(end, edge) != end}:
        axes.plot([end], [y], ">" if end > 0 else "<", color=look.colour, markerfacecolor="white", zorder=3)
    if clipped(value, edge) == value:
        axes.plot([value], [y], look.marker, color=look.colour, zorder=4)


def _ends(row: Row) -> tuple[float, float, float]:
    """The lower end, the value and the upper end in percent; the value three times without an interval."""
    assert row.ratio is not None
    value = _percent(row.ratio)
    if row.low is None or row.high is None or math.isnan(row.low) or math.isnan(row.high):
        return value, value, value
    return _percent(row.low), value, _percent(row.high)


def _band(row: Row) -> float:
    """The threshold of the row as a share; zero if no change is tolerated."""
    threshold = row.policy.relative if row.base is None else row.policy.threshold(row.base)
    return threshold if math.isfinite(threshold) and threshold > 0 else 0.0


def _edge(shown: Sequence[Row]) -> float:
    """The edge in percent from no change: a little beyond the farthest end of all rows, within bounds."""
    ends = [abs(end) for row in shown for end in _ends(row) if math.isfinite(end)]
    bands = [_percent(1 + _band(row)) for row in shown]
    return min(_FARTHEST, max(_NEAREST, 1.08 * max([*ends, *bands])))


def _percent(ratio: float) -> float:
    return (ratio - 1) * 100
