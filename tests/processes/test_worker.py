"""Real workers: launches of real suites, forked and spawned, and what becomes of those that misbehave."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiers import LONG, long_only, takes_long

from bench.analysis.run.stopping import StopRule
from bench.cli.options import conditions
from bench.errors import UsageError
from bench.measurement import TIMED, Failure, Measurement
from bench.running import rounds as runner
from bench.running.fork_server import Refused
from bench.running.launching import launch
from bench.running.plan import Job, Plan
from bench.running.preparation import describe, probe
from bench.running.workers import Workers
from bench.suite.case import Case, Conditions, Schedule
from bench.system.paths import HARNESS, file_name
from bench.worker.suites import own_files, third_party

SUITES = Path(__file__).parents[1] / "suites"
SMALL, DEEDS, BATCHES = (str(SUITES / f"{name}.py") for name in ("small", "deeds", "batches"))


def plan_of(workers: Workers, file: str, overrides=None, **schedule) -> Plan:
    (listing,) = describe(workers, [file], overrides or {})
    return Plan(listing.expansion.cases, {listing.name: file}, Schedule(**schedule))


def run(workers: Workers, plan: Plan):
    """Each launch once, whatever else this machine is doing."""
    return runner.run(workers, plan, StopRule(dataclasses.replace(plan.schedule, repeats=0)))


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with Workers(conditions(), tmp_path_factory.mktemp("logs")) as workers:
        yield workers


@pytest.fixture(scope="module")
def deeds(workers, tmp_path_factory):
    """One launch of each deed, by its name, and the pids of the processes that one of them left."""
    pids = tmp_path_factory.mktemp("deeds") / "pids"
    os.environ["DEEDS_PIDS"] = str(pids)
    try:
        some = {} if LONG else {"deed": ["nothing", "leaves_processes", "raises", "segfaults", "prints"]}
        plan = plan_of(workers, DEEDS, some, launches=1, timeout=120.0)
        hanging = plan_of(workers, DEEDS, {"deed": ["hangs"]}, launches=1, timeout=2.0)
        patient = [case for case in plan.cases if case["deed"] != "hangs"]
        records = [*run(workers, Plan(patient, plan.files, plan.schedule)), *run(workers, hanging)]
    finally:
        del os.environ["DEEDS_PIDS"]
    return {record.case["deed"]: record for record in records}, [int(pid) for pid in pids.read_text().split()]


class TestForkedLaunches:
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
            assert record.conditions["start_method"] == "fork"
            assert record.conditions["threads"] == workers.conditions.threads
            assert record.memory["peak_rss"] > 0

    @takes_long("starts fork servers of its own")
    def test_two_launches_with_one_seed_give_the_same_losses(self, workers):
        plan = plan_of(workers, SMALL, launches=1)
        job = Job(plan.cases[0], TIMED, 1, 1)
        first, second = (launch(workers, plan, job) for _ in range(2))
        losses = [[stage.loss for stage in record.stages] for record in (first, second)]
        assert losses[0] == losses[1]
        other = Plan(plan.cases, plan.files, Schedule(seed=1))
        assert [stage.loss for stage in launch(workers, other, job).stages] != losses[0]

    @takes_long("starts fork servers of its own")
    def test_the_allocator_is_pinned_or_left_as_asked(self, workers, tmp_path):
        plan = plan_of(workers, SMALL, launches=1)
        job = Job(plan.cases[0], TIMED, 1, 1)
        assert launch(workers, plan, job).conditions["allocator"] == "pinned"
        with Workers(conditions(allocator="system"), tmp_path) as untuned:
            assert launch(untuned, plan, job).conditions["allocator"] == "system"

    @takes_long("starts fork servers of its own")
    def test_launches_of_a_case_never_share_a_fork_server(self, workers):
        plan = plan_of(workers, SMALL, {"mode": ["eval", "no_grad"]}, launches=2)
        records = list(run(workers, plan))
        by_round = {number: {r.fork_server for r in records if r.round == number} for number in (1, 2)}
        assert all(len(fork_servers) == 1 for fork_servers in by_round.values())
        assert by_round[1] != by_round[2]


@takes_long("starts fork servers of its own")
class TestSpawnedLaunches:
    @pytest.mark.parametrize("modes", [["no_grad"], *long_only((["train", "eval", "inference_mode"],))])
    def test_its_modes_are_measured_spawned_as_well(self, tmp_path, modes):
        with Workers(conditions(start_method="spawn"), tmp_path) as workers:
            plan = plan_of(workers, SMALL, {"mode": modes}, launches=1)
            plan = probe(workers, plan).plan
            records = list(run(workers, plan))
        assert {record.case.mode for record in records} == set(modes)
        for record in records:
            assert isinstance(record, Measurement), record
            assert record.conditions["start_method"] == "spawn"
            assert record.conditions["allocator"] == "pinned"
            assert all(record.checks.values())

    def test_a_crash_is_a_failure_there_too(self, tmp_path):
        with Workers(conditions(start_method="spawn"), tmp_path) as workers:
            plan = plan_of(workers, DEEDS, {"deed": ["segfaults"]}, launches=1, timeout=120.0)
            (crash,) = run(workers, plan)
        assert (crash.failure, crash.message) == ("crash", "killed by SIGSEGV")

    def test_no_process_outlives_its_launch_either(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DEEDS_PIDS", str(tmp_path / "pids"))
        with Workers(conditions(start_method="spawn"), tmp_path) as workers:
            plan = plan_of(workers, DEEDS, {"deed": ["leaves_processes"]}, launches=1)
            (record,) = run(workers, plan)
        assert isinstance(record, Measurement), record
        pids = (tmp_path / "pids").read_text().split()
        assert len(pids) == 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


class TestDeeds:
    @pytest.mark.parametrize(
        "deed",
        [
            *("nothing", "prints", "leaves_processes"),
            *long_only(("closes_stdin",), ("closes_stdout",), ("changes_directory",), ("changes_locale",)),
            *long_only(("forks",), ("leaves_files",), ("loader_workers",)),
        ],
    )
    def test_what_is_only_careless_still_measures(self, deeds, deed):
        record = deeds[0][deed]
        assert isinstance(record, Measurement), record
        assert len(record.stages) == 6

    @pytest.mark.parametrize(
        ("deed", "failure", "words"),
        [
            ("raises", "error", "ValueError: the user's own"),
            ("segfaults", "crash", "killed by SIGSEGV"),
            ("hangs", "timeout", "no result within 2 s"),
            *long_only(
                ("exits", "error", "SystemExit: 3"),
                ("exits_hard", "crash", "ended with exit code 3 and no result"),
                ("is_killed", "crash", "killed by SIGKILL"),
                ("kills_its_parent", "crash", "killed by SIGKILL"),
                ("runs_out_of_memory", "out_of_memory", "allocate"),
                ("exceeds_a_limit", "out_of_memory", "allocate"),
                ("unsupported", "unsupported", "no such kernel here"),
                ("diverges", "diverged", "loss of epoch 1 is nan"),
                ("is_no_task", "error", "returned a str, not an epochbench.training.Task"),
            ),
        ],
    )
    def test_what_fails_is_a_failure_that_says_why(self, deeds, deed, failure, words):
        record = deeds[0][deed]
        assert isinstance(record, Failure), record
        assert record.failure == failure
        assert words in record.message

    def test_an_error_names_the_users_own_line(self, deeds):
        where, _, line = deeds[0]["raises"].where.rpartition(":")
        assert where == DEEDS
        assert "the user's own" in Path(DEEDS).read_text().splitlines()[int(line) - 1]

    def test_no_process_outlives_its_launch(self, deeds):
        pids = deeds[1]
        assert len(pids) == (3 if LONG else 2)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    def test_what_user_code_prints_goes_to_the_log_of_its_launch(self, deeds, workers):
        assert deeds  # the launches that wrote it
        case = Case("deeds", {"device": "cpu", "epochs": 2, "deed": "prints"})
        (log,) = workers.logs.glob(f"{file_name(case.id)}.*.log")
        assert log.read_text().count("y") >= 3_000_000


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


class TestForkSafety:
    @takes_long("starts fork servers of its own")
    def test_a_module_that_starts_a_thread_is_left_to_the_launches(self, tmp_path, monkeypatch):
        source = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
        (tmp_path / "threaded.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        with Workers(conditions(), tmp_path) as workers:
            plan = plan_of(workers, SMALL, {"mode": ["no_grad"]}, launches=1)
            workers.learn(["threaded"])
            (record,) = run(workers, plan)
            assert "threaded" not in workers.modules
            assert record.conditions["start_method"] == "fork"

    @takes_long("starts a process for each launch")
    def test_where_no_fork_server_is_fit_to_fork_launches_are_spawned_and_say_so(self, tmp_path, monkeypatch):
        with Workers(conditions(), tmp_path) as workers:
            plan = plan_of(workers, SMALL, {"mode": ["no_grad"]}, launches=1)

            def refuse():
                raise Refused("the fork server has 3 threads")

            monkeypatch.setattr(workers, "_ready", refuse)
            (record,) = run(workers, plan)
            assert record.conditions["start_method"] == "spawn"
            assert workers.fallback == "the fork server has 3 threads"

    @takes_long("starts fork servers of its own")
    def test_so_it_is_where_only_what_a_suite_imports_makes_a_fork_server_unfit(self, tmp_path, monkeypatch):
        with Workers(conditions(), tmp_path) as workers:
            plan_of(workers, SMALL)  # a fork server is up

            def refuse(*_):
                raise Refused("importing torch starts threads")

            monkeypatch.setattr(workers, "_preload", refuse)
            workers.learn(["torch._inductor"])
            assert workers.conditions.start_method == "spawn"
            assert workers.fallback == "importing torch starts threads"


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


@takes_long("starts fork servers of its own")
class TestConditions:
    def test_threads_are_what_was_asked_for(self, tmp_path):
        with Workers(Conditions(threads=1, cpus=conditions().cpus), tmp_path) as workers:
            plan = plan_of(workers, SMALL, {"mode": ["no_grad"]}, launches=1)
            (record,) = run(workers, plan)
        assert record.conditions["threads"] == 1
        assert record.conditions["cpus"] == list(conditions().cpus)


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


@takes_long("starts fork servers of its own")
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


UNREAD = """
from bench import Suite


def build(case):
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    from bench.training import Task

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def forward(self, inputs):
            case["late"]
            return self.layer(inputs)

    class Rows(TensorDataset):
        def __getitem__(self, index):
            case["in_a_worker"]
            return super().__getitem__(index)

    rows = Rows(torch.randn(64, 3), torch.randint(2, (64,)))
    size = 8 if case["fixed"] else case.batch_size
    loader = DataLoader(rows, size, num_workers=1)
    case.batch_size
    model = Net()
    return Task(model, torch.nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters()), loader, loader, loader)


AXES = {"device": ["cpu"], "epochs": [2], "batch_size": [16], "late": [1], "in_a_worker": [1]}
kept = Suite(name="kept", build=build, axes={**AXES, "fixed": [False], "never": [1]})
fixed = Suite(name="fixed", build=build, axes={**AXES, "fixed": [True]})
"""


@pytest.fixture(scope="module")
def unread(workers, tmp_path_factory):
    file = tmp_path_factory.mktemp("unread") / "unread.py"
    file.write_text(UNREAD)
    listings = describe(workers, [str(file)], {})
    cases = [case for one in listings for case in one.expansion.cases]
    plan = Plan(cases, {one.name: one.file for one in listings}, Schedule(launches=1))
    # Whoever keeps the case may ask it for anything later: a flag is not refused.
    plan = probe(workers, plan, requested_axes=["late", "in_a_worker", "never"]).plan
    return {record.case.suite: record for record in run(workers, plan)}


@takes_long("starts fork servers of its own")
class TestAxesThatAreNotRead:
    def test_one_that_is_declared_and_that_nobody_reads_to_the_end_is_told_with_the_launch(self, unread):
        assert unread["kept"].conditions["unread"] == ["never"]

    def test_so_is_a_batch_size_that_no_batch_follows(self, unread):
        assert unread["fixed"].conditions["unread"] == ["batch_size"]


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


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("has_logs", [True, False])
def test_where_no_temporary_folder_can_be_made_it_is_said(tmp_path, monkeypatch, start_method, has_logs):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    logs = tmp_path if has_logs else None
    no_room = pytest.raises(
        UsageError, match=r"no temporary folder can be made: No such file .*; make room, or set"
    )
    with Workers(conditions(start_method=start_method), logs) as workers, no_room:
        describe(workers, [SMALL], {})


@takes_long("starts fork servers of its own")
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
    assert all(stage.closure_evaluations > stage.optimizer_steps == 5 for stage in train)
