"""What stands out in a profile, and in the graph of autograd."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...measurement import AutogradGraph, OperatorTime, Profile
from ...plurals import counted


@dataclass(frozen=True)
class TopRow:
    """An operator over all stages, phases and shapes. Times are seconds; `share` is of the whole profile."""

    operator: str
    calls: int
    self_time: float
    total_time: float
    share: float
    where: str  # the stage and phase that most of it was in


def top(profile: Profile, most: int, kind: str = "host") -> tuple[list[TopRow], TopRow | None]:
    """The operators (or, of kind "device", the kernels) with the most time of their own, and the rest as one row.

    The shares of both add up to one.
    """
    rows = [one for one in profile.operators if (one.kind == "kernel") == (kind == "device")]
    whole = sum(_own(one, kind) for one in rows)
    if not whole:
        return [], None
    by_name: dict[str, list[OperatorTime]] = {}
    for one in rows:
        by_name.setdefault(one.operator, []).append(one)
    found = [_row(name, those, kind, whole) for name, those in by_name.items()]
    found.sort(key=lambda row: -row.self_time)
    rest = found[most:]
    return found[:most], _rest(rest) if rest else None


def _own(one: OperatorTime, kind: str) -> float:
    return one.device_self if kind == "device" else one.host_self


def _row(name: str, rows: list[OperatorTime], kind: str, whole: float) -> TopRow:
    own = sum(_own(one, kind) for one in rows)
    total = sum(one.device_total if kind == "device" else one.host_total for one in rows)
    places: dict[str, float] = {}
    for one in rows:
        place = f"{one.stage} {one.phase}"
        places[place] = places.get(place, 0.0) + _own(one, kind)
    where = max(places, key=places.__getitem__)
    return TopRow(name, sum(one.calls for one in rows), own, total, own / whole, where)


def _rest(rows: list[TopRow]) -> TopRow:
    return TopRow(
        operator=counted(len(rows), "other"),
        calls=sum(row.calls for row in rows),
        self_time=sum(row.self_time for row in rows),
        total_time=0.0,
        share=sum(row.share for row in rows),
        where="",
    )


def self_times(operators: Iterable[OperatorTime]) -> dict[str, float]:
    """Seconds of the host by stage: what all operators and the remainders of the phases add up to."""
    found: dict[str, float] = {}
    for one in operators:
        found[one.stage] = found.get(one.stage, 0.0) + one.host_self
    return found


@dataclass(frozen=True)
class GraphRow:
    """All nodes of one name: how many, and the bytes that they keep."""

    name: str
    nodes: int
    saved: int


def graph_rows(graph: AutogradGraph) -> list[GraphRow]:
    """The nodes of a graph by name, those that keep the most first."""
    found: dict[str, list[int]] = {}
    for node in graph.nodes:
        found.setdefault(node.name, []).append(node.saved)
    rows = [GraphRow(name, len(saved), sum(saved)) for name, saved in found.items()]
    return sorted(rows, key=lambda row: (-row.saved, -row.nodes, row.name))
