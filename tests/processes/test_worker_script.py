"""Scripts in real workers: what each may do to its process, its streams and its folder."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from plans import once
from plans import script_plan as plan_of
from tiers import takes_long

from bench.cli import exit_code
from bench.cli.options import conditions
from bench.errors import UsageError
from bench.measurement import PROFILED, TIMED, Measurement
from bench.running.launching import launch
from bench.running.plan import Job
from bench.running.preparation import probe
from bench.running.workers import Workers
from bench.system.paths import file_name
from bench.worker.context import LaunchContext

SUITES = Path(__file__).parents[1] / "suites"

NO_LOG = LaunchContext(0, "")


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with Workers(conditions(threads=1), tmp_path_factory.mktemp("logs")) as workers:
        yield workers


@pytest.fixture(scope="module")
def sources(workers):
    """What the probe of the script tells, before the others use the same workers."""
    return probe(workers, plan_of()).sources


class TestLaunches:
    def test_a_timed_one_has_the_stages_of_every_epoch_and_phases_that_add_up(self, workers, sources):
        record = once(workers, plan_of(axes={"lr": [0.01]}))
        assert isinstance(record, Measurement), record
        stages = [(stage.epoch, stage.stage, stage.samples) for stage in record.stages]
        each = [("train", (4, 4, 4)), ("validate", (4, 4))]
        assert stages == [(epoch, *what) for epoch in (0, 1) for what in each]
        assert record.checks == {"parameters_moved_in_training": True, "weights_kept_in_evaluation": True}
        assert record.memory["peak_rss"] > 0
        for stage in record.stages:
            assert sum(stage.phases.values()) == pytest.approx(stage.wall, rel=0.01, abs=1e-4)

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
    @takes_long("waits for a time limit")
    def test_one_that_was_killed_has_the_end_of_its_log_too(self, workers, sources):
        record = once(workers, plan_of(axes={"behaviour": ["hangs"]}, timeout=5.0))
        assert record.failure == "timeout"
        assert (
            "no result within 5 s, killed; give it longer with --timeout; its log ends: begins"
            in record.message
        )
        where, _, end = record.detail.partition("\n\nThe end of its log:\n")
        assert where.startswith("logs/watched-")
        assert end.splitlines()[-1].startswith("begins ")

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
        assert "replaces itself with python" in record.message
        assert "NAME=VALUE bench run" in record.message

    def test_one_that_trains_in_other_processes_is_told_so(self, runs):
        text = (
            "child = multiprocessing.get_context('fork').Process(target=train); child.start(); child.join()"
        )
        record, _ = runs(text)
        assert "it started others (train)" in record.message
        assert "only training in one process" in record.message

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
    assert "run measured a script, whose validation loss is not known" in said
    assert "--axis" not in said
