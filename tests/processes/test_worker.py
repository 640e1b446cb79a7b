"""Real workers: launches of real suites, forked and spawned, and what becomes of those that misbehave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from plans import run
from plans import suite_plan as plan_of
from tiers import LONG, long_only, takes_long

from bench.cli.options import conditions
from bench.errors import UsageError
from bench.measurement import TIMED, Failure, Measurement
from bench.running.fork_server import Refused
from bench.running.launching import launch
from bench.running.plan import Job, Plan
from bench.running.preparation import describe, probe
from bench.running.workers import Workers
from bench.suite.case import Case, Conditions, Schedule
from bench.system.paths import file_name

SUITES = Path(__file__).parents[1] / "suites"
SMALL, BEHAVIOURS, BATCHES = (str(SUITES / f"{name}.py") for name in ("small", "behaviours", "batches"))


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with Workers(conditions(), tmp_path_factory.mktemp("logs")) as workers:
        yield workers


@pytest.fixture(scope="module")
def behaviours(workers, tmp_path_factory):
    """One launch of each behaviour, by its name, and the pids of the processes that one of them left."""
    pids = tmp_path_factory.mktemp("behaviours") / "pids"
    os.environ["BEHAVIOURS_PIDS"] = str(pids)
    try:
        some = {} if LONG else {"behaviour": ["leaves_processes", "segfaults", "prints"]}
        plan = plan_of(workers, BEHAVIOURS, some, launches=1, timeout=120.0)
        hanging = plan_of(workers, BEHAVIOURS, {"behaviour": ["hangs"]}, launches=1, timeout=2.0)
        patient = [case for case in plan.cases if case["behaviour"] != "hangs"]
        records = [*run(workers, Plan(patient, plan.files, plan.schedule)), *run(workers, hanging)]
    finally:
        del os.environ["BEHAVIOURS_PIDS"]
    return {record.case["behaviour"]: record for record in records}, [
        int(pid) for pid in pids.read_text().split()
    ]


class TestForkedLaunches:
    def test_one_is_measured_in_a_process_under_its_conditions(self, workers):
        plan = plan_of(workers, SMALL, {"mode": ["train"]}, launches=1)
        plan = probe(workers, plan).plan
        (record,) = run(workers, plan)
        assert isinstance(record, Measurement), record
        assert [stage.stage for stage in record.stages] == ["train", "validate", "test"] * 2
        assert all(record.checks.values()), record.checks
        assert record.fork_server not in (0, os.getpid())
        assert record.conditions["start_method"] == "fork"
        assert record.conditions["allocator"] == "pinned"
        assert record.conditions["threads"] == workers.conditions.threads
        assert record.conditions["cpus"] == list(workers.conditions.cpus)
        assert record.memory["peak_rss"] > 0

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
            plan = plan_of(workers, BEHAVIOURS, {"behaviour": ["segfaults"]}, launches=1, timeout=120.0)
            (crash,) = run(workers, plan)
        assert (crash.failure, crash.message) == ("crash", "killed by SIGSEGV")

    def test_no_process_outlives_its_launch_either(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BEHAVIOURS_PIDS", str(tmp_path / "pids"))
        with Workers(conditions(start_method="spawn"), tmp_path) as workers:
            plan = plan_of(workers, BEHAVIOURS, {"behaviour": ["leaves_processes"]}, launches=1)
            (record,) = run(workers, plan)
        assert isinstance(record, Measurement), record
        pids = (tmp_path / "pids").read_text().split()
        assert len(pids) == 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


class TestBehaviours:
    @pytest.mark.parametrize(
        "behaviour",
        [
            *("prints", "leaves_processes"),
            *long_only(
                ("nothing",),
                ("closes_stdin",),
                ("closes_stdout",),
                ("changes_directory",),
                ("changes_locale",),
            ),
            *long_only(("forks",), ("leaves_files",), ("loader_workers",)),
        ],
    )
    def test_what_is_only_careless_still_measures(self, behaviours, behaviour):
        record = behaviours[0][behaviour]
        assert isinstance(record, Measurement), record
        assert len(record.stages) == 6

    @pytest.mark.parametrize(
        ("behaviour", "failure", "words"),
        [
            ("segfaults", "crash", "killed by SIGSEGV"),
            ("hangs", "timeout", "no result within 2 s"),
            *long_only(
                ("raises", "error", "ValueError: the user's own"),
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
    def test_what_fails_is_a_failure_that_says_why(self, behaviours, behaviour, failure, words):
        record = behaviours[0][behaviour]
        assert isinstance(record, Failure), record
        assert record.failure == failure
        assert words in record.message

    def test_no_process_outlives_its_launch(self, behaviours):
        pids = behaviours[1]
        assert len(pids) == (3 if LONG else 2)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    def test_what_user_code_prints_goes_to_the_log_of_its_launch(self, behaviours, workers):
        assert behaviours  # the launches that wrote it
        case = Case("behaviours", {"device": "cpu", "epochs": 2, "behaviour": "prints"})
        (log,) = workers.logs.glob(f"{file_name(case.id)}.*.log")
        assert log.read_text().count("y") >= 3_000_000


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


@takes_long("starts fork servers of its own")
class TestConditions:
    def test_threads_are_what_was_asked_for(self, tmp_path):
        with Workers(Conditions(threads=1, cpus=conditions().cpus), tmp_path) as workers:
            plan = plan_of(workers, SMALL, {"mode": ["no_grad"]}, launches=1)
            (record,) = run(workers, plan)
        assert record.conditions["threads"] == 1
        assert record.conditions["cpus"] == list(conditions().cpus)


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


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("has_logs", [True, False])
def test_where_no_temporary_folder_can_be_made_it_is_said(tmp_path, monkeypatch, start_method, has_logs):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    logs = tmp_path if has_logs else None
    no_room = pytest.raises(
        UsageError, match=r"no temporary folder can be created: No such file .*; free some space, or set"
    )
    with Workers(conditions(start_method=start_method), logs) as workers, no_room:
        describe(workers, [SMALL], {})
