"""What the machine and software of a run were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..system.json_data import JsonRecord


@dataclass(frozen=True)
class Device:
    """An accelerator: `memory` in bytes, `power_limit` in watts (None where it is not told)."""

    name: str
    kind: str
    index: int
    memory: int | None = None
    capability: str = ""
    power_limit: float | None = None


@dataclass(frozen=True)
class Peak:
    """The most FLOP/s that a device does in one number format; `source` says who says so, or how it was measured."""

    device: str  # as a case names it
    dtype: str
    flops: float
    source: str


@dataclass(frozen=True)
class Environment(JsonRecord):
    """What the machine and software were. `memory` is in bytes, `load` the one-minute average."""

    host: str
    system: str
    kernel: str
    cpu: str
    cpu_capability: str
    cores: int
    cpus: tuple[int, ...]
    memory: int
    governor: str
    load: float
    threads: int
    interop_threads: int
    openmp: Mapping[str, str]
    allocator: str
    start_method: str
    loader_start_method: str
    python: str
    torch: str
    packages: Mapping[str, str]
    cuda: str | None
    cudnn: str | None
    driver: str | None
    devices: tuple[Device, ...]
    flags: Mapping[str, Any]
    seed: int
    peaks: tuple[Peak, ...] = ()
