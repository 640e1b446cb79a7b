"""The table of metrics, each with its unit, class and better direction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .record import PHASES, STAGES


@dataclass(frozen=True)
class Metric:
    """The properties of a metric.

    `kind` is its class, which decides how it is judged: time, exact, machine (exact on one kind of machine), memory,
    quality (losses and metrics of the model) or shown. `better` is the direction of improvement; `gated` is whether it
    gates by default.
    """

    name: str
    unit: str
    kind: str
    better: str  # "less", "more", or "" if unknown
    gated: bool
    meaning: str


def _table(*rows: tuple[str, str, str, str, bool, str]) -> dict[str, Metric]:
    return {row[0]: Metric(*row) for row in rows}


# Exact counts: name, unit, class, meaning. Those that depend on the threads and the instruction set of the CPU, or on
# the model of the card, are exact on one kind of machine only. The first ones are per step, of training or of
# evaluation ...
PER_STEP = "/step"
_OF_A_STEP = (
    ("ops", "1", "exact", "operators dispatched"),
    ("flops", "FLOP", "exact", "floating-point operations, two for a multiplication with its addition"),
    ("autograd_nodes", "1", "exact", "nodes of the autograd graphs"),
    ("saved_bytes", "B", "exact", "bytes that autograd keeps for the backward pass"),
    ("kernel_launches", "1", "machine", "kernels launched on the device"),
    ("synchronizations", "1", "exact", "waits of the host for the device"),
    ("copies", "1", "exact", "copies to, from and on the device"),
    ("copied_bytes", "B", "exact", "bytes of those copies"),
    ("copies.host_to_device", "1", "exact", "copies to the device"),
    ("copies.device_to_host", "1", "exact", "copies from the device"),
    ("copies.device_to_device", "1", "exact", "copies on the device"),
    ("copied_bytes.host_to_device", "B", "exact", "bytes of copies to the device"),
    ("copied_bytes.device_to_host", "B", "exact", "bytes of copies from the device"),
    ("copied_bytes.device_to_device", "B", "exact", "bytes of copies on the device"),
    ("allocations", "1", "machine", "allocations of tensor memory"),
    ("allocated_bytes", "B", "machine", "bytes of those allocations"),
)
# ... and these are not: bytes held, the peak, compiled graphs.
_OF_NO_STEP = (
    ("parameter_bytes", "B", "exact", "bytes of the parameters"),
    ("optimizer_state_bytes", "B", "exact", "bytes of the optimizer's state"),
    ("peak_live_bytes", "B", "machine", "the most bytes of tensors alive at once"),
    ("graphs", "1", "exact", "graphs that torch.compile compiled"),
    ("graph_breaks", "1", "exact", "places where torch.compile fell back to Python"),
    ("recompilations", "1", "exact", "graphs that torch.compile compiled again"),
)
_OPTIMIZER_OPS = ("optimizer_ops", "1", "exact", "operators dispatched by the optimizer")

OF_NO_STEP = frozenset(name for name, *_ in _OF_NO_STEP)

METRICS: Mapping[str, Metric] = _table(
    ("epoch.time", "s", "time", "less", True, "the stages of one counted epoch, all batches"),
    ("train.step_time", "s", "time", "less", True, "median step of the train stage, full batches"),
    ("train.step_mean", "s", "shown", "less", False, "mean train step: the phases add up to it"),
    *(
        (f"{stage}.throughput", "samples/s", "time", "more", False, f"{stage} samples over the time of the stage")
        for stage in STAGES
    ),
    *(
        (f"work.{stage}.{what}", "1", "exact", "less", True, f"{what.replace('_', ' ')} in one {stage} stage")
        for stage in STAGES
        for what in ("batches", "samples", "optimizer_steps")
    ),
    # Their number depends on the rounding of sums, and so on the kind of machine.
    ("work.train.closure_evaluations", "1", "machine", "less", True, "evaluations of the optimizer's closure"),
    *(
        (f"count.{name}", f"{unit}{PER_STEP}", kind, "less", True, f"{meaning}, a step of the main stage")
        for name, unit, kind, meaning in (_OF_A_STEP[0], _OPTIMIZER_OPS, *_OF_A_STEP[1:])
    ),
    *(
        (f"count.{name}", unit, kind, "less", True, f"{meaning}, of the counted launch")
        for name, unit, kind, meaning in _OF_NO_STEP
    ),
    *(
        (f"count.{stage}.{name}", f"{unit}{PER_STEP}", kind, "less", True, f"{meaning}, a {stage} step")
        for stage in STAGES[1:]
        for name, unit, kind, meaning in _OF_A_STEP
    ),
    ("energy.per_sample", "J/sample", "time", "less", False, "the device's energy over the loop, by its samples"),
    ("memory.peak_rss", "B", "memory", "less", True, "rise of resident memory over its level before the task"),
    ("memory.peak_allocated", "B", "machine", "less", True, "peak of the bytes of tensors on the device"),
    ("memory.peak_reserved", "B", "memory", "less", True, "peak of the bytes the device's allocator held"),
    *(
        (f"{stage}.phase.{phase}", "s", "shown", "less", False, f"{phase}, mean over the {stage} steps")
        for stage in STAGES
        for phase in PHASES
    ),
    ("train.data_share", "1", "shown", "less", False, "share of a train step that waits for data"),
    ("train.optimizer_share", "1", "shown", "less", False, "share of a train step that the optimizer takes"),
    ("compile.time", "s", "shown", "less", False, "time of torch.compile in a launch, warm-up included"),
    ("compile.time_counted", "s", "shown", "less", False, "the part of it after warm-up"),
    ("compile.cache_hits", "1", "shown", "more", False, "graphs that inductor's cache held"),
    ("compile.cache_misses", "1", "shown", "less", False, "graphs that it did not hold: 0 if it is warm"),
    ("compute.step_flops", "FLOP", "shown", "", False, "FLOPs of a train step, or of an evaluation step"),
    ("compute.sample_flops", "FLOP", "exact", "less", False, "FLOPs of that step by its samples"),
    ("compute.intensity", "FLOP/B", "shown", "", False, "FLOPs of that step over the bytes its operators touch"),
    ("compute.flops_rate", "FLOP/s", "shown", "more", False, "FLOPs of that step over its time"),
    ("compute.mfu", "1", "shown", "more", False, "that rate over the device's peak"),
    ("compute.ridge_point", "FLOP/B", "shown", "", False, "that peak over the bandwidth of the device's memory"),
    ("quality.train_loss", "1", "quality", "less", False, "mean loss over the last epoch's training data"),
    ("quality.validate_loss", "1", "quality", "less", False, "mean loss of the last validation"),
    ("quality.test_loss", "1", "quality", "less", False, "mean loss of the last test"),
    ("quality.test_accuracy", "1", "quality", "more", False, "share of the test data classified correctly"),
    ("quality.time_to_loss", "s", "shown", "less", False, "training until the validation loss is at target_loss"),
)  # fmt: skip


QUALITY = "quality."

# The better direction of a task's own metric, by the words of its name; for other names, a rule in thresholds.toml may
# give it.
_LESS = frozenset(
    "loss error err mse mae rmse mape nll perplexity ppl wer cer fid bpc bpb brier ece kl divergence distance "
    "residual".split()
)
_MORE = frozenset(
    "accuracy acc top1 top5 f1 precision recall auc auroc auprc ap map iou miou dice jaccard r2 bleu rouge psnr ssim "
    "kappa mcc sensitivity specificity correct reward".split()
)


def direction(name: str) -> str:
    """The better direction of a metric of this name: "less", "more", or "" if its words do not show it."""
    words = set(re.findall(r"[a-z]+[0-9]*", name.lower()))
    less, more = bool(words & _LESS), bool(words & _MORE)
    return "" if less == more else "less" if less else "more"


def metric(name: str) -> Metric:
    """The row of METRICS; a user-defined metric is of the class quality, a user-defined phase of the class shown."""
    if name in METRICS:
        return METRICS[name]
    if ".phase." in name:
        return Metric(name, "s", "shown", "less", False, "a phase of the task's own, mean over the steps")
    if name.startswith(QUALITY):
        better = direction(name.removeprefix(QUALITY))
        return Metric(name, "1", "quality", better, False, "a metric of the task's own")
    return Metric(name, "1", "shown", "", False, "a metric of the task's own")
