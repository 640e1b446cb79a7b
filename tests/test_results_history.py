"""What a launch of a case took in earlier runs, as a dry run tells it."""

from __future__ import annotations

import pytest
from fakes import failure, measurement

from bench.case import Case
from bench.results.history import launch_seconds
from bench.results.journal import Journal

FAST, SLOW = Case("s", {"width": 1}), Case("s", {"width": 2})


@pytest.fixture
def run(tmp_path):
    """Makes a run with a launch of each of these (case, seconds; None where it failed), and gives its journal."""

    def make(day: int, *launches):
        folder = tmp_path / f"202601{day:02}T000000-abc-host"
        folder.mkdir()
        journal = Journal(folder / "journal.jsonl")
        for case, seconds in launches:
            if seconds is None:
                journal.append(failure(case=case))
            else:
                costs = {"build": seconds / 4, "loop": seconds * 3 / 4}
                journal.append(measurement(case=case, costs=costs))
        journal.close()
        return folder / "journal.jsonl"

    return make


def test_a_launch_takes_all_its_costs(tmp_path, run):
    run(1, (FAST, 4.0))
    assert launch_seconds(tmp_path) == {FAST.id: 4.0}


def test_it_is_the_median_over_the_launches_of_the_last_three_runs(tmp_path, run):
    run(1, (FAST, 1000.0), (SLOW, 7.0))
    run(2, (FAST, 1.0), (FAST, 2.0))
    run(3, (FAST, 3.0))
    run(4, (FAST, 8.0), (FAST, 16.0))
    assert launch_seconds(tmp_path) == {FAST.id: 3.0}


def test_each_case_has_its_own(tmp_path, run):
    run(1, (FAST, 1.0), (SLOW, 10.0))
    run(2, (SLOW, 30.0))
    assert launch_seconds(tmp_path) == {FAST.id: 1.0, SLOW.id: 20.0}


def test_launches_that_failed_tell_nothing(tmp_path, run):
    run(1, (FAST, None), (SLOW, 2.0))
    assert launch_seconds(tmp_path) == {SLOW.id: 2.0}


@pytest.mark.parametrize("what", [b'{"schema": 99}\n', b"\x00\xff", b"torn", b""])
def test_a_run_that_cannot_be_read_is_passed_over(tmp_path, run, what):
    run(1, (FAST, 1.0))
    run(2, (FAST, 4.0)).write_bytes(what)
    run(3, (FAST, 3.0))
    assert launch_seconds(tmp_path) == {FAST.id: 2.0}


def test_without_runs_nothing_is_known(tmp_path):
    assert launch_seconds(tmp_path) == {}
    assert launch_seconds(tmp_path / "nowhere") == {}


def test_runs_are_looked_for_in_the_working_directory(tmp_path, run, monkeypatch):
    run(1, (FAST, 1.0))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "results").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "here")
    assert launch_seconds() == {FAST.id: 1.0}
