from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch._C._autograd import DeviceType

from bench.worker.profile.profiler import device_shares, intersection, length, shares, union

GRID = 40
intervals = st.lists(
    st.tuples(st.integers(0, GRID), st.integers(0, GRID)).map(lambda pair: (min(pair), max(pair))),
    max_size=12,
)


def cells(some):
    """The unit cells of a grid that intervals cover: the slow way to the same sums."""
    return {cell for start, end in some for cell in range(start, end)}


class TestIntervals:
    @given(intervals)
    def test_a_union_covers_what_its_parts_cover(self, some):
        assert cells(union(some)) == cells(some)
        assert length(union(some)) == len(cells(some))

    @given(intervals)
    def test_the_parts_of_a_union_are_in_order_and_apart(self, some):
        found = union(some)
        assert all(before[1] < after[0] for before, after in pairwise(found))

    @given(intervals, intervals)
    def test_an_intersection_covers_what_both_cover(self, one, other):
        both = intersection(union(one), union(other))
        assert cells(both) == cells(one) & cells(other)
        assert length(both) == len(cells(both))
        assert all(start < end for start, end in both)

    @given(intervals, intervals)
    def test_an_intersection_is_the_same_from_either_side(self, one, other):
        assert intersection(union(one), union(other)) == intersection(union(other), union(one))

    def test_nothing_covers_nothing(self):
        assert union([]) == []
        assert intersection([], [(0, 1)]) == []
        assert length([]) == 0

    def test_intervals_that_touch_are_one(self):
        assert union([(2, 3), (0, 1), (1, 2)]) == [(0, 3)]
        assert intersection([(0, 1)], [(1, 2)]) == []


class TestShares:
    @given(intervals, intervals)
    def test_they_are_what_a_count_of_cells_says(self, kernels, copies):
        found = shares(kernels, copies)
        everything = [*kernels, *copies]
        if not everything:
            assert found == {}
            return
        span = max(end for _, end in everything) - min(start for start, _ in everything)
        idle = span - len(cells(everything))
        assert found["span"] == span
        assert found["kernel_time"] == sum(end - start for start, end in kernels)
        assert found["copy_time"] == sum(end - start for start, end in copies)
        assert found["idle_share"] == pytest.approx(idle / span if span else 0)
        assert found["launch_gap"] == pytest.approx(idle / len(kernels) if kernels else 0)
        copied = cells(copies)
        assert ("copy_overlap" in found) is bool(copied)
        if copied:
            assert found["copy_overlap"] == pytest.approx(len(copied & cells(kernels)) / len(copied))

    def test_a_copy_behind_a_kernel_is_hidden_as_far_as_the_kernel_goes(self):
        found = shares([(0, 4), (8, 10)], [(2, 6)], unit=0.5)
        assert found == {
            "kernel_time": 3.0,
            "copy_time": 2.0,
            "span": 5.0,
            "idle_share": 0.2,
            "launch_gap": 0.5,
            "copy_overlap": 0.5,
        }

    def test_a_device_that_did_nothing_has_none(self):
        assert shares([], []) == {}
        assert device_shares([]) == {}

    def test_kernels_alone_have_no_overlap_of_copies(self):
        assert "copy_overlap" not in shares([(0, 1)], [])

    def test_copies_alone_have_no_gap_before_a_kernel(self):
        assert shares([], [(0, 1), (2, 3)])["launch_gap"] == 0

    def test_one_instant_has_no_length_to_share(self):
        assert shares([(3, 3)], [])["idle_share"] == 0


class TestEvents:
    @staticmethod
    def event(name, start, end, device=DeviceType.CUDA, annotation=False):
        span = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(name=name, device_type=device, is_user_annotation=annotation, time_range=span)

    def test_kernels_and_copies_are_told_apart_and_what_is_neither_is_left_out(self):
        found = device_shares(
            [
                self.event("sgemm", 1_000_000, 3_000_000),
                self.event("Memcpy HtoD (Pinned -> Device)", 2_000_000, 3_000_000),
                self.event("Memset (Device)", 4_000_000, 5_000_000),
                self.event("aten::mm", 0, 9_000_000, device=DeviceType.CPU),
                self.event("ProfilerStep#8", 0, 9_000_000, annotation=True),
            ]
        )
        assert found["kernel_time"] == pytest.approx(2)
        assert found["copy_time"] == pytest.approx(2)
        assert found["span"] == pytest.approx(4)
        assert found["idle_share"] == pytest.approx(0.25)
        assert found["copy_overlap"] == pytest.approx(0.5)
