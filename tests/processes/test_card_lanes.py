"""Launches at the same time from fork servers of their own: two halves of this machine stand for two cards."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil
import pytest
from plans import suite_plan
from tiers import takes_long

from bench.analysis.run.stopping import StopRule
from bench.cli.options import conditions
from bench.errors import Interrupted
from bench.machine.placement import Place
from bench.measurement import Device, Failure, Measurement
from bench.running.lanes import Spread, opened
from bench.running.plan import Plan
from bench.running.rounds import run
from bench.running.workers import Workers
from bench.suite.case import Case, Schedule
from bench.system.gpu import VISIBLE
from bench.system.signals import stoppable

SUITES = Path(__file__).parents[1] / "suites"
CARDS = [Device("half of this machine", "cuda", number, uuid=f"half-{number}") for number in range(2)]

# What its process sees is its only answer.
SEES = f"""
import os
from epochbench import Suite
def build(case):
    raise ValueError("sees " + os.environ["{VISIBLE}"])
suite = Suite("sees", build, {{"device": ["cpu"]}})
"""


@pytest.fixture
def workers(tmp_path):
    with Workers(conditions(), tmp_path) as workers:
        yield workers


@contextlib.contextmanager
def halves(workers):
    """Lanes of one processor each, as far as this machine has two, on which the cases of the CPU run."""
    cpus = workers.conditions.cpus
    places = [Place(card, (cpus[number % len(cpus)],)) for number, card in enumerate(CARDS)]
    with opened(workers, Spread({"cuda:0": places}, {}), CARDS) as lanes:
        yield {"cpu": lanes["cuda:0"]}


@pytest.fixture
def left_behind():
    """Gives the processes below this one that were not there at the start of the test."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: set(psutil.Process().children(recursive=True)) - before


@takes_long("starts fork servers of its own")
def test_two_rounds_run_on_two_halves_from_fork_servers_of_their_own(workers, left_behind):
    plan = suite_plan(
        workers, str(SUITES / "small.py"), {"mode": ["train", "no_grad"]}, launches=2, repeats=0
    )
    workers.close()
    with halves(workers) as lanes:
        pinned = []

        def announce(job):
            servers = [one for one in left_behind() if VISIBLE in one.environ()]
            pinned.extend(tuple(server.cpu_affinity()) for server in servers)

        records = list(run(workers, plan, StopRule(plan.schedule), lanes=lanes, announce=announce))
        assert {len(cpus) for cpus in pinned} == {1}
        assert not left_behind(), "a fork server is left for the next rounds, which have their own"
    assert all(isinstance(record, Measurement) for record in records), records
    assert sorted(record.round for record in records) == [1, 1, 2, 2]
    for number, lane in enumerate(lanes["cpu"], start=1):
        of_round = [record for record in records if record.round == number]
        assert {tuple(record.conditions["cpus"]) for record in of_round} == {lane.workers.conditions.cpus}
        assert {record.conditions["threads"] for record in of_round} == {1}
        assert len({record.fork_server for record in of_round}) == 1
    assert len({record.fork_server for record in records}) == 2


@takes_long("starts fork servers of its own")
def test_each_process_sees_the_card_of_its_lane_in_the_place_of_the_device(workers, tmp_path):
    file = tmp_path / "sees.py"
    file.write_text(SEES)
    plan = Plan([Case("sees", {"device": "cpu"})], {"sees": str(file)}, Schedule(launches=2))
    with halves(workers) as lanes:
        records = list(run(workers, plan, StopRule(plan.schedule), lanes=lanes))
    said = {record.round: record.message for record in records if isinstance(record, Failure)}
    assert said == {
        1: "ValueError: sees GPU-half-0,GPU-half-1",
        2: "ValueError: sees GPU-half-1,GPU-half-0",
    }


@takes_long("hangs and is stopped")
def test_a_signal_ends_all_of_them(workers, left_behind):
    file = str(SUITES / "behaviours.py")
    plan = suite_plan(workers, file, {"behaviour": ["hangs"]}, launches=2, timeout=600.0)
    workers.close()
    began = []

    def announce(job):
        began.append(job.round)
        if len(began) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with stoppable(), halves(workers) as lanes:
        records = run(workers, plan, StopRule(plan.schedule), lanes=lanes, announce=announce)
        with contextlib.closing(records), pytest.raises(Interrupted):
            list(records)
        assert sorted(began) == [1, 2]
        assert not left_behind()
