"""What two sides did: in what it differs, and what that leaves comparable."""

from __future__ import annotations

import pytest

from bench.analysis.compare.sides import Observed
from bench.analysis.compare.work import Work

WHAT = ("batches", "samples", "optimizer_steps")


def work(**stages):
    """train=(batches, samples) and so on."""
    return {
        f"work.{stage}.{what}": Observed(float(value), {}, None)
        for stage, values in stages.items()
        for what, value in zip(WHAT, values, strict=False)
    }


SIDE = work(train=(10, 640, 10), validate=(2, 128, 0), test=(2, 128, 0))


def between(**stages):
    return Work(SIDE, SIDE | work(**stages))


class TestSteps:
    @pytest.mark.parametrize(
        ("before", "after", "differ"),
        [
            ((23, 1437), (22, 1408), False),  # the last batch, of 29, left out
            ((40, 640), (10, 640), True),
            ((10, 640), (20, 1280), False),
            ((1, 100), (1, 90), True),
            ((1, 64), (2, 100), False),
            ((2, 100), (1, 100), True),
            ((0, 0), (10, 640), False),  # not known
            ((0, 100), (10, 640), False),
            ((5, 0), (10, 640), False),
        ],
    )
    def test_whether_their_size_differs_follows_from_samples_and_batches(self, before, after, differ):
        assert Work(work(train=before), work(train=after)).steps_differ("train") is differ
        assert Work(work(train=after), work(train=before)).steps_differ("train") is differ


class TestSpoiling:
    @pytest.mark.parametrize(
        ("stages", "spoilt"),
        [
            ({}, set()),
            (
                {"train": (5, 320, 5)},
                {"epoch.time", "train.step_time", "train.throughput", "memory.peak_rss", "quality.train_loss",
                 "quality.time_to_loss", "energy.per_sample"},
            ),
            (
                {"train": (5, 640, 5)},
                {"epoch.time", "train.step_time", "train.throughput", "memory.peak_rss", "count.ops",
                 "compute.step_flops", "quality.time_to_loss", "energy.per_sample"},
            ),
            (
                {"validate": (1, 64, 0)},
                {"epoch.time", "validate.throughput", "quality.validate_loss", "quality.validate_mean_error",
                 "energy.per_sample"},
            ),
            (
                {"validate": (4, 128, 0)},
                {"epoch.time", "validate.throughput", "count.validate.ops", "memory.peak_rss",
                 "energy.per_sample"},
            ),
            ({"test": (2, 128, 1)}, {"epoch.time", "test.throughput", "energy.per_sample"}),
        ],
    )  # fmt: skip
    def test_a_stage_spoils_its_own_and_what_holds_it(self, stages, spoilt):
        names = (
            *("epoch.time", "train.step_time", "train.throughput", "validate.throughput", "test.throughput"),
            *("memory.peak_rss", "count.ops", "count.parameter_bytes", "compute.step_flops"),
            *("count.validate.ops", "quality.validate_mean_error"),
            *("compute.sample_flops", "compile.time", "energy.per_sample"),
            *("quality.train_loss", "quality.validate_loss", "quality.test_accuracy", "quality.time_to_loss"),
        )
        assert {name for name in names if between(**stages).affects(name)} == spoilt

    def test_stages_whose_difference_is_meant_spoil_nothing(self):
        both = between(train=(5, 320, 5), validate=(1, 64, 0))
        assert not both.affects("train.step_time", ("validate",))
        assert both.affects("epoch.time", ("validate",))


class TestDifferences:
    def test_they_come_stage_by_stage_samples_first(self):
        found = between(train=(5, 320, 5), test=(1, 128, 0)).differences
        assert [one.metric for one in found] == [
            "work.train.samples",
            "work.train.batches",
            "work.train.optimizer_steps",
            "work.test.batches",
        ]
        assert (found[0].before, found[0].after) == (640, 320)

    def test_a_side_that_counts_no_work_has_none(self):
        assert Work(SIDE, {}).differences == ()

    def test_evaluations_of_one_side_alone_are_one(self):
        found = Work(SIDE, SIDE | {"work.train.closure_evaluations": Observed(25.0, {}, None)}).differences
        assert [(one.what, one.before, one.after) for one in found] == [("closure_evaluations", None, 25)]

    def test_where_nothing_differs_nothing_takes_its_place(self):
        assert between().by_the_sample == ()
        assert between(train=(5, 320, 5)).by_the_sample == ("train.throughput", "compute.sample_flops")

    def test_counts_of_training_are_not_held_against_those_of_an_evaluation(self):
        evaluated = {name: seen for name, seen in SIDE.items() if not name.startswith("work.train")}
        assert Work(SIDE, evaluated).counted_unlike("count.ops")
        assert Work(SIDE, evaluated).needs_samples("count.ops")
        assert not Work({}, SIDE).counted_unlike("count.ops")  # which counts no work

    def test_counts_are_of_full_steps_of_their_stage(self):
        both = between(validate=(4, 64, 0))  # in steps of another size
        assert both.counted_unlike("count.validate.ops")
        assert both.counted_unlike("count.peak_live_bytes")
        assert not both.counted_unlike("count.ops")
        assert not both.counted_unlike("count.test.ops")

    def test_without_training_evaluations_are_compared_by_the_sample(self):
        first, second = work(test=(2, 128)), work(test=(4, 128))
        assert Work(first, second).by_the_sample == ("test.throughput", "compute.sample_flops")

    @pytest.mark.parametrize(
        ("stages", "unlike"),
        [
            ({"test": (2, 100, 0)}, True),  # fewer samples, of steps that may have as many
            ({"test": (4, 128, 0)}, True),  # as many, in smaller steps
            ({"train": (10, 640, 5)}, False),  # fewer steps of the optimizer
        ],
    )
    def test_what_is_held_at_once_comes_from_the_steps_of_all_stages(self, stages, unlike):
        assert between(**stages).counted_unlike("count.peak_live_bytes") is unlike


class TestNeedingSamples:
    @pytest.mark.parametrize(
        ("stages", "by_the_sample"),
        [
            ({}, set()),
            ({"train": (5, 320, 10)}, {"work.train.samples", "work.train.batches", "epoch.time"}),
            (
                {"train": (5, 640, 10)},
                {"work.train.batches", "train.step_time", "train.phase.data", "count.ops", "compute.step_flops"},
            ),
            ({"validate": (4, 128, 0)}, {"validate.phase.data", "count.validate.ops"}),
            ({"test": (2, 100, 0)}, {"epoch.time"}),
        ],
    )  # fmt: skip
    def test_what_the_meant_difference_reaches_is_compared_by_the_sample(self, stages, by_the_sample):
        names = (
            *(
                "work.train.samples",
                "work.train.batches",
                "epoch.time",
                "train.step_time",
                "train.phase.data",
            ),
            *("train.throughput", "validate.phase.data", "count.ops", "count.parameter_bytes"),
            *("count.validate.ops", "compute.step_flops", "compute.sample_flops", "memory.peak_rss"),
        )
        assert {name for name in names if between(**stages).needs_samples(name)} == by_the_sample
