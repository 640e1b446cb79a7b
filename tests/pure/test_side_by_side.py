"""Verdicts on two sides as their pairs come in: counts first, then times at their looks, and what an end leaves."""

from __future__ import annotations

import dataclasses
import random

import fakes
import pytest

from bench.analysis.compare.comparable import ComparisonOptions
from bench.analysis.compare.policy import SIDE_BY_SIDE, THRESHOLDS, ThresholdRule
from bench.analysis.compare.side_by_side import Matched, SideBySide
from bench.analysis.compare.sides import CaseSide
from bench.analysis.compare.verdict import outcome
from bench.measurement import COUNTED
from bench.report.reason_words import effort_said, reason_said

NAME = fakes.CASE.id
OTHER = "fake/other"
TIMES = ("epoch.time", "train.step_time")


def asked(*rules, metrics=()):
    return ComparisonOptions(metrics, rules, standards={**THRESHOLDS, "time": SIDE_BY_SIDE})


ASKED = asked()


def rule(metric, **changes):
    return ThresholdRule("rule 1", metric=metric, changes=changes)


def judge(*names, asked=ASKED, **options):
    cases = [Matched(name, CaseSide("fake", "cpu"), CaseSide("fake", "cpu")) for name in names or (NAME,)]
    return SideBySide(cases, asked, **options)


def timed(seconds=1.0, **changes):
    """A launch whose steps take so long, with 4 MiB of memory."""
    standard = {"stages": fakes.stages(steps=(seconds, seconds)), "memory": {"peak_rss": 2**22}}
    return fakes.measurement(**{**standard, **changes})


def counted(ops=6, flops=150):
    """Two steps of training, with so many operators in each."""
    operators = (fakes.operator_count(calls=2 * ops, flops=2 * flops),)
    return fakes.measurement(kind=COUNTED, counts=fakes.counts(operators=operators))


def measure(judge, pairs, ratio=1.0, noise=0.001, name=NAME, began=0, seed=0, **changes):
    """So many pairs more, the candidate slower by the ratio, each side leading in every other."""
    chance = random.Random(f"{name}/{seed}/{began}")
    for number in range(began + 1, began + pairs + 1):
        base, candidate = (1.0 + chance.gauss(0, noise) for _ in range(2))
        judge.add(name, number, (timed(base), timed(candidate * ratio, **changes)), number % 2 == 0)
    return judge


def rows_of(judge, name=NAME):
    return {row.metric.name: row for row in judge.end() if row.case == name}


class TestCounts:
    def test_they_are_judged_before_any_pair(self):
        made = judge()
        made.add(NAME, 1, (counted(), counted(ops=7)), True)
        found = {row.metric.name: row for row in made.rows_of(NAME)}
        assert (found["count.ops"].verdict, found["count.ops"].action) == ("regressed", "fail")
        assert (found["count.flops"].verdict, found["count.ops"].ratio) == ("equivalent", 7 / 6)
        assert made.pairs(NAME) == 0
        assert made.wants(NAME)

    def test_more_of_them_fail_where_times_are_slower_too(self):
        made = judge()
        made.add(NAME, 1, (counted(), counted(ops=7)), True)
        rows = rows_of(measure(made, 14, ratio=1.2))
        assert rows["count.ops"].action == "fail"
        assert outcome(list(rows.values())) == 1

    def test_more_of_them_fail_where_times_are_not_decided(self):
        made = judge()
        made.add(NAME, 1, (counted(), counted(ops=7)), True)
        rows = rows_of(measure(made, 4))
        assert rows["epoch.time"].verdict == "inconclusive"
        assert (rows["count.ops"].action, outcome(list(rows.values()))) == ("fail", 1)

    @pytest.mark.parametrize(("ratio", "times"), [(1.0, "equivalent"), (0.8, "improved")])
    def test_more_of_them_that_cost_no_time_are_worth_a_word(self, ratio, times):
        made = judge()
        made.add(NAME, 1, (counted(), counted(ops=7)), True)
        rows = rows_of(measure(made, 14, ratio))
        assert {rows[name].verdict for name in TIMES} == {times}
        assert (rows["count.ops"].verdict, rows["count.ops"].action) == ("regressed", "warn")
        assert outcome(list(rows.values())) == 0

    @pytest.mark.parametrize("metric", ["count.ops", "count.*"])
    def test_a_threshold_that_names_them_fails_whatever_they_cost(self, metric):
        made = judge(asked=asked(rule(metric, regression="fail")))
        made.add(NAME, 1, (counted(), counted(ops=7)), True)
        rows = rows_of(measure(made, 14))
        assert {rows[name].verdict for name in TIMES} == {"equivalent"}
        assert (rows["count.ops"].action, outcome(list(rows.values()))) == ("fail", 1)

    def test_fewer_of_them_are_an_improvement(self):
        made = judge()
        made.add(NAME, 1, (counted(ops=7), counted()), True)
        assert rows_of(measure(made, 14))["count.ops"].verdict == "improved"

    def test_of_other_software_they_gate_nothing(self):
        made = judge(counts=False)
        made.add(NAME, 1, (counted(), counted(ops=7)), True)
        row = rows_of(measure(made, 14))["count.ops"]
        assert (row.verdict, row.gates, row.caveats) == ("regressed", False, ("other_software",))

    def test_they_count_as_no_pair(self):
        made = judge()
        made.add(NAME, 1, (counted(), counted()), True)
        assert made.pairs(NAME) == 0
        assert measure(made, 3).pairs(NAME) == 3


class TestTimes:
    @pytest.mark.parametrize(
        ("ratio", "verdict", "code"),
        [(1.1, "regressed", 1), (1.0, "equivalent", 0), (0.9, "improved", 0)],
    )
    def test_what_pairs_say_is_the_verdict(self, ratio, verdict, code):
        rows = rows_of(measure(judge(), 14, ratio))
        for name in TIMES:
            row = rows[name]
            assert (row.verdict, row.gates, row.undecided_gates) == (verdict, True, True)
            assert row.ratio == pytest.approx(ratio, rel=0.005)
            assert row.low < ratio < row.high
            assert row.smallest >= SIDE_BY_SIDE
            assert row.family == 3  # with memory
        assert outcome(list(rows.values())) == code

    def test_before_two_pairs_nothing_is_decided(self):
        found = {row.metric.name: row for row in measure(judge(), 1, ratio=2).rows_of(NAME)}
        assert {(found[name].verdict, found[name].ratio) for name in TIMES} == {("inconclusive", None)}

    def test_launches_that_lack_a_value_or_have_none_above_zero_are_no_pair_of_it(self):
        without, nothing = timed(memory={}), timed(memory={"peak_rss": 0})
        odd = [(without, timed()), (timed(), without), (nothing, timed()), (timed(), nothing)]
        made = judge()
        for number, records in enumerate([*odd, *[(timed(), timed())] * 14], start=1):
            made.add(NAME, number, records, number % 2 == 0)
        row = rows_of(made)["memory.peak_rss"]
        assert (row.verdict, row.ratio, row.base, row.candidate) == ("equivalent", 1.0, 2**22, 2**22)

    def test_values_are_the_medians_of_the_launches(self):
        row = rows_of(measure(judge(), 14, 1.1, noise=0.0))["train.step_time"]
        assert (row.base, row.candidate) == (1.0, pytest.approx(1.1))

    def test_what_cannot_be_decided_stops_a_build(self):
        rows = list(rows_of(measure(judge(), 10, noise=0.2)).values())
        assert {row.verdict for row in rows if row.metric.name in TIMES} == {"inconclusive"}
        assert outcome(rows) == 3
        assert outcome(rows, allow_inconclusive=True) == 0

    def test_of_a_rate_more_is_better(self):
        name = "train.throughput"
        for ratio, verdict in ((1.1, "regressed"), (0.9, "improved")):
            row = rows_of(measure(judge(asked=asked(metrics=[name])), 14, ratio))[name]
            assert (row.verdict, row.gates) == (verdict, True)
            assert row.ratio == pytest.approx(ratio, rel=0.005)
            assert (row.candidate < row.base) is (ratio > 1)

    def test_the_threshold_is_that_of_the_rules(self):
        for relative, verdict in ((0.1, "equivalent"), (0.01, "regressed")):
            made = judge(asked=asked(rule("*", relative=relative)))
            assert rows_of(measure(made, 14, 1.05))["epoch.time"].verdict == verdict

    def test_one_in_seconds_is_held_against_the_baseline(self):
        made = judge(asked=asked(rule("epoch.time", absolute=0.6)))
        rows = rows_of(measure(made, 14, 1.05))  # 6 s and 6.3 s
        assert (rows["epoch.time"].verdict, rows["train.step_time"].verdict) == ("equivalent", "regressed")

    def test_one_that_warns_fails_no_build(self):
        made = judge(asked=asked(rule("*", regression="warn")))
        rows = rows_of(measure(made, 14, 1.1))
        assert (rows["epoch.time"].action, outcome(list(rows.values()))) == ("warn", 0)

    def test_memory_is_judged_by_its_own_threshold(self):
        for share, verdict in ((1.02, "equivalent"), (1.2, "regressed")):
            rows = rows_of(measure(judge(), 14, memory={"peak_rss": 2**22 * share}))
            assert rows["memory.peak_rss"].verdict == verdict

    def test_what_was_nothing_before_has_no_ratio(self):
        made = judge()
        for number in range(1, 15):
            records = timed(memory={"peak_rss": 0}), timed(memory={"peak_rss": 4096})
            made.add(NAME, number, records, number % 2 == 0)
        row = rows_of(made)["memory.peak_rss"]
        assert (row.verdict, reason_said(row.reason)) == (
            "not_measured",
            "0 and 4096 have no ratio",
        )

    def test_a_metric_of_one_side_alone_is_not_measured(self):
        rows = rows_of(measure(judge(), 14, memory={}))
        assert rows["memory.peak_rss"].verdict == "not_measured"
        assert reason_said(rows["memory.peak_rss"].reason) == "the candidate has no value"
        assert outcome(list(rows.values())) == 3

    @pytest.mark.parametrize(("contaminated", "said"), [(8, True), (7, False)])
    def test_a_case_of_which_most_pairs_were_contaminated_says_so(self, contaminated, said):
        made = judge()
        for number in range(1, 15):
            guards = fakes.CONTAMINATED if number <= contaminated else fakes.guards()
            made.add(NAME, number, (timed(), timed(guards=guards)), number % 2 == 0)
        assert ("contaminated" in rows_of(made)["epoch.time"].caveats) is said


class TestOtherWork:
    HALF = fakes.stages(steps=(1.0,))

    @pytest.mark.parametrize("less", [True, False])
    def test_it_is_one_verdict_and_two_pairs_are_enough(self, less):
        records = timed(), timed(stages=self.HALF)
        made = judge()
        for number in (1, 2):
            assert made.wants(NAME)
            made.add(NAME, number, records if less else records[::-1], number == 1)
        assert not made.wants(NAME)
        rows = rows_of(made)
        speaking = [row for row in rows.values() if row.verdict == "different_work" and not row.folded]
        assert [row.metric.name for row in speaking] == ["work.train.samples"]
        for name in TIMES:
            assert (rows[name].verdict, rows[name].folded) == ("different_work", True)
        assert outcome(list(rows.values())) == 3
        assert outcome(list(rows.values()), allow_inconclusive=True) == 3

    def test_where_validation_alone_differs_training_is_measured_until_it_is_decided(self):
        short = [one for one in fakes.stages() if one.stage != "validate"]
        short += [
            fakes.stage("validate", one.epoch, (1.0,)) for one in fakes.stages() if one.stage == "validate"
        ]
        made = judge()
        for number in range(1, 15):
            assert made.wants(NAME)
            after = [dataclasses.replace(one, steps=tuple(1.2 * step for step in one.steps)) for one in short]
            made.add(NAME, number, (timed(), timed(stages=tuple(after))), number % 2 == 0)
        rows = rows_of(made)
        assert rows["train.step_time"].verdict == "regressed"
        assert rows["epoch.time"].verdict == rows["work.validate.samples"].verdict == "different_work"
        assert outcome(list(rows.values())) == 1

    def test_sides_that_differ_in_an_axis_are_compared_by_the_sample(self):
        cases = [Matched(NAME, CaseSide("fake", "cpu"), CaseSide("fake", "cpu"), intended=True)]
        made = SideBySide(cases, ASKED)
        larger = fakes.stages(steps=(1.0,), samples=(8,))
        for number in range(1, 15):
            made.add(NAME, number, (timed(), timed(stages=larger)), number % 2 == 0)
        rows = rows_of(made)
        assert rows["train.throughput"].verdict == rows["epoch.time"].verdict == "improved"
        assert "train.step_time" not in rows
        assert "different_work" not in {row.verdict for row in rows.values()}
        assert outcome(list(rows.values())) == 0
        assert "train.step_time" in made.by_sample[0].not_compared


def learns(accuracy, loss=0.5):
    """A launch whose last test came to this."""
    stages = [
        dataclasses.replace(one, loss=loss, metrics={"accuracy": accuracy} if one.stage == "test" else {})
        for one in fakes.stages()
    ]
    return timed(stages=tuple(stages))


class TestQuality:
    ACCURACY = "quality.test_accuracy"

    def after(self, pairs, asked=ASKED, **options):
        made = judge(asked=asked, **options)
        for number, (base, candidate) in enumerate(pairs, start=1):
            made.add(NAME, number, (learns(base), learns(candidate)), number % 2 == 0)
        return made

    def test_a_fall_is_seen_after_two_pairs_where_launches_end_alike(self):
        row = rows_of(self.after([(0.767, 0.198)] * 2))[self.ACCURACY]
        assert (row.verdict, row.action, row.gates) == ("regressed", "warn", False)

    def test_the_row_says_how_far_launches_lie_apart(self):
        assert rows_of(self.after([(0.75, 0.25)] * 2))[self.ACCURACY].spread == 0.0
        assert rows_of(self.after([(0.75, 0.25), (0.75, 0.5)]))[self.ACCURACY].spread == 0.25

    @pytest.mark.parametrize("swapped", [False, True])
    def test_both_sides_must_end_alike_for_a_change_to_be_sure_after_two_pairs(self, swapped):
        pairs = [(0.9, 0.2), (0.9, 0.3)]
        made = self.after([pair[::-1] for pair in pairs] if swapped else pairs)
        assert rows_of(made)[self.ACCURACY].verdict == "inconclusive"

    @pytest.mark.parametrize(("pairs", "verdict"), [(6, "inconclusive"), (8, "regressed")])
    def test_pairs_at_the_end_have_the_share_of_one_look(self, pairs, verdict):
        """Six against six that lie apart have a p of 2 / 924, which all of the error would be enough for."""
        made = self.after([(0.9 + number / 1000, 0.5 + number / 1000) for number in range(pairs)])
        assert rows_of(made)[self.ACCURACY].verdict == verdict

    def test_one_pair_does_not_tell(self):
        row = rows_of(self.after([(0.767, 0.198)]))[self.ACCURACY]
        assert (row.verdict, row.caveats) == ("inconclusive", ("few_launches",))

    def test_a_rule_that_names_it_is_waited_for_until_it_is_decided(self):
        chance = random.Random(0)
        gates = asked(rule("quality.*", regression="fail"), rule("epoch.time", regression="ignore"),
                      rule("train.*", regression="ignore"), rule("memory.*", regression="ignore"))  # fmt: skip
        noisy = [(0.9 + chance.gauss(0, 0.01), 0.5 + chance.gauss(0, 0.01)) for _ in range(14)]
        assert self.after(noisy[:13], gates).wants(NAME)
        decided = self.after(noisy, gates)
        assert not decided.wants(NAME)
        rows = rows_of(decided)
        assert rows[self.ACCURACY].verdict == "regressed"
        assert outcome(list(rows.values())) == 1
        alike = self.after([(0.9, 0.5)] * 2, gates)
        assert not alike.wants(NAME)

    def test_it_takes_nothing_from_the_family_of_times(self):
        assert self.after([(0.9, 0.9)] * 2).family == 3


class TestFailures:
    FAILED = fakes.failure()

    @pytest.mark.parametrize("side", [0, 1])
    @pytest.mark.parametrize("kind", ["counts", "pair"])
    @pytest.mark.parametrize("allow", [False, True])
    def test_of_either_side_never_pass(self, side, kind, allow):
        sound = counted() if kind == "counts" else timed()
        records = [sound, sound]
        records[side] = self.FAILED
        made = judge(NAME, OTHER)
        made.add(NAME, 1, tuple(records), True)
        assert not made.wants(NAME)
        measure(made, 14, name=OTHER)
        rows = made.end()
        (row,) = [row for row in rows if row.case == NAME]
        assert (row.verdict, row.gates) == ("not_measured", True)
        assert (
            reason_said(row.reason)
            == ("the base: " if side == 0 else "") + "error: ValueError: no such thing"
        )
        assert outcome(rows, allow) == 3

    def test_one_of_many_pairs_is_forgiven_the_measuring_but_not_the_verdict(self):
        made = measure(judge(), 3)
        made.add(NAME, 4, (timed(), self.FAILED), True)
        assert made.wants(NAME)
        assert made.pairs(NAME) == 3
        made.add(NAME, 5, (self.FAILED, timed()), True)
        assert not made.wants(NAME)
        (row,) = made.end()
        assert (row.verdict, row.metric.name) == ("not_measured", "epoch.time")
        assert row.base == pytest.approx(6.0, rel=0.01)

    def test_their_row_is_of_a_time_though_counts_came_first(self):
        made = judge()
        made.add(NAME, 1, (counted(), counted()), True)
        made.add(NAME, 1, (timed(), self.FAILED), True)
        (row,) = made.end()
        assert (row.metric.name, row.base, row.gates) == ("epoch.time", None, True)

    @pytest.mark.parametrize(
        ("metrics", "name"),
        [
            (["quality.test_*"], "quality.test_loss"),  # which does not gate unless its name is asked for
            (["quality.*", "count.flops"], "count.flops"),
            (["quality.mine"], "epoch.time"),  # of which nothing is known yet
        ],
    )
    def test_their_row_is_of_what_was_asked_for(self, metrics, name):
        made = judge(asked=asked(metrics=metrics))
        made.add(NAME, 1, (timed(), self.FAILED), True)
        (row,) = made.end()
        assert (row.verdict, row.metric.name) == ("not_measured", name)

    def test_the_first_reason_stays(self):
        made = measure(judge(), 1)
        made.add(NAME, 2, (timed(), self.FAILED), True)
        made.add(NAME, 3, (timed(), fakes.failure(failure="timeout", message="no result")), True)
        assert reason_said(made.end()[0].reason) == "error: ValueError: no such thing"

    @pytest.mark.parametrize("metric", ["epoch.time", "*.time", "train.step_time"])
    def test_of_a_case_whose_times_are_ignored_are_seen(self, metric):
        made = judge(NAME, OTHER, asked=asked(rule(metric, regression="ignore")))
        made.add(NAME, 1, (counted(), self.FAILED), True)
        measure(made, 14, name=OTHER)
        rows = made.end()
        assert [row.gates for row in rows if row.case == NAME] == [True]
        assert outcome(rows) == 3

    @pytest.mark.parametrize("metrics", [["count.ops"], ["train.*"], ["quality.mine"]])
    def test_are_seen_whatever_metrics_are_asked_for(self, metrics):
        made = judge(NAME, OTHER, asked=asked(metrics=metrics))
        made.add(NAME, 1, (counted(), self.FAILED), True)
        made.add(OTHER, 1, (counted(), counted()), True)
        measure(made, 14, name=OTHER)
        assert outcome(made.end()) == 3

    def test_of_a_case_that_no_rule_cares_for_stop_nothing(self):
        ignored = ThresholdRule("rule 1", case=NAME, changes={"regression": "ignore"})
        made = judge(NAME, OTHER, asked=asked(ignored))
        made.add(NAME, 1, (counted(), self.FAILED), True)
        measure(made, 14, name=OTHER)
        rows = made.end()
        assert [row.verdict for row in rows if row.case == NAME] == ["not_measured"]
        assert outcome(rows) == 0


class TestWanting:
    def test_a_case_wants_pairs_until_all_of_it_is_decided(self):
        made = judge()
        assert made.wants(NAME)
        assert measure(made, 13).wants(NAME)
        assert not measure(made, 1, began=13).wants(NAME)
        assert {row.verdict for row in made.rows_of(NAME) if row.metric.name in TIMES} == {"equivalent"}

    def test_one_that_cannot_be_decided_has_the_most_pairs(self):
        made = measure(judge(most=12), 11, noise=0.2)
        assert made.wants(NAME)
        assert not measure(made, 1, began=11, noise=0.2).wants(NAME)

    def test_a_single_pair_may_be_the_most(self):
        made = measure(judge(most=1), 1)
        assert not made.wants(NAME)
        assert outcome(made.end()) == 3

    def test_times_that_do_not_gate_are_waited_for_by_nobody(self):
        made = judge(asked=asked(rule("*", regression="ignore")))
        assert made.wants(NAME)  # its work is known from a pair
        assert measure(made, 1).wants(NAME)  # nor does one launch tell whether they end alike
        assert not measure(made, 1, began=1).wants(NAME)

    def test_a_metric_that_is_asked_for_is_waited_for(self):
        made = measure(judge(asked=asked(metrics=["count.ops"])), 1)
        assert not made.wants(NAME)
        assert measure(judge(asked=asked(metrics=["test.throughput"])), 1).wants(NAME)

    @pytest.mark.parametrize("metric", ["epoch.time", "memory.peak_rss", "count.ops"])
    def test_whatever_is_asked_for_a_first_pair_is_wanted(self, metric):
        """Counts come before the pairs, and no time is known by then that could be wanted."""
        made = judge(asked=asked(metrics=[metric]))
        made.add(NAME, 1, (counted(ops=90), counted(ops=90)), base_led=True)
        assert made.wants(NAME)

    def test_a_metric_that_comes_late_is_waited_for(self):
        made = measure(judge(asked=asked(metrics=["memory.peak_rss"])), 2, memory={})
        assert not made.wants(NAME)
        assert measure(made, 1, began=2).wants(NAME)

    def test_each_case_wants_its_own(self):
        made = judge(NAME, OTHER)
        measure(made, 14)
        measure(made, 10, noise=0.2, name=OTHER)
        assert (made.wants(NAME), made.wants(OTHER)) == (False, True)

    def test_the_family_is_that_of_all_cases_as_far_as_they_are_known(self):
        made = judge(NAME, OTHER)
        assert made.family == 4  # two each, for all that is known
        measure(made, 1)
        assert made.family == 6  # epoch, step and memory; the other case will have as many
        measure(made, 1, name=OTHER, memory={})
        assert made.family == 5

    def test_a_larger_family_asks_for_more(self):
        alone = measure(judge(), 14, ratio=1.05)
        among = judge(*(NAME, *(f"fake/{number}" for number in range(60))))
        measure(among, 14, ratio=1.05)
        assert rows_of(alone)["epoch.time"].verdict == "regressed"
        assert rows_of(among)["epoch.time"].verdict == "inconclusive"


class TestTheEnd:
    def test_what_lies_between_two_looks_is_judged(self):
        made = measure(judge(), 8, ratio=1.3, noise=0.0001)
        assert {row.ratio for row in made.rows_of(NAME) if row.metric.name in TIMES} == {None}
        row = rows_of(made)["epoch.time"]
        assert row.ratio == pytest.approx(1.3, rel=0.001)
        assert row.verdict == "inconclusive"  # of eight pairs too little can be said
        decided = measure(judge(), 13, ratio=1.3)
        before = {row.metric.name: row.verdict for row in decided.rows_of(NAME)}
        assert before["epoch.time"] == "inconclusive"
        assert rows_of(decided)["epoch.time"].verdict == "regressed"

    def test_a_case_without_a_pair_is_not_measured_though_its_counts_are_equal(self):
        made = judge(NAME, OTHER)
        for name in (NAME, OTHER):
            made.add(name, 1, (counted(), counted()), True)
        measure(made, 14, name=OTHER)
        rows = made.end()
        found = {row.metric.name: row for row in rows if row.case == NAME}
        assert found["count.ops"].verdict == "equivalent"
        assert found["epoch.time"].verdict == "not_measured"
        assert "ended before its first pair" in reason_said(found["epoch.time"].reason)
        assert outcome(rows, allow_inconclusive=True) == 3

    def test_counts_that_were_taken_are_not_what_is_missing(self):
        made = judge(asked=asked(metrics=["count.ops", "memory.peak_rss"]))
        made.add(NAME, 1, (counted(), counted()), True)
        found = {row.metric.name: row.verdict for row in made.end()}
        assert found == {"memory.peak_rss": "not_measured", "count.ops": "equivalent"}

    def test_nor_does_a_case_pass_of_which_nothing_was_measured(self):
        made = judge(NAME, OTHER)
        measure(made, 14, name=OTHER)
        assert outcome(made.end()) == 3

    def test_counts_that_were_asked_for_alone_need_no_pair(self):
        made = judge(asked=asked(metrics=["count.*"]))
        made.add(NAME, 1, (counted(), counted()), True)
        assert outcome(made.end()) == 0

    def test_without_anything_it_is_no_pass(self):
        assert outcome(judge().end()) == 3

    def test_rows_of_all_cases_come_in_their_order(self):
        made = judge(NAME, OTHER)
        measure(made, 10)
        measure(made, 10, name=OTHER)
        cases = [row.case for row in made.end()]
        assert cases == sorted(cases, key=[NAME, OTHER].index)

    def test_both_sides_have_their_launches_under_their_names(self):
        made = measure(judge(), 3)
        base, candidate = made.sides("main", "mine")
        assert (base.name, candidate.name) == ("main", "mine")
        assert {base.kind, candidate.kind} == {"ab"}
        assert list(base.cases[NAME].observed["epoch.time"].launches) == [1, 2, 3]
        assert list(candidate.cases) == [NAME]


class TestRemarks:
    def test_they_say_how_many_pairs_there_were(self):
        made = judge(NAME, OTHER)
        measure(made, 10)
        assert "0 to 10 pairs of launches a case" in effort_said(made.effort)
        measure(made, 10, name=OTHER)
        assert effort_said(made.effort)[0] == "10 pairs of launches a case"

    @pytest.mark.parametrize(("slot", "said"), [(1.03, True), (1.001, False)])
    def test_what_running_first_costs_is_said_where_it_is_much(self, slot, said):
        made = judge()
        for number in range(1, 15):
            base_led = number % 2 == 0
            base, candidate = (slot, 1.0) if base_led else (1.0, slot)
            made.add(NAME, number, (timed(base), timed(candidate)), base_led)
        rows = rows_of(made)
        assert rows["epoch.time"].verdict == "equivalent"
        remarks = [line for line in effort_said(made.effort) if "runs first" in line]
        assert len(remarks) == said
        assert all("3.0%" in line and "slower" in line for line in remarks)
