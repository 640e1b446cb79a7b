"""The paired test of an A/B: exact under its null, true to its error at all looks, and able to see what is there."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from scipy import stats

from bench.analysis.compare.sequential import (
    Opposite,
    PairedFinding,
    Pairs,
    looks,
    looks_at,
    paired_finding,
    paired_verdicts,
    rank_sum_cdf,
)
from bench.analysis.compare.verdict import FAMILY

BALANCED = (True, False) * 100


def pairs_of(logs, leads=BALANCED):
    return Pairs(tuple(logs), tuple(leads[: len(logs)]))


def distinct(number, seed=0, shift=0.0):
    chance = random.Random(f"{number}/{seed}")
    return [chance.gauss(shift, 1.0) for _ in range(number)]


class TestLooks:
    def test_their_shares_add_up_to_all_of_the_error(self):
        assert math.fsum(share for _, share in itertools.islice(looks(), 60)) == pytest.approx(1.0)

    def test_their_pairs_are_even_and_rise(self):
        numbers = [number for number, _ in itertools.islice(looks(), 25)]
        assert numbers[:7] == [14, 20, 28, 40, 56, 80, 112]
        assert all(number % 2 == 0 for number in numbers)
        assert all(before < after for before, after in itertools.pairwise(numbers))

    @pytest.mark.parametrize(
        ("pairs", "ended", "found"),
        [
            (0, False, []),
            (13, False, []),
            (14, False, [14]),
            (19, False, [14]),
            (56, False, [14, 20, 28, 40, 56]),
            (0, True, []),
            (1, True, []),  # of a single pair nothing can be said
            (2, True, [2]),
            (16, True, [14, 16]),
            (20, True, [14, 20]),
            (57, True, [14, 20, 28, 40, 56, 57]),
        ],
    )
    def test_pairs_have_come_to_so_many_of_them(self, pairs, ended, found):
        assert [number for number, _ in looks_at(pairs, ended)] == found

    def test_an_end_between_two_spends_the_share_of_the_one_that_was_to_come(self):
        assert looks_at(16, ended=True) == [(14, 0.2), (16, 0.3)]
        assert looks_at(5, ended=True) == [(5, 0.2)]
        assert looks_at(5) == []

    @pytest.mark.parametrize("pairs", [2, 15, 56, 60, 500])
    def test_never_more_than_all_of_the_error_is_spent(self, pairs):
        assert math.fsum(share for _, share in looks_at(pairs, ended=True)) <= 1.0 + 1e-12


def sides_of(pairs, number):
    """The logs of the pairs that the base led, and of those that it followed in."""
    both = list(zip(pairs.logs[:number], pairs.leads[:number], strict=True))
    return [log for log, led in both if led], [log for log, led in both if not led]


class TestRankSum:
    @pytest.mark.parametrize(("led", "followed"), [(1, 1), (2, 3), (4, 4), (5, 3), (0, 4)])
    def test_its_distribution_is_that_of_all_ways_to_lead(self, led, followed):
        sums = [
            sum(place - number for number, place in enumerate(chosen))
            for chosen in itertools.combinations(range(led + followed), led)
        ]
        counted = [sum(one <= u for one in sums) / len(sums) for u in range(led * followed + 1)]
        assert rank_sum_cdf(led, followed) == pytest.approx(counted)

    @pytest.mark.parametrize("number", [10, 14, 20, 28])
    @pytest.mark.parametrize("seed", range(4))
    def test_p_is_the_exact_one_of_scipy(self, number, seed):
        pairs = pairs_of(distinct(number, seed, shift=0.3))
        led, followed = sides_of(pairs, number)
        # Of identical code the first takes more whoever leads: one sign is turned, so that it drops out.
        turned = [-log for log in followed]
        expected = stats.mannwhitneyu(led, turned, alternative="greater", method="exact").pvalue
        assert pairs.first(number).tails(0.0)[0] == pytest.approx(expected)
        expected = stats.mannwhitneyu(led, turned, alternative="less", method="exact").pvalue
        assert pairs.first(number).tails(0.0)[1] == pytest.approx(expected)

    def test_a_shift_that_is_asked_for_is_taken_away_first(self):
        logs = distinct(20, shift=0.5)
        moved = pairs_of([log - 0.25 for log in logs]).first(20)
        assert pairs_of(logs).first(20).tails(0.25) == moved.tails(0.0)

    def test_a_tie_counts_against_a_change_from_both_ends(self):
        assert pairs_of([0.0] * 14).first(14).tails(0.0) == (pytest.approx(0.5, abs=0.06),) * 2
        low, high = pairs_of([0.0, 0.0, 0.1, -0.1]).first(4).tails(0.0)
        assert low == high >= 0.5

    def test_chance_that_leads_unevenly_is_met_too(self):
        pairs = Pairs(distinct(14), [True] * 4 + [False] * 10)
        led, followed = sides_of(pairs, 14)
        expected = stats.mannwhitneyu(led, [-log for log in followed], alternative="greater", method="exact")
        assert pairs.first(14).tails(0.0)[0] == pytest.approx(expected.pvalue)

    def test_where_one_side_led_always_nothing_can_be_said(self):
        found = paired_finding(Pairs([0.1] * 14, [True] * 14), 0.01)
        assert (found.p >= 1, found.low, found.high) == (True, 0.0, math.inf)


class TestEffect:
    def test_it_is_the_median_of_the_means_of_two_with_opposite_leads(self):
        seen = Pairs([1.0, 3.0, 7.0, 11.0], [True, False, True, False]).first(4)
        assert seen.effects == [2.0, 5.0, 6.0, 9.0]
        assert paired_finding(Pairs([1.0, 3.0, 7.0, 11.0], [True, False, True, False]), 0.01, True).ratio == (
            pytest.approx(math.exp(5.5))
        )

    def test_an_outlier_moves_it_little(self):
        logs = [0.01, 0.012, 0.008, 0.011, 0.009, 0.01, 0.013, 0.007, 0.01, 0.01, 0.009, 0.011, 0.01]
        found = paired_finding(pairs_of([*logs, 5.0]), 0.01)
        assert found.ratio == pytest.approx(math.exp(0.0105), abs=1e-3)

    @pytest.mark.parametrize("number", [8, 10, 14, 20])
    @pytest.mark.parametrize("error", [0.05, 0.01, 0.1])
    def test_its_interval_holds_what_the_test_would_not_reject(self, number, error):
        seen = pairs_of(distinct(number, seed=2, shift=0.4)).first(number)
        low, high = seen.interval(error)
        ends = [seen.effects[0] - 1.0, *seen.effects, seen.effects[-1] + 1.0]
        kept = [
            (first, second)
            for first, second in itertools.pairwise(ends)
            if 2 * min(seen.tails((first + second) / 2)) > error
        ]
        if math.isinf(low):
            assert (len(kept), high) == (len(ends) - 1, math.inf)
        else:
            assert (low, high) == pytest.approx((kept[0][0], kept[-1][1]))

    def test_too_few_pairs_have_one_without_bounds(self):
        assert pairs_of([1.0, 2.0, 3.0]).first(3).interval(0.05) == (-math.inf, math.inf)
        found = paired_finding(pairs_of([0.1, 0.2]), 0.01, ended=True)
        assert (found.low, found.high, found.smallest(1)) == (0.0, math.inf, None)

    def test_the_interval_that_is_shown_is_wider_for_a_smaller_error(self):
        found = paired_finding(pairs_of(distinct(40, shift=0.1)), 0.01)
        assert found.interval(0.05) == pytest.approx((found.low, found.high))
        low, high = found.interval(0.001)
        assert low < found.low < found.ratio < found.high < high

    def test_the_smallest_rise_that_is_seen_grows_with_the_family(self):
        found = paired_finding(pairs_of([log / 50 for log in distinct(40)]), 0.01)
        alone, among = found.smallest(1), found.smallest(20)
        assert 0.01 < alone < among

    def test_it_is_never_below_the_threshold(self):
        found = paired_finding(pairs_of([log / 5000 for log in distinct(40)]), 0.01)
        assert found.smallest(1) == 0.01

    def test_before_the_first_look_nothing_is_found(self):
        assert paired_finding(pairs_of(distinct(13)), 0.01) is None
        assert paired_finding(pairs_of(distinct(13)), 0.01, ended=True).pairs == 13
        assert paired_finding(pairs_of([]), 0.01, ended=True) is None

    def test_pairs_between_two_looks_are_left_out_of_it(self):
        logs = distinct(20)
        assert paired_finding(pairs_of(logs[:19]), 0.01) == paired_finding(pairs_of(logs[:14]), 0.01)


class TestSlot:
    """Simulated: the launch that runs first of a pair is slower by 2 %."""

    def logs(self, number, leads, ratio=1.0, seed=0):
        chance = random.Random(seed)
        return [
            math.log(ratio) + (-1 if led else 1) * math.log(1.02) + chance.gauss(0, 0.002)
            for led in leads[:number]
        ]

    def leads(self, number, seed=0):
        """As chance has them: of two in a row one of each."""
        chance = random.Random(f"leads {seed}")
        return tuple(led for _ in range(number // 2) for led in chance.choice([(True, False), (False, True)]))

    @pytest.mark.parametrize("ratio", [1.0, 1.03, 0.97])
    @pytest.mark.parametrize("number", [14, 20, 40])
    def test_it_is_found_and_biases_no_ratio(self, number, ratio):
        leads = self.leads(number)
        found = paired_finding(Pairs(tuple(self.logs(number, leads, ratio)), leads), 0.01)
        assert found.ratio == pytest.approx(ratio, abs=0.003)
        assert found.low < ratio < found.high
        assert found.slot == pytest.approx(1.02, abs=0.003)

    def test_its_direction_is_that_of_the_launch_that_runs_first(self):
        slow_first = Pairs(tuple(math.log(1.02) * (-1 if led else 1) for led in BALANCED[:14]), BALANCED[:14])
        assert paired_finding(slow_first, 0.01).slot == pytest.approx(1.02)
        fast_first = Pairs(tuple(-log for log in slow_first.logs), slow_first.leads)
        assert paired_finding(fast_first, 0.01).slot == pytest.approx(1 / 1.02)

    def test_it_raises_no_alarm_though_chance_leads_unevenly(self):
        alarms = 0
        for seed in range(150):
            chance = random.Random(f"uneven {seed}")
            leads = tuple(chance.random() < 0.5 for _ in range(40))
            found = paired_finding(Pairs(tuple(self.logs(40, leads, seed=seed)), leads), 0.01)
            alarms += paired_verdicts({"a": found}, 1)["a"] in ("regressed", "improved")
        assert alarms <= most(150, FAMILY)

    def test_of_the_same_code_it_alone_is_no_change(self):
        leads = self.leads(40)
        found = paired_finding(Pairs(tuple(self.logs(40, leads)), leads), 0.01)
        assert paired_verdicts({"a": found}, 1) == {"a": "equivalent"}


def finding(p=1.0, ratio=1.0, p_beyond=1.0, threshold=0.01):
    return PairedFinding(
        pairs=10,
        ratio=ratio,
        low=ratio,
        high=ratio,
        slot=1.0,
        p=p,
        p_beyond=p_beyond,
        threshold=threshold,
        seen=Opposite([math.log(ratio)], 1, 1),
        share=1.0,
    )


class TestVerdicts:
    @pytest.mark.parametrize(
        ("made", "verdict"),
        [
            (finding(p=0.001, ratio=1.5, threshold=0.5), "inconclusive"),  # as large as the threshold
            (finding(p=0.001, ratio=0.5, threshold=1.0), "inconclusive"),
            (finding(p=0.001, ratio=1.02), "regressed"),
            (finding(p=0.001, ratio=0.98), "improved"),
            (finding(p=0.02, ratio=1.02), "regressed"),
            (finding(p=0.021, ratio=1.02), "inconclusive"),
            (finding(p=0.001, ratio=1.005), "inconclusive"),  # it is there, and too small to matter
            (finding(p=0.001, ratio=1.005, p_beyond=0.04), "equivalent"),
            (finding(p=0.5, p_beyond=0.05), "equivalent"),
            (finding(p=0.5, p_beyond=0.051), "inconclusive"),
            (None, "inconclusive"),
        ],
    )
    def test_a_row_alone(self, made, verdict):
        assert paired_verdicts({"a": made}, 1) == {"a": verdict}

    def test_the_smallest_p_pays_for_the_whole_family_and_the_next_for_one_less(self):
        ps = (0.0051, 0.0066, 0.0099, 0.0199)  # 0.02 over 3, over 2 and over 1; the first is above 0.02 / 4
        slow = {number: finding(p=p, ratio=1.1) for number, p in enumerate(ps)}
        assert set(paired_verdicts(slow, 4).values()) == {"inconclusive"}
        assert set(paired_verdicts({**slow, 0: finding(p=0.005, ratio=1.1)}, 4).values()) == {"regressed"}

    def test_it_is_paid_for_first_wherever_the_row_stands(self):
        assert paired_verdicts({"a": finding(0.011, 1.1), "b": finding(0.001, 1.1)}, 2) == dict.fromkeys(
            "ab", "regressed"
        )

    def test_what_comes_behind_one_that_is_too_large_is_no_change_either(self):
        rows = {"a": finding(0.001, 1.1), "b": finding(0.011, 1.1), "c": finding(0.012, 1.1)}
        assert paired_verdicts(rows, 3) == {"a": "regressed", "b": "inconclusive", "c": "inconclusive"}

    def test_rows_without_pairs_count_in_the_family(self):
        rows = {"a": finding(0.015, 1.1), "b": None}
        assert paired_verdicts(rows, 2) == {"a": "inconclusive", "b": "inconclusive"}
        assert paired_verdicts(rows, 1)["a"] == "regressed"

    def test_each_has_its_own_direction(self):
        rows = {"a": finding(0.001, 1.1), "b": finding(0.001, 0.9), "c": finding(1.0, 1.0, 0.01)}
        assert paired_verdicts(rows, 3) == {"a": "regressed", "b": "improved", "c": "equivalent"}

    def test_equivalence_is_a_rows_own(self):
        assert paired_verdicts({"a": finding(p_beyond=0.05)}, 1000) == {"a": "equivalent"}

    def test_pairs_that_do_not_differ_at_all_are_equivalent(self):
        found = paired_finding(pairs_of([0.0] * 14), 0.01)
        assert (found.ratio, found.low, found.high, found.slot, found.p) == (1.0, 1.0, 1.0, 1.0, 1.0)
        assert paired_verdicts({"a": found}, 5) == {"a": "equivalent"}

    @pytest.mark.parametrize("ratio", [1.02, 0.98])
    def test_a_change_beyond_the_threshold_is_never_equivalent(self, ratio):
        logs = [math.log(ratio) + log / 5000 for log in distinct(40)]
        assert paired_finding(pairs_of(logs), 0.01).p_beyond >= 0.9

    def test_a_verdict_that_an_early_look_took_stays(self):
        logs = [math.log(1.1) + log / 500 for log in distinct(14)]
        early = paired_finding(pairs_of(logs), 0.01)
        later = paired_finding(pairs_of([*logs, *distinct(6)]), 0.01)
        assert later.p <= early.p

    def test_what_could_have_been_seen_grows_with_the_family(self):
        found = paired_finding(pairs_of([log / 100 for log in distinct(40)]), 0.0)
        assert found.smallest(0) == found.smallest(1) < found.smallest(2)

    def test_pairs_of_one_lead_tell_no_slot_effect(self):
        found = paired_finding(Pairs((0.1, 0.1), (True, True)), 0.01, ended=True)
        assert (found.ratio, found.slot) == (pytest.approx(math.exp(0.1)), 1.0)

    def test_no_family_is_as_good_as_one_row(self):
        assert paired_verdicts({}, 0) == {}
        assert paired_verdicts({"a": finding(0.02, 1.1)}, 0) == {"a": "regressed"}


# What is promised of noise of any kind, on simulated pairs.


def most(number, nominal):
    """As many of so many as chance gives where each has the nominal probability."""
    return number * nominal + 3 * math.sqrt(number * nominal * (1 - nominal))


def normal(chance, number):
    return [chance.gauss(0, 0.02) for _ in range(number)]


def heavy_tails(chance, number):
    return [0.01 * chance.gauss(0, 1) / max(1e-3, abs(chance.gauss(0, 1))) for _ in range(number)]


def two_speeds(chance, number):
    return [
        chance.gauss(0, 0.003) + (math.log(1.15) if chance.random() < 0.3 else 0.0) for _ in range(number)
    ]


def drift(chance, number):
    level, found = 0.0, []
    for _ in range(number):
        level = 0.95 * level + chance.gauss(0, 0.02)
        found.append(level + chance.gauss(0, 0.005))
    return found


NOISES = {noise.__name__: noise for noise in (normal, heavy_tails, two_speeds, drift)}


def measured(noise, seed, ratio=1.0, number=40, slot=1.01):
    """Pairs of launches one behind the other under this noise, led as chance has it."""
    chance = random.Random(f"{noise.__name__}/{seed}")
    launches = noise(chance, 2 * number)
    leads, logs = [], []
    for pair in range(number):
        base_led = chance.random() < 0.5 if pair % 2 == 0 else not leads[-1]
        first, second = launches[2 * pair] + math.log(slot), launches[2 * pair + 1]
        leads.append(base_led)
        logs.append((second - first if base_led else first - second) + math.log(ratio))
    return Pairs(tuple(logs), tuple(leads))


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
class TestErrors:
    def test_the_same_code_is_seldom_called_another_over_all_looks(self, noise):
        number = 400
        # Its p is the smallest of all looks: whoever stops at any of them alarms no more often.
        alarms = sum(paired_finding(measured(noise, seed), 0.0).p <= FAMILY for seed in range(number))
        assert alarms <= most(number, FAMILY)

    def test_a_change_of_the_threshold_is_seldom_called_none(self, noise):
        number = 200
        called = sum(
            paired_finding(measured(noise, seed, ratio=1.011), 0.01).p_beyond <= 0.05
            for seed in range(number)
        )
        assert called <= most(number, 0.05)

    @pytest.mark.parametrize("ratio", [1.0, 1.03, 0.9])
    def test_the_interval_that_is_shown_holds_the_truth_at_every_look(self, noise, ratio):
        number, held = 120, 0
        for seed in range(number):
            pairs = measured(noise, f"{seed}/{ratio}", ratio, number=40)
            found = [
                paired_finding(Pairs(pairs.logs[:look], pairs.leads[:look]), 0.01)
                for look in (14, 20, 28, 40)
            ]
            held += all(one.low <= ratio <= one.high for one in found)
        assert held >= 0.93 * number


class TestPower:
    def test_five_percent_at_two_percent_of_noise_are_found_in_forty_pairs(self):
        found = [
            paired_verdicts({"a": paired_finding(measured(normal, seed, ratio=1.05), 0.01)}, 6)["a"]
            for seed in range(60)
        ]
        assert found.count("regressed") >= 57

    def test_a_gain_is_found_as_well(self):
        found = [
            paired_verdicts({"a": paired_finding(measured(normal, seed, ratio=1 / 1.05), 0.01)}, 6)["a"]
            for seed in range(60)
        ]
        assert found.count("improved") >= 57

    def test_what_is_large_is_found_at_the_second_look(self):
        found = paired_finding(measured(normal, 1, ratio=1.5, number=14), 0.01)
        assert paired_verdicts({"a": found}, 6) == {"a": "regressed"}

    def test_the_same_code_on_a_quiet_machine_is_equivalent(self):
        quiet = [
            paired_finding(pairs_of([log / 500 for log in distinct(14, seed)]), 0.01) for seed in range(60)
        ]
        assert [paired_verdicts({"a": one}, 6)["a"] for one in quiet].count("equivalent") >= 57
