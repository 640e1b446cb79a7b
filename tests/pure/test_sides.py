"""One side of a comparison: the names that both sides give a test, and the error that an interval tells."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from bench.analysis.compare.sides import PYTEST_BENCHMARK, CaseSide, Side, aligned, interval_error, log_error


def side(*names, kind=PYTEST_BENCHMARK):
    """Of each case the name as its suite, and as the value of an axis."""
    return Side(
        "mine", kind, {name: CaseSide(name, "cpu") for name in names}, axes={n: {"x": n} for n in names}
    )


def names(base, candidate):
    return list(aligned(base, candidate).cases)


class TestPathsOfWindows:
    POSIX, WINDOWS = "t/u/t.py::a", "t\\u\\t.py::a"

    @pytest.mark.parametrize(("base", "candidate"), [(POSIX, WINDOWS), (WINDOWS, POSIX)])
    def test_a_test_is_called_as_the_base_calls_it_with_all_that_is_known_of_it(self, base, candidate):
        found = aligned(side(base), side(candidate, "new.py::b"))
        assert list(found.cases) == list(found.axes) == [base, "new.py::b"]
        assert (found.cases[base].suite, found.axes[base]) == (candidate, {"x": candidate})

    def test_what_stands_behind_the_path_keeps_its_strokes(self):
        assert names(side("t/t.py::a[x/y]"), side("t\\t.py::a[x\\y]")) == ["t\\t.py::a[x\\y]"]
        assert names(side("t/t.py::a[x/y::z]"), side("t\\t.py::a[x\\y::z]")) == ["t\\t.py::a[x\\y::z]"]

    def test_where_the_candidate_has_both_names_each_stands_for_itself(self):
        assert names(side(self.POSIX), side(self.POSIX, self.WINDOWS)) == [self.POSIX, self.WINDOWS]

    def test_where_the_base_has_both_names_each_stands_for_itself(self):
        both = side(self.POSIX, self.WINDOWS)
        assert names(both, side(self.POSIX)) == [self.POSIX]
        assert names(both, side(self.WINDOWS)) == [self.WINDOWS]

    def test_two_names_that_would_become_one_are_left_as_they_are(self):
        mixed = side("t\\u/t.py::a", self.WINDOWS)
        assert names(side(self.POSIX), mixed) == ["t\\u/t.py::a", self.WINDOWS]

    @pytest.mark.parametrize("kinds", [("pyperf",) * 2, (PYTEST_BENCHMARK, "run"), ("run", PYTEST_BENCHMARK)])
    def test_names_of_another_tool_are_left_as_they_are(self, kinds):
        base, candidate = (side(n, kind=k) for n, k in zip((self.POSIX, self.WINDOWS), kinds, strict=True))
        assert names(base, candidate) == [self.WINDOWS]


class TestTheErrorThatAnIntervalTells:
    @pytest.mark.parametrize("launches", [None, 3])
    def test_of_unknown_or_too_few_launches_it_is_one_of_95_percent(self, launches):
        assert interval_error(1.0, 4.0, launches) == pytest.approx(math.log(2) / NormalDist().inv_cdf(0.975))

    def test_of_six_launches_it_has_the_level_of_their_ranks(self):
        assert interval_error(1.0, 4.0, 6) == pytest.approx(math.log(2) / NormalDist().inv_cdf(1 - 1 / 64))

    @pytest.mark.parametrize("value", [0.0, -1.0, 2.0])
    def test_a_point_has_none(self, value):
        assert interval_error(value, value, 6) == 0.0

    @pytest.mark.parametrize(
        ("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.inf, math.inf)]
    )
    def test_one_without_logarithms_tells_nothing(self, low, high):
        assert interval_error(low, high, 6) is None

    def test_a_launch_without_a_logarithm_leaves_no_error_though_it_lies_outside_of_the_interval(self):
        values = [float(value) for value in range(1, 12)]
        assert log_error([0.5, *values]) is not None
        assert log_error([0.0, *values]) is None
