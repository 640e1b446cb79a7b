"""Pictures of a run, as SVG and PNG: layout only, every number comes from the tables.

matplotlib's objects are used without pyplot, whose import takes longer and which keeps figures in global
state. Each suite and device has pictures of its own. Axes are open-ended, so no picture counts on one:
what varies is spelled in its labels, and a picture that there is no data for is left out.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

from bench.analysis.estimate import LEVEL
from bench.case import DEFAULTS, TRAINING_AXES, spell, unused_axes
from bench.errors import ResultsError
from bench.measurement import PHASES, Environment, metric
from bench.report.units import digits, interval, quantity, scale
from bench.results.tables import Tables

TRAIN, EVALUATION = "training", "evaluation modes"  # the kinds of case: each has panels of its own

# Lengths are inches.
_WIDTH = 10.0
_LINE = 0.19  # of text
_ROW = 0.28  # one case
_BAR = 0.17  # one of several bars in a row
_PANEL = 3.2  # the height of a panel with lines
_LOW_PANEL = 2.3  # where there are several
_LABEL = 3.7  # the most that the label of a row takes
_MOST_ROWS = 100  # nobody reads a taller picture; it says what it leaves out
_MOST_PANELS = 16
_MOST_LINES = 8  # in one panel
_MOST_TIMES = 5  # what is this many times smaller than its neighbours is flat on their scale
_MOST_ROUNDS = 16  # in a legend
_LEGIBLE = 0.06  # of the width of an axis: a narrower segment has no room for '12 %'
_FARTHEST = 40.0  # percent from the estimate: a launch beyond is drawn at the edge, with its figure
_TEXT, _TITLE, _SMALL = 9.0, 9.5, 7.5  # points

_SELF_EVIDENT = ("dataset", "model", "optimizer", "mode")  # whose values need no name beside them

_INK, _QUIET, _FAINT = "#222222", "#666666", "#E2E2E2"

# Okabe and Ito's colours, which colour-blind readers tell apart; their yellow is too pale for a line.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "os^DvPX*"  # one more than there are colours, so that the pairs repeat after 56 only
_Dash: TypeAlias = Literal["-", "--", "-.", ":"]
_DASHES: tuple[_Dash, ...] = ("-", "--", "-.", ":")
_HATCHES = ("", "////", "----", "xxxx")
_DARK = ("#0072B2", "#555555", "#000000")  # these take white text

_SETTINGS: dict[Any, Any] = {
    "font.size": _TEXT,
    "text.parse_math": False,  # a '$' in the value of an axis is a '$'
    "axes.titlesize": _TITLE,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.6,
    "lines.markersize": 5.0,
    "errorbar.capsize": 2.5,
    "svg.fonttype": "none",  # text stays text: it can be searched, and the file is small
    "svg.hashsalt": "epochbench",  # the same tables give the same file
    "savefig.dpi": 150,
}


@dataclass(frozen=True)
class _Look:
    """Never colour alone: lines differ in marker and dash too, bars in hatch."""

    colour: str
    hatch: str = ""
    marker: str = "o"
    dash: _Dash = "-"

    @classmethod
    def number(cls, number: int) -> _Look:
        return cls(
            _COLOURS[number % len(_COLOURS)],
            _HATCHES[number % len(_HATCHES)],
            _MARKERS[number % len(_MARKERS)],
            _DASHES[number % len(_DASHES)],
        )

    @property
    def filled(self) -> dict[str, Any]:
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": _INK, "linewidth": 0.4}


# There are more phases than safe colours, so that those which rarely take long are hatched.
_PHASE_LOOKS = {
    "data": _Look("#E69F00"),
    "transfer": _Look("#F0E442", "////"),
    "forward": _Look("#56B4E9"),
    "loss": _Look("#AAAAAA"),
    "zero_grad": _Look("#FFFFFF", "----"),
    "backward": _Look("#0072B2"),
    "optimizer": _Look("#009E73"),
    "scheduler": _Look("#D55E00", "\\\\\\\\"),
    "metrics": _Look("#CC79A7", "xxxx"),
    "other": _Look("#555555"),
}


@dataclass(frozen=True)
class _Value:
    """What the summary says of a metric; without an interval its ends are NaN, which is not drawn."""

    value: float
    low: float
    high: float

    @property
    def top(self) -> float:
        return self.value if math.isnan(self.high) else self.high


@dataclass(frozen=True)
class _Shown:
    """A case as the pictures see it. `parts` spells, by axis, what tells it apart on its page."""

    mode: str
    batch_size: int | None
    parts: Mapping[str, str]
    values: Mapping[str, _Value]
    phases: Mapping[str, tuple[float, float]]  # of a train step: seconds, share
    launches: Mapping[str, Sequence[tuple[int, float]]]  # by metric: round, value

    @property
    def kind(self) -> str:
        return TRAIN if self.mode == "train" else EVALUATION

    @property
    def step(self) -> float:
        return sum(seconds for seconds, _ in self.phases.values())

    def label(self, without: Collection[str] = ()) -> str:
        return ", ".join(part for axis, part in self.parts.items() if axis not in without)

    def line(self, apart: Collection[str]) -> str:
        """The line that the case is a point of, where the axes `apart` have panels of their own."""
        return self.label({"batch_size", *apart}) or self.mode

    def panel(self, apart: Iterable[str]) -> str:
        return ", ".join(self.parts[axis] for axis in apart if axis in self.parts)


@dataclass(frozen=True)
class _Page:
    """The cases of one suite on one device, and what all their pictures say."""

    cases: Sequence[_Shown]
    where: str  # the second line of each title
    caveats: Sequence[str]  # what each says at its foot
    suffix: str  # of the file names

    def having(self, metrics: Mapping[str, str]) -> dict[str, list[_Shown]]:
        """By kind, the cases with the metric that is asked of their kind; no kind without cases."""
        kinds = {
            kind: [case for case in self.cases if case.kind == kind and name in case.values]
            for kind, name in metrics.items()
        }
        return {kind: cases for kind, cases in kinds.items() if cases}

    @property
    def settings(self) -> list[str]:
        """The axes that change what is measured, not how: they may set one panel against another."""
        axes = dict.fromkeys(axis for case in self.cases for axis in case.parts)
        return [axis for axis in axes if axis not in {"batch_size", "mode", *TRAINING_AXES}]

    @property
    def memory(self) -> str:
        """The metric that says most of memory here."""
        on_device = any("memory.peak_allocated" in case.values for case in self.cases)
        return "memory.peak_allocated" if on_device else "memory.peak_rss"

    def looks(self, apart: Collection[str]) -> dict[str, _Look]:
        """The look of each line, those of training first: the same in every picture of these lines."""
        ordered = sorted(self.cases, key=lambda case: case.kind != TRAIN)
        names = dict.fromkeys(case.line(apart) for case in ordered)
        return {name: _Look.number(number) for number, name in enumerate(names)}


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Every picture that the tables have data for, as SVG and PNG in `folder`; returns their paths.

    Where there are several suites or devices, each has pictures of its own, named after both. Raises
    ResultsError where the files cannot be written.
    """
    paths: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _own_settings():
            for page in _pages(tables):
                for name, picture in PICTURES.items():
                    figure = picture(page)
                    if figure is not None:
                        paths += _save(figure, folder, f"{name}{page.suffix}")
    except OSError as problem:
        raise ResultsError(f"the pictures cannot be written to {folder}: {problem.strerror}") from None
    return paths


# The pictures.


def _throughput(page: _Page) -> Figure | None:
    """Samples a second against batch size: of the train stage in training, else of the test stage."""
    metrics = {TRAIN: "train.throughput", EVALUATION: "test.throughput"}
    heads = {TRAIN: "training (train stage)", EVALUATION: "evaluation modes (test stage)"}
    return _against_batch_size(page, "Throughput", metrics, heads)


def _memory(page: _Page) -> Figure | None:
    """Peak memory against batch size, training and evaluation on one scale."""
    heads = {TRAIN: TRAIN, EVALUATION: EVALUATION}
    return _against_batch_size(page, "Peak memory", dict.fromkeys(heads, page.memory), heads)


def _phases(page: _Page) -> Figure | None:
    """Where the time of a train step goes: a bar a case, a segment a phase."""
    found = [case for case in page.cases if case.kind == TRAIN and case.phases]
    there = [phase for phase in PHASES if any(phase in case.phases for case in found)]
    if not there:
        return None
    # On one scale the phases of a small model beside a large one could not be seen.
    apart = page.settings if _uneven([case.step for case in found]) else []
    panels: dict[str, list[_Shown]] = {}
    for case in found:
        panels.setdefault(case.panel(apart), []).append(case)
    keys = [_bar_key(phase, _PHASE_LOOKS[phase]) for phase in there]
    notes = ["Means over steps and launches, so that the phases add up."]
    figure, drawn = _row_panels(page, "Phases of a train step", panels, keys, notes, apart)
    for axes, _, cases in drawn:
        _phase_bars(axes, cases, there)
    return figure


def _evaluation_modes(page: _Page) -> Figure | None:
    """The evaluation modes side by side: how fast each is, and how much memory it takes."""
    cases = [case for case in page.cases if case.kind == EVALUATION]
    wanted = {"test.throughput": "throughput of the test stage", page.memory: "peak memory"}
    metrics = [name for name in wanted if any(name in case.values for case in cases)]
    modes = list(dict.fromkeys(case.mode for case in cases))
    if len(modes) < 2 or not metrics:
        return None
    groups: dict[str, dict[str, _Shown]] = {}
    for case in cases:
        groups.setdefault(case.label({"mode"}), {})[case.mode] = case
    shown = list(groups)[: _MOST_ROWS // len(modes)]
    looks = {mode: look for mode, look in page.looks(page.settings).items() if mode in modes}
    notes = [
        *_left_out(len(shown), len(groups), "rows"),
        _about_intervals(case.values[name] for case in cases for name in metrics if name in case.values),
        *(["Percentages: difference from eval."] if "eval" in modes else []),
        *_about_memory(metrics),
    ]
    height = (_BAR * len(modes) + 0.1) * len(shown) + 0.5
    keys = [_bar_key(mode, look) for mode, look in looks.items()]
    figure = _figure(page, "Evaluation modes side by side", height, keys, notes)
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, metrics, strict=True):
        _label_rows(axes, shown)
        unit = _mode_bars(axes, name, [groups[label] for label in shown], looks)
        axes.set_xlabel(f"{wanted[name]} [{unit}]")
    return figure


def _launches(page: _Page) -> Figure | None:
    """Every launch beside the estimate of its case, in percent of it: a slow round is seen by its colour."""
    metrics = {TRAIN: "train.step_time", EVALUATION: "epoch.time"}
    heads = {TRAIN: "step time, training", EVALUATION: "epoch time, evaluation modes"}
    found = page.having(metrics)
    cases = [(case, metrics[kind]) for kind, of_kind in found.items() for case in of_kind]
    rounds = sorted({number for case, name in cases for number, _ in case.launches.get(name, ())})
    if not rounds:
        return None
    looks = {number: _round_look(place, len(rounds)) for place, number in enumerate(rounds)}
    shown = rounds[:: math.ceil(len(rounds) / _MOST_ROUNDS)]
    keys = [_line_key(f"round {number}", looks[number], dash="") for number in shown]
    about = _about_intervals([case.values[name] for case, name in cases], sign="Grey")
    notes = [about, "To the right: the estimate, and half its interval if any."]
    title = "Every launch beside its estimate"
    figure, panels = _row_panels(page, title, found, keys, notes, heads=heads, one_scale=True)
    for axes, kind, of_kind in panels:
        for row, case in enumerate(of_kind):
            _launch_row(axes, row, case, metrics[kind], looks)
    low, high = axes.get_xlim()
    left, right = (1.2 if far >= _FARTHEST else 1 for far in (-low, high))  # room for the figures there
    axes.set_xlim(min(low, -1) * left, max(high, 1) * right)  # a calm case looks calm
    axes.set_xlabel("difference from the estimate of the case [%]")
    return figure


PICTURES: Mapping[str, Callable[[_Page], Figure | None]] = {
    "throughput": _throughput,
    "phases": _phases,
    "evaluation_modes": _evaluation_modes,
    "memory": _memory,
    "launches": _launches,
}


# What they are made of.


def _against_batch_size(
    page: _Page, title: str, metrics: Mapping[str, str], heads: Mapping[str, str]
) -> Figure | None:
    """A line for each combination of the other axes; bars where the batch size does not vary."""
    kinds = page.having(metrics)
    sizes = sorted({case.batch_size for cases in kinds.values() for case in cases if case.batch_size})
    if len(sizes) < 2:
        return _as_bars(page, title, metrics, heads) if kinds else None
    crowded = any(_crowded(cases, metrics[kind]) for kind, cases in kinds.items())
    apart = page.settings if crowded else []  # these axes get panels of their own
    settings = list(dict.fromkeys(case.panel(apart) for cases in kinds.values() for case in cases))
    shown = settings[:_MOST_PANELS]
    looks = page.looks(apart)
    drawn = {case.line(apart) for cases in kinds.values() for case in cases}
    values = [case.values[metrics[kind]] for kind, cases in kinds.items() for case in cases]

    keys = [_line_key(name, look) for name, look in looks.items() if name in drawn]
    notes = [
        *_left_out(len(shown), len(settings), "panels"),
        _about_intervals(values),
        *_about_memory(metrics.values()),
    ]
    height = _PANEL if len(shown) == 1 else _LOW_PANEL * len(shown)
    figure = _figure(page, f"{title} against batch size", height, keys, notes)
    one_scale = len(set(metrics.values())) == 1
    grid = figure.subplots(len(shown), len(kinds), squeeze=False, sharey="row" if one_scale else False)
    for row, setting in enumerate(shown):
        panels = {
            kind: [case for case in cases if case.panel(apart) == setting] for kind, cases in kinds.items()
        }
        numbers = [case.values[metrics[kind]].value for kind, cases in panels.items() for case in cases]
        factor, unit = scale(numbers, metric(metrics[TRAIN]).unit)
        for axes, (kind, here) in zip(grid[row], panels.items(), strict=True):
            if not here:
                axes.set_axis_off()
                continue
            _draw_lines(axes, here, metrics[kind], factor, apart, looks)
            _batch_size_axis(axes, sizes)
            axes.set_ylabel(f"{title.lower()} [{unit}]")
            axes.tick_params(labelleft=True)
            head = ": ".join(filter(None, [setting, heads[kind]]))
            axes.set_title(_fit(head, _WIDTH / len(kinds) - 1, _TITLE))
    for axes in grid.flat:
        axes.set_ylim(bottom=0)  # once all lines of a shared scale are drawn
    for axes in grid[-1]:
        axes.set_xlabel("batch size [samples]")
    return figure


def _as_bars(page: _Page, title: str, metrics: Mapping[str, str], heads: Mapping[str, str]) -> Figure:
    """A bar for each case."""
    kinds = page.having(metrics)
    values = [case.values[metrics[kind]] for kind, cases in kinds.items() for case in cases]
    unit = metric(metrics[TRAIN]).unit
    factor, label = scale([value.value for value in values], unit)
    notes = [_about_intervals(values), *_about_memory(metrics.values())]
    figure, panels = _row_panels(page, title, kinds, [], notes, heads=heads, one_scale=True)
    for number, (axes, kind, cases) in enumerate(panels):
        for row, case in enumerate(cases):
            value = case.values[metrics[kind]]
            _bar(axes, row, 0.7, value, factor, _Look.number(number), quantity(value.value, unit))
    axes.set_xlabel(f"{title.lower()} [{label}]")
    axes.set_xlim(0, max(value.top for value in values) * factor * 1.15 or 1)
    return figure


def _row_panels(
    page: _Page,
    title: str,
    found: Mapping[str, Sequence[_Shown]],
    keys: Sequence[tuple[str, Artist]],
    notes: Sequence[str],
    apart: Collection[str] = (),
    heads: Mapping[str, str] | None = None,
    one_scale: bool = False,
) -> tuple[Figure, list[tuple[Axes, str, Sequence[_Shown]]]]:
    """A panel for each entry of `found`, one above the other, with a row for each case.

    The axes `apart` stand in the heads of the panels. Panels of one scale share it and its label.
    """
    most = list(found)[:_MOST_PANELS]
    panels = {name: found[name][: _MOST_ROWS // len(most)] for name in most}
    rows = [len(cases) for cases in panels.values()]
    notes = [*_left_out(sum(rows), sum(map(len, found.values())), "cases"), *notes]
    height = _ROW * sum(rows) + (0.3 if one_scale else 0.6) * len(rows) + 0.3
    figure = _figure(page, title, height, keys, notes)
    grid = figure.subplots(len(rows), 1, squeeze=False, sharex=one_scale, height_ratios=rows)[:, 0]
    drawn = [(axes, name, cases) for axes, (name, cases) in zip(grid, panels.items(), strict=True)]
    for axes, name, cases in drawn:
        _label_rows(axes, [case.label(apart) or case.mode for case in cases])
        axes.set_title(_fit((heads or {}).get(name, name), _WIDTH - _LABEL - 0.3, _TITLE))
    return figure, drawn


def _phase_bars(axes: Axes, cases: Sequence[_Shown], there: Sequence[str]) -> None:
    factor, unit = scale([case.step for case in cases], "s")
    widest = max(case.step for case in cases) * factor or 1.0
    for row, case in enumerate(cases):
        left = 0.0
        for phase in there:
            seconds, share = case.phases.get(phase, (0.0, 0.0))
            look, width = _PHASE_LOOKS[phase], seconds * factor
            axes.barh(row, width, 0.76, left, **look.filled)
            if width > _LEGIBLE * widest:
                _write_inside(axes, left + width / 2, row, f"{share * 100:.0f} %", look)
            left += width
        _write_after(axes, left, row, quantity(case.step, "s"))
    axes.set_xlim(0, widest * 1.1)
    axes.set_xlabel(f"mean time of a step [{unit}]")


def _draw_lines(
    axes: Axes,
    cases: Sequence[_Shown],
    name: str,
    factor: float,
    apart: Collection[str],
    looks: Mapping[str, _Look],
) -> None:
    lines: dict[str, list[_Shown]] = {}
    for case in cases:
        lines.setdefault(case.line(apart), []).append(case)
    for place, (line, points) in enumerate(lines.items()):
        points.sort(key=lambda case: case.batch_size or 0)
        values = [point.values[name] for point in points]
        # Lines step aside by a few percent, so that their error bars do not hide one another.
        aside = 2 ** (0.06 * (place - (len(lines) - 1) / 2) * min(1, 4 / len(lines)))
        axes.errorbar(
            [(point.batch_size or 0) * aside for point in points],
            [value.value * factor for value in values],
            yerr=_error(values, factor),
            color=looks[line].colour,
            marker=looks[line].marker,
            linestyle=looks[line].dash,
            linewidth=1.4,
            elinewidth=1.0,
        )


def _batch_size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """Doubling is one step. Every size that was measured has a tick, and a label where there is room."""
    octaves = math.log2(sizes[-1] / sizes[0])
    labelled = [sizes[0]]
    for size in sizes[1:]:
        room = math.log2(size / labelled[-1]) / octaves * (_WIDTH / 2 - 1)
        if room > (_inches(str(size)) + _inches(str(labelled[-1]))) / 2 + 0.08:
            labelled.append(size)
    axes.set_xscale("log", base=2)
    axes.set_xticks(labelled, [str(size) for size in labelled])
    axes.set_xticks(sizes, [""] * len(sizes), minor=True)
    axes.set_xlim(sizes[0] / 2 ** (octaves / 12), sizes[-1] * 2 ** (octaves / 12))
    axes.update_datalim([(sizes[0], 0)])  # the scale holds zero, and leaves a margin above the rest


def _mode_bars(
    axes: Axes, name: str, groups: Sequence[Mapping[str, _Shown]], looks: Mapping[str, _Look]
) -> str:
    """A row for each group, in it a bar for each mode, which says how far it is from eval.

    Returns the unit of the scale.
    """
    unit = metric(name).unit
    values = [case.values[name] for group in groups for case in group.values() if name in case.values]
    factor, label = scale([value.value for value in values], unit)
    thickness = 0.84 / len(looks)
    for row, group in enumerate(groups):
        plain = group["eval"].values.get(name) if "eval" in group else None
        for place, (mode, look) in enumerate(looks.items()):
            value = group[mode].values.get(name) if mode in group else None
            if value is None:
                continue
            words = f"{digits(value.value * factor)} {label}"
            if mode != "eval" and plain is not None and plain.value > 0:
                words = _signed(value.value / plain.value * 100 - 100, 1)
            y = row + (place - (len(looks) - 1) / 2) * thickness
            _bar(axes, y, thickness, value, factor, look, words)
    axes.set_xlim(0, max((value.top for value in values), default=1) * factor * 1.33 or 1)
    return label


def _bar(
    axes: Axes, y: float, thickness: float, value: _Value, factor: float, look: _Look, words: str
) -> None:
    error = _error([value], factor)
    axes.barh(y, value.value * factor, thickness, xerr=error, error_kw={"linewidth": 0.9}, **look.filled)
    _write_after(axes, value.top * factor, y, words)


def _launch_row(axes: Axes, row: int, case: _Shown, name: str, looks: Mapping[int, _Look]) -> None:
    """Within the row the rounds stand one below the other, in their order."""
    value, launches = case.values[name], case.launches.get(name, ())
    low, high, *away = _away(value.value, [value.low, value.high, *(seconds for _, seconds in launches)])
    ends = [_edge(low), _edge(high)]
    axes.plot(ends, [row, row], color=_FAINT, linewidth=12, solid_capstyle="butt", zorder=1)
    axes.plot([0, 0], [row - 0.5, row + 0.5], color=_INK, linewidth=1, zorder=2)
    heights = {number: 0.7 * ((place + 0.5) / len(looks) - 0.5) for place, number in enumerate(looks)}
    for (number, _), percent in zip(launches, away, strict=True):
        look, y = looks[number], row + heights[number]
        axes.plot([_edge(percent)], [y], look.marker, color=look.colour, markeredgewidth=0, zorder=3)
    for percent in {min(away, default=0.0), max(away, default=0.0)}:
        if abs(percent) > _FARTHEST:
            _write_after(axes, _edge(percent), row, _signed(percent), left=percent < 0)
    words = quantity(value.value, metric(name).unit)
    if not math.isnan(value.low):
        words += f"  {interval(value.low, value.high, value.value)}"
    axes.text(1.01, row, words, transform=axes.get_yaxis_transform(), va="center", size=_SMALL, color=_QUIET)


def _away(value: float, numbers: Iterable[float]) -> list[float]:
    """How far each is from the value, in percent of it; NaN, which is not drawn, where that says nothing."""
    return [(number / value - 1) * 100 if value else math.nan for number in numbers]


def _edge(percent: float) -> float:
    return percent if math.isnan(percent) else max(-_FARTHEST, min(_FARTHEST, percent))


def _signed(percent: float, decimals: int = 0) -> str:
    return f"{percent:+.{decimals}f} %".replace("-", "\N{MINUS SIGN}")


def _round_look(place: int, rounds: int) -> _Look:
    """A round has a colour of its own; many of them are shaded from the first to the last."""
    look = _Look.number(place)
    if rounds <= len(_COLOURS):
        return look
    shade = to_hex(matplotlib.colormaps["cividis"](place / (rounds - 1)))
    return _Look(shade, marker=look.marker)


def _error(values: Sequence[_Value], factor: float) -> list[list[float]]:
    below = [(value.value - value.low) * factor for value in values]
    above = [(value.high - value.value) * factor for value in values]
    return [below, above]


def _label_rows(axes: Axes, labels: Sequence[str]) -> None:
    """The first row is on top, as in a table."""
    axes.set_yticks(range(len(labels)), [_fit(label, _LABEL) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _write_inside(axes: Axes, x: float, y: float, words: str, look: _Look) -> None:
    behind = {"facecolor": look.colour, "linewidth": 0, "pad": 0.8} if look.hatch else None
    colour = "white" if look.colour in _DARK else "black"
    axes.text(x, y, words, ha="center", va="center_baseline", size=_SMALL, color=colour, bbox=behind)


def _write_after(axes: Axes, x: float, y: float, words: str, left: bool = False) -> None:
    axes.annotate(
        words,
        (x, y),
        xytext=(-5 if left else 5, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center_baseline",
        size=_SMALL,
        color=_QUIET,
    )


def _bar_key(name: str, look: _Look) -> tuple[str, Artist]:
    return name, Patch(**look.filled)


def _line_key(name: str, look: _Look, dash: _Dash | Literal[""] | None = None) -> tuple[str, Artist]:
    style = look.dash if dash is None else dash
    return name, Line2D([], [], color=look.colour, marker=look.marker, linestyle=style)


def _about_intervals(values: Iterable[_Value], sign: str = "Error bars") -> str:
    if all(math.isnan(value.low) for value in values):
        return f"Too few launches for a {LEVEL * 100:g} % interval."
    return f"{sign}: {LEVEL * 100:g} % interval of the median over launches."


def _about_memory(names: Iterable[str]) -> list[str]:
    return [f"Memory: {metric(name).meaning}." for name in dict.fromkeys(names) if name.startswith("memory.")]


def _crowded(cases: Sequence[_Shown], name: str) -> bool:
    """Whether one panel is not enough for the lines of these cases."""
    tops: dict[str, float] = {}
    for case in cases:
        line = case.line(())
        tops[line] = max(tops.get(line, 0.0), case.values[name].value)
    return len(tops) > _MOST_LINES or _uneven(tops.values())


def _uneven(sizes: Collection[float]) -> bool:
    return max(sizes) > _MOST_TIMES * min(sizes)


def _left_out(shown: int, total: int, things: str) -> list[str]:
    return [f"The first {shown} of {total} {things}; the tables have them all."] if shown < total else []


# The sheet.


def _figure(
    page: _Page, title: str, height: float, keys: Sequence[tuple[str, Artist]], notes: Sequence[str]
) -> Figure:
    """An empty sheet: title and keys above a body of this height, notes below it."""
    wide = _WIDTH - 0.3
    names = [_fit(name, wide - 1) for name, _ in keys]
    long = any(isinstance(key, Line2D) for _, key in keys)  # dashes need room to be seen
    columns = _columns(names, wide, 0.68 if long else 0.42)
    lines = _lines([*notes, *page.caveats], wide)
    head = 0.6 + (_LINE * math.ceil(len(keys) / columns) + 0.08 if keys else 0)
    foot = 0.14 + 0.15 * len(lines)
    total = head + height + foot
    left = 0.15 / _WIDTH
    figure = Figure(figsize=(_WIDTH, total))
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0.01, foot / total, 0.98, height / total)))
    figure.text(left, 1 - 0.24 / total, _fit(title, wide, 12), size=12, weight="bold", color=_INK)
    figure.text(left, 1 - 0.45 / total, _fit(page.where, wide), color=_QUIET)
    for number, line in enumerate(reversed(lines)):
        figure.text(left, (0.1 + 0.15 * number) / total, line, size=_SMALL, color=_QUIET)
    if keys:
        figure.legend(
            [key for _, key in keys],
            # A name that begins with an underscore would be left out.
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


def _columns(names: Sequence[str], wide: float, beside: float) -> int:
    """The most columns of a legend that fit; as it is filled, the first ones are the longer ones."""
    widths = [_inches(name) + beside for name in names]
    for deep in range(1, len(names)):
        columns = math.ceil(len(names) / deep)
        short, longer = divmod(len(names), columns)
        starts = [column * short + min(column, longer) for column in range(columns + 1)]
        if sum(max(widths[start:end]) for start, end in pairwise(starts)) <= wide:
            return columns
    return 1


def _lines(notes: Sequence[str], wide: float) -> list[str]:
    """The notes on one line, or on a line each where that is too long."""
    line = " ".join(notes)
    if _inches(line, _SMALL) <= wide:
        return [line] if line else []
    return [_fit(note, wide, _SMALL) for note in notes]


def _fit(text: str, inches: float, size: float = _TEXT) -> str:
    """One printable line that takes no more than this room; the middle goes, since ends tell apart."""
    text = text if len(text) < 1000 else f"{text[:500]}{text[-500:]}"  # measuring takes its time
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split())
    keep = len(line)
    short = line
    while keep > 2 and _inches(short, size) > inches:
        keep = min(keep - 1, int(keep * inches / _inches(short, size)) + 1)
        short = f"{line[: (keep + 1) // 2]}…{line[len(line) - keep // 2 :]}"
    return short


def _inches(line: str, size: float = _TEXT) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(line, FontProperties(size=size), ismath=False)
    return width / 72


@contextmanager
def _own_settings() -> Iterator[None]:
    """Ours, whatever the user's matplotlibrc says, and only for as long as we draw."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        # A letter that the font lacks is a box in the PNG; the SVG holds the text as it is.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    FigureCanvasAgg(figure)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    figure.savefig(png)
    figure.set_layout_engine("none")  # the places are found, and are the same in both files
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


# From the tables to pages.


def _pages(tables: Tables) -> list[_Page]:
    """A page for each suite and device that has a number."""
    groups = _by_page(tables.summary)
    failed = _by_page(tables.failures[~tables.failures["case"].isin(tables.summary["case"])])
    values, phases, launches = _values(tables), _train_phases(tables), _launch_values(tables)
    pages: dict[str, _Page] = {}
    for (suite, device), rows in groups.items():
        texts = _spelled(rows, tables.axes)
        cases = [
            _Shown(
                mode=_text(row, "mode"),
                batch_size=None if _absent(row.get("batch_size")) else int(row["batch_size"]),
                parts=parts,
                values=values.get(row["case"], {}),
                phases=phases.get(row["case"], {}),
                launches=launches.get(row["case"], {}),
            )
            for row, parts in zip(rows, _parts(texts), strict=True)
        ]
        suffix = f"-{_slug(f'{suite}-{device}')}" if len(groups) > 1 else ""
        while suffix in pages:
            suffix += "-2"
        caveats = _caveats(rows, failed=len(failed.get((suite, device), ())))
        pages[suffix] = _Page(cases, _where(tables, suite, device), caveats, suffix)
    return list(pages.values())


def _slug(text: str) -> str:
    """Part of a file name on every system: not all of them tell capitals apart."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80]


def _by_page(frame: pd.DataFrame) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The axes of each case, by suite and device."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in frame.drop_duplicates("case").to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        groups.setdefault((str(row["suite"]), _text(row, "device")), []).append(row)
    return groups


def _absent(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _text(row: Mapping[str, Any], axis: str) -> str:
    """The value of an axis as it is written; a suite that does not declare it has the standard's."""
    value = row.get(axis)
    return spell(DEFAULTS.get(axis) if _absent(value) else value)


def _spelled(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[dict[str, str]]:
    """By axis, what each case of a page uses. An axis that is empty all over belongs to another suite."""
    there = [axis for axis in axes if not all(_absent(row[axis]) for row in rows)]
    return [
        {
            axis: "none" if _absent(row[axis]) else spell(row[axis])
            for axis in there
            if axis not in unused_axes(_text(row, "mode"))
        }
        for row in rows
    ]


def _parts(texts: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """What tells each case apart, in the order in which it is read: how, on what, in which batches."""
    found: dict[str, set[str]] = {}
    for text in texts:
        for axis, value in text.items():
            found.setdefault(axis, set()).add(value)
    varying = [
        axis for axis, values in found.items() if len(values) > 1 and axis not in ("mode", "batch_size")
    ]
    parts = []
    for text in texts:
        how = "optimizer" if text.get("mode", "train") == "train" else "mode"
        size = ["batch_size"] if len(found.get("batch_size", ())) > 1 else []
        ordered = dict.fromkeys([how, *varying, *size])
        parts.append({axis: _part(axis, text[axis]) for axis in ordered if axis in text})
    return parts


def _part(axis: str, text: str) -> str:
    if axis == "batch_size":
        return f"batch {text}"
    return text if axis in _SELF_EVIDENT and text else f"{axis}={text}"


def _values(tables: Tables) -> dict[str, dict[str, _Value]]:
    rows = tables.summary
    found: dict[str, dict[str, _Value]] = {}
    columns = (rows[name] for name in ("case", "metric", "value", "ci_low", "ci_high"))
    for case, name, *numbers in zip(*columns, strict=True):
        value, low, high = (math.nan if _absent(number) else float(number) for number in numbers)
        if math.isfinite(value):
            found.setdefault(case, {})[name] = _Value(value, low, high)
    return found


def _train_phases(tables: Tables) -> dict[str, dict[str, tuple[float, float]]]:
    rows = tables.phases[tables.phases["stage"] == "train"]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    columns = (rows[name] for name in ("case", "phase", "seconds_per_step", "share"))
    for case, phase, seconds, share in zip(*columns, strict=True):
        found.setdefault(case, {})[phase] = (float(seconds), float(share))
    return found


def _launch_values(tables: Tables) -> dict[str, dict[str, list[tuple[int, float]]]]:
    rows = tables.launches[tables.launches["metric"].isin(["train.step_time", "epoch.time"])]
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    columns = (rows[name] for name in ("case", "metric", "round", "value"))
    for case, name, number, value in zip(*columns, strict=True):
        found.setdefault(case, {}).setdefault(name, []).append((int(number), float(value)))
    return found


def _caveats(rows: Sequence[Mapping[str, Any]], failed: int) -> list[str]:
    """What a reader should know of all these cases; that launches are few is seen where it matters."""
    names = dict.fromkeys(name for row in rows for name in str(row["caveats"] or "").split(";"))
    words = [name.replace("_", " ") for name in names if name not in ("", "few_launches")]
    notes = [f"Caveats of some cases: {', '.join(words)}."] if words else []
    if failed:
        cases, their = ("case is", "its") if failed == 1 else ("cases are", "their")
        notes.append(f"{failed} {cases} not shown: all {their} launches failed.")
    return notes


def _where(tables: Tables, suite: str, device: str) -> str:
    facts = [suite, device]
    if tables.environment is not None:
        facts += [_machine(tables.environment, device), f"torch {tables.environment.torch}"]
    facts += [_date(tables.plan.get("started")), _fit(str(tables.plan.get("name") or ""), 2)]
    return " · ".join(fact for fact in facts if fact)


def _machine(environment: Environment, device: str) -> str:
    """The accelerator where it is one, then the processor, which feeds it."""
    kind, _, index = device.partition(":")
    cards = [
        card.name for card in environment.devices if (card.kind, str(card.index)) == (kind, index or "0")
    ]
    threads = f"{environment.threads} thread{'s' if environment.threads != 1 else ''}"
    return ", ".join([*cards, environment.cpu, threads])


def _date(started: Any) -> str:
    """The start of the run to the minute; nothing where the plan does not say it."""
    try:
        when = datetime.fromisoformat(started)
    except (TypeError, ValueError):
        return ""
    return f"{(when if when.tzinfo is None else when.astimezone(UTC)):%Y-%m-%d %H:%M} UTC"
