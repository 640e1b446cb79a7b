"""The order of a run as a story: rounds, their random order, the budget, and what a failure costs."""

from __future__ import annotations

from bench.case import Case, Conditions, Schedule
from bench.measurement import PHASED, TIMED, Failure, Measurement
from bench.nursery import Died, TimedOut
from bench.runner import Plan, run, slug

CASES = [Case("story", {"device": "cpu", "width": width}) for width in (1, 2, 3, 4)]
ON_DEVICE = Case("story", {"device": "cuda:0", "width": 1})


class Told:
    """Workers that answer as they are told: by case id, a list of what its launches come to."""

    conditions = Conditions()

    def __init__(self, ends: dict[str, list] | None = None) -> None:
        self.ends = ends or {}
        self.story: list[str] = []

    def renew(self) -> None:
        self.story.append("nursery")

    def ask(self, request, log, timeout):
        case = Case.from_json(request["case"])
        self.story.append(f"{request['kind']} {case.id} round {request['round']}")
        place = {name: request[name] for name in ("kind", "round", "position")} | {
            "nursery": 1,
            "started": "",
        }
        ends = self.ends.get(case.id) or ["measured"]
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        if end == "raises":
            return {"failure": Failure(case, **place, failure="error", message="oh").to_json()}
        return {"measurement": Measurement(case, **place, clock="host", stages=()).to_json()}


def plan(cases=CASES, **schedule) -> Plan:
    return Plan(list(cases), {"story": "story.py"}, Schedule(**schedule))


def story_of(workers: Told, plan: Plan, **options) -> list:
    return list(run(workers, plan, **options))


class TestRounds:
    def test_each_round_begins_with_a_nursery_and_launches_every_case_once(self):
        workers = Told()
        records = story_of(workers, plan(launches=3))
        assert [line == "nursery" for line in workers.story] == [True, False, False, False, False] * 3
        for number in (1, 2, 3):
            launched = [record for record in records if record.round == number]
            assert {record.case for record in launched} == set(CASES)
            assert [record.position for record in launched] == [1, 2, 3, 4]

    def test_the_order_is_random_and_follows_the_seed(self):
        orders = []
        for seed in (3, 3, 4):
            workers = Told()
            story_of(workers, plan(launches=4, seed=seed))
            orders.append(workers.story)
        assert orders[0] == orders[1]
        assert orders[0] != orders[2]
        rounds = [orders[0][n * 5 + 1 : n * 5 + 5] for n in range(4)]
        assert len({tuple(line[:-1] for line in launched) for launched in rounds}) > 1

    def test_a_case_on_a_device_has_one_launch_for_its_phases_in_the_first_round(self):
        workers = Told()
        cases = [CASES[0], ON_DEVICE]
        records = story_of(workers, plan(cases, launches=2))
        phased = [record for record in records if record.kind == PHASED]
        assert [(record.case, record.round) for record in phased] == [(ON_DEVICE, 1)]
        assert sum(record.kind == TIMED for record in records) == 4
        assert plan(cases, launches=2).launches == len(records)

    def test_each_launch_is_announced_before_it_is_made(self):
        workers = Told()
        announced: list[tuple[str, int]] = []
        for record in run(
            workers, plan(launches=1), announce=lambda job: announced.append((job.case.id, job.round))
        ):
            assert announced[-1] == (record.case.id, record.round)
        assert len(announced) == 4


class TestBudget:
    def test_no_launch_begins_once_it_is_spent(self):
        times = iter([0.0, 1.0, 9.0, 10.0])
        records = story_of(Told(), plan(launches=6, time_budget=10.0), clock=lambda: next(times))
        assert len(records) == 2

    def test_without_one_the_clock_does_not_matter(self):
        assert len(story_of(Told(), plan(launches=6), clock=lambda: 1e9)) == 24


class TestFailures:
    def test_a_case_that_fails_at_once_is_launched_once_and_the_others_go_on(self):
        workers = Told({CASES[1].id: ["raises"] * 6})
        records = story_of(workers, plan(launches=3))
        assert [record.round for record in records if isinstance(record, Failure)] == [1]
        assert sum(isinstance(record, Measurement) for record in records) == 9

    def test_a_case_that_was_measured_may_fail_once_more(self):
        workers = Told({CASES[1].id: ["measured", "raises", "measured", "raises", "measured"]})
        records = [record for record in story_of(workers, plan(launches=5)) if record.case == CASES[1]]
        assert [record.round for record in records] == [1, 2, 3, 4]
        assert isinstance(records[-1], Failure)

    def test_a_signal_an_exit_code_and_a_deadline_are_told_apart(self):
        ends = [Died(-11), Died(3), TimedOut("too long")]
        workers = Told({case.id: [end] for case, end in zip(CASES, ends, strict=False)})
        records = {r.case: r for r in story_of(workers, plan(launches=1, timeout=7.0))}
        said = [(records[case].failure, records[case].message) for case in CASES[:3]]
        assert said == [
            ("crash", "killed by SIGSEGV"),
            ("crash", "ended with exit code 3 and no result"),
            ("timeout", "no result within 7 s, killed; give it longer with --timeout"),
        ]
        assert records[CASES[0]].detail.startswith("logs/story-device=cpu-width=1.timed.1")


def test_a_slug_is_a_file_name():
    assert slug("a/b=c: d*") == "a-b=c--d-"
    assert len(slug("x" * 1000)) == 150
