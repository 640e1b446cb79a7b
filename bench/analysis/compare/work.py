"""The work of the two sides of a case, stage by stage: its differences, and which metrics they leave comparable.

Each stage is judged by itself: where validation differs and training does not, times of training are compared.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from ...measurement import QUALITY, STAGES
from .sides import Observed

# The counts of the work of a stage, the most telling first.
WHAT = ("samples", "batches", "optimizer_steps", "closure_evaluations")

# These do not depend on the number of samples of a step or an epoch.
_OF_ANY_WORK = frozenset({"count.parameter_bytes", "count.optimizer_state_bytes", "compute.sample_flops"})

# These come from the steps of all stages together.
_OF_ALL_STAGES = frozenset({"count.peak_live_bytes"})


@dataclass(frozen=True)
class WorkDifference:
    """One count of work that is not the same; None where a side has none of it, such as no such stage."""

    stage: str
    what: str
    before: float | None
    after: float | None

    @property
    def metric(self) -> str:
        return f"work.{self.stage}.{self.what}"


@dataclass(frozen=True)
class Work:
    """The work of two sides, by what each has observed."""

    before: Mapping[str, Observed]
    after: Mapping[str, Observed]

    @cached_property
    def differences(self) -> tuple[WorkDifference, ...]:
        """All differences, stage by stage; empty where a side counted no work, as other tools do not."""
        if not all(any(name.startswith("work.") for name in side) for side in (self.before, self.after)):
            return ()
        found = []
        for stage in STAGES:
            for what in WHAT:
                name = f"work.{stage}.{what}"
                before, after = (_value(side, name) for side in (self.before, self.after))
                if before != after:
                    found.append(WorkDifference(stage, what, before, after))
        return tuple(found)

    def differs(self, stage: str, *what: str) -> bool:
        """Whether a stage did other work: in any of these counts, or in any at all."""
        return any(one.stage == stage and (not what or one.what in what) for one in self.differences)

    def steps_differ(self, stage: str) -> bool:
        """Whether full steps of the stage have different numbers of samples; False where these are not known."""
        first, second = (_step_size(side, stage) for side in (self.before, self.after))
        return first is not None and second is not None and (first[1] <= second[0] or second[1] <= first[0])

    def counted_unlike(self, metric: str) -> bool:
        """Whether the full steps behind a count differ: those of its stage, or of any stage."""
        if not self.differences:
            return False
        if _has(self.before, "train") != _has(self.after, "train"):
            return True
        if metric in _OF_ALL_STAGES:
            return any(self.steps_differ(stage) or self.differs(stage, "samples") for stage in STAGES)
        stage = metric.split(".")[1]
        if stage not in STAGES:  # it is of training, or of the last evaluation without it
            stage = next(one for one in ("train", *reversed(STAGES)) if _has(self.before, one))
        return self.steps_differ(stage)

    def spoils(self, metric: str, stages: Collection[str] = STAGES) -> bool:
        """Whether the work of these stages, where it differs, keeps a metric from being compared."""
        unlike = {one.stage for one in self.differences} & set(stages)
        if not unlike:
            return False
        of = metric.partition(".")[0]
        if of in STAGES:
            return of in unlike
        if metric.startswith(QUALITY):
            stage = metric.removeprefix(QUALITY).partition("_")[0]
            if stage not in STAGES:  # the time to a loss
                return "train" in unlike
            return stage in unlike and self.differs(stage, "samples")
        if of in ("count", "compute"):
            return metric not in _OF_ANY_WORK and self.counted_unlike(metric)
        if of == "memory":
            return "train" in unlike or any(map(self.steps_differ, unlike))
        return of in ("epoch", "energy")

    def needs_samples(self, metric: str) -> bool:
        """Whether a metric is compared by the sample or not at all, where the work is meant to differ."""
        stage = metric.partition(".")[0]
        if metric.startswith("work."):
            return any(one.metric == metric for one in self.differences)
        if stage in STAGES:
            return self.steps_differ(stage) and not metric.endswith(".throughput")
        if stage in ("count", "compute"):
            return metric not in _OF_ANY_WORK and self.counted_unlike(metric)
        if stage == "epoch":
            return any(self.differs(one, "samples") for one in STAGES)
        return False

    @cached_property
    def by_the_sample(self) -> tuple[str, ...]:
        """The metrics that take the place of those that are not compared, where the work is meant to differ."""
        if not self.differences:
            return ()
        common = [stage for stage in STAGES if all(_has(side, stage) for side in (self.before, self.after))]
        trained = ["train"] if "train" in common else common
        return (*(f"{stage}.throughput" for stage in trained), "compute.sample_flops")


def _value(side: Mapping[str, Observed], name: str) -> float | None:
    seen = side.get(name)
    return None if seen is None else seen.value


def _has(side: Mapping[str, Observed], stage: str) -> bool:
    return any(name.startswith(f"work.{stage}.") for name in side)


def _step_size(side: Mapping[str, Observed], stage: str) -> tuple[float, float] | None:
    """The least number of samples that a full step can have, and the number that it must stay below.

    Of so many samples in so many batches, the last of which may be smaller, or left out.
    """
    samples, batches = (_value(side, f"work.{stage}.{what}") for what in ("samples", "batches"))
    if not samples or not batches:
        return None
    if batches == 1:
        return samples, math.nextafter(samples, math.inf)
    return samples / batches, samples / (batches - 1)
