"""The stop rule as a story: launches come, and it says whether the case wants another one."""

from __future__ import annotations

import itertools
import math
import random
from statistics import NormalDist

import pytest
from fakes import CASE, CONTAMINATED, failure, measurement, stage

from bench.analysis.run import stopping
from bench.analysis.run.estimate import estimate
from bench.analysis.run.stopping import StopRule, tolerance_of
from bench.measurement import METRICS, PHASED, TIMED
from bench.suite.case import Case, Schedule

OTHER = Case("other", {"device": "cpu"})


def launch(seconds=1.0, contaminated=False, memory=None, **changes):
    """A launch whose only counted step takes so many seconds, and so its epoch."""
    standard = {
        "stages": (stage("train", 1, (seconds,)),),
        "memory": {} if memory is None else {"peak_rss": memory},
        "guards": CONTAMINATED if contaminated else {},
    }
    return measurement(**{**standard, **changes})


def told(rule, *records):
    for record in records:
        rule.add(record)
    return rule


def settled(rule):
    return rule.width(CASE) <= 1


def made(schedule, records):
    """The launches that a run makes, one a round, of those that would come; all of them if it wants more."""
    rule = StopRule(schedule)
    found = []
    for record in records:
        if not rule.wants(record.case):
            break
        rule.add(record)
        found.append(record)
    return found


def spread(half, number=6):
    """So many values around one, whose interval from the least to the greatest is so wide."""
    return [1 - half, *[1.0] * (number - 2), 1 + half]


def wild():
    """Values that never come to a narrow interval."""
    return itertools.cycle([0.5, 1.0, 1.5])


class TestAFixedNumber:
    @pytest.mark.parametrize("number", [1, 3, 6, 11])
    @pytest.mark.parametrize("values", [itertools.repeat(1.0), wild()], ids=["calm", "wild"])
    def test_it_is_made_exactly_however_wide_the_intervals_are(self, number, values):
        launches = map(launch, itertools.islice(values, 50))
        assert len(made(Schedule(launches=number), launches)) == number

    def test_what_remains_is_known_exactly(self):
        rule = StopRule(Schedule(launches=7))
        for number in range(7):
            assert rule.remaining(CASE) == 7 - number
            rule.add(launch(1.0 + number))
        assert rule.remaining(CASE) == 0

    def test_it_is_not_cut_short_by_narrow_intervals(self):
        rule = told(StopRule(Schedule(launches=9)), *[launch()] * 8)
        assert settled(rule)
        assert rule.wants(CASE)


class TestUntilItIsNarrow:
    SCHEDULE = Schedule(launches=6, max_launches=20, tolerance=0.02)

    def test_a_calm_case_ends_after_the_least(self):
        assert len(made(self.SCHEDULE, [launch()] * 50)) == 6

    @pytest.mark.parametrize(("half", "ends"), [(0.02 * (1 - 1e-6), True), (0.02 * (1 + 1e-6), False)])
    def test_an_interval_is_narrow_up_to_the_tolerance(self, half, ends):
        rule = told(StopRule(self.SCHEDULE), *map(launch, spread(half)))
        assert (settled(rule), rule.wants(CASE)) == (ends, not ends)
        assert rule.width(CASE) == pytest.approx(half / 0.02)

    def test_a_wild_case_goes_on_to_the_most(self):
        assert len(made(self.SCHEDULE, map(launch, itertools.islice(wild(), 50)))) == 20

    def test_a_case_that_calms_down_ends_in_between(self):
        values = [0.9, 1.1, 0.95, 1.05, *[1.0] * 50]
        number = len(made(self.SCHEDULE, map(launch, values)))
        assert 6 < number < 20
        assert estimate(values[:number]).half_width <= 0.02 < estimate(values[: number - 1]).half_width

    def test_every_gated_time_is_asked(self):
        def lasting(step):
            return launch(stages=(stage("train", 1, (step,), wall=2.0),))

        assert settled(told(StopRule(self.SCHEDULE), *[lasting(1.0)] * 6))
        rule = told(StopRule(self.SCHEDULE), *[lasting(1.0)] * 5, lasting(1.2))
        assert not settled(rule), "the epochs are equal, the steps are not"

    def test_what_does_not_gate_is_not_asked(self):
        records = [launch(stages=(stage("train", 1, (1.0,), loss=loss),)) for loss in (1, 2, 3, 4, 5, 6)]
        assert len(made(self.SCHEDULE, [*records, *records])) == 6

    def test_each_case_has_its_own(self):
        rule = told(StopRule(self.SCHEDULE), *[launch()] * 6)
        assert (rule.wants(CASE), rule.wants(OTHER), rule.remaining(OTHER)) == (False, True, 6)

    def test_of_no_launch_or_no_value_nothing_is_settled(self):
        rule = StopRule(self.SCHEDULE)
        assert rule.width(CASE) == math.inf
        assert told(rule, launch(stages=())).width(CASE) == math.inf

    def test_before_there_is_an_interval_nothing_is_settled(self):
        rule = told(StopRule(Schedule(launches=3, max_launches=20)), *[launch()] * 5)
        assert (rule.width(CASE), settled(rule), rule.wants(CASE)) == (math.inf, False, True)
        rule.add(launch())
        assert not rule.wants(CASE)


class TestMemory:
    SCHEDULE = Schedule(launches=6, max_launches=20, tolerance=0.02)
    OWN = stopping._MEMORY_TOLERANCE

    @pytest.mark.parametrize(("share", "narrow"), [(1 - 1e-6, True), (1 + 1e-6, False)])
    def test_it_has_a_tolerance_of_its_own(self, share, narrow):
        values = spread(self.OWN * share)
        rule = told(StopRule(self.SCHEDULE), *(launch(memory=value * 1e9) for value in values))
        assert settled(rule) is narrow

    def test_a_run_that_asks_for_less_than_that_gets_less_for_all(self):
        assert tolerance_of("memory.peak_rss", 0.1) == tolerance_of("epoch.time", 0.1) == 0.1
        assert tolerance_of("memory.peak_rss", self.OWN / 2) == self.OWN

    def test_only_gated_times_and_memory_are_asked(self):
        names = [*METRICS, "quality.test_f1", "train.phase.mine"]
        asked = {name for name in names if tolerance_of(name, 0.02) is not None}
        assert asked == {"epoch.time", "train.step_time", "memory.peak_rss", "memory.peak_reserved"}


class TestDisturbedLaunches:
    def run(self, pattern, launches=6, repeats=6, most=None):
        """How many launches are made where those of this pattern, over and over, are contaminated."""
        schedule = Schedule(launches=launches, max_launches=most, repeats=repeats)
        records = (launch(contaminated=one) for one in itertools.cycle(pattern))
        return made(schedule, itertools.islice(records, 100))

    @pytest.mark.parametrize("contaminated", range(7))
    def test_each_is_made_again(self, contaminated):
        records = [*[launch(contaminated=True)] * contaminated, *[launch()] * 50]
        found = made(Schedule(launches=6, repeats=6), records)
        assert len(found) == 6 + contaminated

    @pytest.mark.parametrize("contaminated", [3, 4, 9])
    def test_but_no_more_often_than_asked(self, contaminated):
        records = [*[launch(contaminated=True)] * contaminated, *[launch()] * 50]
        assert len(made(Schedule(launches=6, repeats=3), records)) == 9

    def test_not_at_all_where_that_is_what_was_asked(self):
        assert len(self.run([True, False], repeats=0)) == 6

    @pytest.mark.parametrize(("launches", "repeats"), [(6, 6), (6, 2), (1, 3), (10, 0)])
    @pytest.mark.parametrize("most", [None, 20])
    def test_a_case_that_is_always_contaminated_ends(self, launches, repeats, most):
        assert len(self.run([True], launches, repeats, most)) == launches + repeats

    def test_they_widen_nothing_while_most_are_clean(self):
        schedule = Schedule(launches=6, max_launches=20, tolerance=0.02)
        slow = launch(3.0, contaminated=True)
        rule = told(StopRule(schedule), *[launch()] * 6, *[slow] * 6)
        assert settled(rule)
        rule.add(slow)
        assert not settled(rule), "most are contaminated: all count"

    def test_a_wild_case_has_its_most_in_clean_launches(self):
        records = (
            launch(value, contaminated=n % 5 == 0) for n, value in enumerate(itertools.islice(wild(), 100))
        )
        found = made(Schedule(launches=6, max_launches=20, repeats=6), records)
        assert sum(not record.guards for record in found) == 20
        assert len(found) == 25

    @pytest.mark.parametrize("repeats", [3, 6])
    def test_a_wild_case_that_is_often_contaminated_ends_with_what_it_was_given(self, repeats):
        values = itertools.islice(wild(), 100)
        records = (launch(value, contaminated=number % 3 == 0) for number, value in enumerate(values))
        schedule = Schedule(launches=6, max_launches=20, repeats=repeats)
        assert len(made(schedule, records)) == 20 + repeats

    def test_what_remains_counts_what_is_to_be_made_again(self):
        rule = StopRule(Schedule(launches=6, repeats=2))
        expected = [6, 6, 6, 5, 4, 3, 2, 1, 0]
        for number, remaining in enumerate(expected):
            assert rule.remaining(CASE) == remaining
            rule.add(launch(contaminated=number < 3))


class TestFailures:
    SCHEDULE = Schedule(launches=6, max_launches=20)

    def test_a_case_that_fails_before_it_is_measured_is_out(self):
        rule = told(StopRule(self.SCHEDULE), failure())
        assert (rule.wants(CASE), rule.remaining(CASE)) == (False, 0)
        assert rule.wants(OTHER)

    def test_one_that_was_measured_is_out_after_its_second_failure(self):
        rule = told(StopRule(self.SCHEDULE), launch(), failure())
        assert rule.remaining(CASE) == 5
        assert not told(rule, launch(), failure()).wants(CASE)

    def test_the_order_of_the_first_two_does_not_matter(self):
        assert told(StopRule(self.SCHEDULE), failure(), launch()).wants(CASE)


class TestPhases:
    """Launches for phases are made once, apart from the timed ones."""

    def test_their_records_neither_count_nor_end_anything(self):
        rule = told(StopRule(Schedule(launches=2)), launch(kind=PHASED), failure(kind=PHASED))
        assert rule.remaining(CASE) == 2
        told(rule, launch(kind=TIMED), failure(kind=PHASED), failure(kind=PHASED))
        assert rule.remaining(CASE) == 1


class TestWhatRemains:
    """Widths fall with the square root of the number of launches."""

    SCHEDULE = Schedule(launches=6, max_launches=50, tolerance=0.02)

    @pytest.mark.parametrize(
        ("width", "remaining"), [(1.0001, 1), (1.25, 4), (1.5, 8), (1.99, 18), (3.0, 44), (9.0, 44)]
    )
    def test_it_is_estimated_from_the_width(self, width, remaining):
        rule = told(StopRule(self.SCHEDULE), *map(launch, spread(0.02 * width)))
        assert rule.width(CASE) == pytest.approx(width)
        assert rule.remaining(CASE) == min(math.ceil(6 * width**2 - 6), 44) == remaining

    def test_without_any_launch_it_is_the_least(self):
        assert StopRule(self.SCHEDULE).remaining(CASE) == 6

    def test_a_value_of_nothing_asks_for_the_most(self):
        rule = told(StopRule(self.SCHEDULE), *(launch(memory=size) for size in (0, 0, 0, 0, 0, 9)))
        assert (rule.width(CASE), rule.remaining(CASE)) == (math.inf, 44)


# How honest the intervals are that it ends with: runs of made-up launches whose true median is known.

VARIATIONS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
RUNS = 120  # of each shape and variation
LONG_TAIL = math.sqrt((math.e - 1) * math.e)  # standard deviation of exp(normal)


def normal(chance, variation):
    return chance.gauss(1.0, variation)


def long_tail(chance, variation):
    """One in twenty is more than two standard deviations above the median, one in a hundred more than four."""
    return 1 + (chance.lognormvariate(0.0, 1.0) - 1) * variation / LONG_TAIL


def two_speeds(chance, variation, share=0.7):
    return chance.gauss(0.9 if chance.random() < share else 1.1, variation)


def median_of_two_speeds(variation, share=0.7):
    """Where the distribution function is one half."""
    low, high = 0.8, 1.2
    for _ in range(60):
        middle = (low + high) / 2
        below = share * NormalDist(0.9, variation).cdf(middle) + (1 - share) * NormalDist(1.1, variation).cdf(
            middle
        )
        low, high = (low, middle) if below > 0.5 else (middle, high)
    return low


def share_that_holds(draw, median, variations=VARIATIONS):
    """Of the intervals that runs end with, how many hold the median; how many launches they took."""
    schedule = Schedule(launches=6, max_launches=20, tolerance=0.02)
    chance = random.Random(20260101)
    held, lengths = [], []
    for variation in variations:
        for _ in range(RUNS):
            launches = made(schedule, (launch(draw(chance, variation)) for _ in itertools.count()))
            found = estimate([record.stages[0].wall for record in launches])
            held.append(found.low <= median(variation) <= found.high)
            lengths.append(len(launches))
    assert set(lengths) >= {6, 20}, "some end at once, and some never come to an end"
    assert len(set(lengths)) > 5, "and others in between"
    return sum(held) / len(held)


class TestIntervalCoverage:
    @pytest.mark.parametrize(
        ("draw", "median"),
        [(normal, lambda _: 1.0), (long_tail, lambda _: 1.0), (two_speeds, median_of_two_speeds)],
        ids=["normal", "a long tail", "two speeds"],
    )
    def test_the_intervals_that_runs_end_with_hold_the_median(self, draw, median):
        assert share_that_holds(draw, median) >= 0.93

    def test_two_speeds_of_equal_share_are_the_worst(self):
        """The first launches may all have the same speed, and nothing tells them that there is another."""

        def draw(chance, variation):
            return two_speeds(chance, variation, share=0.5)

        assert share_that_holds(draw, lambda _: 1.0) >= 0.88
