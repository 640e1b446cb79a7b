from __future__ import annotations

import pytest
from fakes import CONTAMINATED, guards, measurement, stage, stages

from bench.analysis.launch import values as launches
from bench.analysis.launch.values import (
    analysed,
    launch_values,
    steady_steps,
    steps,
    uneven_stages,
    used_launches,
    warmup,
)
from bench.measurement import PHASED, PHASES, STAGES, TIMED, samples_known


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


def test_where_samples_are_a_guess_there_is_nothing_that_is_counted_in_them():
    records = (stage("train", 0), stage("test", 0), stage("train", 1, (1.0, 1.0)), stage("test", 1, (0.5,)))
    found = values(*records, checks={samples_known("train"): False}, telemetry={"energy": 10.0})
    assert found["train.step_time"] == 1.0
    assert found["test.throughput"] == 4 / 0.5
    assert found["work.test.samples"] == 4
    assert not {"train.throughput", "work.train.samples", "energy.per_sample"} & set(found)


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


@pytest.mark.parametrize("kind", [TIMED, PHASED])
def test_the_shares_of_a_step_are_of_the_phases_of_the_same_launch(kind):
    taken = stages(phases={"data": 0.5, "forward": 1.0, "optimizer": 0.25, "other": 0.25})
    found = launch_values(measurement(kind=kind, stages=taken))
    assert found["train.data_share"] == 0.25
    assert found["train.optimizer_share"] == 0.125


def test_the_shares_of_a_timed_step_are_of_the_whole_of_it():
    taken = stages(phases={"data": 0.5, "forward": 0.5}, wall=4.0)
    assert launch_values(measurement(stages=taken))["train.data_share"] == 0.125


def test_phases_that_took_no_time_have_no_shares():
    found = launch_values(measurement(kind=PHASED, stages=stages(phases={"data": 0.0, "forward": 0.0})))
    assert not [name for name in found if name.endswith("_share")]


def test_waiting_for_data_and_the_optimizer_are_told_as_shares_of_a_step():
    taken = {"data": 1.0, "optimizer": 0.5, "forward": 2.5}
    found = values(stage("train", 1, (2.0, 2.0), phases=taken))
    assert (found["train.data_share"], found["train.optimizer_share"]) == (0.25, 0.125)
    assert not [name for name in found if name.endswith("_share") and "forward" in name]
    assert "train.data_share" not in values(stage("validate", 1, phases=taken)), "of no step of training"
    assert "train.data_share" not in values(stage("train", 1, phases={"forward": 2.0}))


def test_what_compiling_took_is_told_as_it_is():
    found = values(*stages(), compiled={"time": 2.5, "cache_misses": 3})
    assert (found["compile.time"], found["compile.cache_misses"]) == (2.5, 3.0)


def test_a_timed_launch_without_phases_gives_times_alone():
    assert not [name for name in launch_values(measurement()) if ".phase." in name]


SLOW = 9.0  # seconds of a step that is start-up


@pytest.fixture
def searched(monkeypatch):
    """Warm-up is the steps of SLOW seconds at the beginning; it never ends where the last step is one.

    Gives the series that were searched, in their order.
    """
    series: list[list[float]] = []

    def find(steps):
        series.append(list(steps))
        if steps and steps[-1] == SLOW:
            return None
        return next((number for number, seconds in enumerate(steps) if seconds != SLOW), 0)

    monkeypatch.setattr(launches, "find_warmup", find)
    return series


def training(*epochs, **changes):
    """A launch with a train stage of these steps in each epoch."""
    records = (stage("train", number, steps, **changes) for number, steps in enumerate(epochs))
    return measurement(stages=tuple(records))


class TestWarmUp:
    def test_without_start_up_it_is_the_first_epoch(self, searched):
        found = warmup(training((SLOW, SLOW), (1.0, 1.0), (1.0, 1.0)))
        assert (found.epochs, found.first["train"], found.steady) == (1, (1, 0), True)

    def test_full_batches_after_the_first_epoch_are_searched_but_the_first_of_each_pass(self, searched):
        launch = training((6.0,) * 4, (SLOW, 2.0, 3.0, 0.1), (SLOW, 4.0, 5.0, 0.2), samples=(4, 4, 4, 1))
        assert warmup(launch).steady
        assert searched[0] == [2.0, 3.0, 4.0, 5.0]

    def test_start_up_into_the_second_epoch_moves_steps_by_the_step_and_the_rest_by_the_epoch(self, searched):
        phases = [{"forward": 20.0}, {"forward": 22.0}, {"forward": 4.0}]
        times = [(SLOW, SLOW, 1.0, 1.0), (1.0, SLOW, 8.0, 5.0), (1.0, 2.0, 3.0, 2.0)]
        records = [stage("train", n, steps, phases=phases[n]) for n, steps in enumerate(times)]
        launch = measurement(stages=(*records, stage("test", 1, (7.0,)), stage("test", 2, (0.5,))))
        start, found = warmup(launch), launch_values(launch)
        assert (start.epochs, start.first["train"], start.steady) == (2, (1, 2), True)
        assert found["train.step_time"] == 2.5, "the median of 8, 5, 1, 2, 3 and 2"
        assert found["train.step_mean"] == 2.0
        assert found["epoch.time"] == 8.5
        assert found["train.throughput"] == 16 / 8.0
        assert found["test.throughput"] == 4 / 0.5
        assert found["train.phase.forward"] == 1.0

    def test_start_up_that_ends_with_its_epoch_takes_no_step_of_the_next(self, searched):
        found = warmup(training((1.0, 1.0), (SLOW, SLOW), (1.0, 1.0)))
        assert (found.epochs, found.first["train"], found.steady) == (2, (2, 0), True)

    def test_steps_are_numbered_among_all_of_their_stage(self, searched):
        launch = training((1.0,) * 3, (0.1, SLOW, 2.0), (1.0,) * 3, samples=(1, 4, 4))
        start = warmup(launch)
        assert start.first["train"] == (1, 2)
        assert steady_steps(list(launch.stages), start) == [2.0, 1.0, 1.0]

    def test_where_no_whole_epoch_would_be_left_it_never_settled(self, searched):
        launch = training((1.0,) * 3, (SLOW,) * 3, (SLOW, SLOW, 1.0))
        start = warmup(launch)
        assert (start.epochs, start.first["train"], start.steady) == (1, (1, 0), False)
        assert launch_values(launch)["epoch.time"] == (3 * SLOW + 2 * SLOW + 1) / 2

    def test_a_launch_that_never_settles_leaves_out_the_first_epoch_alone(self, searched):
        launch = training((1.0, 1.0), (2.0, 2.0), (SLOW, SLOW))
        start = warmup(launch)
        assert (start.epochs, start.first["train"], start.steady) == (1, (1, 0), False)
        assert launch_values(launch)["train.step_time"] == (2 + SLOW) / 2

    def test_the_first_epoch_is_never_counted_whatever_is_found(self, searched):
        for epochs in ([(1.0, 1.0)] * 3, [(1.0, 1.0), (SLOW, SLOW)], [(1.0, 1.0), (SLOW, 1.0), (1.0, 1.0)]):
            launch = training(*epochs)
            start = warmup(launch)
            assert not start.is_over(launch.stages[0])
            assert not any(counted for _, _, counted in steps([launch.stages[0]], start))

    def test_without_training_the_first_evaluation_decides(self, searched):
        slow, calm = (1.0, SLOW, 1.0), (1.0, 1.0, 1.0)
        records = [
            stage(name, epoch, slow if (name, epoch) == ("validate", 1) else calm)
            for epoch in range(3)
            for name in ("validate", "test")
        ]
        launch = measurement(stages=tuple(records))
        start, found = warmup(launch), launch_values(launch)
        assert (start.epochs, start.first["validate"], start.first["test"]) == (2, (1, 2), (1, 0))
        assert found["epoch.time"] == 6.0
        assert found["validate.throughput"] == 12 / 3.0

    def test_what_only_tests_is_decided_by_its_tests(self, searched):
        launch = measurement(stages=tuple(stage("test", n, (1.0, SLOW if n < 2 else 1.0)) for n in range(4)))
        assert warmup(launch).epochs == 2

    def test_start_up_of_another_stage_is_marked_and_takes_no_epoch(self, searched):
        records = [
            stage(name, epoch, (1.0, SLOW, 1.0) if (name, epoch) == ("test", 1) else (1.0,) * 3)
            for epoch in range(3)
            for name in ("train", "test")
        ]
        launch = measurement(stages=tuple(records))
        start = warmup(launch)
        assert (start.epochs, start.steady) == (1, True)
        marked = [counted for _, _, counted in steps([r for r in records if r.stage == "test"], start)]
        assert marked == [False, False, False, False, False, True, True, True, True]
        assert launch_values(launch)["epoch.time"] == (3 + 2 + SLOW + 6) / 2

    def test_another_stage_that_never_settles_is_no_matter(self, searched):
        records = [
            stage(name, n, (SLOW, SLOW) if name == "test" else (1.0, 1.0))
            for n in range(3)
            for name in ("train", "test")
        ]
        start = warmup(measurement(stages=tuple(records)))
        assert (start.epochs, start.first["test"], start.steady) == (1, (1, 0), True)

    def test_a_launch_of_nothing_has_settled(self, searched):
        assert warmup(measurement(stages=())).steady

    def test_a_plain_start_up_is_found_by_the_search_in_use(self):
        calm, slow = (1.0,) * 40, (3.0,) * 10 + (1.0,) * 30
        start = warmup(training(calm, slow, calm, calm))
        assert (start.epochs, start.steady) == (2, True)
        assert start.first["train"] in [(1, 9), (1, 10), (1, 11)]
        growing = tuple(1 + number / 10 for number in range(120))
        assert not warmup(training(calm, growing[:40], growing[40:80], growing[80:])).steady


class TestWhichCount:
    def test_the_clean_ones_count_where_they_are_at_least_half(self):
        assert used_launches([False, False]) == [True, True]
        assert used_launches([False, True]) == [True, False]
        assert used_launches([True, False, True, False]) == [False, True, False, True]

    def test_all_count_where_most_are_contaminated(self):
        assert used_launches([True, False, True]) == [True, True, True]
        assert used_launches([True]) == [True]

    def test_of_none_none_counts(self):
        assert used_launches([]) == []

    def test_launches_know_what_contaminated_them_and_whether_they_count(self):
        calm, contaminated = measurement(guards=guards()), measurement(guards=CONTAMINATED)
        found = analysed([calm, contaminated, calm])
        assert [launch.contamination for launch in found] == [(), ("waited",), ()]
        assert [launch.used for launch in found] == [True, False, True]
        assert [launch.measurement for launch in found] == [calm, contaminated, calm]
        assert all(launch.values == launch_values(launch.measurement) for launch in found)
        assert all(launch.warmup == warmup(launch.measurement) for launch in found)
        assert all(launch.used for launch in analysed([calm, contaminated, contaminated]))

    def test_a_launch_for_phases_counts_and_has_no_say(self):
        phased = measurement(kind=PHASED, guards=CONTAMINATED)
        found = analysed([phased, measurement(guards=CONTAMINATED), measurement(), phased, phased])
        assert [launch.used for launch in found] == [True, False, True, True, True]
        assert [launch.contamination for launch in found] == [(), ("waited",), (), (), ()]
        assert all(launch.warmup == warmup(launch.measurement) for launch in found)
        assert [launch.timed for launch in found] == [False, True, True, False, False]
        assert [launch.measurement.kind for launch in found].count(TIMED) == 2


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


def test_training_on_nothing_has_no_time_of_a_step():
    found = values(stage("train", 1, (), wall=1.0), stage("test", 1))
    assert "work.train.batches" in found
    assert not {"train.step_time", "train.step_mean"} & set(found)


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
    assert uneven_stages(measurement(stages=(stage(epoch=1), stage(epoch=2)))) == []
    assert uneven_stages(measurement(stages=(stage(epoch=1), stage(epoch=2, **changes)))) == ["train"]


def test_pieces_of_an_epoch_are_its_work_together():
    def launch(*pieces):
        return measurement(stages=tuple(stage(epoch=n, steps=(1.0,) * steps, samples=(4,) * steps)
                                        for n, steps in pieces))  # fmt: skip

    assert not uneven_stages(launch((1, 2), (1, 1), (2, 1), (2, 2)))
    assert uneven_stages(launch((1, 2), (1, 1), (2, 1))) == ["train"]
    assert uneven_stages(launch((1, 1), (2, 2), (2, 1))) == ["train"]


def test_steps_that_warm_up_left_out_to_find_a_scale_are_no_other_work():
    assert not uneven_stages(measurement(stages=(stage(epoch=0, optimizer_steps=1), stage(epoch=1))))
    assert uneven_stages(measurement(stages=(stage(epoch=0, samples=(4, 3)), stage(epoch=1))))


@pytest.mark.parametrize(("evaluations", "told"), [(0, None), (2, None), (3, 3.0)])
def test_evaluations_are_work_where_an_optimizer_asked_more_than_once_a_step(evaluations, told):
    record = stage(epoch=1, optimizer_steps=2, closure_evaluations=evaluations)
    values = launch_values(measurement(stages=(stage(epoch=0), record)))
    assert values.get("work.train.closure_evaluations") == told


def epochs_with(number, validated, tested=()):
    """So many epochs of training of 2 s, with a validation of 3 s and a test of 5 s in some of them."""
    for epoch in range(number):
        yield stage("train", epoch)
        if epoch in validated:
            yield stage("validate", epoch, (3.0,))
        if epoch in tested:
            yield stage("test", epoch, (5.0,))


@pytest.mark.parametrize(
    ("validated", "epoch_time"),
    [
        (range(5), 5.0),
        ((), 2.0),
        ((2, 4), 3.5),  # the mean of epochs, since a median would hold all of a validation or nothing
        ((1, 3), 3.5),  # every second one, of those that count
        ((2,), 2.75),  # the end of a fold
    ],
)
def test_training_that_validates_now_and_then_did_the_same_work_each_epoch(validated, epoch_time):
    record = measurement(stages=tuple(epochs_with(5, validated)))
    assert uneven_stages(record) == []
    assert launch_values(record)["epoch.time"] == epoch_time
    assert launch_values(record)["train.step_time"] == 1.0


def test_a_validation_that_differs_is_no_fault_of_training():
    record = measurement(stages=(*epochs_with(4, (1,)), stage("validate", 3, (3.0, 3.0))))
    assert uneven_stages(record) == ["validate"]


@pytest.mark.parametrize(
    "more", [{"validated": (4,)}, {"validated": range(4)}, {"validated": (), "tested": (4,)}]
)
def test_the_last_epoch_of_a_script_may_have_a_stage_more_or_less(more):
    record = measurement(stages=tuple(epochs_with(5, **more)))
    assert uneven_stages(record) == []
    assert launch_values(record)["epoch.time"] == (5.0 if len(more["validated"]) == 4 else 2.0)


def test_epochs_that_validated_in_pieces_of_the_same_sum_did_the_same_work():
    pieces = [stage("validate", epoch, (1.0,)) for epoch in (0, 0, 1, 1)]
    assert not uneven_stages(measurement(stages=tuple(pieces)))


def test_energy_is_shared_by_all_samples_of_the_loop():
    records = (stage("train", 0), stage("train", 1), stage("test", 1, (1.0,), samples=(4,)))
    assert values(*records, telemetry={"energy": 10.0})["energy.per_sample"] == 0.5
    assert "energy.per_sample" not in values(*records)
    assert "energy.per_sample" not in values(telemetry={"energy": 10.0})
