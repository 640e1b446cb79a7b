"""Throughput and memory against batch size: lines, or bars if the batch size does not vary."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...measurement import metric
from ..units import quantity, scale
from .pages import EVALUATION, TRAIN, PlotCase, PlotPage, uneven
from .sheet import WIDTH, about_intervals, about_memory, bar, line_with_error_bars, panel_grid, row_panels
from .style import TITLE, Look, fit, inches

_MOST_LINES = 8  # in one panel


def throughput(page: PlotPage) -> Figure | None:
    """Samples per second against batch size: of the train stage in training, else of the test stage."""
    metrics = {TRAIN: "train.throughput", EVALUATION: "test.throughput"}
    heads = {TRAIN: f"{TRAIN} (train stage)", EVALUATION: f"{EVALUATION} (test stage)"}
    return _against_batch_size(page, "Throughput", metrics, heads)


def memory(page: PlotPage) -> Figure | None:
    """Peak memory against batch size, training and evaluation on one scale."""
    heads = {TRAIN: TRAIN, EVALUATION: EVALUATION}
    return _against_batch_size(page, "Peak memory", dict.fromkeys(heads, page.memory), heads)


def _against_batch_size(
    page: PlotPage, title: str, metrics: Mapping[str, str], heads: Mapping[str, str]
) -> Figure | None:
    """`metrics` and `heads` are by kind of case; None where no case has its metric."""
    kinds = page.having(metrics)
    cases = [case for of_kind in kinds.values() for case in of_kind]
    sizes = sorted({case.batch_size for case in cases if case.batch_size})
    notes = [
        about_intervals(case.values[metrics[case.kind]] for case in cases),
        *about_memory(metrics.values()),
    ]
    if len(sizes) > 1:
        return _as_lines(page, title, kinds, metrics, heads, sizes, notes)
    found = {heads[kind]: of_kind for kind, of_kind in kinds.items()}
    return _as_bars(page, title, found, metrics, notes) if found else None


def _as_lines(
    page: PlotPage,
    title: str,
    kinds: Mapping[str, Sequence[PlotCase]],
    metrics: Mapping[str, str],
    heads: Mapping[str, str],
    sizes: Sequence[int],
    notes: Sequence[str],
) -> Figure:
    """A line for each combination of the other axes, a column of panels for each kind."""
    cases = [case for of_kind in kinds.values() for case in of_kind]
    crowded = any(_crowded(of_kind, metrics[kind]) for kind, of_kind in kinds.items())
    panel_axes = page.workload_axes if crowded else []  # these axes get their own panels
    workloads = list(dict.fromkeys(case.panel(panel_axes) for case in cases))
    looks = page.looks(panel_axes)
    drawn = {case.line(panel_axes) for case in cases}
    keys = {name: look.line() for name, look in looks.items() if name in drawn}
    head, x_label = f"{title} against batch size", "batch size [samples]"
    sharey = "row" if len(set(metrics.values())) == 1 else False
    figure, grid = panel_grid(page, head, len(workloads), len(kinds), keys, notes, x_label, sharey=sharey)
    for row, workload in zip(grid, workloads, strict=False):  # only as many as are shown
        in_row = [case for case in cases if case.panel(panel_axes) == workload]
        values = [case.values[metrics[case.kind]].value for case in in_row]
        factor, unit = scale(values, metric(metrics[TRAIN]).unit)
        for axes, kind in zip(row, kinds, strict=True):
            here = [case for case in in_row if case.kind == kind]
            if not here:
                axes.set_axis_off()
                continue
            _draw_lines(axes, here, metrics[kind], factor, panel_axes, looks)
            batch_size_axis(axes, sizes)
            axes.set_ylabel(f"{title.lower()} [{unit}]")
            axes.tick_params(labelleft=True)
            head = ": ".join(filter(None, [workload, heads[kind]]))
            axes.set_title(fit(head, WIDTH / len(kinds) - 1, TITLE))
    for axes in grid.flat:
        axes.set_ylim(bottom=0)  # after all lines of a shared scale are drawn
    return figure


def _crowded(cases: Sequence[PlotCase], name: str) -> bool:
    """Whether the lines of these cases need more than one panel."""
    tops: dict[str, float] = {}
    for case in cases:
        line = case.line(())
        tops[line] = max(tops.get(line, 0.0), case.values[name].value)
    return len(tops) > _MOST_LINES or uneven(tops.values())


def _draw_lines(
    axes: Axes,
    cases: Sequence[PlotCase],
    name: str,
    factor: float,
    panel_axes: Collection[str],
    looks: Mapping[str, Look],
) -> None:
    lines: dict[str, list[PlotCase]] = {}
    for case in cases:
        lines.setdefault(case.line(panel_axes), []).append(case)
    for place, (line, points) in enumerate(lines.items()):
        points.sort(key=lambda case: case.batch_size)
        values = [point.values[name] for point in points]
        # Lines are shifted by a few percent, so that their error bars do not overlap.
        aside = 2 ** (0.06 * (place - (len(lines) - 1) / 2) * min(1, 4 / len(lines)))
        line_with_error_bars(
            axes, [point.batch_size * aside for point in points], values, factor, looks[line]
        )


def batch_size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic axis with a tick for every measured size, and a label where it fits."""
    octaves = math.log2(sizes[-1] / sizes[0])
    labelled = [sizes[0]]
    for size in sizes[1:]:
        gap = math.log2(size / labelled[-1]) / octaves * (WIDTH / 2 - 1)
        if gap > (inches(str(size)) + inches(str(labelled[-1]))) / 2 + 0.08:
            labelled.append(size)
    axes.set_xscale("log", base=2)
    axes.set_xticks(labelled, [str(size) for size in labelled])
    axes.set_xticks(sizes, [""] * len(sizes), minor=True)
    axes.set_xlim(sizes[0] / 2 ** (octaves / 12), sizes[-1] * 2 ** (octaves / 12))
    axes.update_datalim([(sizes[0], 0)])  # the scale includes zero, with a margin above the rest


def _as_bars(
    page: PlotPage,
    title: str,
    found: Mapping[str, Sequence[PlotCase]],
    metrics: Mapping[str, str],
    notes: Sequence[str],
) -> Figure:
    """A bar for each case, a panel for each kind."""
    values = [case.values[metrics[case.kind]] for cases in found.values() for case in cases]
    unit = metric(metrics[TRAIN]).unit
    factor, label = scale([value.value for value in values], unit)
    figure, panels = row_panels(page, title, found, {}, notes, one_scale=True)
    for number, (axes, cases) in enumerate(panels):
        for row, case in enumerate(cases):
            value = case.values[metrics[case.kind]]
            bar(axes, row, 0.7, value, factor, Look.number(number), quantity(value.value, unit))
    axes.set_xlabel(f"{title.lower()} [{label}]")
    axes.set_xlim(0, max(value.top for value in values) * factor * 1.15 or 1)
    return figure
