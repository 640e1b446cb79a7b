"""Sources of noise on this machine, with remedies. It only reads, and changes nothing.

A check is a small function of the `Scene`, which holds all that it may read: the kernel's files below a root, and facts
from psutil, the C library, the environment and the GPUs. Without /proc only the checks in EVERYWHERE run.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...suite.case import Conditions
from ...system.gpu import GpuState
from ...system.json_data import to_json
from . import cards, clocks, load, memory, placement, settings
from .scene import Finding, Scene, SystemFacts, current_facts, unknown

__all__ = ["CHECKS", "EVERYWHERE", "Finding", "Noise", "as_json", "examine"]

Check = Callable[[Scene], Finding | list[Finding]]

# In the order of the findings.
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

# Those that do not read /proc or /sys.
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
    """The findings of all checks under these conditions, always in the same order; nothing is raised.

    The defaults are `os.environ` and the facts of this machine. These include the load of the last minute: examine
    the machine before anything is launched.
    """
    environ = os.environ if environ is None else environ
    scene = Scene(conditions, root, environ, facts or current_facts(), cards)
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        if scene.is_linux or check in EVERYWHERE:
            findings += _run(name, check, scene)
    if not scene.is_linux:
        findings.append(
            Finding("kernel", "unknown", "no /proc and /sys here: checks that need them were skipped")
        )
    return findings


def _run(name: str, check: Check, scene: Scene) -> list[Finding]:
    """The findings of a check, under its name; an error in a check does not end the command."""
    try:
        result = check(scene)
    except Exception as problem:
        result = unknown(f"could not be examined: {type(problem).__name__}: {problem}")
    findings = [result] if isinstance(result, Finding) else result
    return [dataclasses.replace(finding, name=finding.name or name) for finding in findings]


@dataclass(frozen=True)
class Noise:
    """How much launches of one case differ from each other on a device.

    `variation` is the coefficient of variation between launches; `pair_low` and `pair_high` are the ends of the 95 %
    interval of the ratio A/A of `pairs` pairs; `mde` is the minimum detectable effect of six launches a side. Variation
    and effect are shares: 0.05 is 5 %. `contaminated` is the number of contaminated launches.
    """

    device: str
    launches: int
    pairs: int
    variation: float
    pair_low: float
    pair_high: float
    mde: float
    contaminated: int


def as_json(findings: Iterable[Finding], noise: Iterable[Noise] = ()) -> dict[str, Any]:
    """Findings and noise as one JSON object."""
    rows = [
        {
            "reveals" if name == "mde" else name: value for name, value in to_json(row).items()
        }  # its older name
        for row in noise
    ]
    return {"findings": list(findings), "noise": rows}
