"""What one launch says: its raw record as metric -> value. The unit of all statistics is this value.

Only counted epochs enter times and phases. A step time is the median over full batches; `epoch.time` is
the median over epochs of their stages' sum; throughput is all samples over all time.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from bench.measurement import PHASED, STAGES, TIMED, Measurement, StageRecord


def launch_values(measurement: Measurement) -> dict[str, float]:
    """Every metric that this launch gives a value for.

    A timed launch gives all but the phases that it did not take; a phase launch gives its phases alone,
    since its marks cost time.
    """
    by_stage: dict[str, list[StageRecord]] = {
        stage: [record for record in measurement.stages if record.stage == stage] for stage in STAGES
    }
    values: dict[str, float] = {}
    if measurement.kind == TIMED:
        values |= _times(by_stage)
        values |= _work(by_stage)
        values |= {f"memory.{name}": float(value) for name, value in measurement.memory.items()}
        values |= _quality(by_stage)
    if measurement.kind in (TIMED, PHASED):
        values |= _phases(by_stage)
    return values


def counted_steps(records: list[StageRecord]) -> list[float]:
    """Seconds of the full-batch steps of the counted epochs."""
    return [
        seconds
        for record in records
        if record.counted
        for seconds, full in zip(record.steps, record.full, strict=True)
        if full
    ]


def _times(by_stage: Mapping[str, list[StageRecord]]) -> dict[str, float]:
    values = {}
    epochs: dict[int, float] = {}
    for stage, records in by_stage.items():
        counted = [record for record in records if record.counted]
        wall = sum(record.wall for record in counted)
        if wall > 0:
            values[f"{stage}.throughput"] = sum(sum(record.samples) for record in counted) / wall
        for record in counted:
            epochs[record.epoch] = epochs.get(record.epoch, 0.0) + record.wall
    if epochs:
        values["epoch.time"] = statistics.median(epochs.values())
    steps = counted_steps(by_stage["train"])
    if steps:
        values["train.step_time"] = statistics.median(steps)
    counted = [record for record in by_stage["train"] if record.counted]
    if steps and counted:
        number = sum(len(record.steps) for record in counted)
        values["train.step_mean"] = sum(record.wall for record in counted) / number
    return values


def _work(by_stage: Mapping[str, list[StageRecord]]) -> dict[str, float]:
    """Work of one epoch: of the last one, since each must do the same (see `same_work_each_epoch`)."""
    values = {}
    for stage, records in by_stage.items():
        if not records:
            continue
        last = [record for record in records if record.epoch == records[-1].epoch]
        values[f"work.{stage}.batches"] = float(sum(len(record.samples) for record in last))
        values[f"work.{stage}.samples"] = float(sum(sum(record.samples) for record in last))
        values[f"work.{stage}.optimizer_steps"] = float(sum(record.optimizer_steps for record in last))
    return values


def same_work_each_epoch(measurement: Measurement) -> bool:
    """True where every epoch of the launch ran as many batches, samples and optimizer steps."""
    work: dict[int, dict[str, list[int]]] = {}
    for record in measurement.stages:
        done = work.setdefault(record.epoch, {}).setdefault(record.stage, [0, 0, 0])
        done[0] += len(record.samples)
        done[1] += sum(record.samples)
        done[2] += record.optimizer_steps
    first, *others = work.values()
    return all(epoch == first for epoch in others)


def _phases(by_stage: Mapping[str, list[StageRecord]]) -> dict[str, float]:
    """Seconds of each phase per step: total of the counted epochs over their steps."""
    values = {}
    for stage, records in by_stage.items():
        counted = [record for record in records if record.counted]
        steps = sum(len(record.steps) for record in counted)
        if not steps:
            continue
        for phase in dict.fromkeys(phase for record in counted for phase in record.phases):
            total = sum(record.phases.get(phase, 0.0) for record in counted)
            values[f"{stage}.phase.{phase}"] = total / steps
    return values


def _quality(by_stage: Mapping[str, list[StageRecord]]) -> dict[str, float]:
    values = {}
    for stage, records in by_stage.items():
        if not records:
            continue
        last = records[-1]
        if last.loss is not None:
            values[f"quality.{stage}_loss"] = last.loss
        values |= {f"quality.{stage}_{name}": value for name, value in last.metrics.items()}
    return values
