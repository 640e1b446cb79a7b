"""One of a thing is not called several."""

from __future__ import annotations

import pytest

from bench.plurals import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases"), (12_345, "12,345 cases")]
)
def test_a_number_of_things_is_said_in_words(number, said):
    assert counted(number, "case") == said


@pytest.mark.parametrize(("number", "said"), [(1, "1 launch"), (2, "2 launches")])
def test_a_plural_that_is_more_than_an_s_is_given(number, said):
    assert counted(number, "launch", "launches") == said
