"""Profiles on the terminal: the operators that take the time, what profiling cost, what autograd keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..analysis.counts import count_values, main_stage
from ..analysis.profile import GraphRow, TopRow, graph_rows, top
from ..measurement import PER_STEP, AutogradGraph, Counts, Profile, metric
from .lines import Lines
from .units import exactly, percent, plain, quantity

if TYPE_CHECKING:
    from ..results.tables import Tables

_MOST_GRAPH_ROWS = 12


def profiles(tables: Tables, most: int) -> Iterator[RenderableType]:
    """A page a case: as far as it was profiled and counted."""
    for case, apart in tables.apart.items():
        parts: list[RenderableType] = [Text(plain(case), style="bold")]
        if apart.counts is not None:
            parts.append(Text(plain(_counted(apart.counts))))
        if apart.profile is not None:
            parts += [Text(_cost(apart.profile)), *_tops(apart.profile, most)]
        if apart.counts is not None and apart.counts.graph is not None:
            parts += _graph(apart.counts.graph)
        if len(parts) > 1:
            yield Lines(Group(*parts, Text()))


def _counted(counts: Counts) -> str:
    """What most readers ask for, in words: of a step of the stage that the case is about."""
    values = count_values(counts)
    if not counts.steps:
        return "counted over no steps"
    said = [f"{label} {_of_that_step(values[name], name)}" for name, label in _SAID if name in values]
    bound = f"; no FLOP formula for {', '.join(counts.unknown)}: a lower bound" if counts.unknown else ""
    window = ", ".join(f"{steps} {stage}" for stage, steps in counts.steps.items()) or "no"
    return f"counted over {window} steps; {main_stage(counts)} step: {', '.join(said)}{bound}"


def _of_that_step(value: float, name: str) -> str:
    """A count with its unit, where it has been said that it is of a step."""
    unit = metric(name).unit
    return exactly(value, unit) or quantity(value, unit.removesuffix(PER_STEP))


_SAID = (
    ("count.ops", "operators"),
    ("count.flops", "FLOPs"),
    ("count.saved_bytes", "kept for backward"),
    ("count.peak_live_bytes", "peak of live tensors"),
)


def _cost(profile: Profile) -> str:
    """What profiling does to a step."""
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


def _tops(profile: Profile, most: int) -> Iterator[RenderableType]:
    for kind, head in (("host", "operator"), ("device", "kernel")):
        rows, rest = top(profile, most, kind)
        if rows:
            yield Text()
            yield _table(head, [*rows, *([rest] if rest is not None else [])])


def _table(head: str, rows: list[TopRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("self time", "share", "calls"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(head, overflow="fold")
    table.add_column(
        "mostly in", no_wrap=True, max_width=32
    )  # a phase of the task's own may be called anything
    for row in rows:
        table.add_row(
            quantity(row.self_time, "s"),
            percent(row.share),
            f"{row.calls:,}",
            Text(plain(row.operator)),
            Text(plain(row.where), style="dim"),
        )
    return table


def _graph(graph: AutogradGraph) -> Iterator[RenderableType]:
    rows = graph_rows(graph)
    saved = sum(row.saved for row in rows)
    yield Text()
    yield Text(f"autograd graph of one step: {len(graph.nodes)} nodes keep {quantity(saved, 'B')}")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("keep", "nodes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("function")
    for row in rows[:_MOST_GRAPH_ROWS]:
        _add_graph_row(table, row)
    if len(rows) > _MOST_GRAPH_ROWS:
        rest = rows[_MOST_GRAPH_ROWS:]
        name = f"{len(rest)} other{'s' if len(rest) > 1 else ''}"
        _add_graph_row(table, GraphRow(name, sum(r.nodes for r in rest), sum(r.saved for r in rest)))
    yield table


def _add_graph_row(table: Table, row: GraphRow) -> None:
    table.add_row(quantity(row.saved, "B") if row.saved else "", f"{row.nodes:,}", Text(plain(row.name)))
