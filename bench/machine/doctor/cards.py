"""GPUs: who else uses them, and whether they may run as fast as they can."""

from __future__ import annotations

import dataclasses
import os

from ...plurals import counted
from ..gpu import GpuState
from .finding import Finding, notice, ok, warning
from .scene import Scene

_COOL = 10.0  # degrees: a loop that starts heats a card by more


def gpus(scene: Scene) -> list[Finding]:
    """The manual of nvidia-smi: persistence mode, clocks event reasons, power limits."""
    return [
        dataclasses.replace(finding, name=f"GPU {card.index}")
        for card in scene.cards
        for finding in _disturbing(card) or [ok(_described(card))]
    ]


def _disturbing(card: GpuState) -> list[Finding]:
    found: list[Finding] = []
    if card.persistence is False:
        told = "persistence off: the driver sets the card up anew for each launch"
        found.append(notice(told, "Until the next boot: `sudo nvidia-smi -pm 1`"))
    others = sorted(set(card.processes or ()) - {os.getpid()})
    if others:
        pids = ", ".join(map(str, others[:4])) + (", ..." if len(others) > 4 else "")
        told = f"{counted(len(others), 'other process', 'other processes')} on the card (pid {pids})"
        found.append(warning(told, "End what else uses the card, or choose another; see: `nvidia-smi`"))
    if card.throttled:
        told = f"slowed down now: {', '.join(sorted(card.throttled)).replace('_', ' ')}"
        remedy = "Let it cool or raise its power limit, as the reason is: `nvidia-smi -q -d PERFORMANCE`"
        found.append(warning(told, remedy))
    room = _difference(card.slowdown_temperature, card.temperature)
    if room is not None and room < _COOL:
        found.append(warning(_heat(card, room), "Let the card cool down, or give it more air."))
    cut = _difference(card.default_power_limit, card.power_limit)
    if cut is not None and cut >= 1:
        told = f"power limit {card.power_limit:.0f} W, {cut:.0f} W below its default"
        set_back = f"`sudo nvidia-smi -i {card.uuid or card.index} -pl {card.default_power_limit:.0f}`"
        found.append(notice(told, f"Unless the model will run so: {set_back}"))
    return found


def _described(card: GpuState) -> str:
    facts = [card.name or "of an unknown make"]
    room = _difference(card.slowdown_temperature, card.temperature)
    if room is not None:
        facts.append(_heat(card, room))
    if card.power_limit is not None:
        facts.append(f"power limit {card.power_limit:.0f} W")
    return ", ".join(facts)


def _heat(card: GpuState, room: float) -> str:
    return f"{card.temperature:.0f} °C, {room:.0f} °C below where it slows down"


def _difference(more: float | None, less: float | None) -> float | None:
    return None if more is None or less is None else more - less
