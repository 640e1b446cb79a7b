"""The error rates of the gate on this machine: comparisons of identical code, and of injected slowdowns of known size.

Each decision is an A/B of one case with itself, in a fork server of its own, judged as `bench ab` judges one case. An
injected slowdown is work that the candidate's launches really do (`worker/timing/injected_slowdowns.py`); recorded
numbers are never changed.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..analysis.compare.comparable import ComparisonOptions
from ..analysis.launch.values import launch_values
from ..measurement import TIMED, Failure, Measurement
from ..measurement.messages import Slowdown
from ..running.launching import Watch, launch
from ..running.plan import Job
from .pairs import measure
from .session import Session

GATED = ("epoch.time", "train.step_time")
_WORST = ("regressed", "improved", "different_work", "not_measured", "inconclusive")
_CALIBRATION = 3  # launches that measure how long a step takes


@dataclass(frozen=True)
class Arm:
    """One kind of decision. The injected slowdown is `share` of a step or an epoch, in every n-th batch (`every`)."""

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
        """The metric in which the injected slowdown appears."""
        return "train.step_time" if self.stage == "train" and self.every == 1 else "epoch.time"

    def slowdown(self, nominal: Nominal) -> Slowdown | None:
        """The slowdown to inject, given how long steps take."""
        if self.is_null:
            return None
        if self.layer:
            return Slowdown("layer")
        seconds = self.share * self.every * nominal.step
        if self.stage != "train":
            seconds = self.share * nominal.epoch / nominal.batches[self.stage]
        return Slowdown("wait", self.stage, self.every, seconds)


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
    """The seconds that a step and an epoch of a case take, and the number of batches of its stages."""

    step: float
    epoch: float
    batches: Mapping[str, float]


@dataclass(frozen=True)
class Decision:
    """The result of one A/B: the verdict and the ratio of each gated metric."""

    arm: str
    case: str
    verdicts: Mapping[str, str]
    ratios: Mapping[str, float]
    pairs: int
    seconds: float

    @property
    def worst(self) -> str:
        return next((name for name in _WORST if name in self.verdicts.values()), "equivalent")


@dataclass(frozen=True)
class ErrorRate:
    """All decisions of one kind: in how many the slowdown was `found` (for identical code, false alarms).

    `low` and `high` are the exact 95 % interval of that share; `bias` is the mean of estimated over injected ratio,
    minus 1; `seconds` and `pairs` are means per decision.
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


def arms(nulls: int, slowdowns: int) -> list[Arm]:
    """Decisions on identical code and on each size of slowdown, and one on each of OTHERS, evenly mixed."""
    wanted = [
        (NULL, nulls),
        (THREE, slowdowns),
        (FIVE, slowdowns),
        *((arm, min(1, slowdowns)) for arm in OTHERS),
    ]
    mixed = [((number + 0.5) / count, arm) for arm, count in wanted for number in range(count)]
    return [arm for _, arm in sorted(mixed, key=lambda item: item[0])]


def decisions(
    session: Session, wanted: Sequence[Arm], asked: ComparisonOptions, watch: Watch, ends: float | None
) -> Iterator[Decision]:
    """Yields each decision when it is made, the cases in turn; none begins after `ends` on time.monotonic."""
    names = list(session.matching.pairs)
    nominals = {name: calibrated(session, name, watch) for name in names}
    for number, arm in enumerate(wanted):
        if ends is not None and time.monotonic() >= ends:
            return
        name = names[number % len(names)]
        if (nominal := nominals[name]) is not None:
            yield decide(session, name, arm, nominal, asked, watch)


def calibrated(session: Session, name: str, watch: Watch) -> Nominal | None:
    """How long the case takes without a slowdown; None where it fails or has no training steps to slow down."""
    side, case = session.sides[0], session.matching.pairs[name][0]
    records: list[Measurement] = []
    for number in range(1, _CALIBRATION + 1):
        record = launch(side.workers, side.plan, Job(case, TIMED, number, 1), watch)
        if isinstance(record, Failure):
            return None
        records.append(record)
    values = [launch_values(record) for record in records]
    if not all("train.step_time" in launch for launch in values):
        return None
    medians = {metric: statistics.median(own[metric] for own in values) for metric in GATED}
    batches = {stage: values[0].get(f"work.{stage}.batches", 1.0) for stage in ("validate", "test")}
    return Nominal(medians["train.step_time"], medians["epoch.time"], batches)


def decide(
    session: Session, name: str, arm: Arm, nominal: Nominal, asked: ComparisonOptions, watch: Watch
) -> Decision:
    """One A/B of a case with itself, the candidate with the slowdown of the arm."""
    judge = session.judge(asked, [name])
    candidate = session.sides[1]
    candidate.plan = dataclasses.replace(candidate.plan, slowdown=arm.slowdown(nominal))
    began = time.monotonic()
    try:
        for side in session.sides:
            side.workers.renew()
        for _ in measure(session.sides, {name: session.matching.pairs[name]}, judge, watch, counts=False):
            pass
    finally:
        candidate.plan = dataclasses.replace(candidate.plan, slowdown=None)
    rows = {row.metric.name: row for row in judge.end() if row.metric.name in GATED}
    return Decision(
        arm.name,
        name,
        {metric: row.verdict for metric, row in rows.items()},
        {metric: row.ratio for metric, row in rows.items() if row.ratio is not None},
        judge.pairs(name),
        time.monotonic() - began,
    )


def error_rates(decisions: Sequence[Decision]) -> list[ErrorRate]:
    """One row for each kind of decision, in the order of their first."""
    by_arm = {arm.name: arm for arm in (NULL, THREE, FIVE, *OTHERS)}
    return [
        _error_rate(by_arm[name], [decision for decision in decisions if decision.arm == name])
        for name in dict.fromkeys(decision.arm for decision in decisions)
    ]


def _error_rate(arm: Arm, decisions: Sequence[Decision]) -> ErrorRate:
    # For identical code, each is a false alarm.
    finds = ("regressed", "improved") if arm.is_null else ("regressed",)
    found = sum(decision.worst in finds for decision in decisions)
    low, high = binomial_interval(found, len(decisions))
    ratios = [one.ratios[arm.metric] / (1 + arm.share) for one in decisions if arm.metric in one.ratios]
    return ErrorRate(
        arm=arm.name,
        decisions=len(decisions),
        found=found,
        low=low,
        high=high,
        bias=statistics.fmean(ratios) - 1 if ratios and not arm.layer else None,
        seconds=statistics.fmean(decision.seconds for decision in decisions),
        pairs=statistics.fmean(decision.pairs for decision in decisions),
        verdicts=dict(Counter(decision.worst for decision in decisions)),
    )


def binomial_interval(found: int, number: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv  # takes a quarter of a second to import

    low = 0.0 if not found else float(betaincinv(found, number - found + 1, 0.025))
    high = 1.0 if found == number else float(betaincinv(found + 1, number - found, 0.975))
    return low, high
