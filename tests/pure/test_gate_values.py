"""Exact metrics of one commit: what rose between two of them, and on which side of the line a third one is."""

from __future__ import annotations

import pytest

from bench.ab.bisection import Rise, Values, falls, largest_rise


class TestTheLine:
    @pytest.mark.parametrize(
        ("value", "told"), [(10, "good"), (8, "good"), (15, "good"), (16, "bad"), (20, "bad"), (99, "bad")]
    )
    def test_it_is_drawn_halfway(self, value, told):
        assert Rise("case", "count.ops", 10, 20).answer(value) == told

    def test_what_came_out_of_nothing_has_a_line_too(self):
        rise = Rise("case", "count.saved_bytes", 0, 4096)
        assert (rise.answer(0), rise.answer(4096)) == ("good", "bad")

    def test_a_commit_without_a_value_is_skipped(self):
        assert Rise("case", "count.ops", 10, 20).answer(None) == "skip"


class TestWhatRose:
    GOOD = Values({("a", "count.ops"): 10, ("b", "count.ops"): 10, ("b", "count.flops"): 100})

    def test_of_all_that_rose_the_largest_share_is_followed(self):
        bad = Values({("a", "count.ops"): 12, ("b", "count.ops"): 9, ("b", "count.flops"): 150})
        assert largest_rise(self.GOOD, bad) == Rise("b", "count.flops", 100, 150)
        assert falls(self.GOOD, bad) == {("b", "count.ops"): (10, 9)}

    def test_what_was_not_there_before_is_the_largest(self):
        good = Values({("a", "count.ops"): 1, ("a", "count.saved_bytes"): 0})
        bad = Values({("a", "count.ops"): 1000, ("a", "count.saved_bytes"): 1})
        assert largest_rise(good, bad).metric == "count.saved_bytes"

    def test_a_case_that_one_side_lacks_says_nothing(self):
        assert largest_rise(self.GOOD, Values({("new", "count.ops"): 99})) is None
        assert largest_rise(self.GOOD, self.GOOD) is None
