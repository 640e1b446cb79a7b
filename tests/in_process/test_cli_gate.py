"""`bench bisect` and `bench selftest` as a user meets them, on commits of a tiny loop."""

from __future__ import annotations

import json

import pytest
from projects import bench_in as bench
from projects import git, make_history, own_git, step_seconds
from stand_in import standing_in, timed_as

QUICK = ("--pairs", "14", "--threads", "1")


@pytest.fixture(scope="module", autouse=True)
def timed_by_the_code(tmp_path_factory):
    with own_git(tmp_path_factory.mktemp("temporary")), standing_in(timed_as(step_seconds)):
        yield


@pytest.fixture(scope="module")
def history(tmp_path_factory, timed_by_the_code):
    return make_history(tmp_path_factory.mktemp("history"))


class TestBisect:
    def test_the_commit_is_found_with_ratio_and_phase(self, history):
        done = bench(history, "bisect", "HEAD~4", "HEAD", "suites", *QUICK)
        assert done.code == 0, done.err
        assert "the first slow commit is" in done.out
        assert "commit 3" in done.out.partition("the first slow commit is")[2]
        assert "regressed" in done.out.partition("against its parent")[2]
        assert "forward" in done.out.splitlines()[-1]

    def test_where_nothing_got_slower_it_is_undecided(self, history):
        done = bench(history, "bisect", "HEAD~2", "HEAD", "suites", "--pairs", "2", "--threads", "1")
        assert (done.code, "undecided" in done.out) == (3, True)

    def test_an_exact_metric_takes_one_launch_a_commit(self, history):
        done = bench(
            history, "bisect", "HEAD~3", "HEAD~1", "suites", "--metric", "count.ops", "--threads", "1"
        )
        assert done.code == 0, done.err
        whole, step, found, parent = done.out.splitlines()
        assert whole.startswith("HEAD~1 against HEAD~3: loop/device=cpu/")
        assert (": bad, " in step, "commit 3" in step) == (True, True)
        assert (found[:28], found[-8:]) == ("the first commit with more i", "commit 3")
        assert ("count.ops" in parent, " (+" in parent) == (True, True)

    def test_an_exact_metric_that_did_not_rise_is_said(self, history):
        done = bench(history, "bisect", "HEAD~1", "HEAD", "suites", "--metric", "work.*", "--threads", "1")
        assert (done.code, done.out) == (3, "undecided: no work.* of HEAD is above that of HEAD~1\n")

    @pytest.mark.parametrize(
        ("metrics", "said"),
        [
            (["compute.step_flops"], "it is not known whether more or less is worse"),
            (["count.ops", "epoch.time"], "count.ops is exact and needs one launch per commit"),
        ],
    )
    def test_metrics_that_cannot_be_bisected_are_refused_before_anything_is_measured(
        self, history, metrics, said
    ):
        asked = [word for name in metrics for word in ("--metric", name)]
        done = bench(history, "bisect", "HEAD~4", "HEAD", "suites", *asked)
        assert (done.code, len(done.err.splitlines()), done.out) == (2, 1, "")
        assert said in done.err

    def test_the_tree_is_as_it_was(self, history):
        assert git(history, "status", "--porcelain", "--untracked-files=no") == ""
        assert len(git(history, "worktree", "list").splitlines()) == 1

    @pytest.mark.parametrize(
        ("good", "bad", "said"),
        [("HEAD", "HEAD~1", "not an ancestor"), ("nowhere", "HEAD", "knows no such")],
    )
    def test_commits_that_cannot_be(self, history, good, bad, said):
        done = bench(history, "bisect", good, bad)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert said in done.err


class TestSelftest:
    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, history):
        place = history / "results" / "20260101T000000-a-b-selftest"
        arguments = (
            "--decisions",
            "1",
            "--slowdowns",
            "0",
            "--out",
            str(place),
            "--pairs",
            "2",
            "--threads",
            "1",
        )
        return bench(history, "selftest", "suites", *arguments), place

    def test_the_decision_is_shown_and_kept(self, made):
        done, place = made
        assert done.code == 0, done.err
        assert "identical code" in done.out
        (kept,) = json.loads((place / "selftest.json").read_text())["decisions"]
        assert set(kept["verdicts"]) == {"epoch.time", "train.step_time"}

    def test_an_ab_on_this_machine_says_so(self, history, made):
        done = bench(history, "ab", "worktree", "worktree", "suites", "--pairs", "2", "--threads", "1", "-q")
        assert "the gate on this machine" in done.out

    @pytest.mark.parametrize("option", ["--slowdowns", "--plants"], ids=["new", "older-name"])
    def test_nothing_to_decide_is_refused(self, history, option):
        done = bench(history, "selftest", "--decisions", "0", option, "0")
        assert (done.code, len(done.err.splitlines())) == (2, 1)
