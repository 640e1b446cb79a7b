"""The operators of a profile that take the most time, and the nodes of an autograd graph."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ...measurement import AutogradGraph, OperatorTime, Profile


@dataclass(frozen=True)
class TopRow:
    """An operator over all stages, phases and shapes. Times are seconds; `share` is of the whole profile.

    `stage` and `phase` are those with most of its time.
    """

    operator: str
    calls: int
    self_time: float
    share: float
    stage: str
    phase: str


@dataclass(frozen=True)
class OtherOperators:
    """The sum of all operators after the first ones."""

    number: int
    calls: int
    self_time: float
    share: float


def top(profile: Profile, most: int, kind: str) -> tuple[list[TopRow], OtherOperators | None]:
    """The operators (of kind "host") or kernels ("device") with the most time of their own, and the sum of the others.

    The shares of both add up to one.
    """
    rows = [one for one in profile.operators if (one.kind == "kernel") == (kind == "device")]
    whole = sum(_own(one, kind) for one in rows)
    if not whole:
        return [], None
    by_name: dict[str, list[OperatorTime]] = defaultdict(list)
    for one in rows:
        by_name[one.operator].append(one)
    found = [_row(name, those, kind, whole) for name, those in by_name.items()]
    found.sort(key=lambda row: -row.self_time)
    rest = found[most:]
    if not rest:
        return found, None
    calls, seconds = sum(row.calls for row in rest), sum(row.self_time for row in rest)
    return found[:most], OtherOperators(len(rest), calls, seconds, sum(row.share for row in rest))


def _own(one: OperatorTime, kind: str) -> float:
    return one.device_self if kind == "device" else one.host_self


def _row(name: str, rows: list[OperatorTime], kind: str, whole: float) -> TopRow:
    own = sum(_own(one, kind) for one in rows)
    places: dict[tuple[str, str], float] = defaultdict(float)
    for one in rows:
        places[one.stage, one.phase] += _own(one, kind)
    stage, phase = max(places, key=places.__getitem__)
    return TopRow(name, sum(one.calls for one in rows), own, own / whole, stage, phase)


@dataclass(frozen=True)
class GraphRow:
    """All nodes of one name: how many, and the bytes that they keep."""

    name: str
    nodes: int
    saved: int


def graph_rows(graph: AutogradGraph) -> list[GraphRow]:
    """The nodes of a graph by name, those that keep the most first."""
    found: dict[str, list[int]] = defaultdict(list)
    for node in graph.nodes:
        found[node.name].append(node.saved)
    rows = [GraphRow(name, len(saved), sum(saved)) for name, saved in found.items()]
    return sorted(rows, key=lambda row: (-row.saved, -row.nodes, row.name))
