"""The phase that a change of time came from."""

from __future__ import annotations

import pytest

from bench.analysis.attribution import moved_phase
from bench.analysis.compare import Observed
from bench.analysis.sides import CaseSide


def side(**milliseconds):
    """A case whose phases take so long; train__backward is train.phase.backward."""
    phases = {name.replace("__", ".phase."): ms / 1e3 for name, ms in milliseconds.items()}
    return CaseSide("s", "cpu", {name: Observed(seconds, {}, None) for name, seconds in phases.items()})


BASE = side(train__forward=1, train__backward=2, validate__forward=1, test__forward=1)


@pytest.mark.parametrize("metric", ["train.step_time", "train.throughput", "train.step_mean", "epoch.time"])
def test_the_one_that_moved_most_is_named_with_its_change(metric):
    after = side(train__forward=1.1, train__backward=3.2, validate__forward=1, test__forward=1)
    assert moved_phase(BASE, after, metric) == "train.backward +1.2 ms a step"


def test_of_a_fall_it_is_the_one_that_fell_most():
    after = side(train__forward=1.5, train__backward=0.75, validate__forward=1, test__forward=1)
    assert moved_phase(BASE, after, "train.step_time") == "train.backward -1.25 ms a step"


def test_the_epoch_looks_into_every_stage_and_a_stage_into_its_own():
    after = side(train__forward=1.1, train__backward=2, validate__forward=3, test__forward=1)
    assert moved_phase(BASE, after, "epoch.time") == "validate.forward +2 ms a step"
    assert moved_phase(BASE, after, "train.step_time") == "train.forward +0.1 ms a step"
    assert moved_phase(BASE, after, "test.throughput") == ""


def test_a_phase_of_ones_own_is_one_too_and_one_that_a_side_lacks_is_none():
    before, after = side(train__augment=1, train__forward=1), side(train__augment=2, train__new=90)
    assert moved_phase(before, after, "train.step_time") == "train.augment +1 ms a step"


@pytest.mark.parametrize("metric", ["memory.peak_rss", "count.ops", "energy.per_sample", "time"])
def test_what_has_no_stage_has_no_phase(metric):
    assert moved_phase(BASE, side(train__backward=9), metric) == ""


def test_where_phases_were_not_measured_nothing_is_said():
    nothing = side()
    assert moved_phase(nothing, nothing, "epoch.time") == moved_phase(BASE, BASE, "epoch.time") == ""
