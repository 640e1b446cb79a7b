from __future__ import annotations

import math
import random

import pytest
from scipy.stats import kendalltau, norm, theilslopes

from bench.analysis.launch.warmup import find_warmup, trend

# Level of each step, 1 when settled, and the number of steps that are start-up: the last one whose expected
# excess is more than two standard deviations of the noise and 3 %, in the shapes that have no sharp end.


def seen(variation):
    return max(0.03, 2 * variation)


def log_uniform(chance, low, high):
    return math.exp(chance.uniform(math.log(low), math.log(high)))


def longest(length):
    return min(40, int(0.45 * length))


def settled(chance, length, variation):
    return [1.0] * length, 0


def plateau(chance, length, variation):
    end, height = chance.randint(1, longest(length)), log_uniform(chance, 0.1, 3)
    return [1 + height] * end + [1.0] * (length - end), end


def fast_plateau(chance, length, variation):
    end, depth = chance.randint(1, longest(length)), chance.uniform(0.1, 0.4)
    return [1 - depth] * end + [1.0] * (length - end), end


def decay(chance, length, variation, sign, low, high):
    while True:
        end, size = chance.randint(1, longest(length)), log_uniform(chance, low, high)
        if size < 1.5 * seen(variation):
            continue
        constant = end / math.log(size / seen(variation))
        if size * math.exp(-length / 2 / constant) > 0.02:
            continue  # not settled by the middle
        return [1 + sign * size * math.exp(-i / constant) for i in range(length)], end


def exponential(chance, length, variation):
    return decay(chance, length, variation, 1, 0.3, 3)


def fast_exponential(chance, length, variation):
    return decay(chance, length, variation, -1, 0.1, 0.4)


def linear(chance, length, variation):
    while True:
        end, height = chance.randint(1, longest(length)), log_uniform(chance, 0.3, 3)
        foot = end / (1 - seen(variation) / height)
        if foot <= 0.45 * length:
            return [1 + height * max(0.0, 1 - i / foot) for i in range(length)], end


def huge(chance, length, variation):
    end = chance.randint(1, 4)
    return [log_uniform(chance, 10, 1000) for _ in range(end)] + [1.0] * (length - end), end


def autotuning(chance, length, variation):
    last, height = chance.randint(2, 5), log_uniform(chance, 10, 1000)
    return [height if i in (0, 1, last) else 1.0 for i in range(length)], last + 1


def faster(chance, length, variation):
    return chance.choice([fast_plateau, fast_exponential])(chance, length, variation)


KINDS = [settled, plateau, exponential, linear, huge, autotuning, faster]
SHAPES = {shape.__name__: shape for shape in [*KINDS[:-1], fast_plateau, fast_exponential]}


def noisy(chance, levels, variation):
    """Noise with a right tail and that coefficient of variation."""
    return [
        level * max(0.05, 1 + variation * (0.8 * chance.gauss(0, 1) + 0.6 * (chance.expovariate(1) - 1)))
        for level in levels
    ]


def perturbed(chance, steps):
    """Up to 3 % outliers and, in half of the series, a slow first step of each epoch."""
    share, period, start = chance.uniform(0, 0.03), chance.randint(5, 50), chance.uniform(1.1, 3)
    steps = [step * log_uniform(chance, 1.5, 10) if chance.random() < share else step for step in steps]
    if chance.random() < 0.5:
        steps = [step if i % period else step * start for i, step in enumerate(steps)]
    return steps


def series(chance, shape, low=0.01, high=0.08):
    length, variation = chance.randint(60, 400), chance.uniform(low, high)
    levels, end = shape(chance, length, variation)
    return perturbed(chance, noisy(chance, levels, variation)), end


def trended(chance):
    """A line or a slow exponential whose levels differ by 15 to 60 %."""
    length, variation = chance.randint(60, 400), chance.uniform(0.01, 0.05)
    change = log_uniform(chance, 0.15, 0.6)
    course = [i / (length - 1) for i in range(length)]
    if chance.random() < 0.5:
        constant = chance.uniform(0.5, 1.5)
        course = [(1 - math.exp(-x / constant)) / (1 - math.exp(-1 / constant)) for x in course]
    if chance.random() < 0.5:
        course = [1 - x for x in course]
    return perturbed(chance, noisy(chance, [1 + change * x for x in course], variation))


def share(found):
    found = list(found)
    return sum(found) / len(found)


def near(found, end):
    return found is not None and abs(found - end) <= 3


class TestSimulatedSeries:
    """Hundreds of drawn series of each kind: how often the answer is right."""

    def test_the_end_of_a_start_up_is_found_within_three_steps(self):
        chance = random.Random(20260101)
        drawn = [series(chance, chance.choice(KINDS)) for _ in range(1000)]
        assert share(near(find_warmup(steps), end) for steps, end in drawn) >= 0.95

    @pytest.mark.parametrize("name", SHAPES)
    def test_each_shape_of_start_up_is_found(self, name):
        chance = random.Random(7)
        drawn = [series(chance, SHAPES[name], high=0.03) for _ in range(300)]
        # How far a shallow decay can be told from the noise varies by more than three steps.
        least = 0.85 if name == "fast_exponential" else 0.95
        assert share(near(find_warmup(steps), end) for steps, end in drawn) >= least

    def test_huge_first_steps_hide_no_start_up_behind_them(self):
        chance = random.Random(15)
        found = []
        for _ in range(300):
            steps, end = series(chance, chance.choice(KINDS))
            first = [log_uniform(chance, 20, 100) for _ in range(chance.randint(1, 8))]
            found.append(near(find_warmup(first + steps), len(first) + end))
        assert share(found) >= 0.93

    def test_the_tail_of_a_decay_in_much_noise_is_no_trend(self):
        chance = random.Random(16)
        shapes = [exponential, fast_exponential]
        drawn = [series(chance, chance.choice(shapes), low=0.05)[0] for _ in range(400)]
        assert share(find_warmup(steps) is None for steps in drawn) <= 0.045

    def test_a_trend_over_the_whole_series_never_settles(self):
        chance = random.Random(20260102)
        assert share(find_warmup(trended(chance)) is None for _ in range(500)) >= 0.95

    def test_neither_noise_nor_outliers_nor_starts_of_epochs_are_start_up(self):
        chance = random.Random(20260103)
        found = [find_warmup(series(chance, settled, high=0.15)[0]) for _ in range(1000)]
        assert share(end is None for end in found) <= 0.03
        assert share(near(end, 0) for end in found) >= 0.95

    def test_a_drift_of_two_percent_is_let_pass(self):
        chance = random.Random(20260104)
        found = []
        for sign in [1, -1] * 100:
            length = chance.randint(60, 400)
            levels = [1 + sign * 0.02 * i / length for i in range(length)]
            found.append(find_warmup(perturbed(chance, noisy(chance, levels, chance.uniform(0.01, 0.05)))))
        assert share(end is None for end in found) <= 0.03

    def test_the_unit_of_time_makes_no_difference(self):
        chance = random.Random(13)
        for shape in SHAPES.values():
            for _ in range(20):
                steps, _ = series(chance, shape)
                assert find_warmup([1000 * step for step in steps]) == find_warmup(steps)
        for _ in range(20):
            steps = trended(chance)
            assert find_warmup([1000 * step for step in steps]) == find_warmup(steps)


EXACT = {
    "settled": [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
    "plateau": [20, 9, 34, 0, 27, 24, 17, 15, 1, 20, 19, 27, 27, 27, 11, 38],
    "exponential": [15, 20, 29, 15, 19, 33, 13, 35, 23, 5, 14, 24, 8, 10, 1, 10],
    "linear": [8, 2, 20, 21, 32, 35, 27, 27, 7, 13, 19, 5, 26, 12, 24, 38],
    "huge": [7, 3, 2, 1, 2, 2, 2, 3, 1, 3, 2, 3, 2, 4, 1, 1],
    "autotuning": [6, 3, 8, 3, 6, 5, 5, 4, 6, 3, 5, 6, 6, 6, 5, 3],
    "fast_plateau": [37, 1, 10, 4, 39, 4, 40, 32, 12, 0, 20, 1, 1, 19, 16, 30],
    "fast_exponential": [14, None, 4, 6, 18, 0, 23, 14, 11, None, 21, 12, 9, 23, 31, 5],
    "drifting": [None, 0, 0, 0, 1, 0, None, 116, None, None, None, 1, 1, 0, None, 0],
}


def drifting(chance, length, variation):
    """A line whose ends differ by 2 to 15 %, which is a trend or lies within the noise."""
    change = chance.choice([1, -1]) * log_uniform(chance, 0.02, 0.15)
    return [1 + change * i / length for i in range(length)], None


@pytest.mark.parametrize("name", EXACT)
def test_the_answers_for_these_series_change_with_the_method_alone(name):
    chance = random.Random(name)
    shape = {**SHAPES, "drifting": drifting}[name]
    assert [find_warmup(series(chance, shape)[0]) for _ in EXACT[name]] == EXACT[name]


@pytest.mark.parametrize("ticks", [2, 5, 1000])
def test_the_trend_is_that_of_scipy_ties_and_all(ticks):
    chance = random.Random(17)
    for length in (10, 31, 119):
        values = [math.floor(ticks * (0.3 * i / length + chance.random())) for i in range(length)]
        score, change = trend(values)
        exact = kendalltau(range(length), values, method="asymptotic")
        assert 2 * norm.sf(abs(score)) == pytest.approx(exact.pvalue)
        assert score * exact.statistic >= 0
        assert change == pytest.approx(length * theilslopes(values).slope)


def test_equal_values_have_no_trend():
    assert trend([2.0] * 12) == (0.0, 0.0)


@pytest.mark.parametrize("change", [0.1, 0.5, -0.1, -0.3])
@pytest.mark.parametrize("where", [0.5, 0.65, 0.8])
def test_a_lasting_change_of_the_level_in_the_second_half_never_settles(where, change):
    chance = random.Random(3)
    for length in (60, 150, 400):
        levels = [1 + change * (i >= where * length) for i in range(length)]
        assert find_warmup(noisy(chance, levels, 0.02)) is None, length


@pytest.mark.parametrize("length", [60, 1000])
def test_a_slow_spell_that_passes_is_no_change_of_the_level(length):
    levels = [1 + 0.5 * (0.7 * length <= i < 0.75 * length) for i in range(length)]
    assert find_warmup(noisy(random.Random(4), levels, 0.02)) == 0


@pytest.mark.parametrize("part", [0.55, 0.7])
@pytest.mark.parametrize("level", [0.7, 1.5, 20.0])
def test_a_start_up_longer_than_half_of_the_series_never_settles(level, part):
    levels = [level if i < part * 100 else 1.0 for i in range(100)]
    assert find_warmup(noisy(random.Random(5), levels, 0.02)) is None


@pytest.mark.parametrize(("level", "end"), [(1.1, 25), (1.3, 12), (4.0, 40), (0.8, 30), (50.0, 20)])
def test_a_plateau_without_noise_ends_where_it_ends(level, end):
    assert find_warmup([level] * end + [1.0] * (100 - end)) == end


def test_a_clock_rate_that_falls_under_load_is_a_start_up():
    levels = [1 - 0.3 * math.exp(-i / 10) for i in range(200)]
    # 0.3 exp(-i / 10) falls to 3 % behind step 23.
    assert near(find_warmup(noisy(random.Random(6), levels, 0.01)), 24)


def test_a_compilation_and_a_falling_clock_rate_are_one_start_up():
    levels = [200.0, 80.0] + [0.8] * 28 + [1.0] * 120
    assert near(find_warmup(noisy(random.Random(8), levels, 0.02)), 30)


def test_a_start_up_is_found_in_thousands_of_steps():
    levels = [1.25] * 300 + [1.0] * 4700
    chance = random.Random(9)
    assert near(find_warmup(perturbed(chance, noisy(chance, levels, 0.05))), 300)


def test_a_single_slow_step_behind_the_first_is_an_outlier():
    for at in (5, 12, 30, 77):
        assert find_warmup([1.0] * at + [8.0] + [1.0] * (99 - at)) == 0, at


def test_a_slow_step_beyond_all_outliers_is_start_up_in_the_first_tenth():
    steps = [1.0] * 100
    steps[8] = 60.0
    assert find_warmup(steps) == 9
    assert find_warmup(list(reversed(steps))) == 0
    assert find_warmup([*steps[:80], 70.0, *steps[81:]]) == 0


def test_an_epoch_of_five_steps_with_a_slow_first_one_is_settled():
    assert near(find_warmup([2.0, 1.0, 1.0, 1.0, 1.0] * 20), 0)


def test_fewer_than_ten_steps_tell_nothing():
    for length in range(10):
        assert find_warmup([5.0, *[1.0] * (length - 1)][:length]) == 0, length
    assert find_warmup([5.0] + [1.0] * 9) == 1


@pytest.mark.parametrize("value", [1e-9, 0.1, 3.0, 1e6])
def test_equal_steps_have_no_start_up(value):
    for length in (2, 9, 10, 11, 60, 1000):
        assert find_warmup([value] * length) == 0, length


def test_a_clock_that_shows_nothing_but_zeros_tells_nothing():
    assert find_warmup([0.0] * 50) == 0
    assert find_warmup([3.0] * 20 + [0.0] * 30) == 0
    assert find_warmup([0.0] * 30 + [1.0] * 20) == 0


def test_a_few_zeros_are_no_start_up():
    chance = random.Random(10)
    steps = noisy(chance, [1.0] * 200, 0.03)
    assert find_warmup([0.0 if chance.random() < 0.05 else step for step in steps]) == 0


@pytest.mark.parametrize("low", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("often", [0.6, 0.8, 0.97])
def test_a_coarse_clock_of_two_values_is_settled(low, often):
    chance = random.Random(11)
    found = [
        find_warmup([low + (chance.random() < often) for _ in range(chance.randint(60, 400))])
        for _ in range(100)
    ]
    assert share(near(end, 0) for end in found) >= 0.95


def test_a_start_up_is_found_on_a_coarse_clock():
    chance = random.Random(12)
    steps = [math.floor(14.3 + chance.random()) for _ in range(25)]
    steps += [math.floor(10.3 + chance.random()) for _ in range(100)]
    assert find_warmup(steps) == 25


def test_the_answer_is_none_or_at_most_half_of_any_series():
    chance = random.Random(14)
    for _ in range(2000):
        steps = [chance.choice([0.0, 1e-9, 1.0, 1.1, 3.0, 1e3]) for _ in range(chance.randint(2, 60))]
        found = find_warmup(steps)
        assert found is None or 0 <= found <= len(steps) / 2, steps
