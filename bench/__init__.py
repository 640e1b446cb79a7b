"""Epochbench: numbers of whole PyTorch training loops that can fail a build."""

from __future__ import annotations

if __name__ == "bench":
    # A checkout, where the package is found by the name of its folder. All of it is the package `epochbench`, which
    # runs the rest of this file; `bench` may be a folder of the user's.
    import importlib.util
    import sys
    from pathlib import Path

    if "epochbench" not in sys.modules:
        _spec = importlib.util.spec_from_file_location(
            "epochbench", Path(__file__).parents[1] / "epochbench.py"
        )
        assert _spec is not None
        assert _spec.loader is not None
        sys.modules["epochbench"] = _package = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(_package)
    globals().update(__package__="epochbench", __spec__=sys.modules["epochbench"].__spec__)
    from .alias import take_over

    take_over()

from typing import TYPE_CHECKING, Any

from .errors import BenchError, SuiteError, UsageError
from .measurement import Environment, Failure, Measurement
from .suite.case import Case, Conditions, Schedule
from .suite.matrix import Suite
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

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The tables need pandas, whose import takes half a second.
    if name in ("read", "Tables"):
        from .results import tables

        return getattr(tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
