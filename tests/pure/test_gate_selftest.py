"""The gate measured: which slowdown is injected into which step, and what decisions come to."""

from __future__ import annotations

import pytest
from scipy import stats

from bench.ab.error_rates import (
    FIVE,
    NULL,
    OTHERS,
    THREE,
    Arm,
    Decision,
    Nominal,
    arms,
    binomial_interval,
    error_rates,
)
from bench.measurement.messages import Slowdown

NOMINAL = Nominal(step=0.01, epoch=0.5, batches={"validate": 5, "test": 5})


def decision(arm=NULL, epoch="equivalent", step="equivalent", ratios=None, **changes):
    verdicts = {"epoch.time": epoch, "train.step_time": step}
    standard = {"pairs": 20, "seconds": 8.0}
    return Decision(
        arm.name,
        "case",
        verdicts,
        ratios or {"epoch.time": 1.0, "train.step_time": 1.0},
        **{**standard, **changes},
    )


class TestInjectedSlowdowns:
    def test_identical_code_gets_nothing(self):
        assert NULL.slowdown(NOMINAL) is None

    def test_every_step_gets_its_share(self):
        assert FIVE.slowdown(NOMINAL) == Slowdown("wait", "train", 1, pytest.approx(0.0005))

    def test_every_tenth_step_gets_the_share_of_ten(self):
        slowdown = Arm("tenth", 0.05, every=10).slowdown(NOMINAL)
        assert (slowdown.every, slowdown.seconds) == (10, pytest.approx(0.005))

    def test_validation_gets_a_share_of_the_epoch_spread_over_its_batches(self):
        slowdown = Arm("validation", 0.05, stage="validate").slowdown(NOMINAL)
        assert (slowdown.stage, slowdown.seconds) == ("validate", pytest.approx(0.005))

    @pytest.mark.parametrize(("arm", "metric"), [(NULL, "train.step_time"), (THREE, "train.step_time")])
    def test_a_slowdown_of_every_step_shows_in_the_step(self, arm, metric):
        assert arm.metric == metric

    def test_the_others_show_in_the_epoch_where_the_median_step_hides_them(self):
        assert [arm.metric for arm in OTHERS if arm.share] == ["epoch.time", "epoch.time"]


class TestTheOrder:
    def test_all_kinds_are_spread_over_the_whole_test(self):
        made = arms(24, 10)
        assert len(made) == 24 + 10 + 10 + len(OTHERS)
        for kind, count in ((NULL, 24), (THREE, 10), (FIVE, 10)):
            half = sum(arm is kind for arm in made[: len(made) // 2])
            assert abs(half - count / 2) <= 1

    def test_without_slowdowns_only_identical_code_is_compared(self):
        assert arms(3, 0) == [NULL] * 3


class TestScores:
    def test_identical_code_that_is_called_improved_is_a_false_alarm_too(self):
        (score,) = error_rates([decision(), decision(step="improved"), decision(epoch="inconclusive")])
        assert (score.decisions, score.found) == (3, 1)
        assert score.verdicts == {"equivalent": 1, "improved": 1, "inconclusive": 1}

    def test_a_slowdown_is_found_where_either_time_regressed(self):
        (score,) = error_rates([decision(THREE, epoch="regressed"), decision(THREE, step="improved")])
        assert score.found == 1

    def test_the_bias_is_against_the_injected_slowdown(self):
        (score,) = error_rates([decision(FIVE, ratios={"train.step_time": 1.05 * 1.01})])
        assert score.bias == pytest.approx(0.01)

    def test_of_a_layer_nobody_knows_what_it_costs(self):
        (score,) = error_rates([decision(OTHERS[-1], step="regressed")])
        assert score.bias is None

    @pytest.mark.parametrize(("found", "number"), [(0, 24), (9, 10), (10, 10), (3, 7)])
    def test_the_interval_is_the_exact_binomial_one(self, found, number):
        expected = stats.binomtest(found, number).proportion_ci(method="exact")
        assert binomial_interval(found, number) == pytest.approx((expected.low, expected.high))
