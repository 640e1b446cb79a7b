"""Each verb that launches, with real workers; what it decides is told in tests/in_process."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import projects
import pytest
from projects import bench, bench_in, left, make_history, make_project, measured
from tiers import takes_long

from bench import cli
from bench.measurement import COUNTED, PROFILED, STACKED, TIMED
from bench.results import tables

SMALL = str(Path(__file__).parents[1] / "suites" / "small.py")


@pytest.fixture(scope="module", autouse=True)
def own_git(tmp_path_factory):
    with projects.own_git(tmp_path_factory.mktemp("temporary")):
        yield


def kinds(folder):
    """How many launches of each kind a run has, and the fork servers that they came from."""
    made = [json.loads(line)["measurement"] for line in (folder / "journal.jsonl").read_text().splitlines()]
    return Counter(one["kind"] for one in made), {one["fork_server"] for one in made}


class TestRun:
    @pytest.fixture(scope="class")
    @classmethod
    def finished(cls, tmp_path_factory):
        """A run of one case of the small suite: its folder."""
        cwd = tmp_path_factory.mktemp("elsewhere")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.exit_code(["run", SMALL, "-k", "mode=train", "--launches", "1", "--repeats", "0"])
        assert code == 0, err.getvalue()
        (folder,) = (cwd / "results").iterdir()
        return folder

    def test_each_launch_is_forked_from_a_fork_server(self, finished):
        made, fork_servers = kinds(finished)
        assert made == {TIMED: 1, COUNTED: 1, PROFILED: 1}
        assert fork_servers.isdisjoint({os.getpid(), os.getppid()})

    def test_it_ran_under_the_conditions_that_were_asked_for(self, finished):
        environment = tables.read(finished).environment
        assert (environment.allocator, environment.start_method) == ("pinned", "fork")

    def test_the_phases_of_a_step_add_up(self, finished):
        made = tables.read(finished)
        rows = made.summary.set_index("metric")["value"]
        phases = made.phases[made.phases["stage"] == "train"]
        assert phases["seconds_per_step"].sum() == pytest.approx(rows["train.step_mean"], rel=1e-3)
        assert phases.set_index("phase")["share"]["other"] < 0.2  # on a busy machine too

    def test_it_has_tables_pictures_and_the_trace_of_its_profile(self, finished):
        there = {str(path.relative_to(finished)) for path in finished.rglob("*")}
        assert {"plan.json", "environment.json", "summary.csv", "summary.parquet", "steps.parquet"} <= there
        assert any(name.startswith("plots/phases") and name.endswith(".png") for name in there)
        assert any(name.startswith("traces/") and name.endswith(".json.gz") for name in there)


def test_a_profile_has_counts_a_trace_a_flame_graph_and_operators(tmp_path):
    folder = tmp_path / "run"
    arguments = ["profile", SMALL, "-k", "mode=train", "--profile-steps", "2", "-q", "--out", str(folder)]
    assert cli.exit_code(arguments) == 0
    assert kinds(folder)[0] == {COUNTED: 1, PROFILED: 1, STACKED: 1}
    (trace,) = (folder / "traces").glob("*.json.gz")
    names = {event.get("name") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]}
    assert {"train", "validate", "test", "train: forward", "train: backward", "test: data"} <= names
    (flames,) = (folder / "traces").glob("*.speedscope.json")
    assert json.loads(flames.read_text())["profiles"][0]["endValue"] > 0
    assert "aten::addmm" in set(pd.read_parquet(folder / "ops.parquet")["operator"])


def test_a_suite_that_ends_the_process_which_reads_it_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("dies.py").write_text("import os\nos._exit(3)\n")
    assert cli.exit_code(["list", SMALL, "dies.py"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "dies.py ended the process that reads it (ended with exit code 3)" in line


class TestTwoSides:
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory, own_git):
        return make_project(tmp_path_factory.mktemp("ab"))

    def test_each_commit_is_measured_with_its_own_code(self, place):
        done = measured(place, "ref=half", "ref=plain", "loop.py", "--pairs", "1")
        assert done.code == 3
        work = done.rows()["work.train.samples"]
        assert (work["verdict"], work["reason"][:28]) == ("different_work", "train: samples 24 to 48, bat")
        for side in ("base", "candidate"):
            assert [record.kind for record in done.journal(side)] == [COUNTED, TIMED]
        assert (
            len({record.fork_server for side in ("base", "candidate") for record in done.journal(side)}) == 1
        )
        assert left(place) == []

    @takes_long("starts another interpreter for each pair")
    def test_another_interpreter_measures_its_side(self, place, tmp_path):
        python = Path(sys.executable)
        if sys.prefix != sys.base_prefix:  # the same virtual environment under another path
            python = tmp_path / "old" / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(os.path.realpath(sys.executable))
            shutil.copy(Path(sys.prefix) / "pyvenv.cfg", tmp_path / "old")
            (tmp_path / "old" / "lib").symlink_to(Path(sys.prefix) / "lib")
        done = measured(place, f"python={python}", "loop.py", "--pairs", "2", "--allow-inconclusive")
        assert done.code == 0
        fork_servers = [
            {record.fork_server for record in done.journal(side)[1:]} for side in ("base", "candidate")
        ]
        assert [len(each) for each in fork_servers] == [2, 2]  # replaced before every round
        assert fork_servers[0].isdisjoint(fork_servers[1])
        assert done.rows()["count.ops"]["verdict"] == "equivalent"


HOOK = """
import importlib.abc
import importlib.util
import sys


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, {file!r}) if name == "work" else None


sys.meta_path.insert(0, Finder())
"""


@takes_long("a whole comparison")
def test_an_editable_install_that_finds_the_other_tree_is_an_error(tmp_path_factory, tmp_path, monkeypatch):
    place = make_project(tmp_path_factory.mktemp("ab"))
    (tmp_path / "sitecustomize.py").write_text(HOOK.format(file=str(place / "work.py")))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    )
    done = bench(place, "ref=half", "loop.py")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert f"module 'work' was loaded from {place / 'work.py'}" in done.err
    assert "the wrong code would be measured; let the package be found by its path: PYTHONPATH" in done.err
    assert left(place) == []
    assert not done.folder.exists()


class TestCommits:
    @pytest.fixture(scope="class")
    @classmethod
    def history(cls, tmp_path_factory, own_git):
        return make_history(tmp_path_factory.mktemp("history"))

    def test_a_commit_with_more_operators_is_found_by_one_launch_of_each(self, history):
        done = bench_in(
            history, "bisect", "HEAD~3", "HEAD~2", "suites", "--metric", "count.ops", "--threads", "1"
        )
        assert done.code == 0, done.err
        whole, found, parent = done.out.splitlines()
        assert whole.startswith("HEAD~2 against HEAD~3: loop/device=cpu/")
        assert (found[:28], found[-8:]) == ("the first commit with more i", "commit 3")
        assert ("count.ops" in parent, " (+" in parent) == (True, True)

    @takes_long("plants every kind of slowdown")
    def test_every_kind_of_plant_is_really_done(self, history, tmp_path):
        arguments = (
            "--decisions",
            "1",
            "--plants",
            "1",
            "--out",
            str(tmp_path / "made"),
            "--pairs",
            "14",
            "--threads",
            "1",
        )
        done = bench_in(history, "selftest", "suites", *arguments)
        assert done.code == 0, done.err
        kept = json.loads((tmp_path / "made" / "selftest.json").read_text())["decisions"]
        assert len({one["arm"] for one in kept}) == 6
        assert all(one["pairs"] == 14 for one in kept)
