"""What earlier runs tell: how long a launch takes, and how far runs of the same code are apart."""

from __future__ import annotations

import math
import statistics

import pytest
from fakes import environment, failure, measurement, stages

from bench.analysis.compare.sides import Side
from bench.analysis.compare.verdict import BY_ALLOCATOR, UNKNOWN, RunDeviation
from bench.measurement import SEARCHED
from bench.results.folder import RunFolder
from bench.results.history import between_runs_of, launch_seconds
from bench.results.journal import Journal, Records
from bench.results.tables import build, write
from bench.suite.case import Case

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


def test_a_few_steps_of_a_search_are_no_launch(tmp_path, run):
    path = run(1, (FAST, 4.0))
    journal = Journal(path)
    journal.append(measurement(case=FAST, kind=SEARCHED, costs={"loop": 99.0}))
    journal.close()
    assert launch_seconds(tmp_path) == {FAST.id: 4.0}


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


HERE = environment()


@pytest.fixture
def earlier(tmp_path):
    """Makes finished runs, a day apart, in which an epoch of these cases took so long; gives their folders."""
    made = []

    def make(*seconds, where=HERE, case=FAST):
        for one in seconds:
            folder = RunFolder(tmp_path / f"202601{len(made) + 1:02}T000000-abc-host")
            folder.path.mkdir()
            folder.journal.touch()
            records = Records()
            records.add(measurement(case=case, stages=stages(steps=(one / 6, one / 6))))
            folder.write_json("environment.json", where.to_json())
            write(folder, build(records))
            made.append(folder)
        return made

    return make


def estimated(root, first=None, second=None, case=FAST):
    side = Side("mine", "run", {}, HERE)
    found = between_runs_of(first or side, second or side, root)(case.id)
    return RunDeviation(round(found.deviation, 12), found.freedom)


SECONDS = (1.0, 1.1, 0.9, 1.3, 1.0)
APART = RunDeviation(round(statistics.stdev(map(math.log, SECONDS)), 12), 4)


class TestBetweenRuns:
    def test_it_is_the_deviation_of_earlier_runs_on_the_logarithm(self, tmp_path, earlier):
        earlier(*SECONDS)
        assert estimated(tmp_path) == APART

    @pytest.mark.parametrize("number", range(5))
    def test_fewer_than_five_cannot_tell(self, tmp_path, earlier, number):
        earlier(*SECONDS[:number])
        assert estimated(tmp_path) == BY_ALLOCATOR["pinned"]

    @pytest.mark.parametrize(
        ("allocator", "standard"), [("system", BY_ALLOCATOR["system"]), ("other", UNKNOWN)]
    )
    def test_then_it_is_what_is_known_of_the_allocator(self, tmp_path, allocator, standard):
        side = Side("mine", "run", {}, environment(allocator=allocator))
        assert estimated(tmp_path, side, side) == standard

    def test_each_case_has_its_own(self, tmp_path, earlier):
        earlier(*SECONDS)
        earlier(1.0, 2.0, case=SLOW)
        assert estimated(tmp_path, case=SLOW) == BY_ALLOCATOR["pinned"]
        assert estimated(tmp_path) == APART

    @pytest.mark.parametrize("other", [{"cpu": "Another"}, {"allocator": "system"}, {"torch": "2.10.0"}])
    def test_runs_on_another_machine_or_under_another_allocator_tell_nothing(self, tmp_path, earlier, other):
        earlier(*SECONDS)
        earlier(50.0, 60.0, where=environment(**other))
        assert estimated(tmp_path) == APART

    def test_the_runs_that_are_compared_do_not_tell_of_themselves(self, tmp_path, earlier):
        *_, first, second = earlier(*SECONDS, 7.0, 9.0)
        sides = [Side("mine", "run", {}, HERE, folder=str(one.path)) for one in (first, second)]
        assert estimated(tmp_path, *sides) == APART

    def test_a_damaged_run_is_passed_over(self, tmp_path, earlier):
        damaged = earlier(*SECONDS, 99.0)[-1]
        for path in map(damaged.table, ("summary.parquet", "environment.json")):
            whole = path.read_bytes()
            for damage in (b"", b"{", b"PAR1"):
                path.write_bytes(damage)
                assert estimated(tmp_path) == APART, damage
            path.unlink()
            assert estimated(tmp_path) == APART
            path.write_bytes(whole)
        assert estimated(tmp_path) != APART

    @pytest.mark.parametrize("sides", [(None, HERE), (HERE, None), (None, None)])
    def test_where_a_machine_is_not_known_neither_is_this(self, tmp_path, earlier, sides):
        earlier(*SECONDS)
        assert estimated(tmp_path, *(Side("mine", "table", {}, where) for where in sides)) == UNKNOWN

    def test_without_a_results_folder_there_is_nothing_to_learn_from(self, tmp_path):
        assert estimated(tmp_path / "nowhere") == BY_ALLOCATOR["pinned"]
