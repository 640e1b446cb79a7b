"""The work of the two sides of a case, stage by stage: its differences, and which metrics stay comparable.

Each stage is judged by itself: if only validation differs, times of training are compared.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from ...measurement import QUALITY, STAGES
from .sides import Observed

# The counts of the work of a stage, the most informative first.
WHAT = ("samples", "batches", "optimizer_steps", "closure_evaluations")

# These do not depend on the number of samples of a step or an epoch.
_OF_ANY_WORK = frozenset({"count.parameter_bytes", "count.optimizer_state_bytes", "compute.sample_flops"})

# These come from the steps of all stages together.
_OF_ALL_STAGES = frozenset({"count.peak_live_bytes"})


@dataclass(frozen=True)
class WorkDifference:
    """One count of work that differs; None on a side that does not have it, such as one without the stage."""

    stage: str
    what: str
    before: float | None
    after: float | None

    @property
    def metric(self) -> str:
        return f"work.{self.stage}.{self.what}"


@dataclass(frozen=True)
class Work:
    """The work of two sides, from the values that each has observed."""

    before: Mapping[str, Observed]
    after: Mapping[str, Observed]

    @cached_property
    def differences(self) -> tuple[WorkDifference, ...]:
        """All differences, stage by stage; empty if a side recorded no work, as other tools do not."""
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
        """Whether the work of a stage differs in any of these counts, by default in any count."""
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
        if stage not in STAGES:  # it is about training, or about the last evaluation if there is none
            stage = next(one for one in ("train", *reversed(STAGES)) if _has(self.before, one))
        return self.steps_differ(stage)

    def affects(self, metric: str, stages: Collection[str] = STAGES) -> bool:
        """Whether different work of these stages makes a metric incomparable."""
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
        """Whether a metric is compared per sample or not at all, if the work differs intentionally."""
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
        """The metrics that replace those that are not compared, if the work differs intentionally."""
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
    """The smallest number of samples that a full step can have, and the number that it must be below.

    Given the numbers of samples and of batches; the last batch may be smaller, or dropped.
    """
    samples, batches = (_value(side, f"work.{stage}.{what}") for what in ("samples", "batches"))
    if not samples or not batches:
        return None
    if batches == 1:
        return samples, math.nextafter(samples, math.inf)
    return samples / batches, samples / (batches - 1)
