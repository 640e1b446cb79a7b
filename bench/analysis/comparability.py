"""What of two environments must be equal for their times to be compared.

What is in no list here is recorded and never refused: host name, kernel, processor clocks, load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.measurement import Environment

# Fields of Environment whose difference changes times by itself.
FOR_TIME = (
    "cpu",
    "cpus",
    "threads",
    "openmp",
    "allocator",
    "start_method",
    "loader_start_method",
    "devices",
    "driver",
    "torch",
    "cuda",
    "cudnn",
    "python",
    "flags",
)
_MINOR = ("torch", "cuda", "python")  # compared as far as their minor version


@dataclass(frozen=True)
class Difference:
    """One field in which two environments differ, with both values."""

    field: str
    first: Any
    second: Any


def differences(first: Environment, second: Environment) -> list[Difference]:
    """All in which two environments differ that matters for time, in the order of FOR_TIME."""
    return [
        Difference(field, getattr(first, field), getattr(second, field))
        for field in FOR_TIME
        if _compared(field, first) != _compared(field, second)
    ]


def _compared(field: str, environment: Environment) -> Any:
    value = getattr(environment, field)
    if field == "cpus":
        return len(value)  # how many, not which
    if field in _MINOR and isinstance(value, str):
        return value.split(".")[:2]
    return value
