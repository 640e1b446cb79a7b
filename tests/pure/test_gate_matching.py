"""Which case of the base is held against which of the candidate."""

from __future__ import annotations

from bench.ab.cases import match
from bench.suite.case import Case


def cases(suite="s", **axes):
    """A case for each value of the last axis."""
    *fixed, (name, values) = axes.items()
    return [Case(suite, {**dict(fixed), name: value}) for value in values]


class TestTheSameAxes:
    def test_cases_of_one_name_are_a_pair(self):
        found = match(cases(width=[8, 16]), cases(width=[16, 8]))
        assert list(found.pairs) == ["s/width=8", "s/width=16"]
        assert all(base.id == candidate.id == name for name, (base, candidate) in found.pairs.items())
        assert (found.only_base, found.only_candidate) == ([], [])

    def test_what_one_side_alone_has_is_named(self):
        found = match(cases(width=[8, 16]), cases(width=[16, 32]))
        assert list(found.pairs) == ["s/width=16"]
        assert (found.only_base, found.only_candidate) == (["s/width=8"], ["s/width=32"])

    def test_suites_are_told_apart(self):
        found = match(cases("a", width=[8]), cases("b", width=[8]))
        assert (dict(found.pairs), found.only_base, found.only_candidate) == (
            {},
            ["a/width=8"],
            ["b/width=8"],
        )

    def test_each_side_gets_its_own_case(self):
        # An axis that evaluation does not use tells no two cases apart, but the case keeps it.
        base, candidate = (Case("s", {"mode": "eval", "optimizer": name}) for name in ("sgd", "adam"))
        ((first, second),) = match([base], [candidate]).pairs.values()
        assert (first.get("optimizer"), second.get("optimizer")) == ("sgd", "adam")

    def test_a_new_axis_is_another_case(self):
        found = match(cases(width=[8]), cases(depth=1, width=[8]))
        assert (dict(found.pairs), found.only_base) == ({}, ["s/width=8"])

    def test_of_nothing_there_is_nothing(self):
        found = match([], [])
        assert (dict(found.pairs), list(found.only_base), list(found.only_candidate)) == ({}, [], [])


class TestAnAxisThatWasSet:
    def test_its_values_are_held_against_each_other(self):
        found = match(cases(depth=1, width=[8]), cases(depth=1, width=[16]), ["width"])
        ((name, (base, candidate)),) = found.pairs.items()
        assert name == "s/depth=1/width=16 against width=8"
        assert (base.id, candidate.id) == ("s/depth=1/width=8", "s/depth=1/width=16")

    def test_all_cases_of_the_other_side_have_a_pair(self):
        found = match(cases(width=[4]), cases(width=[4, 8, 16]), ["width"])
        assert list(found.pairs) == ["s/width=4", "s/width=8 against width=4", "s/width=16 against width=4"]
        assert found.only_candidate == []
        turned = match(cases(width=[4, 8]), cases(width=[4]), ["width"])
        assert list(turned.pairs) == ["s/width=4", "s/width=4 against width=8"]

    def test_the_rest_must_be_alike(self):
        found = match(cases(depth=1, width=[8]), cases(depth=2, width=[16]), ["width"])
        assert (dict(found.pairs), found.only_base) == ({}, ["s/depth=1/width=8"])

    def test_two_that_were_set_are_both_named(self):
        base, candidate = Case("s", {"width": 8, "depth": 1}), Case("s", {"width": 8, "depth": 2})
        found = match([base], [candidate], ["width", "depth"])
        assert list(found.pairs) == ["s/width=8/depth=2 against width=8, depth=1"]
