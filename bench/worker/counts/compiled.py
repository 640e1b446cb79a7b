"""What torch.compile did in this process, from torch's own records; empty if it was not used."""

from __future__ import annotations

import sys
from typing import Any

_MICRO = 1e-6


def _told() -> Any:
    """Torch's own records, once something was compiled."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo if dynamo is not None and dynamo.counters["stats"]["unique_graphs"] else None


def counts() -> dict[str, int]:
    """Graphs that were compiled, places where it fell back to Python, and graphs that were compiled again."""
    dynamo = _told()
    if dynamo is None:
        return {}
    reasons = [made.recompile_reason for made in dynamo.get_compilation_metrics()]
    return {
        "graphs": dynamo.counters["stats"]["unique_graphs"],
        "graph_breaks": sum(dynamo.counters["graph_break"].values()),
        "recompilations": sum(reason is not None for reason in reasons),
    }


def seconds() -> float:
    """How long compiling has taken so far."""
    dynamo = _told()
    if dynamo is None:
        return 0.0
    return _MICRO * sum(made.duration_us or 0 for made in dynamo.get_compilation_metrics())


def costs(at_warmup: float) -> dict[str, float]:
    """Seconds of compiling (`time`), the part after warm-up (`time_counted`), and cache hits and misses.

    `at_warmup` is the result of `seconds` when warm-up ended. Without any miss the cache of inductor was warm.
    """
    dynamo = _told()
    if dynamo is None:
        return {}
    inductor, whole = dynamo.counters["inductor"], seconds()
    return {
        "time": round(whole, 6),
        "time_counted": round(whole - at_warmup, 6),
        "cache_hits": inductor["fxgraph_cache_hit"],
        "cache_misses": inductor["fxgraph_cache_miss"] + inductor["fxgraph_cache_bypass"],
    }
