"""`bench ab` as a user meets it: real commits of a tiny loop, and what a build gets to know of each."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiers import takes_long

from bench import cli
from bench.results.folder import RunFolder
from bench.results.journal import read_journal

WORK = '''
"""What the loop does; the variable goes before the constant."""

import os

CHANGE = os.environ.get("CHANGE", "{change}")
WIDTHS = [{widths}]
'''

SUITE = '''
"""A tiny loop: six batches of random data, and the change that work.py makes to it."""

import work

from bench import Suite


def build(case):
    import torch
    from torch import nn

    from bench.training import Task

    if work.CHANGE == "crash":
        raise ValueError("it no longer builds")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            width = case.get("width")
            self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
            self.register_buffer("load", torch.ones(256, 256))

        def forward(self, inputs):
            if work.CHANGE == "slow":
                for _ in range(20):
                    self.load @ self.load
            return self.layers(inputs)

    def batches(number):
        generator = torch.Generator().manual_seed(1)
        return [
            (torch.randn(8, 4, generator=generator), torch.randint(0, 2, (8,), generator=generator))
            for _ in range(number // 2 if work.CHANGE == "half" else number)
        ]

    model = Net()
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=5.0 if work.CHANGE == "wild" else 0.1),
        train_loader=batches(6),
        validate_loader=batches(4),
        test_loader=batches(2),
    )


suite = Suite(
    name="loop",
    build=build,
    axes={"device": ["cpu"], "batch_size": [8], "epochs": [2], "width": work.WIDTHS, "mode": ["train"]},
)
'''
CASE = "loop/device=cpu/batch_size=8/epochs=2/width=8/mode=train"
OTHER = CASE.replace("width=8", "width=16")
TIMES = ("epoch.time", "train.step_time")


def git(place, *arguments):
    done = subprocess.run(["git", *arguments], cwd=place, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_change(place, what="", widths="8"):
    (place / "work.py").write_text(WORK.format(change=what, widths=widths))


@pytest.fixture(scope="module", autouse=True)
def own_git(tmp_path_factory):
    """Git as nobody has configured it, no CI server, and temporary files where they can be counted."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "GITHUB_"))]:
            patch.delenv(name)
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "A tester")
            patch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A project below the top of a repository: the tag of each commit names its change; HEAD has none."""
    top = tmp_path_factory.mktemp("ab").resolve()
    git(top, "init", "-q", "-b", "main")
    place = top / "project"
    place.mkdir()
    (place / "loop.py").write_text(SUITE)
    (top / ".gitignore").write_text("results/\nbuilt\n__pycache__/\nuntracked.py\n")
    for what, widths in (("crash", "8"), ("half", "8"), ("wide", "16"), ("plain", "8")):
        write_change(place, "" if what in ("plain", "wide") else what, widths)
        git(top, "add", "-A")
        git(top, "commit", "-qm", what)
        git(top, "tag", what)
    return place


class Done:
    """What a command came to. `rows` are those of its JSON by metric, of the one case or of the named one."""

    def __init__(self, code, out, err, folder) -> None:
        self.code, self.out, self.err, self.folder = code, out, err, folder

    @property
    def page(self):
        return json.loads(self.out)

    def rows(self, case=None):
        return {row["metric"]: row for row in self.page["rows"] if case in (None, row["case"])}

    def journal(self, side):
        return read_journal(RunFolder(self.folder / side).journal).measurements


def bench(place, *arguments, folder=None):
    """Runs a command in the project."""
    out, err = io.StringIO(), io.StringIO()
    folder = folder or place / "results" / f"run{len(list((place / 'results').glob('*')))}"
    with (
        contextlib.chdir(place),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli.exit_code(["ab", *map(str, arguments), "--out", str(folder), "--threads", "1"])
    return Done(code, out.getvalue(), err.getvalue(), folder)


def measured(place, *arguments):
    return bench(place, *arguments, "--format", "json")


def left(place):
    """The worktrees that git knows of beside the user's, and temporary folders of them."""
    import tempfile

    known = git(place, "worktree", "list").splitlines()[1:]
    return known + [str(path) for path in Path(tempfile.gettempdir()).glob("epochbench-tree-*")]


@pytest.fixture
def clean(place):
    """Changes that a test made without a commit are undone."""
    yield place
    git(place, "checkout", "-q", ".")


@pytest.fixture(scope="module")
def slow(place):
    """Uncommitted work that is slower by far, and has a case more: without a side named at all."""
    write_change(place, "slow", "8, 16")
    before = {path.name: path.read_bytes() for path in place.glob("*.py")}
    done = measured(place, "loop.py", "--pairs", "14")
    done.tree = ({path.name: path.read_bytes() for path in place.glob("*.py")} == before, left(place))
    git(place, "checkout", "-q", ".")
    return done


class TestASlowCommit:
    def test_it_is_found_with_few_pairs_and_fails_the_build(self, slow):
        assert slow.code == slow.page["exit_code"] == 1
        for name in TIMES:
            row = slow.rows()[name]
            assert (row["verdict"], row["action"], row["case"]) == ("regressed", "fail", CASE)
            assert row["ratio"] > row["low"] > 2
        assert slow.rows()["count.ops"]["verdict"] == "regressed"
        assert slow.rows()["work.train.samples"]["verdict"] == "equivalent"

    def test_the_sides_are_called_by_their_commits(self, place, slow):
        commit = git(place, "rev-parse", "--short=9", "HEAD")
        assert slow.page["base"].startswith(f"ref={commit}")
        assert slow.page["candidate"] == f"worktree ({commit}+)"

    def test_a_case_of_one_side_alone_is_listed(self, slow):
        assert slow.page["only_candidate"] == [OTHER]
        assert slow.page["only_base"] == []

    def test_each_side_keeps_its_launches_and_the_ab_its_verdicts(self, slow):
        for side in ("base", "candidate"):
            kinds = [record.kind for record in slow.journal(side)]
            assert kinds == ["counts", *["timed"] * (len(kinds) - 1)]
            assert len(kinds) in (11, 15)
            assert (slow.folder / side / "summary.csv").is_file()
            assert any((slow.folder / side / "logs").iterdir())
        assert json.loads((slow.folder / "comparison.json").read_text())["exit_code"] == 1
        assert (slow.folder / "comparison.md").read_text().startswith("**Failed: ")
        assert {path.suffix for path in (slow.folder / "plots").iterdir()} == {".png", ".svg"}

    def test_who_leads_is_balanced(self, slow):
        base, candidate = (
            {record.round: record.position for record in slow.journal(side) if record.kind == "timed"}
            for side in ("base", "candidate")
        )
        assert {*base.values(), *candidate.values()} == {1, 2}
        assert base.keys() == candidate.keys()
        led = [base[number] == 1 for number in sorted(base)]
        assert all(set(two) == {True, False} for two in zip(led[::2], led[1::2], strict=True))

    def test_the_users_tree_is_as_it_was_and_nothing_is_left(self, slow):
        assert slow.tree == (True, [])

    def test_verdicts_are_said_as_they_fall(self, slow):
        line = next(line for line in slow.err.splitlines() if line.startswith("after 1"))
        assert CASE in line
        assert "epoch.time regressed, " in line


@pytest.fixture(scope="module")
def same(place):
    return measured(place, "worktree", "worktree", "loop.py", "--pairs", "6", "--allow-inconclusive")


@takes_long("a whole comparison")
class TestTheSameCode:
    def test_it_passes(self, same):
        assert same.code == 0
        assert {row["verdict"] for row in same.rows().values()} <= {"equivalent", "inconclusive"}

    def test_its_counts_are_equal_and_its_sides_are_called_alike(self, same):
        counts = {row["verdict"] for name, row in same.rows().items() if name.startswith(("count", "work"))}
        assert counts == {"equivalent"}
        assert same.page["base"] == same.page["candidate"]

    def test_it_has_as_many_pairs_as_were_asked_for(self, same):
        assert [record.kind for record in same.journal("base")] == ["counts", *["timed"] * 6]


class TestWhatNeverPasses:
    @takes_long("a whole comparison")
    def test_a_candidate_that_crashes(self, clean):
        # A threshold that names a time is no mistake of the user's because nothing was timed.
        (clean / "limits.toml").write_text('[[rule]]\nmetric = "epoch.time"\npolicy = "ignore"\n')
        try:
            more = ("--allow-inconclusive", "--thresholds", "limits.toml")
            done = measured(clean, "ref=plain", "ref=crash", "loop.py", *more)
        finally:
            (clean / "limits.toml").unlink()
        assert done.code == 3
        (row,) = done.page["rows"]
        assert (row["verdict"], row["case"], row["gates"]) == ("not_measured", CASE, True)
        assert "ValueError: it no longer builds" in row["reason"]
        assert "candidate: " in done.err
        assert left(clean) == []

    @takes_long("a whole comparison")
    def test_half_the_data(self, clean):
        done = measured(clean, "worktree", "ref=half", "loop.py", "--build", "touch built")
        assert done.code == 3
        assert done.page["counts"]["different_work"] == 1
        assert "improved" not in {row["verdict"] for row in done.rows().values()}
        work = done.rows()["work.train.samples"]
        assert work["reason"].startswith("train: samples 48 to 24, batches 6 to 3")
        assert {done.rows()[name]["verdict"] for name in TIMES} == {"different_work"}
        assert done.page["remedy"] == '[[rule]]\nmetric = "work.*"\npolicy = "ignore"'
        assert [record.kind for record in done.journal("base")] == ["counts", "timed", "timed"]
        assert (clean.parent / "built").is_file()

    @takes_long("a whole comparison")
    def test_a_model_that_no_longer_learns_without_a_word(self, clean):
        """It is as fast as before, and does as much. Nobody asked for what it has learnt; a rule makes that gate."""
        write_change(clean, "wild")
        two = ("ref=plain", "loop.py", "--pairs", "2", "--allow-inconclusive")
        done = measured(clean, *two)
        row = done.rows()["quality.train_loss"]
        assert (done.code, row["verdict"], row["action"]) == (0, "regressed", "warn")
        assert "; quality fell (quality." in (done.folder / "comparison.md").read_text().splitlines()[0]
        assert "quality.train_loss regressed, " in done.err
        (clean / "limits.toml").write_text('[[rule]]\nmetric = "quality.*"\npolicy = "fail"\n')
        try:
            done = measured(clean, *two, "--thresholds", "limits.toml")
        finally:
            (clean / "limits.toml").unlink()
        assert (done.code, done.rows()["quality.train_loss"]["action"]) == (1, "fail")

    def test_a_budget_that_ends_before_the_first_pair(self, place):
        done = measured(place, "worktree", "worktree", "loop.py", "--time-budget", "0.1s")
        assert done.code == 3
        assert {row["verdict"] for row in done.rows().values()} == {"not_measured"}
        assert "before its first pair" in done.rows()["epoch.time"]["reason"]


class TestOtherSides:
    @takes_long("measures a whole comparison")
    def test_a_variable_is_set_for_its_side_alone(self, place):
        done = measured(place, "env:CHANGE=half", "loop.py")
        assert done.code == 3  # the base did half of the work
        assert done.rows()["work.train.samples"]["reason"].startswith(
            "train: samples 24 to 48, batches 3 to 6"
        )
        assert done.page["base"].startswith("env:CHANGE=half")
        assert len(done.journal("base")) == len(done.journal("candidate")) == 3  # counts and two pairs

    @takes_long("a whole comparison")
    def test_a_value_of_an_axis_is_held_against_that_of_the_suite(self, place):
        done = measured(place, "set:width=16", "loop.py", "--pairs", "2", "--metric", "count.*")
        assert list(done.rows(f"{CASE} against width=16")) != []
        assert done.rows()["count.flops"]["verdict"] == "improved"
        assert done.code == 0
        assert {record.case["width"] for record in done.journal("base")} == {16}
        assert {record.case["width"] for record in done.journal("candidate")} == {8}

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
class TestTheWrongCode:
    def test_an_editable_install_that_finds_the_other_tree_is_an_error(self, place, tmp_path, monkeypatch):
        (tmp_path / "sitecustomize.py").write_text(HOOK.format(file=str(place / "work.py")))
        monkeypatch.setenv(
            "PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        )
        done = bench(place, "ref=half", "loop.py")
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert f"module 'work' was loaded from {place / 'work.py'}" in done.err
        assert (
            "the wrong code would be measured; let the package be found by its path: PYTHONPATH" in done.err
        )
        assert left(place) == []
        assert not done.folder.exists()


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("ref=nothing", "loop.py"), "ref=nothing: git knows no such commit, branch or tag"),
            (("commit=abc", "loop.py"), "'commit=abc' is neither a side nor a suite; a side is ref=REV"),
            (("ref=half", "ref=plain", "worktree"), "two sides can be compared, not 3: ref=half, ref=plain"),
            (("ref=half", "ref=half", "loop.py"), "both sides are ref=half; name two that differ"),
            (("python=no/such", "loop.py"), "python=no/such: there is no such program"),
            (("ref=half", "loop.py", "--pairs", "0"), "pairs must be at least 1, not 0"),
            (("ref=half", "nothing.py"), "suite file nothing.py does not exist"),
            (("ref=half",), "suite file suites does not exist"),
            (("ref=half", "untracked.py"), "the sides have no case in common: 0 in ref=half ("),
            (("ref=half", "loop.py", "--format", "xml"), "unknown format 'xml'; there are table, markdown"),
            (("ref=half", "loop.py", "--time-budget", "soon"), "'soon' is not a duration"),
            (("ref=half", "loop.py", "--thresholds", "no.toml"), "no.toml cannot be read"),
            (("env:OMP_NUM_THREADS=many", "loop.py"), "env:OMP_NUM_THREADS=many is not a number of threads"),
            (
                ("ref=half", "loop.py", "--build", "echo no compiler; exit 3"),
                "--build 'echo no compiler; exit 3' ended with exit code 3 in ",
            ),
            (
                ("ref=half", "loop.py", "-k", "width=9"),
                "-k 'width=9' matches no case of either side",
            ),
            (("ref=wide", "loop.py"), "the sides have no case in common: 1 in ref=wide ("),
        ],
    )
    def test_it_is_said_in_one_line_and_nothing_is_left(self, place, arguments, said):
        (place / "untracked.py").write_text(SUITE)
        try:
            done = bench(place, *arguments)
        finally:
            (place / "untracked.py").unlink()
        assert (done.code, len(done.err.splitlines()), done.out) == (2, 1, "")
        assert done.err.startswith("bench: ")
        assert said in done.err
        assert not done.folder.exists()
        assert left(place) == []

    def test_a_folder_that_is_not_empty_is_kept_as_it_is(self, place):
        folder = place / "results" / "full"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "notes.txt").write_text("mine")
        done = bench(place, "worktree", "worktree", "loop.py", folder=folder)
        assert done.code == 2
        assert "exists and is not an empty folder; name another with --out" in done.err
        assert [path.name for path in folder.iterdir()] == ["notes.txt"]

    def test_commits_need_a_repository(self, tmp_path):
        (tmp_path / "loop.py").write_text(SUITE)
        (tmp_path / "results").mkdir()
        for arguments in (("ref=main", "loop.py"), ("loop.py",)):
            done = bench(tmp_path, *arguments)
            assert (done.code, len(done.err.splitlines())) == (2, 1)
            assert "not a git repository" in done.err
