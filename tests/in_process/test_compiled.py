"""What torch.compile did, as torch tells it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from bench.worker.counts import compiled


def told(*micros, hits=0, misses=0, bypassed=0):
    """Torch's book-keeping after so many compilations, each of so many microseconds."""
    made = [SimpleNamespace(duration_us=one, recompile_reason=None) for one in micros]
    cache = {"fxgraph_cache_hit": hits, "fxgraph_cache_miss": misses, "fxgraph_cache_bypass": bypassed}
    return SimpleNamespace(
        counters={"stats": {"unique_graphs": len(made)}, "inductor": cache, "graph_break": {}},
        get_compilation_metrics=lambda: made,
    )


@pytest.fixture
def dynamo(monkeypatch):
    return lambda *micros, **cache: monkeypatch.setitem(
        sys.modules, "torch._dynamo.utils", told(*micros, **cache)
    )


def test_where_nothing_was_compiled_there_is_nothing_to_tell(monkeypatch, dynamo):
    dynamo()
    assert compiled.costs(0.0) == compiled.counts() == {}
    assert compiled.seconds() == 0.0
    monkeypatch.delitem(sys.modules, "torch._dynamo.utils")
    assert compiled.costs(0.0) == {}


def test_the_time_of_compiling_and_what_of_it_came_after_warm_up(dynamo):
    dynamo(1_500_000, None, 500_000, hits=2, misses=1, bypassed=1)
    found = compiled.costs(at_warmup=1.5)
    assert found == {"time": 2.0, "time_counted": 0.5, "cache_hits": 2, "cache_misses": 2}
    assert compiled.seconds() == 2.0
