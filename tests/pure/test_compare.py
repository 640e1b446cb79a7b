"""Two sides, row by row: the ratio with its interval, the verdict, and what a comparison comes to."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from dataclasses import replace

import pytest
from scipy import stats

from bench.analysis.compare.policy import ACTIONS, Policy
from bench.analysis.compare.sides import Observed, log_error
from bench.analysis.compare.verdict import (
    EXACT,
    FAMILY,
    SHOWN,
    Change,
    Row,
    RunDeviation,
    has_ratio,
    judge,
    judge_exact,
    outcome,
    paired,
    smallest_seen,
    undecided,
    unpaired,
)
from bench.analysis.run.estimate import quantile
from bench.measurement import METRICS
from bench.report.comparison import VERDICTS

T = 0.05
_, STRICT = Change(1.0, 1.0).interval(1 - FAMILY / 24) or (0.0, 0.0)
FAR = math.log(STRICT)  # standard errors in half of the strict interval of 24 rows


def value(number, error=0.0):
    return Observed(number, {}, error)


def observed(*values):
    return Observed.of(dict(enumerate(values, start=1)))


class TestASide:
    def test_its_value_is_the_median_of_its_launches(self):
        side = observed(1.0, 2.0, 9.0)
        assert (side.value, side.launches) == (2.0, {1: 1.0, 2: 2.0, 3: 9.0})

    @pytest.mark.parametrize("number", range(1, 6))
    def test_too_few_launches_that_differ_tell_no_error(self, number):
        assert observed(*[float(one + 1) for one in range(number)]).error is None

    def test_equal_launches_have_none(self):
        assert observed(*[2.0] * 6).error == observed(*[2.0] * 2).error == observed(0.0, 0.0).error == 0.0

    @pytest.mark.parametrize("least", [0.0, -1.0])
    def test_what_has_no_logarithm_has_no_error(self, least):
        assert log_error([least, 1.0, 2.0, 3.0, 4.0, 5.0]) is None

    def test_without_launches_there_is_no_side(self):
        with pytest.raises(statistics.StatisticsError):  # a ValueError
            Observed.of({})

    def test_of_six_launches_the_ends_are_two_standard_errors_and_a_bit_apart(self):
        # Min to max of six holds the median in 1 - 2 / 64 of cases.
        half = math.log(4.0) / 2
        assert log_error([1.0, 2.0, 2.0, 2.0, 2.0, 4.0]) == pytest.approx(half / stats.norm.ppf(1 - 1 / 64))

    @pytest.mark.parametrize(("number", "most"), [(6, 1.3), (8, 1.35), (10, 1.2), (20, 1.1)])
    def test_on_average_it_is_not_below_the_standard_error_that_medians_have_nor_far_above(
        self, number, most
    ):
        chance = random.Random(number)
        medians, errors = [], []
        for _ in range(4000):
            values = [math.exp(chance.gauss(0, 0.1)) for _ in range(number)]
            medians.append(math.log(statistics.median(values)))
            errors.append(log_error(values))
        assert 1.0 <= statistics.fmean(errors) / statistics.stdev(medians) <= most


class TestRatio:
    @pytest.mark.parametrize(("better", "ratio"), [("less", 2.0), ("more", 0.5)])
    def test_above_one_is_worse_whichever_way_the_metric_goes(self, better, ratio):
        assert unpaired(value(1.0), value(2.0), better, RunDeviation(0.0)).ratio == ratio

    @pytest.mark.parametrize(("better", "ratio"), [("less", math.inf), ("more", 0.0)])
    def test_from_zero_it_is_without_bounds(self, better, ratio):
        assert unpaired(value(0.0), value(2.0), better, RunDeviation(0.0)).ratio == ratio

    @pytest.mark.parametrize("better", ["less", "more"])
    def test_zero_twice_is_no_change(self, better):
        assert unpaired(value(0.0), value(0.0), better, RunDeviation(0.0)).ratio == 1.0

    @pytest.mark.parametrize(
        ("base", "candidate", "there_is"),
        [
            *((1.0, 2.0, True), (2.0, 0.0, True), (0.0, 0.0, True)),
            *((0.0, 1.0, False), (-1.0, 1.0, False), (1.0, -1.0, False), (-1.0, -1.0, False)),
            *((math.nan, 1.0, False), (1.0, math.nan, False)),
        ],
    )
    def test_of_what_is_negative_or_was_nothing_it_says_nothing(self, base, candidate, there_is):
        assert has_ratio(base, candidate) is there_is


class TestRunsOfDifferentTimes:
    def test_without_errors_there_is_a_ratio_all_the_same(self):
        assert unpaired(value(1.0, None), value(2.0, None), "less", RunDeviation(0.0)).ratio == 2.0

    def test_a_pair_with_a_value_of_zero_is_left_out(self):
        before = {1: 1.0, 2: 1.0, 3: 1.0}
        assert paired(before, {1: 2.0, 2: 2.0, 3: 0.0}, "less") == paired(
            {1: 1.0, 2: 1.0}, {1: 2.0, 2: 2.0}, "less"
        )

    @pytest.mark.parametrize("sign", [1, -1])
    def test_an_interval_that_leaves_the_tolerated_changes_at_one_end_is_open(self, sign):
        assert judge(Change(math.exp(sign * 0.03), 0.02), 0.05, 1) == "inconclusive"
        assert judge(Change(math.exp(sign * 0.03), 0.01), 0.05, 1) == "equivalent"

    def test_a_family_of_one_row_has_all_of_the_error(self):
        """Its interval is one of 98 %: 2.33 standard errors, where two rows take 2.58."""
        assert judge(Change(math.exp(0.245), 0.1), 0.05, 1) == "regressed"
        assert judge(Change(math.exp(0.245), 0.1), 0.05, 2) == "inconclusive"

    def test_errors_add_up_and_what_lies_between_runs_comes_in_for_each_side(self):
        change = unpaired(value(1.0, 0.03), value(2.0, 0.04), "less", RunDeviation(0.05))
        assert change.error == pytest.approx(math.sqrt(0.03**2 + 0.04**2 + 2 * 0.05**2))
        assert change.freedom == math.inf

    def test_where_launches_tell_nothing_runs_still_differ_by_as_much(self):
        assert unpaired(
            value(1.0, None), value(2.0, 0.04), "less", RunDeviation(0.05)
        ).error == pytest.approx(0.05 * math.sqrt(2))

    def test_a_deviation_from_few_runs_is_uncertain_itself(self):
        estimated = RunDeviation(0.05, freedom=4)
        alone = unpaired(value(1.0, None), value(2.0, None), "less", estimated)
        assert alone.freedom == 4
        within = unpaired(value(1.0, 0.05), value(2.0, 0.05), "less", estimated)
        assert within.freedom == 4

    def test_where_nothing_is_known_there_is_no_interval(self):
        change = unpaired(value(1.0, None), value(2.0, None), "less", RunDeviation(0.0))
        assert (change.error, change.interval(0.95), change.rise(0.95)) == (None, None, None)


class TestRoundsOfOneRun:
    def test_what_a_round_does_to_both_cancels(self):
        rounds = {number: 1.0 + number for number in range(1, 9)}  # the machine gets slower and slower
        change = paired(rounds, {number: 1.1 * seconds for number, seconds in rounds.items()}, "less")
        assert change.ratio == pytest.approx(1.1)
        assert change.error == pytest.approx(0.0, abs=1e-12)
        assert (
            unpaired(observed(*rounds.values()), observed(*rounds.values()), "less", RunDeviation(0.0)).error
            > 0.1
        )

    def test_the_interval_is_that_of_a_paired_t_test(self):
        chance = random.Random(0)
        base = {number: math.exp(chance.gauss(0, 0.1)) for number in range(7)}
        candidate = {number: seconds * math.exp(chance.gauss(0.2, 0.1)) for number, seconds in base.items()}
        change = paired(base, candidate, "less")
        logs = [math.log(candidate[number] / base[number]) for number in base]
        expected = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
        assert tuple(map(math.log, change.interval(0.95))) == pytest.approx((expected.low, expected.high))

    def test_the_direction_turns_it_round(self):
        base, candidate = {1: 1.0, 2: 1.0}, {1: 2.0, 2: 2.5}
        less, more = paired(base, candidate, "less"), paired(base, candidate, "more")
        assert less.ratio == pytest.approx(1 / more.ratio)
        assert less.error == pytest.approx(more.error)

    def test_rounds_that_one_side_alone_has_do_not_count(self):
        assert paired({1: 1.0, 2: 1.0, 3: 9.0}, {1: 2.0, 2: 2.0, 4: 9.0}, "less").ratio == pytest.approx(2.0)

    @pytest.mark.parametrize(
        ("base", "candidate"),
        [
            ({}, {}),
            ({1: 1.0}, {1: 1.0}),
            ({1: 1.0, 2: 1.0}, {3: 1.0, 4: 1.0}),
            ({1: 1.0, 2: 0.0}, {1: 1.0, 2: 1.0}),
        ],
    )
    def test_fewer_than_two_pairs_tell_nothing(self, base, candidate):
        assert paired(base, candidate, "less") is None

    def test_two_rounds_far_apart_are_no_reason_to_break_down(self):
        change = paired({1: 1.0, 2: 1.0}, {1: 1.0, 2: 3.0}, "less")
        assert judge(change, T, 100) == "inconclusive"
        assert smallest_seen(change, T, 100) > 1e100
        assert all(math.isfinite(end) for end in change.interval(1 - FAMILY / 100))


class TestQuantile:
    @pytest.mark.parametrize("freedom", [1, 2, 5, 11, 100])
    @pytest.mark.parametrize("probability", [0.5, 0.95, 0.975, 0.9999])
    def test_it_is_that_of_students_t(self, freedom, probability):
        assert quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), abs=1e-12)

    @pytest.mark.parametrize("probability", [0.5, 0.95, 0.9999])
    def test_with_no_end_of_freedom_it_is_that_of_the_normal_distribution(self, probability):
        assert quantile(probability, math.inf) == pytest.approx(stats.norm.ppf(probability), abs=1e-12)


class TestCounts:
    def judged(self, base, candidate, **policy):
        return judge_exact(base, candidate, Policy(policy.pop("relative", 0.0), **policy))

    @pytest.mark.parametrize(("base", "candidate"), [(100, 101), (0, 1), (2**53 - 1, 2**53)])
    def test_any_rise_is_worse_and_any_fall_better(self, base, candidate):
        assert self.judged(base, candidate) == "regressed"
        assert self.judged(candidate, base) == "improved"

    @pytest.mark.parametrize("number", [0, 1, 2**53])
    def test_the_same_is_equivalent(self, number):
        assert self.judged(number, number) == "equivalent"

    @pytest.mark.parametrize(
        ("candidate", "verdict"),
        [(126, "regressed"), (125, "equivalent"), (80, "equivalent"), (79, "improved")],
    )
    def test_a_share_ends_where_the_change_is_as_large_and_at_its_inverse(self, candidate, verdict):
        assert self.judged(100, candidate, relative=0.25) == verdict

    @pytest.mark.parametrize("base", [0, 3, 10, 49, 1000])
    def test_a_number_is_held_against_the_difference_from_any_base_and_both_ways(self, base):
        assert self.judged(base, base + 3, absolute=3.0) == "equivalent"
        assert self.judged(base + 3, base, absolute=3.0) == "equivalent"
        assert self.judged(base, base + 4, absolute=3.0) == "regressed"
        assert self.judged(base + 4, base, absolute=3.0) == "improved"

    def test_of_each_count_less_is_better(self):
        assert {one.better for one in METRICS.values() if one.kind in EXACT} == {"less"}

    def test_no_share_of_zero_is_anything(self):
        assert self.judged(0, 1, relative=0.5) == "regressed"
        assert self.judged(1, 0, relative=0.5) == "improved"


class TestVerdict:
    """T is 5 % and the family 24 rows; an error of so many logarithms puts the interval's end where it is."""

    @pytest.mark.parametrize(
        ("ratio", "error", "verdict"),
        [
            (1.2, 0.0, "regressed"),
            (1.2, math.log(1.2) / FAR * 0.99, "regressed"),  # the interval just ends above 1
            (1.2, math.log(1.2) / FAR * 1.01, "inconclusive"),
            (1.0501, 0.0, "regressed"),
            (1.0499, 0.0, "equivalent"),
            (1 / 1.2, 0.0, "improved"),
            (1 / 1.2, math.log(1.2) / FAR * 0.99, "improved"),
            (1 / 1.2, math.log(1.2) / FAR * 1.01, "inconclusive"),
            (1 / 1.0501, 0.0, "improved"),
            (1 / 1.0499, 0.0, "equivalent"),
            (1.0, math.log(1.05) / 1.6449 * 0.99, "equivalent"),  # 90 % of it lie inside
            (1.0, math.log(1.05) / 1.6449 * 1.01, "inconclusive"),
            (1.04, 0.01, "inconclusive"),  # no change that matters is likely, but not shown
            (math.inf, 0.1, "regressed"),
            (0.0, 0.1, "improved"),
        ],
    )
    def test_each_begins_where_the_one_before_ends(self, ratio, error, verdict):
        assert judge(Change(ratio, error), T, 24) == verdict

    @pytest.mark.parametrize(("ratio", "threshold"), [(1.5, 0.5), (0.5, 1.0)])
    def test_a_change_as_large_as_the_threshold_is_within_it(self, ratio, threshold):
        assert judge(Change(ratio, 0.0), threshold, 1) == "equivalent"

    def test_a_change_that_is_certain_but_small_is_equivalent(self):
        assert judge(Change(1.03, 0.001), T, 24) == "equivalent"

    def test_without_an_error_nothing_is_decided(self):
        assert judge(Change(3.0, None), T, 1) == "inconclusive"
        assert smallest_seen(Change(3.0, None), T, 1) is None

    def test_in_a_larger_family_it_takes_more(self):
        change = Change(1.2, math.log(1.2) / FAR)
        assert [judge(change, T, family) for family in (0, 1, 23, 25)] == [
            *("regressed",) * 3,
            "inconclusive",
        ]

    def test_fewer_degrees_of_freedom_take_more(self):
        assert judge(Change(1.2, 0.03), T, 1) == "regressed"
        assert judge(Change(1.2, 0.03, freedom=2), T, 1) == "inconclusive"


class TestSmallestSeen:
    @pytest.mark.parametrize("error", [0.001, 0.01, 0.1])
    @pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
    def test_a_rise_just_beyond_it_would_have_been_seen_and_one_below_it_not(self, error, ratio):
        smallest = smallest_seen(Change(ratio, error), T, 24)
        assert judge(Change(1 + smallest * 1.001, error), T, 24) == "regressed"
        assert judge(Change(1 + smallest * 0.999, error), T, 24) != "regressed"

    @pytest.mark.parametrize("ratio", [0.0, math.inf])
    def test_it_is_known_of_a_value_that_came_from_or_went_to_zero(self, ratio):
        assert smallest_seen(Change(ratio, 0.1), T, 1) == pytest.approx(math.exp(2.3263 * 0.1) - 1, rel=1e-3)

    def test_it_is_never_below_the_threshold(self):
        assert smallest_seen(Change(1.0, 0.0), T, 24) == T


def runs(chance, between, within, slower=1.0):
    """Two runs of six to twelve launches: what each run, and what each launch adds, is in the logarithm."""

    def run(seconds):
        level = math.log(seconds) + chance.gauss(0, between)
        number = chance.randint(6, 12)
        return observed(*(math.exp(level + chance.gauss(0, within)) for _ in range(number)))

    return run(1.0), run(slower)


ROWS, COMPARISONS = 24, 300


class TestFalseAlarmsAndPower:
    @pytest.mark.parametrize(("between", "within"), [(0.02, 0.02), (0.05, 0.02), (0.05, 0.1), (0.15, 0.05)])
    def test_the_same_code_raises_an_alarm_in_two_of_a_hundred_comparisons_at_most(self, between, within):
        chance = random.Random(int(between * 100) + int(within * 1000))
        alarms = covered = 0
        for _ in range(COMPARISONS):
            verdicts = set()
            for _ in range(ROWS):
                change = unpaired(*runs(chance, between, within), "less", RunDeviation(between))
                low, high = change.interval(SHOWN)
                covered += low <= 1 <= high
                verdicts.add(judge(change, T, ROWS))
            alarms += bool(verdicts & {"regressed", "improved"})
        bound = FAMILY + 3 * math.sqrt(FAMILY * (1 - FAMILY) / COMPARISONS)
        assert alarms / COMPARISONS <= bound
        assert covered / COMPARISONS / ROWS >= 0.93

    @pytest.mark.parametrize("learnt_from", [5, 8, 30])
    def test_nor_does_it_where_the_deviation_was_learnt_from_a_few_runs(self, learnt_from):
        chance = random.Random(learnt_from)
        alarms = 0
        for _ in range(COMPARISONS):
            verdicts = set()
            for _ in range(ROWS):
                earlier = [chance.gauss(0, 0.05) for _ in range(learnt_from)]
                estimated = RunDeviation(statistics.stdev(earlier), learnt_from - 1)
                verdicts.add(judge(unpaired(*runs(chance, 0.05, 0.02), "less", estimated), T, ROWS))
            alarms += bool(verdicts & {"regressed", "improved"})
        assert alarms / COMPARISONS <= FAMILY + 3 * math.sqrt(FAMILY * (1 - FAMILY) / COMPARISONS)

    def test_a_fifth_slower_is_found_where_runs_differ_by_a_percent(self):
        chance = random.Random(0)
        found = sum(
            judge(unpaired(*runs(chance, 0.01, 0.02, slower=1.2), "less", RunDeviation(0.01)), T, ROWS)
            == "regressed"
            for _ in range(200)
        )
        assert found / 200 > 0.95

    def test_and_equal_code_is_found_equal_there(self):
        chance = random.Random(0)
        found = sum(
            judge(unpaired(*runs(chance, 0.005, 0.005), "less", RunDeviation(0.005)), T, ROWS) == "equivalent"
            for _ in range(200)
        )
        assert found / 200 > 0.95


def row(verdict, **changes):
    facts = {
        "suite": "s", "case": "s", "metric": METRICS["epoch.time"], "base": 1.0, "candidate": 1.0, "ratio": 1.0,
        "low": None, "high": None, "verdict": verdict, "policy": Policy(T), "gates": True, "undecided_gates": True,
    }  # fmt: skip
    return Row(**(facts | changes))


def lenient(verdict, **changes):
    """A row that, undecided, is no reason to stop a build."""
    return row(verdict, undecided_gates=False, **changes)


WARN, IGNORE = Policy(T, regression="warn"), Policy(T, regression="ignore")
BETTER_FAILS = Policy(T, improvement="fail")

# What the rows are -> the exit code, and the one under --allow-inconclusive; written out by hand.
OUTCOMES = [
    ("nothing", [], 3, 3),
    ("nothing that gates", [row("equivalent", gates=False)], 3, 3),
    ("regressed, which does not gate", [row("regressed", gates=False)], 3, 3),
    ("equivalent", [row("equivalent")], 0, 0),
    ("improved", [row("improved")], 0, 0),
    ("regressed", [row("regressed")], 1, 1),
    ("regressed, a warning", [row("regressed", policy=WARN)], 0, 0),
    ("regressed, ignored", [row("regressed", policy=IGNORE)], 0, 0),
    ("improved, which is to fail", [row("improved", policy=BETTER_FAILS)], 1, 1),
    ("improved, which is to fail and does not gate", [row("improved", policy=BETTER_FAILS, gates=False)], 3, 3),
    ("inconclusive", [row("inconclusive")], 3, 0),
    ("inconclusive, whatever it would do", [row("inconclusive", policy=WARN)], 3, 0),
    ("inconclusive, which is lenient, alone", [lenient("inconclusive")], 3, 0),
    ("inconclusive, lenient, beside equivalent", [lenient("inconclusive"), row("equivalent")], 0, 0),
    ("inconclusive, lenient, beside improved", [lenient("inconclusive"), row("improved")], 0, 0),
    ("inconclusive, lenient, beside no gate", [lenient("inconclusive"), row("equivalent", gates=False)], 3, 0),
    ("inconclusive, lenient, beside regressed", [lenient("inconclusive"), row("regressed")], 1, 1),
    ("inconclusive beside equivalent", [row("inconclusive"), row("equivalent")], 3, 0),
    ("inconclusive, no gate, beside equivalent", [row("inconclusive", gates=False), row("equivalent")], 0, 0),
    ("not measured", [row("not_measured")], 3, 3),
    ("not measured, lenient", [lenient("not_measured")], 3, 3),
    ("not measured beside equivalent", [row("not_measured"), row("equivalent")], 3, 3),
    ("not measured, lenient, beside equivalent", [lenient("not_measured"), row("equivalent")], 0, 0),
    ("not measured, no gate, beside equivalent", [row("not_measured", gates=False), row("equivalent")], 0, 0),
    ("not measured, no gate, alone", [row("not_measured", gates=False)], 3, 3),
    ("not measured beside inconclusive", [row("not_measured"), row("inconclusive")], 3, 3),
    ("not measured beside regressed", [row("not_measured"), row("regressed")], 1, 1),
    ("not measured beside a warning", [row("not_measured"), row("regressed", policy=WARN)], 3, 3),
    ("different work", [row("different_work"), row("equivalent")], 3, 3),
    ("different work beside regressed", [row("different_work"), row("regressed")], 1, 1),
    ("moved", [row("moved"), row("equivalent")], 0, 0),
    ("all at once", [row(verdict) for verdict in VERDICTS], 1, 1),
]  # fmt: skip


class TestOutcome:
    @pytest.mark.parametrize(
        ("rows", "strict", "allowing"), [one[1:] for one in OUTCOMES], ids=[one[0] for one in OUTCOMES]
    )
    def test_one_comes_before_three_and_three_before_nought(self, rows, strict, allowing):
        assert outcome(rows) == strict
        assert outcome(rows, allow_inconclusive=True) == allowing

    @pytest.mark.parametrize(
        ("verdict", "gates", "lenient", "action"),
        [*itertools.product(VERDICTS, (True, False), (True, False), ACTIONS)],
    )
    def test_a_row_alone(self, verdict, gates, lenient, action):
        one = row(
            verdict,
            gates=gates,
            undecided_gates=not lenient,
            policy=Policy(T, regression=action, improvement=action),
        )
        if not gates or verdict in ("inconclusive", "not_measured", "different_work"):
            expected = 3
        elif verdict in ("equivalent", "moved"):
            expected = 0
        else:
            expected = 1 if action == "fail" else 0
        assert outcome([one]) == expected

    @pytest.mark.parametrize("rows", [one[1] for one in OUTCOMES], ids=[one[0] for one in OUTCOMES])
    def test_the_order_of_rows_does_not_matter(self, rows):
        assert outcome(rows[::-1]) == outcome(rows)

    def test_what_keeps_it_from_being_decided_is_named(self):
        gone, unclear, sure = row("not_measured"), lenient("inconclusive"), row("equivalent")
        assert undecided([gone, unclear, sure]) == [gone]
        assert undecided([unclear]) == [unclear]
        assert undecided([gone, unclear], allow_inconclusive=True) == [gone]
        assert undecided([replace(gone, gates=False), sure]) == []
