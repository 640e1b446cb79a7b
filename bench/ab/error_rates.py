"""The gate measured on this machine: comparisons of identical code, and of slowdowns of known size.

Each decision is an A/B of one case with itself, in a fork server of its own, judged as `bench ab` judges one case.
What is planted is work that launches of the candidate do (`worker/plants.py`); recorded numbers are never touched.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..analysis.compare.comparable import Asked
from ..analysis.launch.values import launch_values
from ..measurement import TIMED, Failure, Measurement
from ..running.rounds import Job, Watch, launch
from .pairs import measure
from .session import Session

GATED = ("epoch.time", "train.step_time")
_WORST = ("regressed", "improved", "different_work", "not_measured", "inconclusive")
_CALIBRATION = 3  # launches that tell how long a step takes


@dataclass(frozen=True)
class Arm:
    """One kind of decision. `share` is how much is planted, of a step or of an epoch, into every so many batches."""

    name: str
    share: float = 0.0
    every: int = 1
    stage: str = "train"
    layer: bool = False

    @property
    def is_null(self) -> bool:
        return not self.share and not self.layer

    @property
    def metric(self) -> str:
        """The metric that shows how much was planted."""
        return "train.step_time" if self.stage == "train" and self.every == 1 else "epoch.time"

    def plant(self, nominal: Nominal) -> dict[str, Any] | None:
        """What the worker is to add, for steps that take so long."""
        if self.is_null:
            return None
        if self.layer:
            return {"kind": "layer"}
        seconds = self.share * self.every * nominal.step
        if self.stage != "train":
            seconds = self.share * nominal.epoch / nominal.batches[self.stage]
        return {"kind": "wait", "stage": self.stage, "every": self.every, "seconds": seconds}


NULL = Arm("identical code")
THREE = Arm("3 % in every step", 0.03)
FIVE = Arm("5 % in every step", 0.05)
OTHERS = (
    Arm("5 %, in every tenth step", 0.05, every=10),
    Arm("5 % of the epoch, in validation", 0.05, stage="validate"),
    Arm("one more layer", layer=True),
)


@dataclass(frozen=True)
class Nominal:
    """How long a step and an epoch of a case take, seconds, and how many batches its stages have."""

    step: float
    epoch: float
    batches: Mapping[str, float]


@dataclass(frozen=True)
class Decision:
    """What one A/B came to: by gated metric the verdict and r."""

    arm: str
    case: str
    verdicts: Mapping[str, str]
    ratios: Mapping[str, float]
    pairs: int
    seconds: float

    @property
    def regressed(self) -> bool:
        return "regressed" in self.verdicts.values()

    @property
    def alarms(self) -> bool:
        """Of identical code: whether it was called different."""
        return bool({"regressed", "improved"} & set(self.verdicts.values()))


@dataclass(frozen=True)
class ErrorRate:
    """All decisions of one kind: how many were `found` (of identical code: how many alarmed).

    `low` and `high` are the exact 95 % interval of that share; `bias` is the mean of estimated over planted r, less
    1; `seconds` and `pairs` are means of a decision.
    """

    arm: str
    decisions: int
    found: int
    low: float
    high: float
    bias: float | None
    seconds: float
    pairs: float
    verdicts: Mapping[str, int] = field(default_factory=dict)


def arms(nulls: int, plants: int) -> list[Arm]:
    """So many decisions on identical code and on each size of plant, and one on each of the others, evenly mixed."""
    wanted = [(NULL, nulls), (THREE, plants), (FIVE, plants), *((arm, min(1, plants)) for arm in OTHERS)]
    placed = [((number + 0.5) / count, arm) for arm, count in wanted for number in range(count)]
    return [arm for _, arm in sorted(placed, key=lambda item: item[0])]


def decisions(
    session: Session,
    wanted: Sequence[Arm],
    asked: Asked,
    watch: Watch | None = None,
    clock: Callable[[], float] = time.monotonic,
    ends: float | None = None,
) -> Iterator[Decision]:
    """Each decision as it falls, the cases in turn; none is begun after `ends` on `clock`."""
    names = list(session.matching.pairs)
    nominal = {name: calibrated(session, name, watch) for name in names}
    for number, arm in enumerate(wanted):
        if ends is not None and clock() >= ends:
            return
        name = names[number % len(names)]
        known = nominal[name]
        if known is not None:
            yield decide(session, name, arm, known, asked, watch, clock)


def calibrated(session: Session, name: str, watch: Watch | None) -> Nominal | None:
    """How long the case takes as it is; None where it fails or has no training steps to plant into."""
    side = session.sides[0]
    found: list[Measurement] = []
    for number in range(1, _CALIBRATION + 1):
        record = launch(
            side.workers, side.plan, Job(session.matching.pairs[name][0], TIMED, number, 1), watch
        )
        if isinstance(record, Failure):
            return None
        found.append(record)
    values = [launch_values(record) for record in found]
    if not all("train.step_time" in one for one in values):
        return None
    middle = {metric: statistics.median(one[metric] for one in values) for metric in GATED}
    batches = {stage: values[0].get(f"work.{stage}.batches", 1.0) for stage in ("validate", "test")}
    return Nominal(middle["train.step_time"], middle["epoch.time"], batches)


def decide(
    session: Session,
    name: str,
    arm: Arm,
    nominal: Nominal,
    asked: Asked,
    watch: Watch | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Decision:
    """One A/B of a case with itself, the candidate with what the arm plants."""
    judge = session.judge(asked, [name])
    session.sides[1].plan.plant = arm.plant(nominal)
    began = clock()
    try:
        for side in session.sides:
            side.workers.renew()
        for _ in measure(session.sides, {name: session.matching.pairs[name]}, judge, watch, counts=False):
            pass
    finally:
        session.sides[1].plan.plant = None
    rows = {row.metric.name: row for row in judge.end() if row.metric.name in GATED}
    return Decision(
        arm.name,
        name,
        {metric: row.verdict for metric, row in rows.items()},
        {metric: row.ratio for metric, row in rows.items() if row.ratio is not None},
        judge.pairs(name),
        clock() - began,
    )


def scores(made: Sequence[Decision]) -> list[ErrorRate]:
    """One row for each kind of decision, in the order of their first."""
    by_arm = {arm.name: arm for arm in (NULL, THREE, FIVE, *OTHERS)}
    return [
        _score(by_arm[name], [one for one in made if one.arm == name])
        for name in dict.fromkeys(one.arm for one in made)
    ]


def _score(arm: Arm, made: Sequence[Decision]) -> ErrorRate:
    found = sum(one.alarms if arm.is_null else one.regressed for one in made)
    low, high = binomial_interval(found, len(made))
    ratios = [one.ratios[arm.metric] / (1 + arm.share) for one in made if arm.metric in one.ratios]
    verdicts: dict[str, int] = {}
    for one in made:
        worst = next((name for name in _WORST if name in one.verdicts.values()), "equivalent")
        verdicts[worst] = verdicts.get(worst, 0) + 1
    return ErrorRate(
        arm=arm.name,
        decisions=len(made),
        found=found,
        low=low,
        high=high,
        bias=statistics.fmean(ratios) - 1 if ratios and not arm.layer else None,
        seconds=statistics.fmean(one.seconds for one in made),
        pairs=statistics.fmean(one.pairs for one in made),
        verdicts=verdicts,
    )


def binomial_interval(found: int, number: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv  # its import takes a quarter of a second: where it is needed

    tail = (1 - level) / 2
    low = 0.0 if not found else float(betaincinv(found, number - found + 1, tail))
    high = 1.0 if found == number else float(betaincinv(found + 1, number - found, 1 - tail))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)
