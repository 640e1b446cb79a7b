"""The search for the largest batch as a story of launches."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from test_runner import Told

from bench.analysis.run.largest_batch import searches
from bench.measurement import SEARCHED, Measurement
from bench.running import batch_size_search as largest
from bench.running.batch_size_search import available, free_of, memory_limit, search
from bench.running.fork_server import Died, TimedOut
from bench.running.plan import Plan
from bench.suite.case import MAX, Case, Schedule

CASE = Case("story", {"device": "cpu", "batch_size": MAX, "width": 1})
OTHER = Case("story", {"device": "cpu", "batch_size": MAX, "width": 2})


def plan(*cases: Case, **schedule) -> Plan:
    return Plan(list(cases), {"story": "story.py"}, Schedule(**schedule))


def fails_above(most: int, case: Case = CASE, how: object = "raises") -> dict[str, list]:
    """What launches come to, for `Told`."""
    return {case.sized(size).id: [how] for size in range(most + 1, 4097)}


def tried(records) -> list[tuple[int, bool]]:
    return [(record.case.batch_size, isinstance(record, Measurement)) for record in records]


class TestStory:
    """Told gives batches of 4 samples, so that 16 is tried, then 4."""

    def test_each_case_has_a_fork_server_and_each_size_a_launch(self):
        workers = Told(fails_above(2) | fails_above(0, OTHER))
        records = list(search(workers, plan(CASE.sized(8), CASE, OTHER)))
        assert tried(records) == [
            *[(16, False), (8, False), (4, False), (2, True), (3, False)],
            *[(16, False), (8, False), (4, False), (2, False), (1, False)],
        ]
        assert [place for place, line in enumerate(workers.story) if line == "fork_server"] == [0, 6]
        assert {record.kind for record in records} == {SEARCHED}

    @pytest.mark.parametrize("end", [Died(-11), TimedOut("too long"), "raises"])
    def test_no_failure_ends_the_search(self, end):
        records = list(search(Told(fails_above(3, how=end)), plan(CASE)))
        (found,) = searches(records)
        assert (found.batch_size, found.next) == (3, None)

    @pytest.mark.parametrize("done", range(6))
    def test_sizes_that_were_tried_are_not_tried_again(self, done):
        whole = list(search(Told(fails_above(2)), plan(CASE)))
        workers = Told(fails_above(2))
        assert tried(search(workers, plan(CASE), done=whole[:done])) == tried(whole[done:])
        assert ("fork_server" in workers.story) is (done < len(whole))

    def test_each_size_is_announced_with_what_is_known(self):
        told = []
        records = list(
            search(
                Told(fails_above(2)),
                plan(CASE),
                announce=lambda one, size: told.append((len(one.tries), size)),
            )
        )
        assert told == [(number, record.case.batch_size) for number, record in enumerate(records)]

    def test_it_ends_where_the_budget_does(self):
        times = iter([0.0, 3.0, 3.0, 6.0, 6.5])
        records = list(
            search(Told(fails_above(2)), plan(CASE, time_budget=10.0), clock=lambda: next(times), began=0.0)
        )
        assert tried(records) == [(16, False), (8, False)]

    def test_what_a_launch_may_take_is_said_on_the_cpu_alone(self, monkeypatch):
        monkeypatch.setattr(largest, "available", lambda: 1000)
        assert memory_limit(CASE, None) == 800
        assert memory_limit(CASE, 700) == 700
        assert memory_limit(CASE, 900) == 800
        assert memory_limit(Case("story", {**CASE.axes, "device": "cuda:0"}), 700) is None


class TestAvailable:
    NAMES = ("memory.max", "memory.current", "inactive_file")

    def group(self, place: Path, **files: str) -> Path:
        for name, text in files.items():
            (place / name.replace("_", ".")).write_text(text)
        return place

    def test_what_a_group_leaves_is_its_limit_less_what_is_used_and_not_idle(self, tmp_path):
        group = self.group(
            tmp_path, memory_max="1000\n", memory_current="700\n", memory_stat="file 9\ninactive_file 200\n"
        )
        assert free_of(group, *self.NAMES) == 500

    @pytest.mark.parametrize("files", [{}, {"memory_max": "max", "memory_current": "7"}, {"memory_max": "7"}])
    def test_one_without_a_limit_says_nothing(self, tmp_path, files):
        assert free_of(self.group(tmp_path, **files), *self.NAMES) is None

    def test_one_without_statistics_has_nothing_idle(self, tmp_path):
        group = self.group(tmp_path, memory_max="1000", memory_current="700")
        assert free_of(group, *self.NAMES) == 300

    def test_the_tightest_limit_holds(self, tmp_path, monkeypatch):
        group = self.group(tmp_path, memory_max="1000", memory_current="700")
        monkeypatch.setattr(largest, "control_groups", lambda _: [group])
        assert available() == 300
        monkeypatch.setattr(largest, "control_groups", lambda _: [])
        assert 300 < available() <= psutil.virtual_memory().total
