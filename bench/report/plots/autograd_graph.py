"""The graph that autograd keeps for one step: a node for each function, its area by the bytes that it keeps."""

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
from ..units import one_line, quantity
from .lettering import fit
from .pages import PlotPage, Shown
from .sheet import WIDTH, blank_sheet
from .style import COLOURS, INK, QUIET, SMALL

_Place: TypeAlias = tuple[float, int]

MOST_NODES = 150  # a larger graph is a page of dots: its summary says more

_LAYER = 0.46  # inches between two layers
_BULGE = 1.5  # inches that an arrow past other boxes is bent by
_PAD = 0.14  # inches beside the text of a box
_MOST_COLUMNS = 11
_KEEPS, _LEAF, _PLAIN = COLOURS[0], COLOURS[2], COLOURS[5]


def draw_case(page: PlotPage, case: Shown) -> Figure | None:
    """None where the case has no graph, or one that is too large."""
    graph = case.graph
    if graph is None or not 0 < len(graph.nodes) <= MOST_NODES:
        return None
    places = _places(graph)
    if places is None:
        return None
    columns = [x for x, _ in places]
    if max(columns) - min(columns) > _MOST_COLUMNS:
        return None
    saved = quantity(sum(node.saved for node in graph.nodes), "B")
    notes = [
        f"{one_line(case.id)}.",
        f"{counted(len(graph.nodes), 'node keeps', 'nodes keep')} {saved} for the backward pass; "
        "what several keep counts at each.",
        "The loss is at the top; arrows go the way of the backward pass.",
    ]
    keys = {
        "keeps tensors": Patch(facecolor=_KEEPS, edgecolor=INK),
        "keeps nothing": Patch(facecolor=_PLAIN, edgecolor=INK),
        "a parameter's gradient": Patch(facecolor=_LEAF, edgecolor=INK),
    }
    height = _LAYER * (1 + max(layer for _, layer in places)) + 0.4
    title = f"Autograd graph of a step: {case.label() or case.mode}"
    figure = blank_sheet(page, title, height, keys, notes)
    axes = figure.subplots()
    axes.set_axis_off()
    middle, half = (min(columns) + max(columns)) / 2, max((max(columns) - min(columns)) / 2, 0.5) + 0.6
    axes.set_xlim(middle - half, middle + half)
    axes.set_ylim(max(layer for _, layer in places) + 0.5, -0.5)
    rooms = [_room(place, places, (middle - half, middle + half)) for place in places]
    boxes = [_box(axes, *each) for each in zip(graph.nodes, places, rooms, strict=True)]
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]  # arrows end at the boxes, whose size is known now
    for place, node in enumerate(graph.nodes):
        for after in node.next:
            _arrow(axes, places[place], places[after], boxes[place], boxes[after])
    return figure


def _room(place: _Place, places: Sequence[_Place], edges: tuple[float, float]) -> float:
    """Inches for the text of a box, between those beside it or the edges of the sheet."""
    x, layer = place
    beside = [abs(x - other) for other, its_layer in places if its_layer == layer and other != x]
    columns = min(*beside, 2 * (x - edges[0]), 2 * (edges[1] - x), math.inf)
    return (
        columns / (edges[1] - edges[0]) * (WIDTH - 0.3) * 0.98 - _PAD
    )  # letters of a PNG are set on whole pixels


def _box(axes: Axes, node: GraphNode, place: _Place, room: float) -> Text:
    colour = _LEAF if node.name.endswith("AccumulateGrad") else _KEEPS if node.saved else _PLAIN
    keeps = f"\n{quantity(node.saved, 'B')}" if node.saved else ""
    return axes.text(
        *place,
        f"{fit(_short(node.name), room, SMALL - 0.5)}{keeps}",
        ha="center",
        va="center",
        size=SMALL - 0.5,
        color="black" if colour == _PLAIN else "white",
        bbox={"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": INK, "linewidth": 0.5},
    )


def _arrow(axes: Axes, start: _Place, end: _Place, first: Text, second: Text) -> None:
    (x, layer), (its_x, its_layer) = start, end
    past = its_layer - layer > 1 and abs(its_x - x) < 0.5  # boxes in between: it goes around them
    bend = min(_BULGE / (_LAYER * (its_layer - layer)), 0.6) if past else 0
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
    """A column and a layer for each node: below all that call it, and near to them; None where it runs in a circle."""
    directed: networkx.DiGraph[int] = networkx.DiGraph()
    directed.add_nodes_from(range(len(graph.nodes)))
    directed.add_edges_from((place, after) for place, node in enumerate(graph.nodes) for after in node.next)
    if not networkx.is_directed_acyclic_graph(directed):
        return None  # autograd makes none: the record is damaged
    order = list(networkx.topological_sort(directed))
    layer = dict.fromkeys(order, 0)
    for node in order:
        for after in directed.successors(node):
            layer[after] = max(layer[after], layer[node] + 1)
    below = dict.fromkeys(order, 0)  # how long the way down is: the longest stays in the middle
    for node in reversed(order):
        below[node] = max((below[after] + 1 for after in directed.successors(node)), default=0)
    column: dict[int, float] = {}
    for number in range(max(layer.values()) + 1):
        row = [node for node in order if layer[node] == number]
        wanted = {}
        for node in row:
            callers = [column[caller] for caller in directed.predecessors(node)]
            wanted[node] = sum(callers) / len(callers) if callers else 0.0
        column |= _spread(row, wanted, below)
    return [(column[node], layer[node]) for node in range(len(graph.nodes))]


def _spread(row: Sequence[int], wanted: Mapping[int, float], below: Mapping[int, int]) -> dict[int, float]:
    """Columns of one layer, at least one apart, those that want the same place around it."""
    groups: dict[float, list[int]] = {}
    for node in sorted(row, key=lambda node: below[node]):
        groups.setdefault(wanted[node], []).append(node)
    found: dict[int, float] = {}
    right = -math.inf
    for place in sorted(groups):
        ascending = groups[place]
        ordered = ascending[::2] + ascending[1::2][::-1]  # the longest way down in the middle
        start = max(place - (len(ordered) - 1) / 2, right + 1)
        found |= {node: start + number for number, node in enumerate(ordered)}
        right = start + len(ordered) - 1
    shift = sum(wanted[node] - column for node, column in found.items()) / len(found)
    return {node: column + shift for node, column in found.items()}


def _short(name: str) -> str:
    """AddmmBackward0 is Addmm to a reader."""
    return one_line(name).rpartition("::")[2].removesuffix("0").removesuffix("Backward")
