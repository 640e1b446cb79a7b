"""The progress of the training in one launch: its validations, by training time.

Training time is the time of the train and validate stages of all epochs, warm-up included, since reaching a loss takes
these. The test stage is not part of it. A validation inside the train stage is not in that stage's wall time; the train
stage had then run for its share of the steps' time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ...measurement import Measurement, StageRecord
from ...suite.case import Case

ACCURACY = "accuracy"  # the metric of the test stage that is shown with a loss


@dataclass(frozen=True)
class Validation:
    """The loss of one validation, and the seconds of training that had passed when it ended."""

    epoch: int
    seconds: float
    loss: float


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch: seconds of training until then, the last validation loss, the test metrics."""

    epoch: int
    seconds: float
    loss: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class LearningCurve:
    """All validations of a launch in their order, and the ends of its epochs; epochs count from 0."""

    validations: tuple[Validation, ...]
    ends: tuple[EpochEnd, ...]

    def time_to(self, loss: float) -> float | None:
        """Seconds of training until a validation loss was first at or below this one; None for never."""
        return next((one.seconds for one in self.validations if one.loss <= loss), None)

    @property
    def best(self) -> float:
        """The lowest validation loss."""
        return min(one.loss for one in self.validations)


def target_loss(case: Case) -> float | None:
    """The validation loss that a trained case is to reach, by its axis `target_loss`; None where it has none."""
    target = case.get("target_loss")
    if case.mode != "train" or isinstance(target, bool) or not isinstance(target, int | float):
        return None
    return float(target)


def learning_curve(measurement: Measurement) -> LearningCurve:
    """The learning curve of a launch that trained, without losses and times that are not finite."""
    validations: list[Validation] = []
    ends: list[EpochEnd] = []
    clock = 0.0
    for epoch, group in groupby(measurement.stages, key=lambda record: record.epoch):
        records = list(group)
        train = [record for record in records if record.stage == "train"]
        found: list[Validation] = []
        clock += sum(record.wall for record in train)
        for record, left in _validated(records, measurement.case.validate_every):
            clock += record.wall
            seconds = clock - left
            if record.loss is not None and _is_usable(record.loss) and _is_usable(seconds):
                found.append(Validation(epoch, seconds, record.loss))
        if found and _is_usable(clock):
            metrics = [record.metrics for record in records if record.stage == "test"]
            ends.append(EpochEnd(epoch, clock, found[-1].loss, metrics[-1] if metrics else {}))
            validations += found
    return LearningCurve(tuple(validations), tuple(ends))


def _validated(records: Sequence[StageRecord], every: int | None) -> list[tuple[StageRecord, float]]:
    """The validations of an epoch, each with the seconds that its train stage still had to run.

    A stage is recorded when it ends: validations that stand before the train stage took place inside it, the
    n-th of them after n times `every` steps.
    """
    found: list[tuple[StageRecord, float]] = []
    train = next((record for record in records if record.stage == "train"), None)
    for record in records:
        if record is train:
            train = None  # it has ended
        elif record.stage == "validate":
            left = 0.0
            if train is not None and every is not None:
                left = train.wall * _share(train.steps[every * (len(found) + 1) :], train.steps)
            found.append((record, left))
    return found


def _is_usable(number: float) -> bool:
    """Whether a number is finite, and the sum of two such numbers too, as a median needs it."""
    return math.isfinite(2 * number)


def _share(part: Sequence[float], whole: Sequence[float]) -> float:
    total = sum(whole)
    return sum(part) / total if total > 0 else 0.0
