"""What of this machine will disturb a measurement, each with its remedy. It reads, and changes nothing.

A check is a small function of the `Scene`: what the kernel tells is read below its root, what psutil,
the C library, the shell and the GPUs tell comes with it. On a system without /proc the checks that read
nothing from it are left.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...suite.case import Conditions
from ..gpu import GpuState
from . import cards, clocks, load, memory, placement, settings
from .finding import Finding, unknown
from .scene import Scene, SystemFacts, current_facts

__all__ = ["CHECKS", "EVERYWHERE", "Finding", "Noise", "as_json", "examine"]

Check = Callable[[Scene], Finding | list[Finding]]

# In this order they are asked.
CHECKS: Mapping[str, Check] = {
    "load": load.busy,
    "stolen time": load.stolen,
    "virtual machine": load.virtual,
    "frequency governor": clocks.governor,
    "turbo": clocks.turbo,
    "temperature": clocks.temperature,
    "power supply": clocks.power,
    "clock source": clocks.source,
    "SMT": placement.siblings,
    "isolated processors": placement.isolated,
    "NUMA nodes": placement.nodes,
    "processor quota": placement.quota,
    "threads": placement.threads,
    "memory limit": memory.limit,
    "free memory": memory.free,
    "swap": memory.swap,
    "huge pages": memory.huge_pages,
    "address layout": memory.layout,
    "allocator": memory.allocator,
    "OpenMP settings": settings.openmp,
    "PyTorch settings": settings.torch,
    "GPUs": cards.gpus,
}

# These need no /proc.
EVERYWHERE = (
    load.busy,
    clocks.power,
    placement.threads,
    memory.free,
    memory.swap,
    memory.allocator,
    settings.openmp,
    settings.torch,
    cards.gpus,
)


def examine(
    conditions: Conditions,
    root: Path = Path("/"),
    environ: Mapping[str, str] | None = None,
    facts: SystemFacts | None = None,
    cards: Sequence[GpuState] = (),
) -> list[Finding]:
    """What each check finds under these conditions, always in the same order; nothing is raised.

    It looks at `os.environ` and asks for the facts of this machine where it is not given others. The load
    of the last minute is among them: examine the machine before anything is launched.
    """
    environ = os.environ if environ is None else environ
    scene = Scene(conditions, root, environ, facts or current_facts(), cards)
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        if scene.is_linux or check in EVERYWHERE:
            findings += _answers(name, check, scene)
    if not scene.is_linux:
        told = "no /proc and /sys here: what only they tell is not examined"
        findings.append(Finding("kernel", "unknown", told))
    return findings


def _answers(name: str, check: Check, scene: Scene) -> list[Finding]:
    """What a check finds, under its name; one that fails does not end the command that asked for it."""
    try:
        made = check(scene)
    except Exception as problem:
        made = unknown(f"could not be examined: {type(problem).__name__}: {problem}")
    answers = [made] if isinstance(made, Finding) else made
    return [dataclasses.replace(answer, name=answer.name or name) for answer in answers]


@dataclass(frozen=True)
class Noise:
    """How much launches of one and the same case differ on a device.

    `variation` is the coefficient of variation between launches; `pair_low` and `pair_high` are the ends of
    the 95 % interval of the ratio A/A of `pairs` pairs; `reveals` is the smallest change that six launches a
    side could reveal. Variation and change are shares: 0.05 is 5 %. `contaminated` counts the launches
    that something else ran beside.
    """

    device: str
    launches: int
    pairs: int
    variation: float
    pair_low: float
    pair_high: float
    reveals: float
    contaminated: int


def as_json(findings: Iterable[Finding], noise: Iterable[Noise] = ()) -> str:
    """Findings and noise as one JSON object, for programs; null stands for what is not a finite number."""
    rows = [dataclasses.asdict(row) for row in noise]
    return json.dumps(
        {
            "findings": [dataclasses.asdict(finding) for finding in findings],
            "noise": [{name: _finite(value) for name, value in row.items()} for row in rows],
        },
        indent=2,
    )


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
