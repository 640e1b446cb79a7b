"""Workers before they have started anything: their conditions and variables."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.running.fork_server import Interpreter, launch_variables
from bench.running.workers import Workers
from bench.suite.case import Conditions


class TestWaitPolicy:
    """Idle OpenMP threads that spin are fastest on the CPU, and in the way of what feeds a card."""

    @pytest.mark.parametrize(
        ("devices", "policy"),
        [({"cpu"}, "ACTIVE"), ({"cpu", "cuda:0"}, "ACTIVE"), ({"cuda:0"}, "PASSIVE"), ({"mps"}, "PASSIVE")],
    )
    def test_it_follows_from_what_is_measured(self, devices, policy, monkeypatch):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        workers = Workers(Conditions())
        workers.wait_as_fits(devices)
        assert launch_variables(workers.conditions)["OMP_WAIT_POLICY"] == policy

    def test_what_the_user_set_stays(self, monkeypatch):
        monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
        assert launch_variables(Conditions(wait_policy="PASSIVE"))["OMP_WAIT_POLICY"] == "ACTIVE"

    def test_there_is_no_third(self):
        with pytest.raises(UsageError, match="unknown wait policy 'SLEEPY'; there are ACTIVE, PASSIVE"):
            Conditions(wait_policy="SLEEPY")

    def test_a_plan_of_before_waits_as_it_did(self):
        data = Conditions().to_json()
        del data["wait_policy"]
        assert Conditions.from_json(data) == Conditions()


def test_further_workers_are_like_these_but_for_what_is_changed():
    one = Workers(Conditions(threads=4), modules=["numpy"], interpreter=Interpreter("python9", {"A": "1"}))
    other = one.like(Conditions(threads=2), {"B": "2"})
    assert (other.conditions.threads, other.modules) == (2, ["numpy"])
    assert other.variables == {"A": "1", "B": "2"}
    other.modules.append("torch")
    assert one.modules == ["numpy"]
