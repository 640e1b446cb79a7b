"""Which equal cards launches can use at the same time, and which processors belong to each.

A card gets processors of its own NUMA node, as many as every other card: launches on two cards then share neither
processors nor, on machines with several nodes, memory controllers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..measurement import Device
from ..system.gpu import open_gpus
from ..system.kernel import expand_ranges, read_file

# Processors for each card: of the loop, of autograd's thread for the device, and of two workers that load data.
LEAST = 4


@dataclass(frozen=True)
class Place:
    """A card, and the processors of the launches on it."""

    card: Device
    cpus: tuple[int, ...]


def places(
    cards: Sequence[Device], cpus: Sequence[int], threads: int, topology: Path = Path("/sys")
) -> list[Place]:
    """The cards that can be used at the same time on these processors, each with its own; empty for fewer than two.

    Each launch keeps its number of `threads`, unless that is all processors: it then has those of its card. Each place
    has the same number of processors, so that it makes no difference which card a launch runs on.
    """
    needed = max(LEAST, threads if threads < len(cpus) else 0)
    nodes = [(near, on_node[: len(near) // needed]) for near, on_node in _nodes(cards, cpus, topology)]
    used = [(near, on_node) for near, on_node in nodes if on_node]
    if sum(len(on_node) for _, on_node in used) < 2:
        return []
    share = min(len(near) // len(on_node) for near, on_node in used)
    found = [
        Place(card, tuple(near[number * share : (number + 1) * share]))
        for near, on_node in used
        for number, card in enumerate(on_node)
    ]
    return sorted(found, key=lambda place: place.card.index)


def _nodes(
    cards: Sequence[Device], cpus: Sequence[int], topology: Path
) -> list[tuple[list[int], list[Device]]]:
    """The usable processors near each card, and the cards near them; nodes that share processors are one.

    A card without known or usable processors nearby may use all of them.
    """
    nodes: list[tuple[set[int], list[Device]]] = []
    for card in cards:
        listed = read_file(topology / f"bus/pci/devices/{card.pci}/local_cpulist") if card.pci else ""
        near, on_node = set(expand_ranges(listed)) & set(cpus) or set(cpus), [card]
        for other in [node for node in nodes if node[0] & near]:
            nodes.remove(other)
            near, on_node = near | other[0], [*other[1], *on_node]
        nodes.append((near, on_node))
    return [(sorted(near), on_node) for near, on_node in nodes]


def cards_in_use(cards: Iterable[Device]) -> dict[str, frozenset[int]]:
    """The processes on each of these cards that other programs use, by the name of the card, as far as NVML tells."""
    wanted = {f"GPU-{card.uuid}": card for card in cards}
    states = [gpu.state() for gpu in open_gpus(card.index for card in wanted.values())]
    return {
        wanted[state.uuid].device: state.processes
        for state in states
        if state.uuid in wanted and state.processes
    }
