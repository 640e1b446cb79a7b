from __future__ import annotations

import pytest
from fakes import measurement, stage, stages

from bench.analysis.launch import launch_values, same_work_each_epoch
from bench.measurement import PHASED, PHASES, STAGES


def values(*records, **changes):
    return launch_values(measurement(stages=records, **changes))


def test_warm_up_is_kept_but_not_counted():
    found = values(
        stage("train", 0, (9.0, 9.0)),
        stage("test", 0, (9.0,)),
        stage("train", 1, (1.0, 1.0)),
        stage("test", 1, (0.5,)),
    )
    assert found["train.step_time"] == 1.0
    assert found["train.step_mean"] == 1.0
    assert found["epoch.time"] == 2.5
    assert found["train.throughput"] == 8 / 2.0
    assert found["test.throughput"] == 4 / 0.5


def test_a_launch_of_warm_up_alone_has_no_time_at_all():
    found = values(stage("train", 0), stage("test", 0))
    assert not [name for name in found if name.endswith(("time", "throughput", "step_mean"))]
    assert found["work.train.batches"] == 2.0


def test_a_step_time_is_the_median_over_full_batches_of_all_counted_epochs():
    found = values(
        stage("train", 0, (7.0, 7.0, 7.0), samples=(4, 4, 2)),
        stage("train", 1, (1.0, 2.0, 0.1), samples=(4, 4, 2)),
        stage("train", 2, (3.0, 8.0, 0.1), samples=(4, 4, 2)),
    )
    assert found["train.step_time"] == 2.5


def test_partial_batches_are_out_of_the_step_time_and_in_the_throughput():
    found = values(stage("train", 1, (1.0, 1.0, 0.5), samples=(4, 4, 1)))
    assert found["train.step_time"] == 1.0
    assert found["train.throughput"] == 9 / 2.5
    assert found["epoch.time"] == 2.5
    assert found["train.step_mean"] == pytest.approx(2.5 / 3)


def test_throughput_is_all_samples_over_all_time_not_a_mean_of_rates():
    found = values(stage("train", 1, (1.0,), samples=(4,)), stage("train", 2, (3.0,), samples=(4,)))
    assert found["train.throughput"] == 8 / 4.0


def test_the_epoch_time_is_the_median_over_epochs_of_their_stages_together():
    records = [
        stage(name, epoch, (seconds,))
        for epoch, times in enumerate([(50.0, 5.0, 5.0), (1.0, 2.0, 3.0), (10.0, 1.0, 9.0), (2.0, 2.0, 4.0)])
        for name, seconds in zip(STAGES, times, strict=True)
    ]
    assert values(*records)["epoch.time"] == 8.0  # of 6, 20 and 8


def test_the_epoch_time_holds_every_validation_inside_the_train_stage():
    found = values(
        stage("validate", 1, (0.5,)),
        stage("validate", 1, (0.25,)),
        stage("train", 1, (1.0, 1.0)),
        stage("test", 1, (0.125,)),
    )
    assert found["epoch.time"] == 2.875
    assert found["validate.throughput"] == 8 / 0.75


def test_the_phases_of_a_step_add_up_to_the_mean_step():
    phases = {phase: 0.01 * number for number, phase in enumerate(PHASES, start=1)}
    wall = sum(phases.values())
    found = values(
        stage("train", 0, (9.0,), phases={"forward": 9.0}),
        stage("train", 1, (0.2, 0.3), wall=wall, phases=phases),
        stage("train", 2, (0.1,), samples=(4,), wall=wall, phases=phases),
    )
    spent = {name: value for name, value in found.items() if name.startswith("train.phase.")}
    assert set(spent) == {f"train.phase.{phase}" for phase in PHASES}
    assert sum(spent.values()) == pytest.approx(found["train.step_mean"])
    assert spent["train.phase.data"] == pytest.approx(2 * 0.01 / 3)


def test_a_phase_that_only_some_epochs_had_is_a_mean_over_all_their_steps():
    found = values(
        stage("validate", 1, (1.0,), phases={"forward": 1.0}),
        stage("validate", 2, (1.0,), phases={"forward": 0.5, "scheduler": 0.5}),
    )
    assert found["validate.phase.scheduler"] == 0.25
    assert found["validate.phase.forward"] == 0.75


def test_a_launch_that_took_phases_gives_phases_and_no_time():
    taken = stages(phases={"forward": 1.5, "other": 0.5})
    found = launch_values(measurement(kind=PHASED, stages=taken))
    assert found == {
        f"{stage}.phase.{phase}": seconds
        for stage in STAGES
        for phase, seconds in {"forward": 0.75, "other": 0.25}.items()
    }


def test_a_timed_launch_without_phases_gives_times_alone():
    assert not [name for name in launch_values(measurement()) if ".phase." in name]


@pytest.mark.parametrize("kind", ["counts", "profile"])
def test_any_other_launch_gives_neither_times_nor_phases(kind):
    found = launch_values(measurement(kind=kind, stages=stages(phases={"forward": 2.0})))
    assert not [name for name in found if name.startswith(("epoch", "train", "validate", "test"))]


def test_the_work_of_an_epoch_holds_its_nested_validations():
    found = values(
        stage("validate", 1, (1.0, 1.0), samples=(4, 3)),
        stage("validate", 1, (1.0, 1.0), samples=(4, 3)),
        stage("train", 1, (1.0,) * 3, samples=(4, 4, 2), optimizer_steps=3),
        stage("test", 1, (1.0,), samples=(2,)),
    )
    work = {name.removeprefix("work."): value for name, value in found.items() if name.startswith("work.")}
    assert work == {
        "train.batches": 3.0,
        "train.samples": 10.0,
        "train.optimizer_steps": 3.0,
        "validate.batches": 4.0,
        "validate.samples": 14.0,
        "validate.optimizer_steps": 0.0,
        "test.batches": 1.0,
        "test.samples": 2.0,
        "test.optimizer_steps": 0.0,
    }


def test_the_work_is_that_of_one_epoch_however_many_there_were():
    work = {n: v for n, v in values(*stages(epochs=2)).items() if n.startswith("work.")}
    assert work == {n: v for n, v in values(*stages(epochs=5)).items() if n.startswith("work.")}


def test_an_evaluation_launch_says_nothing_of_training():
    found = values(*[record for record in stages() if record.stage != "train"])
    assert not [name for name in found if "train" in name]
    assert found["epoch.time"] == 4.0


def test_memory_is_taken_as_it_is():
    found = launch_values(measurement(memory={"peak_rss": 5, "peak_reserved": 7}))
    assert (found["memory.peak_rss"], found["memory.peak_reserved"]) == (5.0, 7.0)
    assert "memory.peak_allocated" not in found


def test_quality_is_that_of_the_last_epoch():
    found = values(
        stage("train", 0, loss=2.0),
        stage("test", 0, loss=2.5, metrics={"accuracy": 0.25}),
        stage("train", 1, loss=1.0),
        stage("test", 1, loss=1.5, metrics={"accuracy": 0.75}),
    )
    assert found["quality.train_loss"] == 1.0
    assert found["quality.test_loss"] == 1.5
    assert found["quality.test_accuracy"] == 0.75
    assert "quality.validate_loss" not in found


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": (4, 3)},
        {"steps": (1.0,) * 3, "samples": (4, 2, 2)},
        {"optimizer_steps": 1},
    ],
    ids=["samples", "batches", "optimizer steps"],
)
def test_an_epoch_that_did_other_work_is_seen(changes):
    assert same_work_each_epoch(measurement(stages=(stage(epoch=0), stage(epoch=1))))
    assert not same_work_each_epoch(measurement(stages=(stage(epoch=0), stage(epoch=1, **changes))))


def test_an_epoch_that_left_a_stage_out_is_seen():
    assert not same_work_each_epoch(measurement(stages=stages()[:-1]))


def test_epochs_that_validated_in_pieces_of_the_same_sum_did_the_same_work():
    pieces = [stage("validate", epoch, (1.0,)) for epoch in (0, 0, 1, 1)]
    assert same_work_each_epoch(measurement(stages=tuple(pieces)))
