"""The search for the largest batch with real launches: what a limit and a timeout do to a process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiers import takes_long

from bench.analysis.run.largest_batch import searches
from bench.cli.options import conditions
from bench.running.batch_size_search import search
from bench.running.plan import Plan
from bench.running.preparation import describe, probe
from bench.running.workers import Workers
from bench.suite.case import Schedule

SUITES = Path(__file__).parents[1] / "suites"
HUNGRY, SMALL = str(SUITES / "hungry.py"), str(SUITES / "small.py")
MIB = 2**20
LIMIT = 600 * MIB
ONCE = ("--launches", "1", "--repeats", "0", "--no-profile", "--threads", "1")


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with Workers(conditions(threads=1), tmp_path_factory.mktemp("logs")) as workers:
        yield workers


class TestRealLaunches:
    def searched(
        self, workers, behaviour: str, limit: int | None = None, mode: str = "train", timeout: float = 60.0
    ):
        (listing,) = describe(workers, [HUNGRY], {"behaviour": [behaviour], "mode": [mode]})
        plan = Plan(listing.expansion.cases, {listing.name: HUNGRY}, Schedule(timeout=timeout))
        plan = probe(workers, plan).plan
        (found,) = searches(search(workers, plan, limit))
        assert found.next is None
        return found

    def test_a_process_runs_out_of_memory_where_the_ceiling_is(self, workers, monkeypatch):
        """16 MiB a sample: 16 of them fit, 32 of them come to nearly the limit already."""
        monkeypatch.setattr("bench.analysis.run.largest_batch.SHARE", 1.0)  # one that fails is enough
        found = self.searched(workers, "takes memory", LIMIT)
        assert 16 <= found.batch_size <= LIMIT / (16 * MIB)
        assert {one.failure for one in found.failing} == {"out_of_memory"}
        assert found.tries[0].data == 100
        assert found.tries[0].memory > 16 * 16 * MIB
        assert all(one.memory <= LIMIT for one in found.fitting)

    @takes_long("searches with real launches")
    def test_a_limit_means_the_memory_of_the_table_and_not_what_is_asked_for_in_advance(self, workers):
        """The pinned allocator asks for 256 MiB in advance; 16 MiB a sample are five in 100 MiB."""
        found = self.searched(workers, "takes memory", 100 * MIB)
        assert 2 <= found.batch_size <= 6
        assert all(one.memory <= 100 * MIB for one in found.fitting)
        assert {one.failure for one in found.failing} == {"out_of_memory"}
        assert any("where it may take 100 MiB" in one.message for one in found.failing)

    @takes_long("waits for a time limit")
    def test_too_long_does_not_fit(self, workers, monkeypatch):
        monkeypatch.setattr("bench.analysis.run.largest_batch.SHARE", 1.0)  # one that hangs is enough
        # A slow machine needs some of it for those that do not hang.
        found = self.searched(workers, "hangs", timeout=15.0)
        assert (found.batch_size, found.failing[0].failure) == (16, "timeout")
