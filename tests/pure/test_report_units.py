"""SI values as people read them."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from bench.report.units import digits, interval, percent, quantity, scale


@pytest.mark.parametrize(
    ("value", "unit", "read"),
    [
        (0.00123, "s", "1.23 ms"),
        (45.6e-6, "s", "45.6 µs"),
        (1.5, "s", "1.50 s"),
        (3600, "s", "3,600 s"),
        (-0.0012, "s", "-1.20 ms"),
        (0, "s", "0 s"),
        (36700160, "B", "35.0 MiB"),
        (512, "B", "512 B"),
        (3 * 2**30, "B", "3.00 GiB"),
        (14500, "samples/s", "14,500 samples/s"),
        (0.5, "samples/s", "0.500 samples/s"),
        (2_345_678, "samples/s", "2.35 M samples/s"),
        (12.345, "%", "12.3 %"),
        (0.00012, "J/sample", "120 µJ/sample"),
        (1.2e12, "FLOP/s", "1.20 TFLOP/s"),
        (0.9514, "1", "0.951"),
        (1.5e12, "1", "1.50 T"),
    ],
)
def test_a_quantity_has_three_digits_and_a_prefix_that_fits(value, unit, read):
    assert quantity(value, unit) == read


@pytest.mark.parametrize(("value", "read"), [(1079, "1,079"), (123_456_789, "123,456,789"), (0, "0")])
def test_a_count_keeps_every_digit_since_counts_are_compared_exactly(value, read):
    assert quantity(value, "1") == read


@pytest.mark.parametrize(
    ("value", "unit", "read"),
    [
        (999.4e-6, "s", "999 µs"),
        (999.6e-6, "s", "1.00 ms"),
        (0.9996, "s", "1.00 s"),
        (1000 * 2**10, "B", "0.977 MiB"),
        (1023, "B", "0.999 KiB"),
        (999.6, "samples/s", "1,000 samples/s"),
    ],
)
def test_rounding_up_changes_to_the_next_prefix(value, unit, read):
    assert quantity(value, unit) == read


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, pd.NA])
def test_what_is_no_number_reads_as_a_dash(nothing):
    assert quantity(nothing, "s") == "-"
    assert interval(nothing, 1.0, 1.0) == "-"
    assert interval(1.0, nothing, 1.0) == "-"
    assert interval(1.0, 1.0, nothing) == "-"


@pytest.mark.parametrize(
    ("low", "high", "value", "read"),
    [
        (0.979, 1.021, 1.0, "±2.1 %"),
        (0.5, 1.6, 1.0, "±55 %"),
        (0.9979, 1.0021, 1.0, "±0.21 %"),
        (0.9001, 1.0999, 1.0, "±10 %"),
        (0.999999, 1.000001, 1.0, "±0.01 %"),  # never smaller than it is
        (5.0, 5.0, 5.0, "±0 %"),
        (-1.1, -0.9, -1.0, "±10 %"),
        (-1.0, 1.0, 0.0, "-"),
    ],
)
def test_an_interval_is_half_its_width_as_a_share_of_the_value(low, high, value, read):
    assert interval(low, high, value) == read


@pytest.mark.parametrize(
    ("share", "read"),
    [
        (0.021, "2.1 %"),
        (0.12, "12 %"),
        (0.0042, "0.42 %"),
        (0.0, "0 %"),
        (0.0994, "9.9 %"),
        (0.0996, "10 %"),
        (0.00994, "0.99 %"),
        (0.00996, "1.0 %"),
        (1e-9, "0.01 %"),  # never smaller than it is
        (12.5, "1,250 %"),
    ],
)
def test_a_share_is_read_in_percent_with_two_digits(share, read):
    assert percent(share) == read


@pytest.mark.parametrize(
    ("values", "unit", "largest", "label"),
    [
        ([0.0004, 0.0034], "s", 3.4, "ms"),
        ([3 * 2**20, 2**30], "B", 1.0, "GiB"),
        ([900, 14_500], "samples/s", 14.5, "k samples/s"),
        ([900, 2_000], "samples/s", 2_000, "samples/s"),
        ([0.5, 0.95], "1", 0.95, ""),
        ([2e6, 4e6], "1", 4.0, "M"),
        ([math.nan, 0.002, None], "s", 2.0, "ms"),
    ],
)
def test_one_prefix_serves_a_whole_column(values, unit, largest, label):
    factor, found = scale(values, unit)
    assert found == label
    known = [value for value in values if value is not None and not math.isnan(value)]
    assert max(known) * factor == pytest.approx(largest)


@pytest.mark.parametrize("values", [[], [math.nan], [0.0, 0.0]])
def test_a_column_without_a_size_keeps_the_plain_unit(values):
    assert scale(values, "s") == (1.0, "s")


@pytest.mark.parametrize(
    ("value", "read"),
    [(0.01234, "0.0123"), (1.2, "1.20"), (123.4, "123"), (14_512, "14,500"), (0, "0"), (1e-9, "1.00e-09")],
)
def test_bare_numbers_have_three_digits(value, read):
    assert digits(value) == read
