from __future__ import annotations

import math
import random

import pytest
from scipy.stats import binom

from bench.analysis.run.estimate import LEVEL, coverage, estimate, interval_rank, smallest_change, variation


def test_six_launches_are_the_fewest_that_give_an_interval():
    assert [interval_rank(launches) for launches in range(1, 7)] == [None] * 5 + [1]


def test_min_to_max_of_six_holds_the_median_with_96_9_percent():
    assert coverage(6, 1) == 0.96875
    found = estimate([3.0, 1.0, 6.0, 2.0, 5.0, 4.0])
    assert (found.value, found.low, found.high, found.launches) == (3.5, 1.0, 6.0, 6)


def test_five_launches_have_a_value_and_no_interval():
    found = estimate([3.0, 1.0, 5.0, 2.0, 4.0])
    assert (found.value, found.low, found.high, found.launches) == (3.0, None, None, 5)
    assert found.half_width is None


@pytest.mark.parametrize("level", [0.5, 0.9, LEVEL, 0.99])
def test_the_rank_is_the_narrowest_that_exact_binomial_coverage_allows(level):
    for launches in range(1, 201):
        ranks = range(1, launches // 2 + 1)
        enough = [k for k in ranks if 1 - 2 * binom.cdf(k - 1, launches, 0.5) >= level]
        assert interval_rank(launches, level) == (max(enough) if enough else None), launches


def test_coverage_is_the_exact_binomial_one():
    for launches in range(1, 201):
        for rank in range(1, launches // 2 + 1):
            exact = 1 - 2 * binom.cdf(rank - 1, launches, 0.5)
            assert coverage(launches, rank) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("launches", [6, 9, 12, 25])
@pytest.mark.parametrize("draw", ["lognormal", "two humps"])
def test_the_interval_holds_the_true_median_as_often_as_it_says(launches, draw):
    chance = random.Random(20260101)

    def launch():
        if draw == "lognormal":
            return chance.lognormvariate(0.0, 0.5)
        return chance.gauss(-1.0 if chance.random() < 0.5 else 1.0, 0.3)

    median = 1.0 if draw == "lognormal" else 0.0
    trials = 4000
    held = 0
    for _ in range(trials):
        found = estimate([launch() for _ in range(launches)])
        held += found.low <= median <= found.high
    expected = coverage(launches, interval_rank(launches))
    assert expected >= LEVEL
    # Four standard errors of a share of so many trials.
    assert abs(held / trials - expected) < 4 * (expected * (1 - expected) / trials) ** 0.5


@pytest.mark.parametrize("launches", [6, 7, 20, 51])
def test_the_interval_lies_around_the_value_whatever_the_order(launches):
    values = [float(number) for number in range(launches)]
    random.Random(1).shuffle(values)
    found = estimate(values)
    assert found.low < found.value < found.high
    assert found.low + found.high == pytest.approx(2 * found.value)
    assert found == estimate(sorted(values))


def test_more_launches_narrow_the_interval():
    chance = random.Random(5)
    values = [chance.gauss(10.0, 1.0) for _ in range(200)]
    widths = [estimate(values[:count]).half_width for count in (6, 20, 60, 200)]
    assert widths == sorted(widths, reverse=True)


def test_a_higher_level_asks_for_a_wider_interval():
    values = [float(number) for number in range(20)]
    assert estimate(values, 0.99).half_width > estimate(values, 0.9).half_width


def test_one_slow_launch_does_not_move_the_value():
    assert estimate([1.0, 1.0, 1.0, 1.0, 1.0, 50.0]).value == 1.0


def test_the_half_width_is_a_share_of_the_value():
    assert estimate([9.0, 10.0, 10.0, 10.0, 10.0, 11.0]).half_width == pytest.approx(0.1)
    assert estimate([-11.0, -10.0, -10.0, -10.0, -10.0, -9.0]).half_width == pytest.approx(0.1)


def test_an_interval_without_width_has_none_even_around_zero():
    assert estimate([4.0] * 6).half_width == 0.0
    assert estimate([0.0] * 6).half_width == 0.0


def test_around_zero_a_width_is_no_share_of_anything():
    found = estimate([-1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert (found.half_width, found.smallest_change) == (None, None)


class TestSmallestChange:
    """What comparing two such estimates would reveal: a two-sided test at 5 % with a power of 80 %."""

    FACTOR = (1.960 + 0.842) * 2**0.5

    def test_it_is_about_twice_the_half_interval(self):
        found = estimate([9.0, 10.0, 10.0, 10.0, 10.0, 11.0])
        assert found.smallest_change == pytest.approx(self.FACTOR / 1.960 * 0.1)
        assert found.smallest_change / found.half_width == pytest.approx(2.02, abs=0.005)

    def test_without_width_everything_is_revealed(self):
        assert estimate([4.0] * 6).smallest_change == 0.0

    def test_without_an_interval_nothing_is_promised(self):
        assert estimate([9.0, 10.0, 11.0]).smallest_change is None

    def test_from_the_variation_it_falls_with_the_square_root_of_the_launches(self):
        assert smallest_change(0.1, 6) == pytest.approx(self.FACTOR * math.sqrt(math.pi / 2 / 6) * 0.1)
        assert smallest_change(0.1, 24) == pytest.approx(smallest_change(0.1, 6) / 2)
        assert smallest_change(0.0, 6) == 0.0

    def test_a_change_of_this_size_is_found_in_about_four_of_five(self):
        chance = random.Random(8)
        launches, spread, trials = 20, 0.03, 2000
        changed = 1 + smallest_change(spread, launches)

        def median(level: float) -> float:
            return estimate([chance.gauss(level, level * spread) for _ in range(launches)]).value

        error = math.sqrt(math.pi / 2 / launches) * spread
        found = sum(median(changed) - median(1.0) > 1.960 * math.sqrt(2) * error for _ in range(trials))
        assert 0.74 < found / trials < 0.86


def test_an_estimate_of_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"^an estimate needs at least one launch$"):
        estimate([])


def test_variation_is_deviation_over_mean():
    assert variation([9.0, 11.0]) == pytest.approx(2**0.5 / 10)
    assert variation([4.0, 4.0, 4.0]) == 0.0
    assert variation([4.0]) is None
