"""Launches of suites whose code is as users write it: every mode, every kind of batch, whatever they raise.

What becomes of the process of a launch is in tests/processes/test_worker.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from plans import run
from plans import suite_plan as plan_of

from bench.cli.options import conditions
from bench.errors import UsageError
from bench.measurement import TIMED, Failure, Measurement
from bench.running.launching import launch
from bench.running.plan import Job, Plan
from bench.running.preparation import probe
from bench.running.workers import Workers
from bench.suite.case import Schedule
from bench.system.paths import HARNESS
from bench.worker.suites import own_files, third_party

SUITES = Path(__file__).parents[1] / "suites"
SMALL, BEHAVIOURS, BATCHES = (str(SUITES / f"{name}.py") for name in ("small", "behaviours", "batches"))


@pytest.fixture(scope="module")
def workers(tmp_path_factory, no_worker):
    with Workers(conditions(), tmp_path_factory.mktemp("logs")) as workers:
        yield workers


class TestModes:
    def test_every_mode_is_measured_and_does_the_work_that_it_promises(self, workers):
        plan = plan_of(workers, SMALL, launches=1)
        plan = probe(workers, plan).plan
        records = list(run(workers, plan))
        assert {record.case.mode for record in records} == {"train", "eval", "no_grad", "inference_mode"}
        for record in records:
            assert isinstance(record, Measurement), record
            stages = [(stage.epoch, stage.stage) for stage in record.stages]
            names = ["train", "validate", "test"] if record.case.mode == "train" else ["validate", "test"]
            assert stages == [(epoch, name) for epoch in (0, 1) for name in names]
            assert all(record.checks.values()), record.checks
            assert record.memory["peak_rss"] > 0

    def test_two_launches_with_one_seed_give_the_same_losses(self, workers):
        plan = plan_of(workers, SMALL, launches=1)
        job = Job(plan.cases[0], TIMED, 1, 1)
        first, second = (launch(workers, plan, job) for _ in range(2))
        losses = [[stage.loss for stage in record.stages] for record in (first, second)]
        assert losses[0] == losses[1]
        other = Plan(plan.cases, plan.files, Schedule(seed=1))
        assert [stage.loss for stage in launch(workers, other, job).stages] != losses[0]


class TestBehaviours:
    """Of those that need no process."""

    @pytest.fixture(scope="class")
    @classmethod
    def behaviours(cls, workers):
        overrides = {"behaviour": ["nothing", "raises", "exits", "unsupported", "diverges", "is_no_task"]}
        plan = plan_of(workers, BEHAVIOURS, overrides, launches=1)
        return {record.case["behaviour"]: record for record in run(workers, plan)}

    def test_one_that_does_nothing_is_measured(self, behaviours):
        assert isinstance(behaviours["nothing"], Measurement), behaviours["nothing"]
        assert len(behaviours["nothing"].stages) == 6

    @pytest.mark.parametrize(
        ("behaviour", "failure", "words"),
        [
            ("raises", "error", "ValueError: the user's own"),
            ("exits", "error", "SystemExit: 3"),
            ("unsupported", "unsupported", "no such kernel here"),
            ("diverges", "diverged", "loss of epoch 1 is nan"),
            ("is_no_task", "error", "returned a str, not an epochbench.training.Task"),
        ],
    )
    def test_what_fails_is_a_failure_that_says_why(self, behaviours, behaviour, failure, words):
        record = behaviours[behaviour]
        assert isinstance(record, Failure), record
        assert record.failure == failure
        assert words in record.message

    def test_an_error_names_the_users_own_line(self, behaviours):
        where, _, line = behaviours["raises"].where.rpartition(":")
        assert where == BEHAVIOURS
        assert "the user's own" in Path(BEHAVIOURS).read_text().splitlines()[int(line) - 1]


@pytest.fixture(scope="module")
def kinds(workers):
    """One launch of each kind of batch, by its name."""
    return {record.case["given"]: record for record in run(workers, plan_of(workers, BATCHES, launches=1))}


class TestBatches:
    @pytest.mark.parametrize("kind", ["pair", "dict", "keywords", "text", "metadata", "no target"])
    def test_what_can_be_understood_is_measured_with_all_of_its_samples(self, kinds, kind):
        record = kinds[kind]
        assert isinstance(record, Measurement), record
        assert {stage.samples for stage in record.stages} == {(16, 16, 8)}
        assert record.checks["samples_as_the_loader_says"]
        assert all(record.checks.values())

    def test_the_loss_is_the_same_however_the_batch_comes(self, kinds):
        losses = {kind: [stage.loss for stage in kinds[kind].stages[:2]] for kind in ("pair", "dict", "text")}
        assert losses["pair"] == losses["dict"] == losses["text"]

    def test_a_stage_without_a_loader_has_no_record(self, kinds):
        assert [stage.stage for stage in kinds["pair"].stages] == ["train", "validate"] * 2

    def test_samples_that_are_not_those_of_the_data_are_seen(self, kinds):
        assert {stage.samples for stage in kinds["halved"].stages} == {(8, 8, 4)}
        assert kinds["halved"].checks["samples_as_the_loader_says"] is False

    def test_what_the_task_itself_says_is_not_doubted(self, kinds):
        assert {stage.samples for stage in kinds["said"].stages} == {(8, 8, 4)}
        assert "samples_as_the_loader_says" not in kinds["said"].checks

    def test_where_parts_do_not_agree_the_loader_decides(self, kinds):
        assert {stage.samples for stage in kinds["unclear"].stages} == {(16, 16, 8)}

    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            ("three", "a tuple of 3: Tensor of shape (16, 8), Tensor of shape (16,), float"),
            ("rows", "a Tensor of shape (16, 8)"),
        ],
    )
    def test_what_cannot_fails_with_one_line_that_says_what_it_was_and_what_helps(self, kinds, kind, words):
        record = kinds[kind]
        assert isinstance(record, Failure), record
        assert record.failure == "error"
        assert "a batch is (inputs, targets)" in record.message
        assert words in record.message
        assert "collate_fn" in record.message


class TestProbe:
    def test_a_batch_larger_than_the_data_is_told_before_anything_is_measured(self, workers):
        plan = plan_of(workers, SMALL, {"batch_size": [64, 5000]})
        with pytest.raises(
            UsageError, match=r"batch_size 5000 is larger than the training data.*choose at most 1079"
        ):
            probe(workers, plan)

    def test_validations_further_apart_than_an_epoch_are_told_too(self, workers):
        plan = plan_of(workers, SMALL, {"validate_every": [6], "mode": ["train"]})
        with pytest.raises(UsageError, match="validate_every 6 is more than the 5 steps of an epoch"):
            probe(workers, plan)

    def test_an_unknown_model_is_told(self, workers):
        plan = plan_of(workers, SMALL, {"model": ["resnet19"]})
        with pytest.raises(UsageError, match=r"unknown model 'resnet19'.*did you mean resnet18"):
            probe(workers, plan)


AWKWARD = str(SUITES / "awkward.py")
SAID = {
    "KeyboardInterrupt": "KeyboardInterrupt",
    "GeneratorExit": "GeneratorExit",
    "Own": "Own: <exception str() failed>",
    "nothing is built": "TypeError: build of suite 'awkward' returned a NoneType",
    "a metric": "KeyboardInterrupt",
    "a metric without a name": "TypeError: what was measured cannot be kept: 'metrics' of a StageRecord",
    "a metric with a name of parts": "TypeError: what was measured cannot be kept: keys must be str",
    "a loader": "KeyboardInterrupt",
    "a loader that stops": "RuntimeError: generator raised StopIteration",
    "setup": "SystemExit: 3",
}
MEASURED = {
    "no validation": 64,
    "a chain without a length": 128,
    "a loader without a length": 64,
    "warnings": 64,
}


@pytest.fixture(scope="module")
def awkward(workers):
    plan = plan_of(workers, AWKWARD, launches=1)
    plan = probe(workers, plan).plan
    # The steps of an epoch are counted where validation is asked for in the midst of it.
    chained = plan_of(workers, AWKWARD, {"raises": ["a chain without a length"], "validate_every": [2]})
    probe(workers, chained, requested_axes=["raises"])
    return {record.case["raises"]: record for record in run(workers, plan)}


class TestAwkwardCode:
    """Whatever user code raises, and wherever: a row that says so, or the numbers. Never a fault of ours."""

    def test_there_is_one_of_each(self, awkward):
        assert awkward.keys() == SAID.keys() | MEASURED.keys()

    @pytest.mark.parametrize("how", SAID)
    def test_what_was_raised_is_said_with_its_line(self, awkward, how):
        record = awkward[how]
        assert isinstance(record, Failure), record
        assert (record.failure, record.message[: len(SAID[how])]) == ("error", SAID[how])
        if "cannot be kept" not in record.message and "NoneType, not" not in record.message:
            assert record.where.startswith(f"{AWKWARD}:")

    @pytest.mark.parametrize("how", MEASURED)
    def test_a_size_that_raises_costs_nothing(self, awkward, how):
        record = awkward[how]
        assert isinstance(record, Measurement), record
        (train, _) = (stage for stage in record.stages if stage.stage == "train")
        assert sum(train.samples) == MEASURED[how]

    def test_nothing_is_said_of_axes_that_are_read(self, awkward):
        assert all("unread" not in awkward[how].conditions for how in MEASURED)


def test_the_users_own_files_are_those_of_folders_that_begin_with_our_name(monkeypatch):
    """`benchmarks/` lies beside `bench/` in many a repository, this one among them."""
    mine = str(Path(HARNESS).parent / "benchmarks" / "workload.py")
    for name, file in (("mine", mine), ("ours", f"{HARNESS}/case.py"), ("none", None), ("odd", 3)):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(__file__=file))

    class Lazy:
        def __getattr__(self, name):
            raise RuntimeError("not set up yet")

    monkeypatch.setitem(sys.modules, "lazy", Lazy())
    assert own_files(["mine", "ours", "none", "odd", "lazy", "gone", "json", "pytest"]) == [mine]
    assert third_party(["mine", "ours", "none", "odd", "lazy", "gone", "json", "pytest"]) == ["pytest"]


def test_modules_to_import_beforehand_stay_in_the_order_in_which_they_were_imported():
    """Sorted, modules that import each other would find halves: inductor then lacks lowerings."""
    assert third_party(["pytest", "epochbench.suite.case", "_pytest", "json"]) == ["pytest", "_pytest"]


def test_a_launch_reports_what_was_compiled_and_what_an_optimizer_asked_for(workers):
    overrides = {
        "mode": ["train"],
        "optimizer": ["lbfgs"],
        "compile": ["default"],
        "compile_backend": ["eager"],
    }
    plan = plan_of(workers, SMALL, overrides, launches=1)
    plan = probe(workers, plan).plan
    (record,) = run(workers, plan)
    assert isinstance(record, Measurement), record
    assert record.compiled["time"] > record.compiled["time_counted"] == 0.0
    train = [stage for stage in record.stages if stage.stage == "train"]
    assert len(train) == 2
    assert all(stage.closure_evaluations > stage.optimizer_steps == 5 for stage in train)
