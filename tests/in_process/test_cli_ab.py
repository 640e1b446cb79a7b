"""`bench ab` as a user meets it: commits of a tiny loop, and what a build gets to know of each."""

from __future__ import annotations

import json

import pytest
from projects import (
    CASE,
    OTHER,
    SUITE,
    TIMES,
    bench,
    git,
    left,
    make_project,
    measured,
    own_git,
    step_seconds,
    write_change,
)
from stand_in import standing_in, timed_as


@pytest.fixture(scope="module", autouse=True)
def timed_by_the_code(tmp_path_factory):
    with own_git(tmp_path_factory.mktemp("temporary")), standing_in(timed_as(step_seconds)):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory, timed_by_the_code):
    return make_project(tmp_path_factory.mktemp("ab"))


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
    def test_a_variable_is_set_for_its_side_alone(self, place):
        done = measured(place, "env:CHANGE=half", "loop.py")
        assert done.code == 3  # the base did half of the work
        assert done.rows()["work.train.samples"]["reason"].startswith(
            "train: samples 24 to 48, batches 3 to 6"
        )
        assert done.page["base"].startswith("env:CHANGE=half")
        assert len(done.journal("base")) == len(done.journal("candidate")) == 3  # counts and two pairs

    def test_a_value_of_an_axis_is_held_against_that_of_the_suite(self, place):
        done = measured(place, "set:width=16", "loop.py", "--pairs", "2", "--metric", "count.*")
        assert list(done.rows(f"{CASE} against width=16")) != []
        assert done.rows()["count.flops"]["verdict"] == "improved"
        assert done.code == 0
        assert {record.case["width"] for record in done.journal("base")} == {16}
        assert {record.case["width"] for record in done.journal("candidate")} == {8}


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
