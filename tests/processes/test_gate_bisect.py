"""Git's bisection with the gate as its judge, in a repository made for it."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest

from bench.ab.bisection import answer, halfway, history, slowest
from bench.ab.trees import Repository, git
from bench.analysis.compare.comparable import ComparisonOptions
from bench.analysis.compare.policy import Policy
from bench.analysis.compare.verdict import Row
from bench.errors import UsageError
from bench.measurement import METRICS


def row(verdict="regressed", ratio=1.1, metric="epoch.time", gates=True):
    return Row(
        *("suite", "case", METRICS[metric], 1.0, ratio),
        ratio=ratio,
        low=ratio,
        high=ratio,
        verdict=verdict,
        policy=Policy(0.01),
        gates=gates,
        undecided_gates=True,
    )


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Seven commits in a row, called c1 to c7."""
    for command in (
        ["init", "-q", "-b", "main"],
        ["config", "user.email", "a@b.c"],
        ["config", "user.name", "n"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    for number in range(1, 8):
        (tmp_path / "file").write_text(str(number))
        subprocess.run(["git", "add", "file"], cwd=tmp_path, check=True)
        subprocess.run(["git", "commit", "-qm", f"c{number}"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return Repository()


def search(repository, judge):
    """Which commits were judged, by their number, and what was found."""
    judged = []
    with history(repository, "HEAD~6", "HEAD") as commits:
        while commits.culprit is None:
            number = int(commits.subject(commits.commit).split()[1][1:])
            judged.append(number)
            commits.tell(judge(number))
        return judged, commits.culprit


class TestTheSearch:
    @pytest.mark.parametrize("first", range(2, 8))
    def test_the_first_bad_commit_is_found_in_a_few_steps(self, repository, first):
        judged, found = search(repository, lambda number: "bad" if number >= first else "good")
        assert [subject.split()[1] for subject in found.subjects] == [f"c{first}"]
        assert found.parent == git(repository.top, "rev-parse", f"HEAD~{8 - first}")
        assert len(judged) <= 3

    def test_what_cannot_be_decided_is_gone_around(self, repository):
        verdicts = {4: "skip"}
        _, found = search(repository, lambda number: verdicts.get(number, "bad" if number >= 6 else "good"))
        assert [subject.split()[1] for subject in found.subjects] == ["c6"]

    def test_where_it_is_in_the_way_all_that_it_may_be_are_named(self, repository):
        _, found = search(
            repository, lambda number: "skip" if number in (4, 5) else "bad" if number > 5 else "good"
        )
        assert {subject.split()[1] for subject in found.subjects} == {"c4", "c5", "c6"}
        assert not found.parent

    def test_a_bad_commit_right_behind_the_good_one_needs_no_step(self, repository):
        with history(repository, "HEAD~1", "HEAD") as commits:
            assert commits.culprit.subjects[0].endswith("c7")

    def test_nothing_is_left_behind_and_nothing_touched(self, repository):
        before = git(repository.top, "status", "--porcelain"), git(repository.top, "rev-parse", "HEAD")
        search(repository, lambda number: "bad" if number > 3 else "good")
        assert len(git(repository.top, "worktree", "list").splitlines()) == 1
        assert (
            git(repository.top, "status", "--porcelain"),
            git(repository.top, "rev-parse", "HEAD"),
        ) == before

    @pytest.mark.parametrize(
        ("good", "bad", "said"),
        [
            ("HEAD", "HEAD~2", "is not an ancestor of"),
            ("HEAD", "HEAD", "are the same commit"),
            ("nowhere", "HEAD", "git knows no such"),
        ],
    )
    def test_commits_that_cannot_be_searched_between(self, repository, good, bad, said):
        with pytest.raises(UsageError, match=said), history(repository, good, bad):
            pass


class TestTheJudge:
    def test_the_line_is_drawn_at_half_of_the_whole_change(self):
        asked = halfway(row(ratio=1.1), ComparisonOptions(standards={"time": 0.01, "memory": 0.05}))
        assert asked.metrics == ["epoch.time"]
        assert asked.standards == {"time": pytest.approx(0.05), "memory": 0.05}

    @pytest.mark.parametrize(
        ("verdict", "told"),
        [
            ("regressed", "bad"),
            ("equivalent", "good"),
            ("improved", "good"),
            ("inconclusive", "skip"),
            ("not_measured", "skip"),
        ],
    )
    def test_each_verdict_tells_git_something(self, verdict, told):
        assert answer(row(verdict)) == told

    def test_a_case_that_a_commit_has_not_is_skipped(self):
        assert answer(None) == "skip"

    def test_of_all_that_regressed_the_most_is_followed(self):
        rows = [
            row(ratio=1.1),
            row(ratio=1.3, metric="train.step_time"),
            row("improved", 0.5),
            row(gates=False, ratio=2),
        ]
        assert slowest(rows) == rows[1]
        assert slowest([dataclasses.replace(rows[0], verdict="equivalent")]) is None

    def test_another_metric_is_followed_where_it_was_asked_for(self):
        rows = [row(ratio=1.2, metric="memory.peak_rss")]
        assert slowest(rows) is None
        assert slowest(rows, ["memory.*"]) == rows[0]
        asked = halfway(rows[0], ComparisonOptions(standards={"time": 0.01, "memory": 0.05}))
        assert asked.standards == {"time": 0.01, "memory": pytest.approx(0.1)}
