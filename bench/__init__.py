"""Epochbench: numbers of whole PyTorch training loops that can fail a build."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from .case import Case, Conditions, Schedule
from .errors import BenchError, SuiteError, UsageError
from .measurement import Environment, Failure, Measurement
from .suite import Suite
from .watch import stage, watch

if TYPE_CHECKING:
    from .results.tables import Tables, read

__all__ = [
    "BenchError",
    "Case",
    "Conditions",
    "Environment",
    "Failure",
    "Measurement",
    "Schedule",
    "Suite",
    "SuiteError",
    "Tables",
    "UsageError",
    "read",
    "stage",
    "watch",
]

try:
    __version__ = version("epochbench")
except PackageNotFoundError:  # a checkout that is run as it is
    __version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The tables need pandas, whose import takes half a second: it is made by the first who reads.
    if name in ("read", "Tables"):
        from .results import tables

        return getattr(tables, name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
