"""What a suite imports is imported once, by the fork server."""

from __future__ import annotations

from pathlib import Path

from test_worker import plan_of

from bench.cli.options import conditions
from bench.running.preparation import probe
from bench.running.workers import Workers

REAL_FORK_SERVERS = True  # the shared one has imported what this is about
SMALL = str(Path(__file__).parents[1] / "suites" / "small.py")


def test_a_probe_says_what_the_fork_server_is_to_import(tmp_path):
    with Workers(conditions(), tmp_path) as workers:
        probe(workers, plan_of(workers, SMALL))
        assert "sklearn.datasets" in workers.modules
