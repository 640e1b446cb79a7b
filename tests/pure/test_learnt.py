"""Whether what was learnt differs by more than launches do: falls are found, and identical code never alarms."""

from __future__ import annotations

import random
from statistics import NormalDist

import pytest

from bench.analysis.compare.quality_change import (
    FAMILY,
    QualityChange,
    quality_change,
    quality_verdicts,
    repeats,
)
from bench.analysis.compare.sequential import looks_at
from bench.analysis.compare.sides import CaseSide, Observed
from bench.analysis.compare.verdict import EQUIVALENCE

ACCURACY, LOSS = "quality.test_accuracy", "quality.test_loss"


def seen(*values):
    return Observed.of(dict(enumerate(values, start=1)))


def said(base, candidate, tolerance=0.02, better="more", alike=False, shares=None):
    return quality_verdicts({"one": quality_change(base, candidate, tolerance, better, alike, shares)})["one"]


def draws(mean, number, chance, sd=0.01):
    return seen(*(mean + chance.gauss(0, sd) for _ in range(number)))


class TestWhereLaunchesEndAlike:
    @pytest.mark.parametrize(
        ("before", "after", "better", "verdict"),
        [
            (0.767, 0.198, "more", "regressed"),
            (0.198, 0.767, "more", "improved"),
            (0.198, 0.767, "less", "regressed"),
            (0.767, 0.198, "less", "improved"),
            (0.767, 0.198, "", "moved"),
            (0.767, 0.7671, "more", "equivalent"),
            (0.767, 0.748, "more", "equivalent"),
            (0.767, 0.746, "more", "regressed"),
            (0.5, 0.25, "more", "regressed"),
            (0.767, 0.767, "", "equivalent"),
        ],
    )
    def test_the_tolerance_alone_decides(self, before, after, better, verdict):
        assert said(seen(before, before), seen(after, after), better=better, alike=True) == verdict

    def test_what_changes_nothing_is_equivalent_however_few_launches_there_are(self):
        assert (
            said(seen(0.9), seen(0.9)) == said(Observed(0.9, {}, 0.0), Observed(0.9, {}, 0.0)) == "equivalent"
        )
        found = quality_change(seen(0.9), seen(0.9), 0.02, "more", False)
        assert found == QualityChange(0.0, 0.0, 1.0, 0.0, 0.02, "more")

    def test_a_change_as_large_as_the_tolerance_is_within_it(self):
        first, second = seen(1.0, 1.0), seen(1.5, 1.5)
        assert said(first, second, tolerance=0.5, alike=True) == "equivalent"
        assert quality_change(first, second, 0.5, "", True) == QualityChange(0.5, 0.0, 0.0, 0.0, 0.5, "")

    def test_one_launch_a_side_says_nothing_of_a_change(self):
        assert quality_change(seen(0.9), seen(0.1), 0.02, "more", False) is None
        assert said(seen(0.9), seen(0.1)) == "inconclusive"

    @pytest.mark.parametrize(
        ("observed", "alike"),
        [
            ({LOSS: seen(0.3, 0.3), ACCURACY: seen(0.9, 0.9)}, True),
            ({LOSS: seen(0.3, 0.3)}, True),
            ({LOSS: seen(0.3, 0.31), ACCURACY: seen(0.9, 0.9)}, False),
            ({LOSS: seen(0.3), ACCURACY: seen(0.9)}, False),
            ({ACCURACY: seen(0.9, 0.9)}, False),  # of ten samples that may be chance
            ({LOSS: Observed(0.3, {}, 0.0)}, True),  # of a baseline, whose interval is a point
            ({LOSS: Observed(0.3, {}, 0.1)}, False),
            ({"epoch.time": seen(1.0, 1.0)}, False),
        ],
    )
    def test_a_loss_must_be_the_same_in_all_of_them(self, observed, alike):
        assert repeats(CaseSide("s", "cpu", observed)) is alike


class TestWhereTheyDiffer:
    def test_a_fall_is_found_and_so_is_that_there_is_none(self):
        chance = random.Random(0)
        base, worse, same = (draws(mean, 14, chance) for mean in (0.9, 0.8, 0.9))
        assert said(base, worse) == "regressed"
        assert said(base, same) == "equivalent"

    def test_what_is_too_noisy_is_inconclusive(self):
        chance = random.Random(1)
        assert said(draws(0.9, 6, chance, 0.2), draws(0.88, 6, chance, 0.2)) == "inconclusive"

    def test_a_change_within_the_tolerance_is_none_however_sure_it_is(self):
        chance = random.Random(2)
        assert said(draws(0.9, 20, chance, 0.001), draws(0.89, 20, chance, 0.001)) == "equivalent"

    def test_few_launches_do_not_tell(self):
        assert said(seen(0.9, 0.91, 0.92), seen(0.1, 0.11, 0.12)) == "inconclusive"

    def test_shares_that_are_often_alike_are_tested_too(self):
        base, after = seen(*[0.5, 0.6] * 7), seen(*[0.3, 0.4] * 7)
        assert said(base, after) == "regressed"

    def test_the_spread_is_that_of_the_wider_side(self):
        assert quality_change(seen(0.9, 0.8), seen(0.5, 0.45), 0.02, "more", False).spread == pytest.approx(
            0.1
        )

    @pytest.mark.parametrize("pairs", [6, 14, 40])
    def test_identical_code_alarms_in_a_hundredth_of_sessions_at_the_most(self, pairs):
        """Of four rows a session, with no tolerance to help."""
        chance, alarms, sessions = random.Random(pairs), 0, 400
        for _ in range(sessions):
            found = {
                name: quality_change(
                    *(draws(0.0, pairs, chance) for _ in range(2)), 0.0, "less", False, looks_at(pairs, True)
                )
                for name in "abcd"
            }
            alarms += bool({"regressed", "improved"} & set(quality_verdicts(found).values()))
        assert alarms <= 9  # 4 are to be expected, 10 or more come in one of a hundred

    def test_a_look_at_fewer_pairs_has_its_own_share_of_the_error(self):
        chance = random.Random(3)
        base, after = draws(0.9, 14, chance), draws(0.5, 14, chance)
        whole, one = (
            quality_change(base, after, 0.02, "more", False, shares) for shares in (None, looks_at(14))
        )
        assert one.p == pytest.approx(whole.p / 0.2)
        assert one.p_beyond == 1.0  # and not 5: the change is far beyond the tolerance
        one, other = (draws(0.5, 14, chance) for _ in range(2))
        shares = quality_change(one, other, 0.0, "more", False, looks_at(14))
        assert max(shares.p, shares.p_beyond) <= 1.0

    def test_the_p_of_launches_that_lie_apart_is_that_of_the_rank_sum(self):
        found = quality_change(seen(1.0, 2.0, 3.0), seen(4.0, 5.0, 6.0), 9.0, "less", False)
        assert (found.p, found.p_beyond) == (pytest.approx(2 / 20), pytest.approx(1 / 20))
        shared = quality_change(seen(1.0, 2.0, 3.0), seen(4.0, 5.0, 6.0), 9.0, "less", False, [(3, 0.5)])
        assert (shared.p, shared.p_beyond) == (pytest.approx(2 / 10), pytest.approx(1 / 10))

    def test_before_the_first_look_nothing_is_said(self):
        chance = random.Random(4)
        assert (
            quality_change(draws(0.9, 5, chance), draws(0.5, 5, chance), 0.02, "more", False, looks_at(5))
            is None
        )


class TestWithoutLaunches:
    def test_standard_errors_stand_for_them(self):
        base = Observed(0.9, {}, 0.01)
        assert said(base, Observed(0.5, {}, 0.01)) == "regressed"
        assert said(base, Observed(0.88, {}, 0.5)) == "inconclusive"

    @pytest.mark.parametrize("swapped", [False, True])
    def test_where_one_side_alone_has_launches_the_errors_of_both_are_taken(self, swapped):
        launches, median = seen(0.9, 0.91, 0.92, 0.93, 0.94, 0.95), Observed(0.5, {}, 0.001)
        found = quality_change(*((median, launches) if swapped else (launches, median)), 0.02, "more", False)
        assert (abs(found.change), found.spread) == (pytest.approx(0.425), None)
        assert quality_verdicts({"one": found})["one"] == ("improved" if swapped else "regressed")

    def test_without_these_nothing_is_known(self):
        assert quality_change(Observed(0.9, {}, None), Observed(0.5, {}, None), 0.02, "more", False) is None


class TestTheFamily:
    def test_equivalence_that_is_just_sure_enough_is_one(self):
        just, hardly = (
            QualityChange(0.01, 0.1, 1.0, p, 0.02, "more") for p in (EQUIVALENCE, 1.01 * EQUIVALENCE)
        )
        assert quality_verdicts({"a": just, "b": hardly}) == {"a": "equivalent", "b": "inconclusive"}

    def test_one_row_among_many_must_be_surer(self):
        sure = QualityChange(-0.5, 0.1, FAMILY / 5, 1.0, 0.02, "more")
        unsure = QualityChange(-0.5, 0.1, 0.5, 1.0, 0.02, "more")
        assert quality_verdicts({"a": sure})["a"] == "regressed"
        assert quality_verdicts({"a": sure, **{str(n): unsure for n in range(9)}})["a"] == "inconclusive"

    def test_after_the_surest_the_next_is_held_against_fewer(self):
        first = QualityChange(-0.5, 0.0, 0.0, 1.0, 0.02, "more")
        second = QualityChange(-0.5, 0.0, FAMILY, 1.0, 0.02, "more")
        assert set(quality_verdicts({"a": first, "b": second}).values()) == {"regressed"}


class TestMediansWithoutTheirLaunches:
    """As of a baseline: what is known is the standard error of the logarithm of each median."""

    @pytest.mark.parametrize(
        ("base", "candidate"),
        [(2.0, 2.1), (2.1, 2.0), (2.0, 2.02), (2.0, 2.5), (0.5, 0.51)],
    )
    def test_the_change_is_normal_with_both_errors(self, base, candidate):
        found = quality_change(Observed(base, {}, 0.01), Observed(candidate, {}, 0.03), 0.1, "less", False)
        change = candidate - base
        error = ((0.01 * base) ** 2 + (0.03 * candidate) ** 2) ** 0.5
        assert (found.change, found.spread, found.tolerance) == (change, None, 0.1)
        assert found.p == pytest.approx(2 * NormalDist().cdf(-abs(change) / error))
        assert found.p_beyond == pytest.approx(NormalDist().cdf((abs(change) - 0.1) / error))

    @pytest.mark.parametrize(
        ("base", "candidate"),
        [
            ((2.0, None), (2.1, 0.1)),
            ((2.0, 0.1), (2.1, None)),
            ((0.0, 0.1), (2.1, 0.1)),
            ((2.0, 0.1), (0.0, 0.1)),
        ],
    )
    def test_without_an_error_or_a_logarithm_nothing_is_known(self, base, candidate):
        first, second = (Observed(number, {}, error) for number, error in (base, candidate))
        assert quality_change(first, second, 0.1, "less", False) is None


def test_the_smallest_p_is_judged_first_wherever_it_stands():
    sure = QualityChange(-0.5, 0.0, FAMILY / 2, 1.0, 0.02, "more")
    less = QualityChange(-0.5, 0.0, FAMILY, 1.0, 0.02, "more")
    assert set(quality_verdicts({"less": less, "sure": sure}).values()) == {"regressed"}
