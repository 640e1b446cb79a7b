"""Metrics from exact counts: those of a counts launch, and rates once times are known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ...measurement import OF_NO_STEP, STAGES, Bandwidth, Counts, OperatorCount, Peak

# Families of operators by parts of their names; the first match applies.
_FAMILIES = (
    ("convolution", re.compile("conv(?!ert)")),
    ("attention", re.compile("attention")),
    ("recurrent", re.compile(r"rnn|lstm|gru")),
    ("matrix product", re.compile(r"(^|_)(\w*mm|mv|addmv|\w*dot|\w*matmul|(bi|tri)?linear)(_|$)")),
)


def family(operator: str) -> str:
    """The family of an operator's arithmetic; "other" for operators without FLOPs."""
    name = operator.rpartition(".")[2].rpartition("::")[2]
    return next((kind for kind, pattern in _FAMILIES if pattern.search(name)), "other")


def count_values(counts: Counts) -> dict[str, float]:
    """The metrics of a counts launch: what a step of the main stage did, and of each other stage under its name.

    Stages are never added up: the numbers of counted steps are not those of the loop.
    """
    work, main = step_work(counts), main_stage(counts)
    values: dict[str, float] = {}
    for stage in (main, *(one for one in STAGES if one != main)):
        prefix = "count" if stage == main else f"count.{stage}"
        values |= {f"{prefix}.{name}": value for name, value in _of_a_step(counts, stage).items()}
    values |= {f"count.{name}": float(value) for name, value in counts.totals.items() if name in OF_NO_STEP}
    spent = sum(one.calls for one in counts.operators if (one.stage, one.phase) == ("train", "optimizer"))
    if spent and counts.steps.get("train"):
        values["count.optimizer_ops"] = spent / counts.steps["train"]
    if work is not None:
        values["compute.step_flops"] = work.flops
        if samples := counts.samples.get(main):
            # Divided from whole numbers, so that it is exact.
            flops = sum(one.flops for one in counts.operators if one.stage == main)
            values["compute.sample_flops"] = flops / samples
        if work.bytes:
            values["compute.intensity"] = work.flops / work.bytes
    return values


def _of_a_step(counts: Counts, stage: str) -> dict[str, float]:
    """What one step of a stage did; empty if no step was counted.

    Earlier versions counted whole evaluations, in which the last batch may be smaller: the counts of one step are
    unknown.
    """
    steps = counts.steps.get(stage)
    if not steps or (stage != "train" and stage not in counts.per_step):
        return {}
    operators = [one for one in counts.operators if one.stage == stage]
    return {
        "ops": sum(one.calls for one in operators) / steps,
        "flops": sum(one.flops for one in operators) / steps,
        **{name: float(value) for name, value in counts.per_step.get(stage, {}).items()},
    }


class StepWork:
    """What one step of the main stage does: `flops`, and by number format; `bytes` its operators touch."""

    def __init__(self, operators: Iterable[OperatorCount], steps: int) -> None:
        self.by_dtype: dict[str, float] = {}
        self.bytes = 0.0
        for one in operators:
            self.bytes += one.bytes / steps
            if one.flops:
                self.by_dtype[one.dtype] = self.by_dtype.get(one.dtype, 0.0) + one.flops / steps

    @property
    def flops(self) -> float:
        return sum(self.by_dtype.values())

    def seconds(self, peaks: Mapping[str, float]) -> float | None:
        """The least time that it can take at these peaks, by number format; None if a peak is not known."""
        if not self.by_dtype.keys() <= peaks.keys():
            return None
        return sum(flops / peaks[dtype] for dtype, flops in self.by_dtype.items())


def main_stage(counts: Counts) -> str:
    """The stage that the case is about: training, or the last evaluation if it does not train."""
    there = {one.stage for one in counts.operators}
    return "train" if "train" in there else next((s for s in reversed(STAGES) if s in there), "")


def step_work(counts: Counts) -> StepWork | None:
    """The work of a step of the main stage; None where nothing was counted."""
    stage = main_stage(counts)
    steps = counts.steps.get(stage)
    if not steps:
        return None
    return StepWork((one for one in counts.operators if one.stage == stage), steps)


def rates(
    values: Mapping[str, float],
    counts: Counts,
    peaks: Sequence[Peak],
    device: str,
    bandwidths: Sequence[Bandwidth] = (),
) -> dict[str, float]:
    """Achieved FLOP/s and their share of the peak, from the values of one timed launch; and the ridge point.

    MFU as in Chowdhery et al., "PaLM" (2022), appendix B, with counted in place of estimated FLOPs; the ridge point as
    in Williams et al., "Roofline" (2009), for the step's own mixture of number formats.
    """
    work, stage = step_work(counts), main_stage(counts)
    if work is None or not work.flops:
        return {}
    seconds = values.get("train.step_time")
    if stage != "train":
        batches, samples = values.get(f"work.{stage}.batches"), values.get(f"work.{stage}.samples")
        rate = values.get(f"{stage}.throughput")
        seconds = samples / rate / batches if samples and rate and batches else None
    if not seconds:
        return {}
    found = {"compute.flops_rate": work.flops / seconds}
    least = work.seconds(
        {peak.dtype: peak.flops for peak in peaks if peak.device == device and peak.flops > 0}
    )
    if least is not None:
        found["compute.mfu"] = least / seconds
        bandwidth = next((one.rate for one in bandwidths if one.device == device and one.rate > 0), None)
        if bandwidth is not None:
            found["compute.ridge_point"] = work.flops / least / bandwidth
    return found
