"""Launches of scripts: every kind of them, and what a script is told that misbehaves.

What becomes of the process and the folder of a script is in tests/processes/test_worker_script.py.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import sys
from pathlib import Path

import pytest
from plans import WATCHED, once, run
from plans import script_plan as plan_of

import bench
from bench.analysis.launch.derived_counts import count_values
from bench.cli import exit_code
from bench.cli.options import conditions
from bench.cli.run_request import RunRequest, earlier
from bench.errors import UsageError
from bench.measurement import COUNTED, PHASED, PROFILED, STACKED, TIMED, Failure, Measurement
from bench.measurement.messages import LaunchRequest
from bench.results.folder import RunFolder
from bench.results.journal import read_journal
from bench.running.launching import launch
from bench.running.plan import Job
from bench.running.preparation import probe
from bench.running.workers import Workers
from bench.suite.case import Case, Conditions, Schedule, UntimedLaunches
from bench.suite.script import Script, script
from bench.training import Observer
from bench.worker.context import LaunchContext
from bench.worker.script import launches
from bench.worker.script import run as scripts
from bench.worker.script.errors import ScriptError
from bench.worker.script.launches import ScriptCounter, count
from bench.worker.script.recorder import Recorder
from bench.worker.script.run import probe as probe_script

SUITES = Path(__file__).parents[1] / "suites"

UNWATCHED = SUITES / "unwatched.py"

NO_LOG = LaunchContext(0, "")


@pytest.fixture(scope="module")
def workers(tmp_path_factory, no_worker):
    with Workers(conditions(threads=1), tmp_path_factory.mktemp("logs")) as workers:
        yield workers


@pytest.fixture(scope="module")
def sources(workers):
    """What the probe of the script tells, before the others use the same workers."""
    return probe(workers, plan_of()).sources


@pytest.fixture(scope="module")
def records(workers, sources, tmp_path_factory):
    """A launch of each kind, by kind; timed ones of two learning rates."""
    plan = plan_of(axes={"lr": [0.1, 0.01]}, apart=UntimedLaunches(counts=True, profile=True, graph=True))
    plan = dataclasses.replace(plan, traces=tmp_path_factory.mktemp("traces"))
    found: dict[str, list[Measurement | Failure]] = {}
    for record in run(workers, plan):
        found.setdefault(record.kind, []).append(record)
    return found


@pytest.fixture(scope="module")
def behaviours(workers, sources):
    """A launch of each behaviour, by its name."""
    names = ["raises", "forgets", "exits", "diverges", "stays"]
    return {record.case["behaviour"]: record for record in run(workers, plan_of(axes={"behaviour": names}))}


class TestLaunches:
    def test_a_timed_one_has_the_stages_of_every_epoch(self, records):
        assert {record.case["lr"] for record in records[TIMED]} == {0.1, 0.01}
        for record in records[TIMED]:
            assert isinstance(record, Measurement), record
            stages = [(stage.epoch, stage.stage, stage.samples) for stage in record.stages]
            each = [("train", (4, 4, 4)), ("validate", (4, 4))]
            assert stages == [(epoch, *what) for epoch in (0, 1) for what in each]
            assert record.checks == {"parameters_moved_in_training": True, "weights_kept_in_evaluation": True}
            assert record.conditions["device"] == "cpu"
            assert record.memory["peak_rss"] > 0
            assert record.guards["wall"] > 0
            assert record.costs["loop"] > 0

    def test_its_phases_add_up(self, records):
        for record in records[TIMED]:
            for stage in record.stages:
                assert sum(stage.phases.values()) == pytest.approx(stage.wall, rel=0.01, abs=1e-4)
                missing = {"zero_grad", "backward", "optimizer"} if stage.stage == "validate" else set()
                wanted = {"data", "forward", "loss", "zero_grad", "backward", "optimizer", "other"}
                assert set(stage.phases) == wanted - missing

    def test_its_axis_reaches_the_script(self, records):
        losses = [[stage.loss for stage in record.stages] for record in records[TIMED]]
        assert losses[0][1] is losses[1][1] is None
        assert losses[0][2] != losses[1][2]

    def test_counts_are_those_of_two_steps_of_each_stage(self, records):
        for record in records[COUNTED]:
            assert isinstance(record, Measurement), record
            counts = record.counts
            assert counts.steps == {"train": 2, "validate": 2}
            assert counts.samples.keys() == counts.steps.keys()
            # Of a batch of 4: products of 3x4 and 4x2 forward; backward both again for weights, one for inputs.
            forward = 2 * 4 * (3 * 4 + 4 * 2)
            told = count_values(counts)
            assert told["count.flops"] == 2 * forward + 2 * 4 * 4 * 2
            assert told["count.validate.flops"] == forward
            assert counts.totals["parameter_bytes"] == 4 * (3 * 4 + 4 + 4 * 2 + 2)
            assert told["count.autograd_nodes"] == len(counts.graph.nodes)
            assert told["count.validate.saved_bytes"] == 0 < told["count.saved_bytes"]
            assert any(node.saved for node in counts.graph.nodes)
            assert "peak_live_bytes" not in counts.totals

    def test_profiles_have_steps_of_each_stage_and_a_trace(self, records):
        for record in records[PROFILED]:
            assert isinstance(record, Measurement), record
            assert record.profile.steps == {"train": 5, "validate": 5}
            assert record.profile.trace
            phases = {one.phase for one in record.profile.operators if one.operator == "aten::addmm"}
            assert "forward" in phases

    def test_stacks_lead_through_the_users_modules(self, workers, sources, tmp_path):
        plan = plan_of()
        plan = dataclasses.replace(plan, traces=tmp_path)
        record = launch(workers, plan, Job(plan.cases[0], STACKED, 1, 1))
        assert isinstance(record, Measurement), record
        stacks = (tmp_path.parent / record.profile.stacks.replace("traces", tmp_path.name, 1)).read_text()
        assert re.search(r"^train;forward;.*nn\.Module: Linear_\d.*;aten::addmm \d+$", stacks, re.MULTILINE)

    def test_the_probe_names_the_users_own_files(self, sources):
        assert sources == {str(WATCHED)}


ELSEWHERE = """
import sys, torch
from torch import nn
import bench
model = nn.Linear(3, 2).to(sys.argv[1] if len(sys.argv) > 1 else "meta")
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(2):
    for inputs in bench.watch([torch.ones(4, 3)] * 2):
        optimizer.zero_grad()
        model(inputs.to(model.weight.device)).sum().backward()
        optimizer.step()
"""


class TestDevices:
    """The device that a script chooses: torch's meta device stands for a card, as far as no time is taken."""

    @pytest.fixture
    def elsewhere(self, tmp_path):
        path = tmp_path / "elsewhere.py"
        path.write_text(ELSEWHERE)
        return path

    def test_it_is_that_of_the_row_after_the_first_run(self, workers, elsewhere):
        found = probe(workers, plan_of(elsewhere))
        assert [case.device for case in found.plan.cases] == ["meta"]
        assert found.devices == {"elsewhere/device=cpu": "meta"}
        kinds = [kind for _, kind in found.plan.untimed_launches]
        assert kinds == [PHASED]

    def test_one_on_the_cpu_keeps_its_name(self, workers, elsewhere):
        plan = plan_of(elsewhere, ["cpu"])
        assert [case.id for case in probe(workers, plan).plan.cases] == [case.id for case in plan.cases]

    def test_one_that_is_named_is_left_as_it_is(self, workers, elsewhere):
        found = probe(workers, plan_of(elsewhere), requested_axes=["device"])
        assert [case.device for case in found.plan.cases] == ["cpu"]
        assert found.devices == {}

    def test_where_there_is_an_accelerator_each_case_is_run(self, workers, elsewhere, monkeypatch):
        text = ELSEWHERE.replace(
            "sys.argv[1] if len(sys.argv) > 1 else", "__import__('os').environ['WHERE'] or"
        )
        elsewhere.write_text(text)
        plan = plan_of(elsewhere, axes={"env:WHERE": ["meta", "cpu"]})
        monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
        found = probe(workers, plan).plan.cases
        assert [(case["WHERE"], case.device) for case in found] == [("meta", "meta"), ("cpu", "cpu")]

    def test_a_first_case_that_hides_the_cards_says_nothing_of_the_others(self, workers, elsewhere):
        text = ELSEWHERE.replace(
            "sys.argv[1] if len(sys.argv) > 1 else",
            "'cpu' if __import__('os').environ['CUDA_VISIBLE_DEVICES'] == '-1' else",
        )
        elsewhere.write_text(text)
        plan = plan_of(elsewhere, axes={"env:CUDA_VISIBLE_DEVICES": [-1, 0]})
        found = probe(workers, plan).plan.cases
        assert [(case["CUDA_VISIBLE_DEVICES"], case.device) for case in found] == [(-1, "cpu"), (0, "meta")]

    def test_a_case_that_cannot_run_costs_only_itself(self, workers, elsewhere, monkeypatch):
        broken = "import os\nif os.environ['LOOPS'] == '1':\n    import torch\n    raise SystemExit(0)\n"
        elsewhere.write_text(broken + ELSEWHERE)
        plan = plan_of(elsewhere, axes={"env:LOOPS": [2, 1]})
        monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
        found = probe(workers, plan).plan.cases
        assert [(case["LOOPS"], case.device) for case in found] == [(2, "meta"), (1, "cpu")]


class TestFailures:
    @pytest.mark.parametrize(
        ("behaviour", "failure", "words"),
        [
            ("raises", "error", "ValueError: the user's own mistake"),
            ("forgets", "error", 'does not train: with epochbench.stage("validate"):'),
            ("exits", "error", "the script ended with exit code 3: no more"),
            ("diverges", "diverged", "the train loss of epoch 2 is nan"),
            ("stays", "error", "let the script run two epochs or more"),
        ],
    )
    def test_it_says_why(self, behaviours, behaviour, failure, words):
        record = behaviours[behaviour]
        assert isinstance(record, Failure), record
        assert record.failure == failure
        assert words in record.message

    def test_it_names_the_users_own_line_and_keeps_the_end_of_the_log(self, behaviours):
        where, _, line = behaviours["raises"].where.rpartition(":")
        assert where == str(WATCHED)
        assert "the user's own" in WATCHED.read_text().splitlines()[int(line) - 1]
        assert behaviours["raises"].detail.endswith("behaviour='raises')")

    def test_arguments_that_it_does_not_know_are_told_in_its_own_words(self, workers, sources):
        record = once(workers, plan_of(arguments=["--wat"]))
        assert "exit code 2: watched.py: error: unrecognized arguments: --wat" in record.message

    def test_a_script_without_a_watched_loader_is_told_what_to_write(self, workers):
        record = once(workers, plan_of(UNWATCHED))
        assert "for inputs, targets in epochbench.watch(train_loader):" in record.message
        assert record.detail.endswith("nothing to watch")


class TestInThisProcess:
    CASE = Case("train", {"device": "cpu"})

    @pytest.fixture(autouse=True)
    def own_process(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["pytest"])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(os, "environ", dict(os.environ))

    def script(self, tmp_path, text):
        path = tmp_path / "train.py"
        path.write_text(text)
        return Script(str(path))

    @pytest.mark.parametrize("end", ["", "raise SystemExit", "raise SystemExit(0)"])
    def test_a_normal_end_is_none_to_speak_of(self, tmp_path, end):
        text = f"import bench\nwith bench.stage('test'):\n    list(bench.watch([[1, 2]]))\n{end}"
        recorder = Recorder(Observer())
        scripts.run(self.script(tmp_path, text), self.CASE, recorder, NO_LOG)
        assert recorder.passes == {"test": 1}
        assert bench.watch(recorder) is recorder  # nobody listens any more

    def test_what_it_raises_goes_through_and_nobody_listens_any_more(self, tmp_path):
        with pytest.raises(KeyError):
            scripts.run(self.script(tmp_path, "{}['a']"), self.CASE, Recorder(Observer()), NO_LOG)
        assert bench.watch([1]) == [1]

    @pytest.mark.parametrize("end", ["", "raise SystemExit(0)"])
    def test_one_that_ends_without_training_is_told_before_it_runs_again(self, tmp_path, end):
        with pytest.raises(
            UsageError,
            match=r"nothing in it trains or evaluates in this process, .*; import epochbench in it",
        ):
            probe_script(self.script(tmp_path, f"import torch\n{end}"), self.CASE, NO_LOG)

    def test_one_that_watches_later_is_let_through(self, tmp_path):
        text = (
            "import torch, bench\nmodel = torch.nn.Linear(2, 1)\noptimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
            "for loader in (range(9), bench.watch(range(9))):\n    for _ in loader:\n"
            "        model(torch.ones(1, 2)).sum().backward()\n        optimizer.step()"
        )
        importlib.import_module("torch._dynamo")  # as the first step of an optimizer does
        assert probe_script(self.script(tmp_path, text), self.CASE, NO_LOG).modules == ()

    def test_one_that_names_bench_and_never_comes_to_its_loop_is_told_why_that_may_be(self, tmp_path):
        with pytest.raises(
            ScriptError, match="it did not reach its loop, as when it resumes from a checkpoint"
        ):
            scripts.run(self.script(tmp_path, "import bench"), self.CASE, Recorder(Observer()), NO_LOG)

    def test_a_script_that_catches_everything_is_still_told(self, tmp_path):
        text = "import bench\ntry:\n    list(bench.watch([[1]]))\nexcept Exception:\n    pass"
        with pytest.raises(ScriptError, match="had no backward pass"):
            scripts.run(self.script(tmp_path, text), self.CASE, Recorder(Observer()), NO_LOG)

    def test_one_of_which_no_stage_is_left_is_told_to_run_longer(self, tmp_path):
        """Its evaluation came before any training, and its training was a look at the first batch."""
        text = "import bench\nwith bench.stage('test'):\n    list(bench.watch([[1]]))\nnext(iter(bench.watch([[1]])))"
        script = self.script(tmp_path, text)
        request = LaunchRequest(self.CASE, TIMED, 1, 1, Path(script.path), Conditions(), seed=0)
        with pytest.raises(ScriptError, match="let the script run two epochs or more"):
            launches.timed(script, request, NO_LOG, {})

    def test_the_first_training_step_is_none_of_the_counts(self, tmp_path):
        counts = count(
            lambda recorder: scripts.run(Script(str(WATCHED)), self.CASE, recorder, NO_LOG), keeps_graph=False
        )
        assert counts.steps == {"train": 2, "validate": 2}
        assert counts.graph is None
        assert issubclass(ScriptCounter, Observer)

    def test_one_whose_steps_are_many_operators_has_one_step_counted(self, monkeypatch):
        """What is counted of a step is the same, and what it validates behind them too."""

        def counted():
            found = count(
                lambda recorder: scripts.run(Script(str(WATCHED)), self.CASE, recorder, NO_LOG),
                keeps_graph=False,
            )
            ops = dict.fromkeys(found.steps, 0)
            for one in found.operators:
                ops[one.stage] += one.calls
            return found, ops

        two, both = counted()
        monkeypatch.setattr(launches, "MANY_OPERATORS", 1)
        one, single = counted()
        assert two.steps == {"train": 2, "validate": 2}
        assert one.steps == {"train": 1, "validate": 2}
        assert single == {"train": both["train"] // 2, "validate": both["validate"]}
        assert one.per_step["train"]["autograd_nodes"] == two.per_step["train"]["autograd_nodes"]


@pytest.mark.usefixtures("no_worker")
def test_two_sides_of_a_script_are_held_against_each_other(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    sides = ["set:lr=0.1", "set:lr=0.01"]
    exit_code(["ab", *sides, "--script", str(WATCHED), "--pairs", "1", "--out", "ab", "--", "--epochs", "2"])
    assert "watched" in capfd.readouterr().out
    for name, lr in (("base", 0.1), ("candidate", 0.01)):
        records = read_journal(RunFolder(tmp_path / "ab" / name).journal)
        assert records.failures == []
        assert {record.kind for record in records.measurements} == {COUNTED, TIMED}
        assert {record.case["lr"] for record in records.measurements} == {lr}


def test_a_run_of_a_script_can_be_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    its = script(WATCHED, ["--epochs", "2"], ["lr", "env:X"])
    request = RunRequest([], None, {"lr": [0.1]}, Schedule(), conditions(), script=its)
    folder = RunFolder(Path("results") / "cut-off")
    folder.logs.mkdir(parents=True)
    plan = {"request": request.to_json(), "schedule": Schedule().to_json(), "sources": {}, "cases": []}
    folder.journal.touch()
    folder.write_json("plan.json", {**plan, "conditions": conditions().to_json()})
    assert earlier("cut-off").request == request
