"""Scripts in real workers: launches of every kind, and what becomes of a script that misbehaves."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tiers import LONG, long_only, takes_long

import bench
from bench.analysis.launch.derived_counts import count_values
from bench.analysis.run.stopping import StopRule
from bench.cli import exit_code
from bench.cli.options import conditions
from bench.cli.run_request import RunRequest, earlier
from bench.errors import UsageError
from bench.measurement import COUNTED, PROFILED, STACKED, TIMED, Failure, Measurement
from bench.measurement.messages import LaunchRequest
from bench.results.folder import RunFolder
from bench.results.journal import read_journal
from bench.running import rounds as runner
from bench.running.launching import launch
from bench.running.plan import Job, Plan
from bench.running.preparation import describe_script, probe
from bench.running.workers import Workers
from bench.suite.case import Case, Conditions, Schedule, UntimedLaunches
from bench.suite.script import Script, script
from bench.system.paths import file_name
from bench.training import Observer
from bench.worker.context import LaunchContext
from bench.worker.script import launches
from bench.worker.script import run as scripts
from bench.worker.script.errors import ScriptError
from bench.worker.script.launches import ScriptCounter, count
from bench.worker.script.recorder import Recorder
from bench.worker.script.run import probe as probe_script

SUITES = Path(__file__).parents[1] / "suites"

WATCHED, UNWATCHED = SUITES / "watched.py", SUITES / "unwatched.py"

NO_LOG = LaunchContext(0, "")


def plan_of(path=WATCHED, arguments=(), axes=None, apart=None, **schedule) -> Plan:
    axes = axes or {}
    its = script(path, arguments, list(axes))
    (listing,) = describe_script(its, axes)
    schedule = {"launches": 1, "timeout": 60.0, **schedule}
    return Plan(
        listing.expansion.cases,
        {listing.name: listing.file},
        Schedule(**schedule),
        apart or UntimedLaunches(),
        script=its,
    )


def once(workers: Workers, plan: Plan):
    """One launch of the only case, from the fork server that is there."""
    (case,) = plan.cases
    return launch(workers, plan, Job(case, TIMED, 1, 1))


def run(workers: Workers, plan: Plan):
    """Each launch once, whatever else this machine is doing."""
    return list(runner.run(workers, plan, StopRule(dataclasses.replace(plan.schedule, repeats=0))))


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
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
def deeds(workers, sources):
    """A launch of each deed, by its name."""
    names = ["raises", "forgets", *(["exits", "diverges", "stays"] if LONG else [])]
    found = {record.case["deed"]: record for record in run(workers, plan_of(axes={"deed": names}))}
    if LONG:
        found["hangs"] = once(workers, plan_of(axes={"deed": ["hangs"]}, timeout=5.0))
    return found


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

    def test_a_variable_of_the_environment_reaches_it(self, workers, sources, tmp_path):
        path = tmp_path / "train.py"
        path.write_text(
            "import os, sys\nimport neighbour\n"
            "sys.exit(f'{os.environ[\"WORKERS\"]} {sys.argv[1:]} {__name__} {neighbour.HERE}')"
        )
        (tmp_path / "neighbour.py").write_text("HERE = 'beside it'")
        plan = plan_of(path, ["--a"], {"env:WORKERS": [2], "b-c": ["x y"]})
        record = once(workers, plan)
        assert record.message == "the script ended: 2 ['--a', '--b-c=x y'] __main__ beside it"


class TestFailures:
    @pytest.mark.parametrize(
        ("deed", "failure", "words"),
        [
            ("raises", "error", "ValueError: the user's own mistake"),
            ("forgets", "error", 'does not train: with epochbench.stage("validate"):'),
            *long_only(
                ("exits", "error", "the script ended with exit code 3: no more"),
                ("diverges", "diverged", "the train loss of epoch 2 is nan"),
                (
                    "hangs",
                    "timeout",
                    "no result within 5 s, killed; give it longer with --timeout; its log ends: begins",
                ),
                ("stays", "error", "let the script run two epochs or more"),
            ),
        ],
    )
    def test_it_says_why(self, deeds, deed, failure, words):
        record = deeds[deed]
        assert isinstance(record, Failure), record
        assert record.failure == failure
        assert words in record.message

    def test_it_names_the_users_own_line_and_keeps_the_end_of_the_log(self, deeds):
        where, _, line = deeds["raises"].where.rpartition(":")
        assert where == str(WATCHED)
        assert "the user's own" in WATCHED.read_text().splitlines()[int(line) - 1]
        assert deeds["raises"].detail.endswith("deed='raises')")

    @takes_long("waits for a time limit")
    def test_one_that_was_killed_has_the_end_of_its_log_too(self, deeds):
        where, _, end = deeds["hangs"].detail.partition("\n\nThe end of its log:\n")
        assert where.startswith("logs/watched-")
        assert end.splitlines()[-1].startswith("begins ")

    def test_arguments_that_it_does_not_know_are_told_in_its_own_words(self, workers, sources):
        record = once(workers, plan_of(arguments=["--wat"]))
        assert "exit code 2: watched.py: error: unrecognized arguments: --wat" in record.message

    def test_a_loop_that_waits_for_a_thread_is_told_at_once_what_that_raised(self, workers, tmp_path):
        path = tmp_path / "train.py"
        path.write_text(
            "import queue, threading, bench\n"
            "batches = queue.Queue()\n"
            "def fetch():\n"
            "    for batch in bench.watch([[1]], 'validate'):\n"
            "        pass\n"
            "threading.Thread(target=fetch, daemon=True).start()\n"
            "batches.get()\n"
        )
        record = once(workers, plan_of(path, timeout=30.0))
        assert record.failure == "error"
        assert "in a thread that only fetches its batches; watch what the loop itself takes" in record.message
        assert record.where == f"{path}:4"

    def test_a_script_without_a_watched_loader_is_told_what_to_write(self, workers):
        record = once(workers, plan_of(UNWATCHED))
        assert "for inputs, targets in epochbench.watch(train_loader):" in record.message
        assert record.detail.endswith("nothing to watch")


TRAINS = """
import multiprocessing, os, sys, threading
import torch, bench

def train(epochs=2, done=0):
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for epoch in range(done, epochs):
        for inputs in bench.watch(torch.utils.data.DataLoader(torch.ones(8, 3), 4)):
            optimizer.zero_grad()
            model(inputs).sum().backward()
            optimizer.step()
    return model
"""


@takes_long("launches a script again")
class TestWhatPlainPythonAllows:
    """Each is measured as `python train.py` would run it; the end of its log is what it has printed."""

    @pytest.fixture
    def runs(self, workers, sources, tmp_path):
        def run(text, kind=TIMED, arguments=(), name="train.py", place=None):
            path = tmp_path / "own" / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(TRAINS + text)
            plan = plan_of(place or path, arguments)
            plan = dataclasses.replace(plan, traces=tmp_path / "traces")
            record = launch(workers, plan, Job(plan.cases[0], kind, 1, 1))
            log = next(workers.logs.glob(f"*device=cpu*.{kind}.1.log"), None)
            printed = "" if log is None else log.read_text()
            if log is not None:
                log.unlink()
            return record, printed

        return run

    @pytest.mark.parametrize(
        "text",
        [
            "train(); os._exit(0)",
            "train(); sys.exit(0)",
            "threading.Thread(target=train).start()",
            "sys.stdout.close(); sys.stderr.close(); train()",
            "os.close(0); os.close(1); train()",
            "os.chdir('/'); train()",
            "os.environ.clear(); train()",
            "sys.setprofile(lambda *_: None); train()",
            "import warnings; warnings.simplefilter('error'); train()",
            "import shutil, tempfile; shutil.rmtree(tempfile.gettempdir()); train()",
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.killpg(0, signal.SIGTERM); train()",
        ],
    )
    def test_it_is_measured(self, runs, text):
        record, _ = runs(text)
        assert isinstance(record, Measurement), record
        assert [stage.samples for stage in record.stages] == [(4, 4), (4, 4)]

    def test_it_sets_the_start_method_of_processes_itself(self, runs):
        record, _ = runs("multiprocessing.set_start_method('forkserver'); train()")
        assert isinstance(record, Measurement), record
        assert record.conditions["loader_start_method"] == "forkserver"
        untouched, _ = runs("train()")
        assert untouched.conditions["loader_start_method"] == "fork"

    def test_what_it_leaves_for_its_end_is_done(self, runs):
        record, printed = runs("import atexit; atexit.register(print, 'farewell'); train()")
        assert isinstance(record, Measurement), record
        assert printed.endswith("farewell\n")

    def test_its_input_is_a_terminal_on_which_nobody_types(self, runs):
        text = (
            "print(os.popen('stty size').read().split(), sys.stdin.read() == '', sys.stdin.isatty()); train()"
        )
        _, printed = runs(text)
        assert printed == "['24', '80'] True True\n"

    def test_a_profile_of_one_that_goes_to_another_folder_is_found(self, runs, tmp_path):
        record, _ = runs("os.chdir('/'); train()", PROFILED)
        assert isinstance(record, Measurement), record
        assert list((tmp_path / "traces").iterdir()) != []

    def test_an_interrupt_that_it_raises_itself_is_its_failure(self, runs):
        record, _ = runs("raise KeyboardInterrupt")
        assert (record.failure, record.message) == ("error", "KeyboardInterrupt")

    def test_one_that_starts_anew_is_told_what_to_do(self, runs):
        record, _ = runs("os.execv(sys.executable, [sys.executable, *sys.argv])")
        assert "starts python" in record.message
        assert "NAME=VALUE bench run" in record.message

    def test_one_that_trains_in_other_processes_is_told_so(self, runs):
        text = (
            "child = multiprocessing.get_context('fork').Process(target=train); child.start(); child.join()"
        )
        record, _ = runs(text)
        assert "it started others (train)" in record.message
        assert "what is measured trains in one process" in record.message

    def test_it_may_be_the_only_process_of_a_group(self, runs):
        record, _ = runs("os.environ['WORLD_SIZE'] = '1'; train()")
        assert isinstance(record, Measurement), record

    def test_a_module_is_run_as_python_m_runs_it(self, monkeypatch, tmp_path):
        package = tmp_path / "own" / "pkg"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "parts.py").write_text(TRAINS)
        (package / "train.py").write_text(
            "from .parts import *\nprint(__name__, __package__, sys.argv[0].endswith('pkg/train.py'))\ntrain()"
        )
        monkeypatch.chdir(tmp_path / "own")
        with Workers(conditions(threads=1), tmp_path) as here:
            plan = plan_of(Path("pkg.train"))
            record = once(here, plan)
            assert isinstance(record, Measurement), record
            assert record.case.suite == "train"
            alone = once(here, plan_of(package / "train.py"))
        assert (
            (tmp_path / f"{file_name(record.case.id)}.timed.1.log")
            .read_text()
            .startswith("__main__ pkg True")
        )
        assert (
            "name it as python -m does, in the folder above the package: --script pkg.train" in alone.message
        )


@takes_long("launches a script again")
class TestFolders:
    """What one launch leaves, the next does not find, and the user has what was there before."""

    TEXT = """
start = int(open("done").read()) if os.path.exists("done") else 0
model = train(3, start)
torch.save(model.state_dict(), "checkpoint.pt")
open("done", "w").write("3")
"""

    @pytest.fixture
    def own(self, tmp_path, monkeypatch):
        place = tmp_path / "own"
        place.mkdir()
        (place / "train.py").write_text(TRAINS + self.TEXT)
        (place / "checkpoint.pt").write_text("days of training")
        monkeypatch.chdir(place)
        return place

    @pytest.fixture
    def logs(self, tmp_path):
        (tmp_path / "logs").mkdir()
        return tmp_path / "logs"

    @pytest.fixture
    def allowed(self, tmp_path):
        """Skips where this system has no overlays: a process tries."""
        look = "import sys; from bench.worker.script.isolation import isolate; isolate([sys.argv[1]], [], sys.argv[2])"
        (tmp_path / "look").mkdir()
        arguments = [sys.executable, "-c", look, str(tmp_path / "look"), str(tmp_path / "scratch")]
        tried = subprocess.run(
            arguments, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
        )
        if tried.returncode:
            pytest.skip(tried.stderr.splitlines()[-1])

    def test_every_launch_begins_from_the_same_files(self, own, allowed, logs):
        with Workers(conditions(threads=1), logs) as workers:
            plan = plan_of(own / "train.py")
            plan = probe(workers, plan).plan
            records = [once(workers, plan) for _ in range(2)]
        for record in records:
            assert isinstance(record, Measurement), record
            assert [stage.epoch for stage in record.stages] == [0, 1, 2]
        assert (own / "checkpoint.pt").read_text() == "days of training"
        assert sorted(path.name for path in own.iterdir()) == ["checkpoint.pt", "train.py"]

    def test_the_probe_tells_what_it_has_written(self, own, allowed, logs):
        (own / "train.py").write_text(f"{TRAINS}\nopen('log.txt', 'w').close()\n{self.TEXT}")
        with Workers(conditions(threads=1), logs) as workers:
            probed = probe(workers, plan_of(own / "train.py"))
        assert probed.written == ("log.txt",)

    def test_where_the_system_has_none_the_first_write_is_told_before_anything_is_measured(
        self, own, logs, monkeypatch
    ):
        monkeypatch.setenv("TMPDIR", str(own))  # an overlay cannot lie over its own place
        monkeypatch.setattr(tempfile, "tempdir", None)
        (own / "train.py").write_text(f"{TRAINS}\ntorch.save({{}}, 'checkpoint.pt')\n{self.TEXT}")
        with (
            Workers(conditions(threads=1), logs) as workers,
            pytest.raises(
                UsageError, match=r"writes .*checkpoint.pt, and this system gives a launch no folder"
            ),
        ):
            probe(workers, plan_of(own / "train.py"))
        assert (own / "checkpoint.pt").read_text() == "days of training"

    def test_in_place_it_writes_where_it_writes(self, own, logs):
        with Workers(conditions(threads=1), logs) as workers:
            plan = plan_of(own / "train.py")
            plan = dataclasses.replace(plan, script=dataclasses.replace(plan.script, in_place=True))
            assert isinstance(once(workers, plan), Measurement)
        assert (own / "done").read_text() == "3"


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

    def test_one_that_nobody_has_edited_is_found_out_in_its_first_steps(self, tmp_path, monkeypatch):
        taken = []
        monkeypatch.setattr("builtins.taken", taken, raising=False)
        text = (
            "import torch\nmodel = torch.nn.Linear(2, 1)\noptimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
            "for _ in range(100):\n    model(torch.ones(1, 2)).sum().backward()\n    optimizer.step()\n    "
            "taken.append(1)"
        )
        with pytest.raises(
            UsageError, match="trains without a pass over a watched loader; import epochbench in it"
        ):
            probe_script(self.script(tmp_path, text), self.CASE, NO_LOG)
        assert len(taken) == 2

    @pytest.mark.parametrize("end", ["", "raise SystemExit(0)"])
    def test_one_that_ends_without_training_is_told_before_it_runs_again(self, tmp_path, end):
        with pytest.raises(
            UsageError, match="ended without a pass over a watched loader; import epochbench in it"
        ):
            probe_script(self.script(tmp_path, f"import torch\n{end}"), self.CASE, NO_LOG)

    def test_one_that_watches_later_is_let_through(self, tmp_path):
        text = (
            "import torch, bench\nmodel = torch.nn.Linear(2, 1)\noptimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
            "for loader in (range(9), bench.watch(range(9))):\n    for _ in loader:\n"
            "        model(torch.ones(1, 2)).sum().backward()\n        optimizer.step()"
        )
        assert probe_script(self.script(tmp_path, text), self.CASE, NO_LOG).modules == ()

    def test_one_that_names_bench_and_never_comes_to_its_loop_is_told_why_that_may_be(self, tmp_path):
        with pytest.raises(
            ScriptError, match="it never came to its loop, as where it goes on from a checkpoint"
        ):
            scripts.run(self.script(tmp_path, "import bench"), self.CASE, Recorder(Observer()), NO_LOG)

    def test_a_script_that_catches_everything_is_still_told(self, tmp_path):
        text = "import bench\ntry:\n    list(bench.watch([[1]]))\nexcept Exception:\n    pass"
        with pytest.raises(ScriptError, match="made no backward pass"):
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


@takes_long("launches a script again")
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


@takes_long("launches a script again")
def test_a_run_of_a_script_says_what_it_writes_and_advises_nothing_that_scripts_have_not(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(f"{TRAINS}\nopen('log.txt', 'a').close()\ntrain()")
    once = ["--launches", "1", "--repeats", "0", "--no-counts", "--no-profile", "--out", "run"]
    assert exit_code(["run", "--script", "train.py", *once]) == 0
    said = capfd.readouterr().err
    if (tmp_path / "log.txt").exists():
        pytest.skip("this system has no overlays")
    assert "the script writes log.txt: each launch begins with the folder as it is now" in said
    assert exit_code(["show", "run", "--quality"]) == 2
    said = capfd.readouterr().err
    assert "run is of a script, whose validation loss is not known" in said
    assert "--axis" not in said


@takes_long("launches a script again")
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
