"""GPUs: other users, and whether they can run at full speed."""

from __future__ import annotations

import dataclasses
import os

from ...plurals import counted
from ...system.gpu import GpuState
from .scene import Finding, Scene, notice, ok, warning

_COOL = 10.0  # degrees: a loop that starts heats a card by more


def gpus(scene: Scene) -> list[Finding]:
    """The manual of nvidia-smi: persistence mode, clocks event reasons, power limits."""
    return [
        dataclasses.replace(finding, name=f"GPU {card.index}")
        for card in scene.cards
        for finding in _noise_sources(card) or [ok(_described(card))]
    ]


def _noise_sources(card: GpuState) -> list[Finding]:
    findings: list[Finding] = []
    if card.persistence is False:
        state = "persistence off: the driver is initialised again for each launch"
        findings.append(notice(state, "Until the next boot: `sudo nvidia-smi -pm 1`"))
    others = sorted(set(card.processes or ()) - {os.getpid()})
    if others:
        pids = ", ".join(map(str, others[:4])) + (", ..." if len(others) > 4 else "")
        state = f"{counted(len(others), 'other process', 'other processes')} on the card (pid {pids})"
        findings.append(warning(state, "End the other processes, or choose another card; see: `nvidia-smi`"))
    if card.throttle_reasons:
        state = f"slowed down now: {', '.join(sorted(card.throttle_reasons)).replace('_', ' ')}"
        remedy = "Let it cool down or raise its power limit, depending on the reason: `nvidia-smi -q -d PERFORMANCE`"
        findings.append(warning(state, remedy))
    margin = _difference(card.slowdown_temperature, card.temperature)
    if margin is not None and margin < _COOL:
        findings.append(warning(_heat(card, margin), "Let the card cool down, or give it more air."))
    cut = _difference(card.default_power_limit, card.power_limit)
    if cut is not None and cut >= 1:
        state = f"power limit {card.power_limit:.0f} W, {cut:.0f} W below its default"
        set_back = f"`sudo nvidia-smi -i {card.uuid or card.index} -pl {card.default_power_limit:.0f}`"
        findings.append(notice(state, f"Unless the model will run like this: {set_back}"))
    return findings


def _described(card: GpuState) -> str:
    facts = [card.name or "of an unknown make"]
    margin = _difference(card.slowdown_temperature, card.temperature)
    if margin is not None:
        facts.append(_heat(card, margin))
    if card.power_limit is not None:
        facts.append(f"power limit {card.power_limit:.0f} W")
    return ", ".join(facts)


def _heat(card: GpuState, margin: float) -> str:
    return f"{card.temperature:.0f} °C, {margin:.0f} °C below where it slows down"


def _difference(more: float | None, less: float | None) -> float | None:
    return None if more is None or less is None else more - less
