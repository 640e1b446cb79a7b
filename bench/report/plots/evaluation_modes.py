"""The evaluation modes side by side: how fast each is, and how much memory it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...measurement import metric
from ..units import digits, scale
from .pages import EVALUATION, PlotPage, Value
from .sheet import MOST_ROWS, about_intervals, about_memory, bar, blank_sheet, label_rows, not_shown
from .style import Look, signed_percent

_BAR = 0.17  # inches high


def draw(page: PlotPage) -> Figure | None:
    cases = [case for case in page.cases if case.kind == EVALUATION]
    # The bytes of tensors if they were counted: they are exact, and no_grad saves them.
    counted = "count.peak_live_bytes"
    memory = counted if all(counted in case.values for case in cases) else page.memory
    wanted = {"test.throughput": "throughput of the test stage", memory: "peak memory"}
    metrics = [name for name in wanted if any(name in case.values for case in cases)]
    modes = list(dict.fromkeys(case.mode for case in cases))
    if len(modes) < 2 or not metrics:
        return None
    groups: dict[str, dict[str, Mapping[str, Value]]] = {}  # by label and mode, the values of a case
    for case in cases:
        groups.setdefault(case.label({"mode"}), {})[case.mode] = case.values
    shown = list(groups)[: MOST_ROWS // len(modes)]
    looks = {mode: look for mode, look in page.looks(page.workload_axes).items() if mode in modes}
    notes = [
        *not_shown(len(shown), len(groups), "rows"),
        about_intervals(case.values[name] for case in cases for name in metrics if name in case.values),
        *(["Percentages: difference from eval."] if "eval" in modes else []),
        *about_memory(metrics),
    ]
    height = (_BAR * len(modes) + 0.1) * len(shown) + 0.5
    keys = {mode: look.bar() for mode, look in looks.items()}
    figure = blank_sheet(page, "Evaluation modes side by side", height, keys, notes)
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, metrics, strict=True):
        label_rows(axes, shown)
        rows = [
            {mode: values[name] for mode, values in groups[label].items() if name in values}
            for label in shown
        ]
        unit = _draw_bars(axes, rows, metric(name).unit, looks)
        axes.set_xlabel(f"{wanted[name]} [{unit}]")
    return figure


def _draw_bars(axes: Axes, rows: Sequence[Mapping[str, Value]], unit: str, looks: Mapping[str, Look]) -> str:
    """A bar for each mode in each row, with its difference from eval. Returns the unit of the scale."""
    all_values = [value for row in rows for value in row.values()]
    factor, label = scale([value.value for value in all_values], unit)
    thickness = 0.84 / len(looks)
    for number, row in enumerate(rows):
        plain = row["eval"].value if "eval" in row else 0.0
        for place, (mode, look) in enumerate(looks.items()):
            if mode not in row:
                continue
            words = f"{digits(row[mode].value * factor)} {label}"
            if mode != "eval" and plain > 0:
                words = signed_percent(row[mode].value / plain * 100 - 100, 1)
            y = number + (place - (len(looks) - 1) / 2) * thickness
            bar(axes, y, thickness, row[mode], factor, look, words)
    axes.set_xlim(0, max((value.top for value in all_values), default=1) * factor * 1.33 or 1)
    return label
