"""Two sides in one session as a story: counts, then pairs in a balanced order, renewed fork servers, and the budget."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fakes
import pytest

from bench.ab.cases import Matching
from bench.ab.pairs import PHASE_PAIRS, RENEW_AFTER, PairLane, base_first, measure
from bench.ab.sides import MeasuredSide, SideWorkers
from bench.ab.trees import Tree
from bench.ab.versions import Version
from bench.analysis.compare.comparable import ComparisonOptions
from bench.analysis.compare.policy import SIDE_BY_SIDE, THRESHOLDS
from bench.analysis.compare.side_by_side import Matched, SideBySide
from bench.analysis.compare.sides import CaseSide
from bench.machine.telemetry import Readings
from bench.measurement import COUNTED, PHASED, TIMED, Failure
from bench.measurement.messages import LaunchRequest
from bench.report.reason_words import reason_said
from bench.running.fork_server import Died
from bench.running.plan import Plan
from bench.suite.case import Case, Conditions, Schedule

CASES = [Case("story", {"device": "cpu", "width": width}) for width in (1, 2, 3)]


class Clock:
    """Seconds that pass as launches take them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Host:
    """A fork server that writes down what it was requested; `cost` is how long each launch takes on the clock."""

    conditions = Conditions(threads=3)
    variables: dict = {}  # noqa: RUF012

    def __init__(self, clock, story, name="host", cost=1.0, ends=(), slow=1.0) -> None:
        self.clock, self.story, self.name, self.cost = clock, story, name, cost
        self.ends = dict(ends)  # (side, kind) -> what asking raises
        self.slow = (
            slow  # how many times as long the candidate's second case takes, nearly the same each time
        )
        self.learnt: list[str] = []
        self.asked: list[tuple] = []

    def renew(self) -> None:
        self.story.append(("renew", self.name))

    def interrupt(self) -> None: ...

    def learn(self, modules) -> None:
        self.learnt += modules

    def ask(self, request, log, timeout=None, started=lambda _: None, tree=None):
        side = tree.root.name
        self.asked.append((request, log, timeout, tree))
        self.story.append((side, request.kind, request.case["width"]))
        self.clock.now += self.cost
        started(4711)
        if end := self.ends.get((side, request.kind)):
            raise end
        place = {name: getattr(request, name) for name in ("kind", "round", "position")}
        # Two speeds, so that a case is never decided.
        seconds = 1.0 + (len(self.asked) % 7) / 10
        if self.slow != 1 and request.case["width"] == 2:
            seconds = (self.slow if side == "candidate" else 1.0) + len(self.asked) / 1e5
        counts = fakes.counts() if request.kind == COUNTED else None
        made = fakes.measurement(
            case=request.case,
            **place,
            counts=counts,
            stages=fakes.stages(steps=(seconds, seconds)),
        )
        return {"measurement": made.to_json(), "loop": [1.0, 2.0], "starved": False}


class Stage:
    """Both sides with their cases, ready to measure; `story` has every launch and every renewal."""

    def __init__(
        self, cases=CASES, pairs=4, shared=True, others=None, cost=1.0, ends=(), slow=1.0, **schedule
    ) -> None:
        self.clock, self.story, self.announced = Clock(), [], []
        hosts = [Host(self.clock, self.story, "host", cost, ends, slow)]
        hosts.append(hosts[0] if shared else Host(self.clock, self.story, "other", cost, ends))
        self.hosts = hosts
        trees = [
            Tree(Path("/home"), Path(f"/trees/{name}"), commit="abc123") for name in ("base", "candidate")
        ]
        others = others or cases
        self.sides = tuple(
            MeasuredSide(
                Version(f"ref={number}"),
                trees[number],
                SideWorkers(hosts[number], trees[number].code(trees[1 - number]), Path(f"/logs/{number}")),
                Plan(list(mine), {"story": f"{trees[number].root}/story.py"}, Schedule(**schedule)),
            )
            for number, mine in enumerate((cases, others))
        )
        self.cases = {one.id: (one, other) for one, other in zip(cases, others, strict=True)}
        matched = [Matched(name, CaseSide("story", "cpu"), CaseSide("story", "cpu")) for name in self.cases]
        self.judge = SideBySide(
            matched, ComparisonOptions(standards={**THRESHOLDS, "time": SIDE_BY_SIDE}), pairs
        )

    def play(self, **options):
        options = {"announce": lambda *what: self.announced.append(what), "clock": self.clock, **options}
        self.launched = list(measure(self.sides, self.cases, self.judge, **options))
        return self.launched

    @property
    def launches(self):
        return [line for line in self.story if line[0] != "renew"]

    @property
    def pairs(self):
        """The timed launches, two by two: (side that led, its kind and width), (the other, ...)."""
        timed = [line for line in self.launches if line[1] == TIMED]
        return list(zip(timed[::2], timed[1::2], strict=True))


class TestOrder:
    def test_counts_come_first_a_launch_of_each_side(self):
        stage = Stage()
        stage.play()
        counted = stage.launches[: 2 * len(CASES)]
        assert counted == [
            (side, COUNTED, case.get("width")) for case in CASES for side in ("base", "candidate")
        ]
        assert {kind for _, kind, _ in stage.launches[2 * len(CASES) :]} == {TIMED}

    def test_the_two_launches_of_a_pair_run_one_behind_the_other(self):
        stage = Stage()
        stage.play()
        assert len(stage.pairs) == 4 * len(CASES)
        for first, second in stage.pairs:
            assert first[2] == second[2]
            assert {first[0], second[0]} == {"base", "candidate"}

    def test_a_round_has_a_pair_of_each_case_that_wants_one(self):
        stage = Stage()
        stage.play()
        widths = [first[2] for first, _ in stage.pairs]
        rounds = [widths[number : number + 3] for number in range(0, len(widths), 3)]
        assert all(sorted(one) == [1, 2, 3] for one in rounds)

    def test_the_order_of_a_round_is_chances_and_follows_the_seed(self):
        stories = []
        for seed in (1, 1, 2):
            stage = Stage(pairs=6, seed=seed)
            stage.play()
            stories.append(stage.story)
        assert stories[0] == stories[1]
        assert stories[0] != stories[2]

    def test_of_two_pairs_in_a_row_each_side_leads_one(self):
        stage = Stage(pairs=12)
        stage.play()
        for width in (1, 2, 3):
            led = [first[0] for first, _ in stage.pairs if first[2] == width]
            assert all(set(two) == {"base", "candidate"} for two in zip(led[::2], led[1::2], strict=True))

    def test_records_tell_their_place_and_the_judge_who_led(self):
        stage = Stage(pairs=2)
        stage.play()
        for number in (1, 2):
            timed = [
                one.record
                for one in stage.launched
                if one.record.kind == TIMED and one.record.round == number
            ]
            assert [record.position for record in timed] == list(range(1, 2 * len(CASES) + 1))
        for name in stage.cases:
            timed = [one for one in stage.launched if one.name == name and one.record.kind == TIMED]
            assert [one.side == 0 for one in timed[::2]] == list(stage.judge.cases[name].leads.values())

    def test_each_pair_is_announced_before_it_counts_as_none(self):
        stage = Stage(CASES[:1], pairs=3)
        stage.play()
        assert stage.announced == [(CASES[0].id, what) for what in ("counts", "pair 1", "pair 2", "pair 3")]


CARD = [Case("story", {"device": "cuda:0", "width": width}) for width in (1, 2)]


class TestPhases:
    """On a device a timed launch has no phases: launches of their own follow where a time has changed."""

    @pytest.mark.parametrize("slow", [1.5, 0.6], ids=["slower", "faster"])
    def test_pairs_of_them_follow_for_each_case_whose_time_has_changed(self, slow):
        stage = Stage(CARD, pairs=30, slow=slow)
        stage.play()
        assert stage.judge.time_changed(CARD[1].id)
        assert not stage.judge.time_changed(CARD[0].id)
        phased = [line for line in stage.launches if line[1] == PHASED]
        assert {width for _, _, width in phased} == {2}
        assert [side for side, _, _ in phased].count("base") == PHASE_PAIRS == len(phased) / 2
        announced = [what for name, what in stage.announced if name == CARD[1].id]
        assert announced[-PHASE_PAIRS:] == [
            f"pair {number} for the phases" for number in range(1, PHASE_PAIRS + 1)
        ]

    def test_none_is_made_where_no_time_has_changed_nor_on_the_cpu_whose_pairs_have_them(self):
        cpu = [Case("story", {"device": "cpu", "width": 2})]
        for stage in (Stage(CARD), Stage(cpu, pairs=30, slow=1.5)):
            stage.play()
            assert not [line for line in stage.launches if line[1] == PHASED]

    def test_one_that_fails_costs_no_verdict(self):
        stage = Stage(CARD, pairs=30, slow=1.5, ends={("candidate", PHASED): Died(-9, None)})
        stage.play()
        kinds = [type(one.record) for one in stage.launched if one.record.kind == PHASED]
        assert kinds.count(Failure) == PHASE_PAIRS
        row = next(
            row
            for row in stage.judge.end()
            if row.case == CARD[1].id and row.metric.name == "train.step_time"
        )
        assert row.verdict == "regressed"

    def test_they_end_with_the_time_budget(self):
        whole = Stage(CARD, pairs=30, slow=1.5)
        before = [one.record.kind for one in whole.play()].index(PHASED)
        stage = Stage(CARD, pairs=30, slow=1.5, time_budget=(before + 6.5) / 0.9)
        kinds = [one.record.kind for one in stage.play()]
        assert 0 < kinds.count(PHASED) < 2 * PHASE_PAIRS


class TestCards:
    """Pairs at the same time, each on one of several equal cards."""

    def stage(self, number=3, pairs=14, cases=CARD, **options):
        """A stage and the hosts of its lanes; each has a story of its own."""
        stage = Stage(cases, pairs=pairs, **options)
        hosts, lanes = [], []
        for _ in range(number):
            host = Host(Clock(), [], ends=options.get("ends", ()), slow=options.get("slow", 1.0))
            own = [replace(side, workers=side.workers.on(host)) for side in stage.sides]
            hosts.append(host)
            lanes.append(PairLane((own[0], own[1])))
        stage.play(lanes={"cuda:0": lanes})
        return stage, hosts

    def timed(self, host):
        return [line for line in host.story if line[1] == TIMED]

    def test_both_launches_of_a_pair_are_on_one_card_one_behind_the_other(self):
        stage, hosts = self.stage()
        assert stage.launches == []
        for host in hosts:
            timed = self.timed(host)
            assert timed
            for first, second in zip(timed[::2], timed[1::2], strict=True):
                assert first[2] == second[2]
                assert {first[0], second[0]} == {"base", "candidate"}

    def test_no_case_has_more_pairs_than_it_may_nor_fewer(self):
        stage, hosts = self.stage(number=4, pairs=14)
        assert [stage.judge.pairs(name) for name in stage.cases] == [14, 14]
        assert sum(len(self.timed(host)) for host in hosts) == 2 * 14 * len(CARD)

    def test_no_pair_is_made_beyond_the_look_that_decides(self):
        stage, _ = self.stage(number=8, pairs=56, slow=1.5)
        alone = Stage(CARD, pairs=56, slow=1.5)
        alone.play()
        name = CARD[1].id
        assert stage.judge.pairs(name) == alone.judge.pairs(name) < 56

    def test_the_judge_gets_the_pairs_in_order_whichever_ends_first(self):
        stage, _ = self.stage(number=5)
        for name, case in stage.judge.cases.items():
            assert list(case.leads) == sorted(case.leads)
            expected = [base_first(0, name, pair) for pair in range(1, 15)]
            assert list(case.leads.values()) == expected

    def test_counts_and_phases_are_dealt_to_the_cards(self):
        _, hosts = self.stage(pairs=30, slow=1.5)
        of_kind = Counter((line[1], number) for number, host in enumerate(hosts) for line in host.story)
        assert [of_kind[COUNTED, number] for number in range(3)] == [2, 2, 0]
        assert [of_kind[PHASED, number] for number in range(3)] == [4, 4, 2]

    def test_each_card_has_new_fork_servers_for_every_part_and_keeps_none(self):
        _, hosts = self.stage()
        for host in hosts:
            assert host.story[0] == host.story[-1] == ("renew", "host")

    def test_a_case_on_the_cpu_is_measured_alone(self):
        stage, hosts = self.stage(cases=[*CARD, CASES[2]], pairs=14)
        assert {width for _, _, width in stage.launches} == {3}
        assert all(line[2] != 3 for host in hosts for line in host.story if line[0] != "renew")

    def test_sides_on_different_devices_are_not_spread(self):
        others = [Case("story", {"device": "cpu", "width": width}) for width in (1, 2)]
        stage, hosts = self.stage(others=others, pairs=2)
        assert [host.story for host in hosts] == [[], [], []]
        assert len(stage.pairs) == 4


class TestWhoLeads:
    def test_is_balanced_in_every_two_and_left_to_chance_between(self):
        led = [[base_first(0, "case", pair) for pair in (2 * n + 1, 2 * n + 2)] for n in range(40)]
        assert all(one != other for one, other in led)
        assert {first for first, _ in led} == {True, False}

    def test_differs_by_case_and_by_seed(self):
        def order(seed, name):
            return [base_first(seed, name, pair) for pair in range(1, 81)]

        assert order(0, "case") == order(0, "case")
        assert order(0, "case") != order(1, "case")
        assert order(0, "case") != order(0, "other")

    def test_is_the_base_in_half_of_the_cases(self):
        first = sum(base_first(0, f"case {number}", 1) for number in range(1000))
        assert 420 < first < 580


class TestWhatIsAsked:
    def test_each_side_is_answered_in_its_tree_from_its_suite_and_logs_apart(self):
        stage = Stage(CASES[:1], pairs=1, timeout=33.0)
        stage.play()
        for request, log, timeout, tree in stage.hosts[0].asked:
            root = str(tree.root)
            number = ("/trees/base", "/trees/candidate").index(root)
            assert tree.others == (Path("/home"), Path(("/trees/candidate", "/trees/base")[number]))
            assert str(request.suite_file) == f"{root}/story.py"
            assert log.startswith(f"/logs/{number}/story-device")
            assert timeout == 33.0

    def test_a_side_measures_its_own_case(self):
        others = [Case("story", {"device": "cpu", "width": width}) for width in (10, 20, 30)]
        stage = Stage(others=others, pairs=1)
        stage.play()
        widths = {"base": {1, 2, 3}, "candidate": {10, 20, 30}}
        assert all(width in widths[side] for side, _, width in stage.launches)
        assert {one.name for one in stage.launched} == {case.id for case in CASES}

    def test_what_a_guest_learns_its_host_learns(self):
        stage = Stage()
        stage.sides[1].workers.learn(["pandas"])
        assert stage.hosts[0].learnt == ["pandas"]
        assert stage.sides[0].workers.conditions == Host.conditions

    def test_without_a_time_a_request_has_the_hosts_own(self):
        stage = Stage()
        request = LaunchRequest(CASES[0], TIMED, 1, 1, Path("story.py"), Host.conditions, seed=0)
        stage.sides[0].workers.ask(request, "x.log")
        assert stage.hosts[0].asked[0][1:3] == ("/logs/0/x.log", None)

    def test_a_side_is_called_what_the_user_typed_with_its_commit(self):
        stage = Stage()
        assert stage.sides[0].label == "ref=0 (abc123)"
        bare = Tree(Path("/home"), Path("/home"))
        assert MeasuredSide(Version("env:A=1"), bare, stage.sides[0].workers, Plan([], {})).label == "env:A=1"


class TestForkServers:
    def test_where_the_sides_differ_both_are_replaced_before_every_round(self):
        stage = Stage(pairs=5, shared=False)
        stage.play()
        timed = stage.story[2 * len(CASES) :]
        size = 2 + 2 * len(CASES)
        rounds = [timed[number : number + size] for number in range(0, len(timed), size)]
        assert len(rounds) == 5
        for one in rounds:
            assert one[:2] == [("renew", "host"), ("renew", "other")]
            assert all(line[0] != "renew" for line in one[2:])

    def test_one_that_both_share_serves_a_while(self):
        stage = Stage(CASES[:1], pairs=40, cost=RENEW_AFTER / 10)
        stage.play()
        gaps, since = [], 0
        for before, line in itertools.pairwise(stage.story[2:]):  # behind the counts
            since += line[0] != "renew"
            if line[0] == "renew" and before[0] != "renew":
                gaps.append(since)
                since = 0
        assert len(gaps) >= 5
        assert all(gap >= 9 for gap in gaps)  # ten launches long, but for the one that comes before
        assert all(gap <= 12 for gap in gaps)

    def test_one_that_both_share_is_kept_while_launches_are_short(self):
        stage = Stage(pairs=6, cost=RENEW_AFTER / 1000)
        stage.play()
        assert [line for line in stage.story if line[0] == "renew"] == []


class TestBudget:
    def test_no_pair_begins_that_would_not_fit(self):
        stage = Stage(pairs=40, time_budget=40.0)  # 36 for launches
        stage.play()
        assert 1000.0 + 34.0 <= stage.clock.now <= 1000.0 + 36.0
        assert len(stage.pairs) == (len(stage.launches) - 6) / 2

    def test_no_pair_is_cut_in_two(self):
        for budget in (10.0, 13.0, 17.0, 21.0):
            stage = Stage(time_budget=budget)
            stage.play()
            each = Counter((one.name, one.side) for one in stage.launched)
            for name in stage.cases:
                assert each[name, 0] == each[name, 1]

    def test_it_may_end_before_all_counts(self):
        stage = Stage(time_budget=4.0)
        stage.play()
        assert [line[1] for line in stage.launches] == [COUNTED, COUNTED]
        assert {row.verdict for row in stage.judge.end() if row.case == CASES[2].id} == {"not_measured"}

    def test_it_runs_from_where_the_command_began(self):
        stage = Stage(pairs=40, time_budget=40.0)
        stage.play(began=980.0)
        assert stage.clock.now <= 1000.0 + 16.0

    def test_without_one_all_pairs_are_measured(self):
        stage = Stage(pairs=7)
        stage.play()
        assert len(stage.pairs) == 7 * len(CASES)


class TestFailures:
    @pytest.mark.parametrize("side", ["base", "candidate"])
    def test_of_counts_leave_the_case_out_of_the_pairs(self, side):
        stage = Stage(ends={(side, COUNTED): Died(1)})
        stage.play()
        assert stage.pairs == []
        failed = [one.side for one in stage.launched if isinstance(one.record, Failure)]
        assert failed == [("base", "candidate").index(side)] * len(CASES)
        assert {row.verdict for row in stage.judge.end()} == {"not_measured"}

    def test_of_the_first_pair_end_the_case(self):
        stage = Stage(CASES[:1], ends={("candidate", TIMED): Died(-9)})
        stage.play()
        assert len(stage.pairs) == 1
        (row,) = stage.judge.end()
        assert (row.verdict, reason_said(row.reason)) == ("not_measured", "crash: killed by SIGKILL")

    def test_the_other_launch_of_the_pair_is_made_all_the_same(self):
        stage = Stage(CASES[:1], ends={("base", COUNTED): Died(1)})
        assert [one.side for one in stage.play()] == [0, 1]


class TestWatching:
    def test_every_launch_is_watched_and_its_readings_are_kept(self):
        class Watch:
            pids = variables = ()

            def watch(self, pid, device, variables):
                self.pids = (*self.pids, pid)
                self.variables = (*self.variables, variables)

            def end(self, loop):
                return Readings({"gpu": 1.0}, {"gpu_others": 0.0})

        watch = Watch()
        stage = Stage(CASES[:1], pairs=2)
        stage.play(watch=watch)
        assert len(watch.pids) == len(stage.launched) == 6
        assert all(one.record.telemetry == {"gpu": 1.0} for one in stage.launched)

    def test_each_side_is_watched_on_the_card_that_it_sees(self):
        """`bench ab env:CUDA_VISIBLE_DEVICES=0 env:CUDA_VISIBLE_DEVICES=1` watched card 0 on both sides."""

        class Watch:
            def __init__(self):
                self.variables = []

            def watch(self, pid, device, variables):
                self.variables.append(variables["CUDA_VISIBLE_DEVICES"])

            def end(self, loop):
                return Readings()

        watch, stage = Watch(), Stage(CARD[:1], pairs=2, shared=False)
        for host, card in zip(stage.hosts, "01", strict=True):
            host.variables = {"CUDA_VISIBLE_DEVICES": card}
        stage.play(watch=watch)
        assert watch.variables == [str(one.side) for one in stage.launched]


def test_a_launch_that_chose_algorithms_by_their_time_is_told_to_the_judge():
    stage = Stage(CASES[:1], pairs=2)
    stage.play()
    (case,) = stage.judge.cases.values()
    assert case.candidate.caveats == ()
    made = fakes.measurement(conditions={"algorithms_by_time": True})
    for number in (8, 9):
        stage.judge.add(CASES[0].id, number, (fakes.measurement(), made), base_led=True)
    assert (case.base.caveats, case.candidate.caveats) == ((), ("algorithms_by_time",))


class TestChosenDevices:
    """A script chooses its device, which is known once both sides have run."""

    def matching(self, *sides):
        return Matching({sides[1].id: sides}, ["gone"], ["new"])

    def test_pairs_are_on_the_devices_that_were_chosen(self):
        case = Case("train", {"device": "cpu", "lr": 1})
        made = self.matching(case, case).on([{case.id: "cuda:0"}, {case.id: "cuda:0"}])
        assert made.pairs == {case.on("cuda:0").id: (case.on("cuda:0"), case.on("cuda:0"))}
        assert (made.only_base, made.only_candidate) == (["gone"], ["new"])

    def test_sides_that_choose_differently_stay_a_pair(self):
        case = Case("train", {"device": "cpu", "lr": 1})
        made = self.matching(case, case).on([{}, {case.id: "cuda:0"}])
        (name,) = made.pairs
        assert name == "train/device=cuda:0/lr=1 against device=cpu"
        assert [side.device for side in made.pairs[name]] == ["cpu", "cuda:0"]

    def test_suites_choose_nothing(self):
        case = Case("story", {"device": "cpu"})
        matching = self.matching(case, case)
        assert matching.on([{}, {}]) is matching
