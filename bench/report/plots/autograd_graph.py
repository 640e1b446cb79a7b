"""The autograd graph of one step: a box for each function, with the bytes that it keeps for the backward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import networkx
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from ...measurement import AutogradGraph, GraphNode
from ...plurals import counted
from ..safe_text import one_line
from ..units import quantity
from .pages import PlotCase, PlotPage
from .sheet import WIDTH, blank_sheet
from .style import COLOURS, INK, QUIET, SMALL, fit

_Place: TypeAlias = tuple[float, int]

MOST_NODES = 150  # a larger graph would be illegible

_LAYER = 0.46  # inches between two layers
_BULGE = 1.5  # inches by which an arrow past other boxes is bent
_PAD = 0.14  # inches on each side of the text of a box
_MOST_COLUMNS = 11
_KEEPS, _LEAF, _PLAIN = COLOURS[0], COLOURS[2], COLOURS[5]
_COLOURS = {"keeps tensors": _KEEPS, "keeps nothing": _PLAIN, "a parameter's gradient": _LEAF}


def draw_case(page: PlotPage, case: PlotCase) -> Figure | None:
    """None if the case has no graph, or one that is too large."""
    graph = case.graph
    if graph is None or not 0 < len(graph.nodes) <= MOST_NODES or (places := _places(graph)) is None:
        return None
    left, right = min(x for x, _ in places), max(x for x, _ in places)
    if right - left > _MOST_COLUMNS:
        return None
    height = _LAYER * (1 + max(layer for _, layer in places)) + 0.4
    title = f"Autograd graph of a step: {case.label() or case.mode}"
    keys = {words: Patch(facecolor=colour, edgecolor=INK) for words, colour in _COLOURS.items()}
    saved = quantity(sum(node.saved for node in graph.nodes), "B")
    notes = [
        f"{one_line(case.id)}.",
        f"{counted(len(graph.nodes), 'node keeps', 'nodes keep')} {saved} for the backward pass; "
        "tensors that several keep are in each of them.",
        "The loss is at the top; arrows go the way of the backward pass.",
    ]
    figure = blank_sheet(page, title, height, keys, notes)
    axes = figure.subplots()
    axes.set_axis_off()
    middle, half = (left + right) / 2, max((right - left) / 2, 0.5) + 0.6
    edges = middle - half, middle + half
    axes.set_xlim(edges)
    axes.set_ylim(max(layer for _, layer in places) + 0.5, -0.5)
    widths = [_width(place, places, edges) for place in places]
    boxes = [_box(axes, *each) for each in zip(graph.nodes, places, widths, strict=True)]
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]  # arrows end at the boxes, whose size is known now
    for place, node in enumerate(graph.nodes):
        for after in node.next:
            _arrow(axes, places[place], places[after], boxes[place], boxes[after])
    return figure


def _width(place: _Place, places: Sequence[_Place], edges: tuple[float, float]) -> float:
    """Inches for the text of a box, limited by neighbouring boxes or the edges of the sheet."""
    x, layer = place
    beside = [abs(x - other) for other, layer_of_other in places if layer_of_other == layer and other != x]
    columns = min(*beside, 2 * (x - edges[0]), 2 * (edges[1] - x), math.inf)
    # 2 % less, since the letters of a PNG are set on whole pixels.
    return columns / (edges[1] - edges[0]) * (WIDTH - 0.3) * 0.98 - _PAD


def _box(axes: Axes, node: GraphNode, place: _Place, width: float) -> Text:
    colour = _LEAF if node.name.endswith("AccumulateGrad") else _KEEPS if node.saved else _PLAIN
    # AddmmBackward0 is shown as Addmm.
    name = one_line(node.name).rpartition("::")[2].removesuffix("0").removesuffix("Backward")
    keeps = f"\n{quantity(node.saved, 'B')}" if node.saved else ""
    return axes.text(
        *place,
        f"{fit(name, width, SMALL - 0.5)}{keeps}",
        ha="center",
        va="center",
        size=SMALL - 0.5,
        color="black" if colour == _PLAIN else "white",
        bbox={"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": INK, "linewidth": 0.5},
    )


def _arrow(axes: Axes, start: _Place, end: _Place, first: Text, second: Text) -> None:
    across, down = abs(end[0] - start[0]), end[1] - start[1]
    bend = min(_BULGE / (_LAYER * down), 0.6) if down > 1 and across < 0.5 else 0  # around boxes in between
    axes.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>",
            "connectionstyle": f"arc3,rad={bend:.3f}",
            "color": QUIET,
            "linewidth": 0.7,
            "shrinkA": 0,
            "shrinkB": 1,
            "patchA": first.get_bbox_patch(),
            "patchB": second.get_bbox_patch(),
        },
        zorder=2,  # below the boxes
    )


def _places(graph: AutogradGraph) -> list[_Place] | None:
    """A column and a layer for each node: below all nodes that call it, and near them; None for a damaged record.

    networkx finds the layers; its own multipartite layout would centre each, and lose the straight line of the longest
    path.
    """
    directed: networkx.DiGraph[int] = networkx.DiGraph()
    directed.add_nodes_from(range(len(graph.nodes)))
    directed.add_edges_from((place, after) for place, node in enumerate(graph.nodes) for after in node.next)
    if not networkx.is_directed_acyclic_graph(directed):
        return None  # autograd makes no cycle
    height = {
        node: number
        for number, layer in enumerate(networkx.topological_generations(directed.reverse()))
        for node in layer
    }
    places: dict[int, _Place] = {}
    for number, layer in enumerate(networkx.topological_generations(directed)):
        wanted = {}
        for node in layer:
            callers = [places[caller][0] for caller in directed.predecessors(node)]
            wanted[node] = sum(callers) / len(callers) if callers else 0.0
        columns = _spread(sorted(layer, key=height.__getitem__), wanted)
        places |= {node: (column, number) for node, column in columns.items()}
    return [places[node] for node in range(len(graph.nodes))]


def _spread(layer: Sequence[int], wanted: Mapping[int, float]) -> dict[int, float]:
    """Columns of the nodes of one layer, at least 1 apart; nodes that want the same column are placed around it."""
    groups: dict[float, list[int]] = {}
    for node in layer:
        groups.setdefault(wanted[node], []).append(node)
    columns: dict[int, float] = {}
    right = -math.inf
    for column, nodes in sorted(groups.items()):
        ordered = nodes[::2] + nodes[1::2][::-1]
        start = max(column - (len(ordered) - 1) / 2, right + 1)
        columns |= {node: start + number for number, node in enumerate(ordered)}
        right = start + len(ordered) - 1
    shift = sum(wanted[node] - column for node, column in columns.items()) / len(columns)
    return {node: column + shift for node, column in columns.items()}
