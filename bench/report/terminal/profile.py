"""Profiles on the terminal: the operators with the most time, the cost of profiling, what autograd keeps."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.launch.derived_counts import count_values, main_stage
from ...analysis.launch.profile_summary import GraphRow, OtherOperators, TopRow, graph_rows, top
from ...measurement import PER_STEP, AutogradGraph, Counts, Profile, metric
from ...plurals import counted
from ...results.tables import Tables
from ..layout import Column, Grid, SafeLines, Words
from ..units import exactly, percent, quantity

_MOST_GRAPH_ROWS = 12


def profiles(tables: Tables, most: int) -> Iterator[RenderableType]:
    """A page for each case that was profiled or counted."""
    for case, untimed in tables.untimed.items():
        parts: list[RenderableType] = [Words(case, "bold")]
        if untimed.counts is not None:
            parts.append(Words(_counted(untimed.counts)))
        if untimed.profile is not None:
            parts.append(Words(_cost(untimed.profile)))
            for kind, head in (("host", "operator"), ("device", "kernel")):
                rows, rest = top(untimed.profile, most, kind)
                if rows:
                    parts += [Text(), _table(head, rows, rest)]
        if untimed.counts is not None and untimed.counts.graph is not None:
            parts += _graph(untimed.counts.graph)
        if len(parts) > 1:
            yield SafeLines(Group(*parts, Text()))


def _counted(counts: Counts) -> str:
    """The main counts of a step in the case's main stage, in words."""
    values = count_values(counts)
    if not counts.steps:
        return "counted over no steps"
    parts = []
    for name, label in _COUNTS:
        if name in values:
            unit = metric(name).unit
            amount = exactly(values[name], unit) or quantity(values[name], unit.removesuffix(PER_STEP))
            parts.append(f"{label} {amount}")
    bound = f"; no FLOP formula for {', '.join(counts.unknown)}: a lower bound" if counts.unknown else ""
    window = ", ".join(f"{steps} {stage}" for stage, steps in counts.steps.items())
    many = "step" if sum(counts.steps.values()) == 1 else "steps"
    return f"counted over {window} {many}; {main_stage(counts)} step: {', '.join(parts)}{bound}"


_COUNTS = (
    ("count.ops", "operators"),
    ("count.flops", "FLOPs"),
    ("count.saved_bytes", "kept for backward"),
    ("count.peak_live_bytes", "peak of live tensors"),
)


def _cost(profile: Profile) -> str:
    """How much longer profiling makes a step."""
    if not profile.plain_step or not profile.profiled_step:
        return "profiled"
    ratio = profile.profiled_step / profile.plain_step
    device = profile.device
    window = f"{', '.join(f'{steps} {stage}' for stage, steps in profile.steps.items())} steps"
    idle = f"; device idle {percent(device['idle_share'])}" if "idle_share" in device else ""
    return (
        f"profiled step {quantity(profile.profiled_step, 's')}, plain step {quantity(profile.plain_step, 's')}: "
        f"profiling makes it {ratio:.2f} times as long; times below are of the profiled loop, over {window}{idle}"
    )


def _table(head: str, operators: list[TopRow], others: OtherOperators | None) -> Grid:
    rows: list[TopRow | OtherOperators] = [*operators, *([others] if others is not None else [])]
    names = [row.operator for row in operators]
    places = [f"{row.stage} {row.phase}" for row in operators]
    if others is not None:
        names.append(counted(others.number, "other"))
        places.append("")
    return Grid(
        [
            Column("self time", [quantity(row.self_time, "s") for row in rows], right=True),
            Column("share", [percent(row.share) for row in rows], 1, right=True),
            Column("calls", [f"{row.calls:,}" for row in rows], 3, right=True),
            Column(head, names, shrinks=True),  # names of kernels may have 300 characters
            Column("mostly in", places, 2, shrinks=True, styles=["dim"] * len(rows)),
        ],
        elsewhere="ops.parquet",
    )


def _graph(graph: AutogradGraph) -> Iterator[RenderableType]:
    rows = graph_rows(graph)
    saved = sum(row.saved for row in rows)
    yield Text()
    yield Words(
        f"autograd graph of one step: {counted(len(graph.nodes), 'node keeps', 'nodes keep')} {quantity(saved, 'B')}"
    )
    shown, rest = rows[:_MOST_GRAPH_ROWS], rows[_MOST_GRAPH_ROWS:]
    if rest:
        name = counted(len(rest), "other")
        shown = [*shown, GraphRow(name, sum(row.nodes for row in rest), sum(row.saved for row in rest))]
    yield Grid(
        [
            Column("keep", [quantity(row.saved, "B") if row.saved else "" for row in shown], right=True),
            Column("nodes", [f"{row.nodes:,}" for row in shown], 1, right=True),
            Column("function", [row.name for row in shown], shrinks=True),
        ],
        elsewhere="",
    )
