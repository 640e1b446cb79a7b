from __future__ import annotations

import dataclasses
import fnmatch
import json

import pytest
from fakes import environment, failure, guards, measurement, stage, stages

from bench.analysis.launch.values import launch_values
from bench.measurement import (
    FAILURES,
    METRICS,
    PHASED,
    PHASES,
    STAGES,
    WARMUP_EPOCHS,
    Device,
    Environment,
    Failure,
    Measurement,
    metric,
)
from bench.suite.case import Case


def through_json(record):
    return type(record).from_json(json.loads(json.dumps(record.to_json())))


FULL = measurement(
    case=Case("s", {"device": "cpu", "scheduler": None, "amp": True, "learning_rate": 1e-3}),
    stages=(
        stage("train", 0, phases={"data": 0.5, "forward": 1.5}),
        stage("test", 0, (0.25,), samples=(3,), loss=None, metrics={"accuracy": 0.75}),
    ),
    memory={"peak_rss": 2**40, "peak_allocated": 3},
    conditions={"cpus": [0, 2], "load": 0.5, "allocator": "unpinned"},
    guards=guards(waiting=0.25),
    telemetry={"peak_rss": 2.0**31, "energy": 12.5},
)


@pytest.mark.parametrize("record", [measurement(), FULL, measurement(stages=(), checks={}, kind=PHASED)])
def test_a_measurement_goes_through_json_whole(record):
    back = through_json(record)
    assert back == record
    assert isinstance(back, Measurement)
    assert dict(back.case.axes) == dict(record.case.axes)
    assert back.stages == record.stages


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_goes_through_json_whole(kind):
    record = failure(failure=kind, message="one line", where="", detail="two\nlines", telemetry={"cpu": 1.5})
    assert through_json(record) == record
    assert isinstance(through_json(record), Failure)


@pytest.mark.parametrize("record", [measurement(), failure()])
def test_a_record_of_version_0_1_is_read_under_todays_names(record):
    data = record.to_json()
    assert type(record).from_json({**data, "nursery": data.pop("fork_server")}) == record


@pytest.mark.parametrize(
    "record",
    [
        environment(),
        environment(devices=(), cuda=None, cudnn=None, driver=None, openmp={}, packages={}),
        environment(devices=(Device("mps", "mps", 0), Device("mps", "mps", 1))),
    ],
    ids=["gpu", "cpu", "other"],
)
def test_an_environment_goes_through_json_whole(record):
    assert through_json(record) == record
    assert isinstance(through_json(record), Environment)


@pytest.mark.parametrize("record", [measurement(), failure(), environment(), stage(), Device("a", "cuda", 0)])
def test_records_cannot_be_changed(record):
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, None)


def test_a_measurement_of_a_version_without_guards_is_read():
    data = measurement(guards=guards()).to_json()
    del data["guards"], data["telemetry"]
    assert Measurement.from_json(data) == measurement()
    data = failure(telemetry={"cpu": 1.5}).to_json()
    del data["telemetry"]
    assert Failure.from_json(data) == failure()


def test_the_first_epoch_is_warm_up_at_the_least():
    assert WARMUP_EPOCHS == 1


@pytest.mark.parametrize(
    ("samples", "full"),
    [
        ((4, 4, 2), [True, True, False]),
        ((4, 4, 4), [True, True, True]),
        ((3,), [True]),
        ((), []),
    ],
)
def test_a_step_is_full_where_it_ran_the_largest_batch(samples, full):
    assert stage(steps=(1.0,) * len(samples), samples=samples).full == full


# The table of section 6 of the design: pattern of names, class, gated, unit, direction. First match holds.
DESIGN = [
    ("epoch.time", "time", True, "s", "less"),
    ("train.step_time", "time", True, "s", "less"),
    ("*.throughput", "time", False, "samples/s", "more"),
    ("energy.per_sample", "time", False, "J/sample", "less"),
    ("work.train.closure_evaluations", "machine", True, "1", "less"),
    ("work.*", "exact", True, "1", "less"),
    ("count.*kernel_launches", "machine", True, "1/step", "less"),
    ("count.*allocations", "machine", True, "1/step", "less"),
    ("count.*allocated_bytes", "machine", True, "B/step", "less"),
    ("count.peak_live_bytes", "machine", True, "B", "less"),
    ("memory.peak_allocated", "machine", True, "B", "less"),
    ("count.parameter_bytes", "exact", True, "B", "less"),
    ("count.optimizer_state_bytes", "exact", True, "B", "less"),
    ("count.graph*", "exact", True, "1", "less"),
    ("count.recompilations", "exact", True, "1", "less"),
    ("count.*_bytes*", "exact", True, "B/step", "less"),
    ("count.*flops", "exact", True, "FLOP/step", "less"),
    ("count.*", "exact", True, "1/step", "less"),
    ("memory.peak_rss", "memory", True, "B", "less"),
    ("memory.peak_reserved", "memory", True, "B", "less"),
    ("*.phase.*", "shown", False, "s", "less"),
    ("train.step_mean", "shown", False, "s", "less"),
    ("train.*_share", "shown", False, "1", "less"),
    ("compile.time*", "shown", False, "s", "less"),
    ("compile.cache_hits", "shown", False, "1", "more"),
    ("compile.cache_misses", "shown", False, "1", "less"),
    ("quality.*_accuracy", "quality", False, "1", "more"),
    ("quality.time_to_loss", "shown", False, "s", "less"),
    ("quality.*_loss", "quality", False, "1", "less"),
]


def test_each_metric_is_what_the_design_says():
    for name, found in METRICS.items():
        if name.startswith("compute."):
            continue
        pattern, *expected = next(row for row in DESIGN if fnmatch.fnmatch(name, row[0]))
        assert [found.kind, found.gated, found.unit, found.better] == expected, (name, pattern)
        assert found.name == name
        assert found.meaning


def test_no_metric_of_the_design_is_missing():
    assert {
        "epoch.time",
        "train.step_time",
        *[f"{stage}.throughput" for stage in STAGES],
        *[f"work.{stage}.{what}" for stage in STAGES for what in ("batches", "samples", "optimizer_steps")],
        *["memory.peak_rss", "memory.peak_allocated", "memory.peak_reserved"],
        *[f"{stage}.phase.{phase}" for stage in STAGES for phase in PHASES],
        *["quality.train_loss", "quality.validate_loss", "quality.test_accuracy"],
        "energy.per_sample",
    } <= set(METRICS)


def test_only_what_is_shown_never_gates_and_times_gate_by_two_metrics():
    assert not [row.name for row in METRICS.values() if row.kind == "shown" and row.gated]
    assert [row.name for row in METRICS.values() if row.kind == "time" and row.gated] == [
        "epoch.time",
        "train.step_time",
    ]


def test_whatever_a_launch_says_has_a_row_in_the_table():
    everything = measurement(
        stages=stages(phases=dict.fromkeys(PHASES, 0.2), metrics={"accuracy": 0.5}),
        memory={"peak_rss": 1, "peak_allocated": 1, "peak_reserved": 1},
        telemetry={"energy": 1.0},
    )
    own = {"quality.train_accuracy", "quality.validate_accuracy"}  # metrics run in the test stage only
    assert set(launch_values(everything)) - own <= set(METRICS)


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("f1", "more"),
        ("top5_acc", "more"),
        ("balanced-accuracy", "more"),
        ("mAP", "more"),
        ("IoU", "more"),
        ("rmse", "less"),
        ("word_error", "less"),
        ("Perplexity", "less"),
        ("score", ""),
        ("accuracy_error", ""),  # its words contradict each other
        ("places", ""),  # "acc" is not a word of it
    ],
)
def test_a_metric_of_the_users_own_is_one_of_quality_and_its_name_may_tell_its_direction(name, better):
    found = metric(f"quality.test_{name}")
    assert (found.kind, found.gated, found.better, found.unit) == ("quality", False, better, "1")


def test_what_is_neither_known_nor_of_quality_is_shown():
    found = metric("train.of_my_own")
    assert (found.kind, found.gated, found.better, found.unit) == ("shown", False, "", "1")
    assert metric("epoch.time") is METRICS["epoch.time"]
