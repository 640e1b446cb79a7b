"""What a change of a metric means: the defaults of its class, and what rules make of them."""

from __future__ import annotations

import pytest

from bench.analysis.compare.policy import THRESHOLDS, Policy, ThresholdRule, directed, policy
from bench.measurement import METRICS, metric

OPS, TIME = METRICS["count.ops"], METRICS["epoch.time"]
CASE = "vision/device=cpu/batch_size=64"


def judged(*rules, of=TIME, suite="vision", case=CASE, device="cpu"):
    return policy(of, suite, case, device, rules)


def rule(changes, **patterns):
    return ThresholdRule("here", **patterns, changes=changes)


class TestDefaults:
    @pytest.mark.parametrize(
        ("name", "share"),
        [
            ("epoch.time", 0.05),
            ("count.ops", 0.0),
            ("count.allocations", 0.0),
            ("memory.peak_rss", 0.05),
            ("train.data_share", 0.05),
        ],
    )
    def test_each_class_has_the_largest_change_that_is_none(self, name, share):
        assert judged(of=metric(name)) == Policy(share)

    @pytest.mark.parametrize(
        ("name", "base", "tolerance"),
        [
            ("quality.test_loss", 2.0, 0.1),
            ("quality.test_score", -2.0, 0.1),
            ("quality.test_accuracy", 0.9, 0.02),
            ("quality.test_accuracy", 0.1, 0.02),
            ("quality.test_accuracy", 90.0, 1.8),  # of those that count in percent
            ("quality.test_psnr", 30.0, 0.6),
        ],
    )
    def test_what_was_learnt_has_a_tolerance_in_its_unit(self, name, base, tolerance):
        assert judged(of=metric(name)).tolerance(base) == pytest.approx(tolerance)

    def test_a_threshold_takes_its_place(self):
        accuracy = metric("quality.test_accuracy")
        assert judged(rule({"relative": 0.01}), of=accuracy).tolerance(0.5) == 0.005
        assert judged(rule({"absolute": 0.1}), of=accuracy).tolerance(0.5) == 0.1

    @pytest.mark.parametrize(
        ("changes", "patterns", "regression"),
        [
            ({}, None, "warn"),
            ({"regression": "fail"}, {}, "warn"),  # a default of every row
            ({"regression": "fail"}, {"suite": "*"}, "warn"),
            ({"regression": "ignore"}, {}, "ignore"),
            ({"regression": "fail"}, {"metric": "quality.*"}, "fail"),
            ({"absolute": 0.1}, {"metric": "quality.test_accuracy"}, "fail"),
            ({"regression": "warn"}, {"metric": "quality.*"}, "warn"),
        ],
    )
    def test_a_fall_warns_unless_a_rule_names_it(self, changes, patterns, regression):
        rules = [] if patterns is None else [rule(changes, **patterns)]
        assert judged(*rules, of=metric("quality.test_accuracy")).regression == regression

    def test_a_pattern_of_quality_does_not_make_a_time_gate(self):
        to_loss = metric("quality.time_to_loss")
        assert not judged(rule({"regression": "fail"}, metric="quality.*"), of=to_loss).named
        assert judged(rule({"regression": "fail"}, metric="quality.time_to_loss"), of=to_loss).named

    def test_a_rule_gives_a_direction_to_what_has_none(self):
        known, own = metric("quality.test_loss"), metric("quality.test_score")
        more = judged(rule({"better": "more"}), of=own)
        assert directed(own, more).better == "more"
        assert directed(known, more).better == "less"

    def test_what_is_worse_fails_and_what_is_better_does_not_matter(self):
        assert (judged().regression, judged().improvement, judged().named) == ("fail", "ignore", False)

    def test_every_class_of_metric_has_one(self):
        assert {row.kind for row in METRICS.values()} == set(THRESHOLDS)


class TestWhichRowsARuleIsFor:
    @pytest.mark.parametrize(
        "patterns",
        [
            {},
            {"metric": "epoch.time"},
            {"metric": "epoch.*"},
            {"suite": "vis*"},
            {"case": "*batch_size=64"},
            {"device": "cpu"},
            {"metric": "*", "suite": "vision", "case": "*", "device": "c?u"},
        ],
    )
    def test_all_that_its_patterns_match(self, patterns):
        assert judged(rule({"relative": 0.5}, **patterns)).relative == 0.5

    @pytest.mark.parametrize(
        "patterns",
        [
            {"metric": "epoch"},
            {"metric": "EPOCH.TIME"},
            {"suite": "vis"},
            {"case": "batch_size=64"},
            {"device": "cuda:*"},
            {"metric": "epoch.time", "device": "cuda:0"},
        ],
    )
    def test_none_where_one_of_them_does_not(self, patterns):
        assert judged(rule({"relative": 0.5}, **patterns)) == Policy(0.05)


class TestLaterRulesAreStronger:
    def test_of_two_that_say_the_same_thing_the_last_one_holds(self):
        first, second = rule({"relative": 0.5}, metric="epoch.time"), rule({"relative": 0.1}, suite="vision")
        assert judged(first, second).relative == 0.1
        assert judged(second, first).relative == 0.5

    def test_what_the_later_one_does_not_say_stays(self):
        found = judged(
            rule({"relative": 0.5, "regression": "warn"}),
            rule({"improvement": "fail"}, metric="epoch.*"),
        )
        assert found == Policy(0.5, None, "warn", "fail", named=True)

    def test_one_that_holds_does_so_behind_one_that_does_not(self):
        assert judged(rule({"relative": 0.5}, suite="other"), rule({"relative": 0.2})).relative == 0.2

    def test_one_that_does_not_hold_changes_nothing(self):
        assert judged(rule({"relative": 0.5}), rule({"relative": 0.1}, device="cuda:*")).relative == 0.5


class TestShareOrUnit:
    @pytest.mark.parametrize(("base", "share"), [(0.5, 0.04), (-0.5, 0.04), (4.0, 0.02), (0.0, 0.0)])
    def test_the_least_tolerance_is_a_larger_share_of_a_small_value(self, base, share):
        assert Policy(0.02, least=0.02).threshold(base) == pytest.approx(share)

    def test_a_share_is_of_any_value(self):
        assert [Policy(0.1).threshold(base) for base in (0.0, 1e-9, 5.0, -5.0)] == [0.1] * 4

    @pytest.mark.parametrize(("base", "share"), [(10.0, 0.2), (2.0, 1.0), (-2.0, 1.0), (0.0, 0.0)])
    def test_a_quantity_is_a_share_of_the_baseline(self, base, share):
        assert Policy(0.5, absolute=2.0).threshold(base) == share

    def test_a_quantity_stands_in_the_place_of_the_share(self):
        assert judged(rule({"relative": 0.5}), rule({"absolute": 2.0})).threshold(10.0) == 0.2

    def test_a_later_share_stands_in_the_place_of_the_quantity(self):
        found = judged(rule({"absolute": 2.0}), rule({"relative": 0.5}))
        assert (found.absolute, found.threshold(10.0)) == (None, 0.5)

    def test_a_later_rule_on_something_else_leaves_the_quantity(self):
        assert judged(rule({"absolute": 2.0}), rule({"regression": "warn"})).absolute == 2.0


class TestNamed:
    def test_a_metric_that_the_command_names_is(self):
        assert policy(TIME, "vision", CASE, "cpu", requested=True).named
        assert not policy(TIME, "vision", CASE, "cpu").named

    @pytest.mark.parametrize(
        ("patterns", "named"),
        [
            ({"metric": "epoch.time"}, True),
            ({"metric": "epoch.*"}, True),
            ({"metric": "*"}, False),
            ({"suite": "vision"}, False),
            ({}, False),
        ],
    )
    def test_a_metric_is_where_a_rule_is_about_it_and_not_about_all(self, patterns, named):
        assert judged(rule({"relative": 0.5}, **patterns)).named is named

    def test_it_stays_so_whatever_follows(self):
        assert judged(rule({"relative": 0.5}, metric="epoch.time"), rule({"relative": 0.1})).named

    def test_a_rule_for_other_rows_names_nothing(self):
        assert not judged(rule({"relative": 0.5}, metric="epoch.time", device="cuda:*")).named
        assert not judged(rule({"relative": 0.5}, metric="count.ops")).named
        assert judged(rule({"relative": 0.5}, metric="count.ops"), of=OPS).named
