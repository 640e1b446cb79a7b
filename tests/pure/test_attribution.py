"""The phase that a change of time came from."""

from __future__ import annotations

import pytest

from bench.analysis.compare.attribution import moved_phase
from bench.analysis.compare.sides import CaseSide, Observed
from bench.report.reason_words import phase_said

BATCHES = {"train": 100, "validate": 5, "test": 5}


def side(batches=BATCHES, **milliseconds):
    """A case whose phases take so long a step; train__backward is train.phase.backward."""
    phases = {name.replace("__", ".phase."): ms / 1e3 for name, ms in milliseconds.items()}
    work = {f"work.{stage}.batches": float(steps) for stage, steps in batches.items()}
    return CaseSide(
        "s", "cpu", {name: Observed(value, {}, None) for name, value in {**phases, **work}.items()}
    )


BASE = side(train__forward=1, train__backward=2, validate__forward=1, test__forward=1)


def said(before, after, metric):
    return phase_said(moved_phase(before, after, metric))


@pytest.mark.parametrize("metric", ["train.step_time", "train.throughput", "train.step_mean"])
def test_the_one_that_moved_most_is_named_with_its_change(metric):
    after = side(train__forward=1.1, train__backward=3.2, validate__forward=1, test__forward=1)
    assert said(BASE, after, metric) == "train.backward +1.2 ms a step"


def test_of_a_fall_it_is_the_one_that_fell_most():
    after = side(train__forward=1.5, train__backward=0.75, validate__forward=1, test__forward=1)
    assert said(BASE, after, "train.step_time") == "train.backward -1.25 ms a step"


def test_the_phases_of_an_epoch_weigh_by_their_steps():
    """A hundred train steps at +1 ms are 100 ms of an epoch; five validation steps at +2 ms are 10 ms."""
    after = side(train__forward=2, train__backward=2, validate__forward=3, test__forward=1)
    assert said(BASE, after, "epoch.time") == "train.forward +100 ms an epoch"
    assert said(BASE, after, "train.step_time") == "train.forward +1 ms a step"
    assert said(BASE, after, "validate.throughput") == "validate.forward +2 ms a step"
    assert moved_phase(BASE, after, "test.throughput") is None


def test_an_evaluation_that_takes_more_of_the_epoch_is_named_for_it():
    after = side(train__forward=1.1, train__backward=2, validate__forward=4, test__forward=1)
    assert said(BASE, after, "epoch.time") == "validate.forward +15 ms an epoch"


def test_each_side_weighs_by_its_own_steps():
    """Half of the batches, each twice as long, are no change of an epoch; what takes as long for each is a fall."""
    halved = side(
        {**BATCHES, "train": 50}, train__forward=2, train__backward=2, validate__forward=1, test__forward=1
    )
    assert said(BASE, halved, "epoch.time") == "train.backward -100 ms an epoch"


def test_a_stage_whose_steps_are_not_known_says_nothing_of_an_epoch():
    before = side({"train": 100}, train__forward=1, validate__forward=1)
    after = side({"train": 100}, train__forward=1.1, validate__forward=90)
    assert said(before, after, "epoch.time") == "train.forward +10 ms an epoch"
    assert moved_phase(side({}, train__forward=1), side({}, train__forward=2), "epoch.time") is None


@pytest.mark.parametrize("steps", [({}, BATCHES), (BATCHES, {})])
def test_nor_does_one_whose_steps_one_side_alone_knows(steps):
    before, after = side(steps[0], train__forward=1), side(steps[1], train__forward=2)
    assert moved_phase(before, after, "epoch.time") is None


def test_it_is_a_number_of_seconds():
    change = moved_phase(BASE, side(train__forward=1, train__backward=3), "train.step_time")
    assert (change.stage, change.phase, change.by_epoch) == ("train", "backward", False)
    assert change.seconds == pytest.approx(1e-3)


def test_a_phase_that_one_side_lacks_took_no_time_there():
    before = side(train__augment=1, train__forward=1)
    after = side(train__augment=2, train__forward=1, train__clip=3)
    assert said(before, after, "train.step_time") == "train.clip +3 ms a step"
    assert said(after, before, "train.step_time") == "train.clip -3 ms a step"


def test_a_stage_that_one_side_did_not_measure_by_phase_is_left_out():
    before, after = side(train__forward=1), side(train__forward=2, validate__forward=90)
    assert said(before, after, "epoch.time") == "train.forward +100 ms an epoch"
    assert moved_phase(before, after, "validate.throughput") is None


@pytest.mark.parametrize("metric", ["memory.peak_rss", "count.ops", "energy.per_sample", "time"])
def test_what_has_no_stage_has_no_phase(metric):
    assert moved_phase(BASE, side(train__backward=9), metric) is None


def test_where_phases_were_not_measured_nothing_is_said():
    nothing = side()
    assert moved_phase(nothing, nothing, "epoch.time") is moved_phase(BASE, BASE, "epoch.time") is None
