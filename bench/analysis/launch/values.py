"""The values of one launch, by metric: the unit of all statistics.

Only steps and epochs after warm-up enter times and phases. A step time is the median over full batches; `epoch.time` is
the median over epochs of the sum of their stages (the mean, if some epochs lack a stage); throughput is all samples
over all time.
"""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...measurement import (
    PHASED,
    STAGES,
    TIMED,
    WARMUP_EPOCHS,
    Bandwidth,
    Measurement,
    Peak,
    StageRecord,
    samples_known,
)
from .contamination import contamination
from .derived_counts import count_values, rates
from .learning_curve import learning_curve, target_loss
from .warmup import find_warmup


@dataclass(frozen=True)
class Warmup:
    """The warm-up of a launch, which no time includes.

    The first `epochs` have start-up steps in their main stage, the one that the case is about (training, or the first
    evaluation if the case does not train); values per epoch do not use them. Steps of each stage are used from
    `first[stage]` on, an (epoch, step) counted from 0. `steady` is False if the main stage never became steady; then
    only the first epoch is not used.
    """

    epochs: int
    first: Mapping[str, tuple[int, int]]
    steady: bool

    def is_over(self, record: StageRecord) -> bool:
        """Whether the epoch of this stage comes after warm-up."""
        return record.epoch >= self.epochs

    def first_step(self, record: StageRecord) -> int:
        """The first step of this stage of this epoch after warm-up; its number of steps for none."""
        epoch, step = self.first[record.stage]
        if record.epoch < epoch:
            return len(record.steps)
        return step if record.epoch == epoch else 0


@dataclass(frozen=True)
class Launch:
    """A launch with what is derived from its record. `used` is False if its times must not enter any value.

    `contamination` names the signs of contamination; `lacks_peak` if there is no MFU because a peak is not known.
    """

    measurement: Measurement
    warmup: Warmup
    values: Mapping[str, float]
    contamination: tuple[str, ...]
    used: bool
    lacks_peak: bool = False

    @property
    def timed(self) -> bool:
        return self.measurement.kind == TIMED


def analysed(
    measurements: Sequence[Measurement],
    peaks: Sequence[Peak] | None = None,
    bandwidths: Sequence[Bandwidth] = (),
) -> list[Launch]:
    """The launches of one case. Which of them are used depends on them all: see `used_launches`.

    `peaks` and `bandwidths` are the known ones of the machine's devices; None if nothing is known of the machine.
    """
    counts = next((m.counts for m in measurements if m.counts is not None), None)
    used = iter(used_launches([bool(contamination(m)) for m in measurements if m.kind == TIMED]))
    launches = []
    for measurement in measurements:
        start = warmup(measurement)
        values = launch_values(measurement, start)
        if measurement.kind != TIMED:
            launches.append(Launch(measurement, start, values, (), used=True))
            continue
        if counts is not None:
            values |= rates(values, counts, peaks or (), measurement.case.device, bandwidths)
        lacks_peak = peaks is not None and "compute.flops_rate" in values and "compute.mfu" not in values
        launches.append(
            Launch(measurement, start, values, contamination(measurement), next(used), lacks_peak)
        )
    return launches


def used_launches(contaminated: Sequence[bool]) -> list[bool]:
    """Which launches of a case are used: the clean ones, or all if fewer than half are clean.

    If most launches were contaminated, the clean ones are no fair sample: all are used, and the row has a caveat.
    """
    clean = [not one for one in contaminated]
    return clean if 2 * sum(clean) >= len(clean) else [True] * len(clean)


def warmup(measurement: Measurement) -> Warmup:
    """Finds the start-up of each stage: the first epoch, and what its series of full steps shows after it.

    The first step of every pass waits for its loader, at any time of the launch: it is no sign of start-up.
    """
    by_stage = _by_stage(measurement)
    main = next((stage for stage in STAGES if by_stage[stage]), "train")
    first: dict[str, tuple[int, int]] = {}
    steady = True
    for stage, records in by_stage.items():
        series = [
            (record.epoch, number, seconds)
            for record in records
            if record.epoch >= WARMUP_EPOCHS
            for number, seconds, full in _numbered(record)
            if full and number
        ]
        found = find_warmup([seconds for _, _, seconds in series])
        begins = (WARMUP_EPOCHS, 0)
        if found:
            epoch, step, _ = series[found]
            begins = (epoch, 0 if step == 1 else step)
        if stage == main and (
            found is None or (begins[1] and begins[0] == max(one.epoch for one in records))
        ):
            # No whole epoch would be left.
            steady, begins = False, (WARMUP_EPOCHS, 0)
        first[stage] = begins
    epoch, step = first[main]
    return Warmup(epoch + bool(step), first, steady)


def _by_stage(measurement: Measurement) -> dict[str, list[StageRecord]]:
    return {stage: [record for record in measurement.stages if record.stage == stage] for stage in STAGES}


def launch_values(measurement: Measurement, start: Warmup | None = None) -> dict[str, float]:
    """Every metric that this launch gives a value for; `start` is its warm-up, if it is known already.

    A timed launch gives all but the phases that it did not measure; a phases launch gives only phases and their shares,
    since its marks cost time; a counts launch its counts.
    """
    start = start or warmup(measurement)
    by_stage = _by_stage(measurement)
    values: dict[str, float] = {}
    if measurement.kind == TIMED:
        values = _times(by_stage, start, measurement.checks)
        values |= _work(by_stage, measurement.checks)
        values |= {f"memory.{name}": float(value) for name, value in measurement.memory.items()}
        values |= _energy(measurement)
        values |= _quality(measurement, by_stage)
        values |= {f"compile.{name}": float(value) for name, value in measurement.compiled.items()}
    if measurement.kind in (TIMED, PHASED):
        values |= _phases(by_stage, start)
        values |= _shares(values)
    if measurement.counts is not None:
        values |= count_values(measurement.counts)
    return values


def steady_steps(records: list[StageRecord], start: Warmup) -> list[float]:
    """Seconds of the full-batch steps after warm-up."""
    return [seconds for seconds, full, steady in steps(records, start) if full and steady]


def steps(records: list[StageRecord], start: Warmup) -> Iterator[tuple[float, bool, bool]]:
    """The seconds of each step, whether it ran a full batch, whether it comes after warm-up."""
    for record in records:
        begins = start.first_step(record)
        for number, seconds, full in _numbered(record):
            yield seconds, full, number >= begins


def _numbered(record: StageRecord) -> Iterator[tuple[int, float, bool]]:
    """The number of each step in its stage, its seconds, whether it ran a full batch."""
    return zip(itertools.count(), record.steps, record.full, strict=False)


def _times(
    by_stage: Mapping[str, list[StageRecord]], start: Warmup, checks: Mapping[str, bool]
) -> dict[str, float]:
    values = {}
    epochs: dict[int, float] = {}
    for stage, records in by_stage.items():
        steady = [record for record in records if start.is_over(record)]
        wall = sum(record.wall for record in steady)
        if wall > 0 and checks.get(samples_known(stage), True):
            values[f"{stage}.throughput"] = sum(sum(record.samples) for record in steady) / wall
        for record in steady:
            epochs[record.epoch] = epochs.get(record.epoch, 0.0) + record.wall
    if epochs:
        middle = statistics.fmean if _comes_and_goes(by_stage, epochs) else statistics.median
        values["epoch.time"] = middle(epochs.values())
    steps = steady_steps(by_stage["train"], start)
    if steps:
        values["train.step_time"] = statistics.median(steps)
        steady = [record for record in by_stage["train"] if start.is_over(record)]
        number = sum(len(record.steps) for record in steady)
        values["train.step_mean"] = sum(record.wall for record in steady) / number
    return values


def _comes_and_goes(by_stage: Mapping[str, list[StageRecord]], counted: Collection[int]) -> bool:
    """Whether a stage runs only in some epochs, such as a validation in every second one.

    A median over epochs would include all of it or nothing. A stage that only the last epoch has is a test at the end;
    one that only the last epoch lacks is a validation before training.
    """
    epochs, last = set(counted), max(counted)
    ran = ({record.epoch for record in records} & epochs for records in by_stage.values())
    return any(of and of not in (epochs, {last}, epochs - {last}) for of in ran)


def _work(by_stage: Mapping[str, list[StageRecord]], checks: Mapping[str, bool]) -> dict[str, float]:
    """Work of one epoch: of the last one, since each must do the same (see `uneven_stages`)."""
    values = {}
    for stage, records in by_stage.items():
        if not records:
            continue
        last = [record for record in records if record.epoch == records[-1].epoch]
        values[f"work.{stage}.batches"] = float(sum(len(record.samples) for record in last))
        if checks.get(samples_known(stage), True):
            values[f"work.{stage}.samples"] = float(sum(sum(record.samples) for record in last))
        steps = sum(record.optimizer_steps for record in last)
        values[f"work.{stage}.optimizer_steps"] = float(steps)
        evaluations = sum(record.closure_evaluations for record in last)
        # As many evaluations as steps are not reported: Lightning gives every optimizer its step as a closure.
        if evaluations > steps:
            values[f"work.{stage}.closure_evaluations"] = float(evaluations)
    return values


def uneven_stages(measurement: Measurement) -> list[str]:
    """The stages whose epochs differ in batches or samples, or after warm-up in optimizer steps.

    Each is judged by itself, over the epochs in which it ran: a script may validate in every second one, or by folds.
    In the first epoch a GradScaler skips steps until it has found its scale.
    """
    epochs: dict[str, dict[int, list[StageRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in measurement.stages:
        epochs[record.stage][record.epoch].append(record)
    uneven = []
    for stage, ran in epochs.items():
        sizes = [[size for one in records for size in one.samples] for records in ran.values()]
        read = {(len(batches), sum(batches)) for batches in sizes}
        after = (records for epoch, records in ran.items() if epoch >= WARMUP_EPOCHS)
        stepped = {sum(one.optimizer_steps for one in records) for records in after}
        if len(read) > 1 or len(stepped) > 1:
            uneven.append(stage)
    return uneven


def _energy(measurement: Measurement) -> dict[str, float]:
    """The device's energy over the whole loop divided by the samples of all its stages: joules per sample."""
    if not all(measurement.checks.get(samples_known(stage), True) for stage in STAGES):
        return {}
    samples = sum(sum(record.samples) for record in measurement.stages)
    energy = measurement.telemetry.get("energy")
    return {"energy.per_sample": energy / samples} if energy is not None and samples else {}


def _phases(by_stage: Mapping[str, list[StageRecord]], start: Warmup) -> dict[str, float]:
    """Seconds of each phase per step: total of the counted epochs over their steps."""
    values = {}
    for stage, records in by_stage.items():
        steady = [record for record in records if start.is_over(record)]
        steps = sum(len(record.steps) for record in steady)
        if not steps:
            continue
        for phase in dict.fromkeys(phase for record in steady for phase in record.phases):
            total = sum(record.phases.get(phase, 0.0) for record in steady)
            values[f"{stage}.phase.{phase}"] = total / steps
    return values


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    """Shares of the mean train step of the same launch that wait for data and that the optimizer takes.

    On a device, no launch has both its phases and the time of its steps: the phases of a step add up to it.
    """
    taken = {name: seconds for name, seconds in values.items() if name.startswith("train.phase.")}
    whole = values.get("train.step_mean") or sum(taken.values())
    shared = [phase for phase in ("data", "optimizer") if f"train.phase.{phase}" in taken]
    return (
        {f"train.{phase}_share": taken[f"train.phase.{phase}"] / whole for phase in shared} if whole else {}
    )


def _quality(measurement: Measurement, by_stage: Mapping[str, list[StageRecord]]) -> dict[str, float]:
    """Losses and metrics of the last epoch; if the case has a target that was reached, also the time to it."""
    values = {}
    for stage, records in by_stage.items():
        if not records:
            continue
        last = records[-1]
        if last.loss is not None:
            values[f"quality.{stage}_loss"] = last.loss
        values |= {f"quality.{stage}_{name}": value for name, value in last.metrics.items()}
    target = target_loss(measurement.case)
    if target is not None and (seconds := learning_curve(measurement).time_to(target)) is not None:
        values["quality.time_to_loss"] = seconds
    return values
