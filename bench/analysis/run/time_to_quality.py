"""Time to quality: which configuration is good soonest, not which only runs fast.

Configurations are compared if their losses are comparable: the same suite, data set and loss function. All numbers are
medians over the used launches, by training time (`learning_curve.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from statistics import median

from ...suite.case import AxisValue, Case
from ..launch.learning_curve import ACCURACY, LearningCurve, target_loss

# A loss is nearly the best if it exceeds the best by at most this share.
NEARLY = 0.05

# The source of a group's target: the command; the axis of its cases; the loss that half of them reach.
ASKED, AXIS, HALF = "asked", "axis", "half"

_TARGET_DIGITS = 3


@dataclass(frozen=True)
class Trained:
    """A case that was trained: the learning curve of each of its used launches; `epoch_time` in seconds."""

    case: Case
    launches: tuple[LearningCurve, ...]
    epoch_time: float | None = None

    @property
    def best(self) -> float:
        return median(launch.best for launch in self.launches)

    @property
    def shared(self) -> tuple[str, AxisValue, AxisValue, AxisValue]:
        """Suite, data set, loss function and label smoothing: what two losses must share to be compared.

        Without label smoothing it is torch's own, none.
        """
        case = self.case
        return case.suite, case.get("dataset"), case.get("loss"), case.get("label_smoothing") or 0.0


@dataclass(frozen=True)
class QualityRow:
    """One configuration of a group. Times are seconds of training, except `epoch_time`, the metric.

    `loss`, `accuracy` and `seconds` are those after the group's number of epochs; `loss_in_time` and
    `accuracy_in_time` those of the last validation and test within the group's time, None where there was
    none. `time_to_target` is over the `reached` launches that came to the target, None for no launch.
    `curve` holds seconds and loss of each validation.
    """

    case: Case
    launches: int
    epoch_time: float | None
    loss: float
    accuracy: float | None
    seconds: float
    loss_in_time: float | None
    accuracy_in_time: float | None
    reached: int
    time_to_target: float | None
    best: float
    curve: tuple[tuple[float, float], ...]

    @property
    def reaches(self) -> bool:
        """Whether most launches reached the target: a few lucky ones are not enough."""
        return 2 * self.reached > self.launches


@dataclass(frozen=True)
class Group:
    """Configurations whose losses can be compared, the first at the target first.

    `epochs` is the smallest number of epochs of its launches, `seconds` the time of the fastest configuration for
    these; `target_from` is the source of the target.
    """

    suite: str
    dataset: AxisValue
    loss: AxisValue
    label_smoothing: AxisValue
    epochs: int
    seconds: float
    target: float
    target_from: str
    rows: tuple[QualityRow, ...]

    @property
    def fastest(self) -> QualityRow | None:
        """The configuration with the least time per epoch; None if no epoch was timed."""
        timed = [(row.epoch_time, place) for place, row in enumerate(self.rows) if row.epoch_time is not None]
        return self.rows[min(timed)[1]] if timed else None

    @property
    def best(self) -> QualityRow:
        """The configuration with the least loss after the same number of epochs."""
        return min(self.rows, key=lambda row: row.loss)

    @property
    def first(self) -> QualityRow | None:
        """The configuration that reaches the target first; None if no configuration does."""
        return self.rows[0] if self.rows[0].reaches else None

    @property
    def is_fast_but_worse(self) -> bool:
        """Whether the fastest epoch has a clearly worse loss than the best, after the same number of epochs."""
        least = self.best.loss
        return self.fastest is not None and self.fastest.loss - least > NEARLY * abs(least)


def groups(trained: Iterable[Trained], target: float | None = None) -> list[Group]:
    """The groups of these cases, in their order; a given target applies to all of them."""
    found: dict[tuple[str, AxisValue, AxisValue, AxisValue], list[Trained]] = {}
    for one in trained:
        found.setdefault(one.shared, []).append(one)
    return [_group(members, target) for members in found.values()]


def _group(members: Sequence[Trained], given: float | None) -> Group:
    epochs = min(len(launch.ends) for one in members for launch in one.launches)
    seconds = min(_after(one, epochs)[0] for one in members)
    target, source = _target(members, given)
    rows = sorted((_row(one, epochs, seconds, target) for one in members), key=_place)
    return Group(*members[0].shared, epochs, seconds, target, source, tuple(rows))


def _place(row: QualityRow) -> tuple[float, float]:
    """By the time to the target, then by the lowest loss."""
    seconds = row.time_to_target if row.reaches else None
    return math.inf if seconds is None else seconds, row.best


def _target(members: Sequence[Trained], given: float | None) -> tuple[float, str]:
    """The target and its source. The loss that half of the cases reach is rounded up, so that the printed target is the
    one used.
    """
    if given is not None:
        return given, ASKED
    targets = {target_loss(one.case) for one in members}
    if len(targets) == 1 and (own := targets.pop()) is not None:
        return own, AXIS
    half = median(one.best for one in members)
    rounding = Context(prec=_TARGET_DIGITS, rounding=ROUND_CEILING)
    return float(rounding.create_decimal_from_float(half)), HALF


def _row(one: Trained, epochs: int, seconds: float, target: float) -> QualityRow:
    times = [time for launch in one.launches if (time := launch.time_to(target)) is not None]
    curve = tuple(
        (median(point.seconds for point in points), median(point.loss for point in points))
        for points in zip(*(launch.validations for launch in one.launches), strict=False)
    )
    ends = [_after(one, number) for number in range(1, 1 + min(len(launch.ends) for launch in one.launches))]
    took, loss, accuracy = ends[epochs - 1]
    return QualityRow(
        case=one.case,
        launches=len(one.launches),
        epoch_time=one.epoch_time,
        loss=loss,
        accuracy=accuracy,
        seconds=took,
        loss_in_time=next((loss for at, loss in reversed(curve) if at <= seconds), None),
        accuracy_in_time=next((accuracy for at, _, accuracy in reversed(ends) if at <= seconds), None),
        reached=len(times),
        time_to_target=median(times) if times else None,
        best=one.best,
        curve=curve,
    )


def _after(one: Trained, epochs: int) -> tuple[float, float, float | None]:
    """Seconds of training, validation loss and test accuracy after this number of epochs."""
    ends = [launch.ends[epochs - 1] for launch in one.launches]
    known = [end.metrics[ACCURACY] for end in ends if math.isfinite(end.metrics.get(ACCURACY, math.nan))]
    return (
        median(end.seconds for end in ends),
        median(end.loss for end in ends),
        median(known) if known else None,
    )
