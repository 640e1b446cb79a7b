"""The order of a run as a story: rounds, their random order, the budget, failures, and going on after an end."""

from __future__ import annotations

import dataclasses
import threading

import fakes
import pytest

from bench.analysis.run.stopping import StopRule
from bench.machine.telemetry import Readings
from bench.measurement import COUNTED, PHASED, PROFILED, STACKED, TIMED, Failure, Measurement
from bench.running.fork_server import Died, TimedOut
from bench.running.lanes import Lane
from bench.running.launching import launch
from bench.running.plan import Job, Plan, SuiteListing, spread_of
from bench.running.rounds import run
from bench.suite.case import COUNT_THREADS, SCRIPT_COUNT_THREADS, Case, Conditions, Schedule, UntimedLaunches
from bench.suite.matrix import Expansion
from bench.suite.script import Script

CASES = [Case("story", {"device": "cpu", "width": width}) for width in (1, 2, 3, 4)]
ON_DEVICE = Case("story", {"device": "cuda:0", "width": 1})


class Told:
    """Workers that answer as they are told: by case id, a list of what its launches come to.

    An end is "measured", "raises", a number (seconds of each step), an answer, or what asking raises.
    """

    conditions = Conditions()
    variables: dict = {}  # noqa: RUF012

    def __init__(self, ends: dict[str, list] | None = None) -> None:
        self.ends = ends or {}
        self.story: list[str] = []

    def renew(self) -> None:
        self.story.append("fork_server")

    def interrupt(self) -> None: ...

    def ask(self, request, log, timeout, started):
        case = request.case
        self.story.append(f"{request.kind} {case.id} round {request.round}")
        started(4711)
        place = {name: getattr(request, name) for name in ("kind", "round", "position")} | {
            "fork_server": 1,
            "started": "",
        }
        ends = self.ends.get(case.id) or ["measured"]
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        if end == "raises":
            failure = Failure(case, **place, failure="error", message="oh")
            return {"failure": failure.to_json(), "starved": False}
        if end == "starves":
            failure = Failure(case, **place, failure="error", message="a loader worker was killed")
            return {"failure": failure.to_json(), "starved": True}
        seconds = 1.0 if end == "measured" else end
        made = fakes.measurement(case=case, **place, stages=fakes.stages(steps=(seconds, seconds)))
        return {"measurement": made.to_json(), "loop": [1.0, 2.0], "starved": False}


def plan(cases=CASES, **schedule) -> Plan:
    return Plan(list(cases), {"story": "story.py"}, Schedule(**schedule))


def story_of(workers: Told, plan: Plan, **options) -> list:
    return list(run(workers, plan, StopRule(plan.schedule), **options))


class TestRounds:
    def test_each_round_begins_with_a_fork_server_and_launches_every_case_once(self):
        workers = Told()
        records = story_of(workers, plan(launches=3))
        assert [line == "fork_server" for line in workers.story] == [True, False, False, False, False] * 3
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

    def test_launches_apart_from_timing_come_last_in_the_first_round(self):
        wished = UntimedLaunches(counts=True, profile=True, stacks=True)
        cases = [CASES[0], ON_DEVICE]
        whole = Plan(list(cases), {"story": "story.py"}, Schedule(launches=2), wished)
        records = story_of(Told(), whole)
        assert [record.kind for record in records[:2]] == [TIMED, TIMED]
        apart = records[2:9]
        assert {record.round for record in apart} == {1}
        assert sorted((record.kind, record.case.device) for record in apart) == sorted(
            [(kind, case.device) for kind in (COUNTED, PROFILED, STACKED) for case in cases]
            + [(PHASED, "cuda:0")]
        )
        assert len(records) == whole.launches == 4 + 7

    def test_a_case_that_failed_has_no_launches_apart(self):
        wished = UntimedLaunches(counts=True, profile=True)
        whole = Plan(CASES[:2], {"story": "story.py"}, Schedule(launches=2), wished)
        records = story_of(Told({CASES[0].id: ["raises"]}), whole)
        assert [record.kind for record in records if record.case == CASES[0]] == [TIMED]
        assert {record.kind for record in records if record.case == CASES[1]} == {TIMED, COUNTED, PROFILED}

    def test_without_timed_launches_a_run_is_those_apart(self):
        whole = Plan([CASES[0]], {"story": "story.py"}, Schedule(launches=0), UntimedLaunches(counts=True))
        assert [record.kind for record in story_of(Told(), whole)] == [COUNTED]

    @pytest.mark.parametrize(
        ("its", "threads"), [(None, COUNT_THREADS), (Script("/story.py"), SCRIPT_COUNT_THREADS)]
    )
    def test_counts_are_taken_at_a_fixed_number_of_threads(self, its, threads):
        asked: dict[str, int] = {}

        class Listening(Told):
            conditions = Conditions(threads=7)

            def ask(self, request, log, timeout, started):
                asked[request.kind] = request.conditions.threads
                return super().ask(request, log, timeout, started)

        whole = Plan(
            [CASES[0]],
            {"story": "story.py"},
            Schedule(launches=1),
            UntimedLaunches(counts=True, profile=True),
            script=its,
        )
        story_of(Listening(), whole)
        assert asked == {TIMED: 7, COUNTED: threads, PROFILED: 7}

    def test_each_launch_is_announced_before_it_is_made(self):
        announced: list[tuple[str, int]] = []

        def announce(job):
            announced.append((job.case.id, job.round))

        for record in run(Told(), plan(launches=1), StopRule(Schedule(launches=1)), announce=announce):
            assert announced[-1] == (record.case.id, record.round)
        assert len(announced) == 4

    def test_a_case_that_is_settled_leaves_the_rotation_and_the_others_go_on(self):
        restless = {CASES[1].id: [1.0, 1.5] * 5}
        records = story_of(Told(restless), plan(launches=6, max_launches=10))
        launches = {case: sum(record.case == case for record in records) for case in CASES}
        assert launches == {case: 10 if case == CASES[1] else 6 for case in CASES}
        assert {record.case for record in records if record.round > 6} == {CASES[1]}


class TestBudget:
    def test_no_launch_begins_that_would_not_end_within_it(self):
        """The third would end after 3.5 + 3 seconds: 10 % of the budget are kept for the tables."""
        times = iter([0.0, 0.0, 3.0, 3.0, 3.5, 6.5])
        records = story_of(Told(), plan(launches=6, time_budget=10.0), clock=lambda: next(times))
        assert len(records) == 2

    def test_it_runs_from_where_the_command_began(self):
        times = iter([8.0, 8.5, 9.5])
        records = story_of(Told(), plan(launches=6, time_budget=10.0), clock=lambda: next(times), began=0.0)
        assert len(records) == 1

    def test_without_one_the_clock_does_not_matter(self):
        assert len(story_of(Told(), plan(launches=6), clock=lambda: 1e9)) == 24


class TestGoingOn:
    @pytest.mark.parametrize("done", range(0, 31, 3))
    def test_a_run_that_was_cut_off_anywhere_becomes_the_run_that_was_not(self, done):
        ends = {CASES[1].id: [1.0, 1.5] * 5, CASES[2].id: ["measured", "raises", "measured", "raises"]}

        def told():
            return Told({case: list(outcomes) for case, outcomes in ends.items()})

        asked = plan([*CASES, ON_DEVICE], launches=6, max_launches=10)
        whole = story_of(told(), asked)
        before, workers = whole[:done], told()
        for record in before:
            if record.case.id in workers.ends:
                workers.ends[record.case.id].pop(0)
        after = story_of(workers, asked, done=before)
        key = [(record.case.id, record.kind, record.round, record.position) for record in whole]
        assert key[done:] == [(r.case.id, r.kind, r.round, r.position) for r in after]

    def test_what_is_complete_launches_nothing_and_starts_no_fork_server(self):
        asked = plan(launches=2)
        whole = story_of(Told(), asked)
        workers = Told()
        assert story_of(workers, asked, done=whole) == []
        assert workers.story == []


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

    @pytest.mark.parametrize(
        ("end", "failure", "words"),
        [
            (Died(-11), "crash", "killed by SIGSEGV"),
            (Died(3), "crash", "ended with exit code 3 and no result"),
            (Died(-9), "crash", "killed by SIGKILL"),
            (Died(-9, starved=True), "out_of_memory", "the kernel killed a process because memory ran out"),
            (Died(-11, starved=True), "crash", "killed by SIGSEGV"),
            (Died(-40), "crash", "killed by signal 40"),
            (TimedOut("too long"), "timeout", "no result within 7 s, killed; give it longer with --timeout"),
            ("starves", "out_of_memory", "a loader worker was killed; the kernel killed a process because"),
        ],
    )
    def test_each_end_is_told_apart(self, end, failure, words):
        (record,) = story_of(Told({CASES[0].id: [end]}), plan(CASES[:1], launches=1, timeout=7.0))
        assert record.failure == failure
        assert words in record.message
        if isinstance(end, Exception):
            assert record.detail.startswith("logs/story-device=cpu-width=1-")


class Watcher:
    """Sees every launch, and what it had to do with it."""

    def __init__(self) -> None:
        self.seen: list = []

    def watch(self, pid, device, variables):
        self.seen.append((pid, device, variables))

    def end(self, loop):
        self.seen.append(loop)
        return Readings({"rss_peak": 5.0}, {"gpu_others": 1.0})


class TestTelemetry:
    def test_what_is_seen_from_outside_is_part_of_the_record(self):
        watcher = Watcher()
        record = launch(Told(), plan(), Job(CASES[0], TIMED, 1, 1), watcher)
        assert watcher.seen == [(4711, "cpu", {}), [1.0, 2.0]]
        assert record.telemetry == {"rss_peak": 5.0}
        assert record.guards["gpu_others"] == 1.0

    def test_it_is_told_which_card_the_process_means_by_its_device(self):
        """A variable of the side, or of an axis of a script, may show the process another card."""
        watcher, workers = Watcher(), Told()
        workers.variables = {"CUDA_VISIBLE_DEVICES": "1", "A": "b"}
        launch(workers, plan([ON_DEVICE]), Job(ON_DEVICE, TIMED, 1, 1), watcher)
        assert watcher.seen[0] == (4711, "cuda:0", {"CUDA_VISIBLE_DEVICES": "1", "A": "b"})
        case = Case("story", {"device": "cuda:0", "CUDA_VISIBLE_DEVICES": 2})
        names = {"CUDA_VISIBLE_DEVICES": "env:CUDA_VISIBLE_DEVICES"}
        own = dataclasses.replace(plan([case]), script=Script("/story.py", names=names))
        launch(workers, own, Job(case, TIMED, 1, 1), watcher)
        assert watcher.seen[2] == (4711, "cuda:0", {"CUDA_VISIBLE_DEVICES": "2", "A": "b"})

    def test_so_it_is_for_a_launch_that_died(self):
        watcher = Watcher()
        record = launch(Told({CASES[0].id: [Died(-9)]}), plan(), Job(CASES[0], TIMED, 1, 1), watcher)
        assert watcher.seen == [(4711, "cpu", {}), None]
        assert record.telemetry == {"rss_peak": 5.0}


CARD_CASES = [Case("story", {"device": "cuda:0", "width": width}) for width in (1, 2, 3)]


class TestCards:
    """Rounds at the same time, each on one of several equal cards."""

    def lanes(self, number=3, ends=None):
        return [Lane(Told(ends)) for _ in range(number)]

    def spread(self, asked, lanes, **options):
        alone = Told(options.pop("ends", None))
        records = story_of(alone, asked, lanes={"cuda:0": lanes}, **options)
        return alone, records

    def test_a_round_is_on_one_card_and_the_next_one_on_another(self):
        lanes = self.lanes()
        alone, records = self.spread(plan(CARD_CASES, launches=6), lanes)
        assert alone.story == []
        for number, lane in enumerate(lanes, start=1):
            timed = [line for line in lane.workers.story if line.startswith(TIMED)]
            assert len(timed) == 6
            assert {int(line.split()[-1]) for line in timed} == {number, number + 3}
        assert sum(record.kind == TIMED for record in records) == 18

    def test_each_round_begins_with_a_fork_server_that_is_gone_before_the_next(self):
        lanes = self.lanes(2)
        self.spread(plan(CARD_CASES, launches=2), lanes)
        for lane in lanes:
            assert lane.workers.story[0] == lane.workers.story[-1] == "fork_server"

    def test_rounds_have_the_order_that_they_have_on_one_card(self):
        def key(record):
            return record.round, record.position, record.kind, record.case.id

        _, spread = self.spread(plan(CARD_CASES, launches=6), self.lanes())
        alone = story_of(Told(), plan(CARD_CASES, launches=6))
        timed = [sorted(key(one) for one in records if one.kind == TIMED) for records in (spread, alone)]
        assert timed[0] == timed[1]

    def test_the_cpu_is_measured_while_no_card_is_in_use(self):
        """In a batch of rounds, its launches come before those on cards begin."""
        began: list[str] = []
        lanes = self.lanes()
        asked = plan([*CARD_CASES, CASES[0]], launches=3)
        alone, _ = self.spread(asked, lanes, announce=lambda job: began.append(job.case.device))
        assert began[:3] == ["cpu"] * 3
        assert set(began[3:]) == {"cuda:0"}
        assert len([line for line in alone.story if line != "fork_server"]) == 3

    def test_no_more_launches_are_made_than_a_case_needs(self):
        lanes = self.lanes(8)
        _, records = self.spread(plan(CARD_CASES, launches=5), lanes)
        assert sum(record.kind == TIMED for record in records) == 15
        assert all(len(lane.workers.story) <= 2 for lane in lanes[6:]), (
            "cards without a round count or profile only"
        )

    def test_untimed_launches_are_dealt_to_all_cards_once_the_first_round_is_known(self):
        lanes = self.lanes(3)
        wanted = UntimedLaunches(counts=True, profile=True)
        asked = Plan(CARD_CASES, {"story": "story.py"}, Schedule(launches=3), wanted)
        _, records = self.spread(asked, lanes)
        untimed = [record for record in records if record.kind != TIMED]
        assert {record.kind for record in untimed} == {COUNTED, PROFILED, PHASED}
        assert len(untimed) == 9
        assert {record.round for record in untimed} == {1}
        for lane in lanes:
            assert sum(not line.startswith((TIMED, "fork")) for line in lane.workers.story) == 3
        assert records[:9] == [record for record in records if record.kind == TIMED]

    def test_a_case_that_failed_in_the_first_round_has_none(self):
        ends = {CARD_CASES[0].id: ["raises"] * 3}
        lanes = [Lane(Told({case: list(told) for case, told in ends.items()})) for _ in range(3)]
        asked = Plan(CARD_CASES, {"story": "story.py"}, Schedule(launches=3), UntimedLaunches(counts=True))
        _, records = self.spread(asked, lanes)
        assert {record.case for record in records if record.kind == COUNTED} == set(CARD_CASES[1:])

    @pytest.mark.parametrize("done", range(0, 16, 3))
    def test_a_run_that_was_cut_off_anywhere_becomes_the_run_that_was_not(self, done):
        asked = plan([*CARD_CASES, CASES[0]], launches=3)
        whole = self.spread(asked, self.lanes())[1]
        after = self.spread(asked, self.lanes(), done=whole[:done])[1]

        def keys(records):
            return sorted((one.case.id, one.kind, one.round, one.position) for one in records)

        assert keys([*whole[:done], *after]) == keys(whole)

    def test_the_budget_ends_all_cards(self):
        """On each card a third launch of 4 s would not end in 9 s: the last tenth is for the tables."""
        passed = (
            threading.local()
        )  # each card has its own time, so that it does not matter which thread runs when

        class Slow(Told):
            def ask(self, *arguments, **named):
                passed.seconds = getattr(passed, "seconds", 0.0) + 4.0
                return super().ask(*arguments, **named)

        lanes = [Lane(Slow()) for _ in range(2)]
        asked = plan(CARD_CASES, launches=6, time_budget=10.0)
        _, records = self.spread(asked, lanes, clock=lambda: getattr(passed, "seconds", 0.0))
        assert sorted(record.round for record in records) == [1, 1, 2, 2]

    def test_a_fault_on_one_card_ends_the_run(self):
        class Faulty(Told):
            def ask(self, *arguments, **named):
                raise OSError("no space left")

        with pytest.raises(OSError, match="no space left"):
            self.spread(plan(CARD_CASES, launches=2), [Lane(Faulty()), Lane(Told())])


EQUAL = {"cuda:0": ["cuda:0", "cuda:1"]}


class TestSpread:
    def listing(self, name, devices, spread):
        cases = [Case(name, {"device": device}) for device in devices]
        return SuiteListing(name, f"{name}.py", Expansion(cases, spread=spread))

    def test_launches_are_spread_where_all_suites_agree(self):
        one, other = (
            self.listing("a", ["cpu", "cuda:0"], EQUAL),
            self.listing("b", ["cuda:0"], EQUAL),
        )
        assert spread_of([one, other]) == EQUAL

    def test_a_suite_that_names_the_card_by_its_number_keeps_it(self):
        one, other = self.listing("a", ["cuda:0"], EQUAL), self.listing("b", ["cuda:0"], {})
        assert spread_of([one, other]) == {}

    def test_a_suite_without_cases_there_has_no_say(self):
        one, other = self.listing("a", ["cuda:0"], EQUAL), self.listing("b", ["cpu"], {})
        assert spread_of([other, one]) == EQUAL
