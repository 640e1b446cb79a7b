from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.suite.case import Case
from bench.suite.matrix import Suite
from bench.tasks.axis_values import Names, Numbers, is_dotted


@pytest.mark.parametrize("value", [None, 1, 2, 10_000])
def test_whole_numbers_from_a_least_one_on(value):
    assert value in Numbers(1)


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, True, "1"])
def test_what_is_no_whole_number_of_at_least_that_is_refused(value):
    assert value not in Numbers(1)


@pytest.mark.parametrize(
    ("value", "there"), [(0.5, True), (1, True), (None, True), (0, False), (-1.0, False)]
)
def test_numbers_above_a_bound(value, there):
    assert (value in Numbers(0, whole=False, above=True)) == there


@pytest.mark.parametrize(
    ("value", "there"),
    [
        (None, True),
        (0, True),
        (0.1, True),
        (1, False),
        (1.5, False),
        (-0.1, False),
        (False, False),
        ("0", False),
    ],
)
def test_shares_from_nothing_to_below_the_whole(value, there):
    assert (value in Numbers(0, whole=False, below=1)) == there


def test_a_dotted_name_is_that_of_another_package():
    names = Names(["sgd", "adam"])
    assert "sgd" in names
    assert "lion_pytorch.Lion" in names
    assert "adan" not in names
    assert "../adam" not in names
    assert 3 not in names
    assert not is_dotted("a..b")


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (Numbers(1), "unknown axis 0; there are none, a whole number of at least 1"),
        (Numbers(0, whole=False, above=True), "unknown axis 0; there are none, a number above 0"),
        (Numbers(0.5, whole=False), "unknown axis 0; there are none, a number of at least 0.5"),
        (Names(["sgd"]), "unknown axis 0; there are sgd, any other by its dotted name (package.Class)"),
    ],
)
def test_they_say_what_there_is_where_a_suite_refuses_a_value(known, message):
    suite = Suite("mine", build=lambda case: case, choices={"axis": known})
    with pytest.raises(UsageError) as caught:
        suite.check("axis", 0)
    assert str(caught.value) == message
    assert Case("mine", {"axis": 1}).get("axis") == 1
