"""Reasons to trust a case's numbers less, found in its records. Only names: the texts are in `report/`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..measurement import STAGES, WARMUP_EPOCHS, Failure, Measurement, samples_known
from .launch.contamination import setting_caveats
from .launch.learning_curve import target_loss
from .launch.values import Launch, uneven_stages
from .run.estimate import interval_rank
from .run.stopping import width

CAVEATS = (
    "few_launches",  # too few for a 95 % interval
    "unsettled",  # the interval of a gated metric is wider than the tolerance
    "launches_failed",
    "contaminated",  # most launches were, so that all are used
    "machine_busy",  # other processes ran on the processors of the launches
    "never_settled",  # steps that get faster or slower to the end of the launch
    "long_warmup",  # start-up took more than half of the epochs, which are not used
    "page_faults",  # the kernel maps memory while the loop runs
    "gc_pauses",  # Python's garbage collector takes a share of the loop
    "coarse_clock",  # too coarse for the step
    "clock_changed",  # of the processors or of the device
    "gpu_power_capped",
    "axis_not_read",  # the suite does not use the axis: its values measure the same thing under different names
    "spawned",  # forking was not safe, or not requested
    "other_device",  # a script's model was on another device than in its case
    "allocator_unpinned",  # pinning was requested and had no effect
    "compiled_late",  # torch.compile worked after warm-up
    "compile_cache_mixed",  # cold in some launches, warm in others
    "work_differs",  # of a stage, between epochs of one launch or between launches
    "parameters_not_moved",  # by training
    "weights_moved_in_evaluation",
    "samples_unlike_data",  # a pass had another number of samples than its loader: rows may not be samples
    "streams_not_waited_for",  # the steps are shorter than their work
    "graph_unexpected",  # an autograd graph where the mode forbids one, or none where it records
    "samples_unknown",  # of a script: there is no throughput
    "forward_unseen",  # of a script: there is no phase of it
    "pass_not_recognised",  # of a script that marks no loop
    "evaluation_unmarked",  # inside of a script's training steps
    "loss_scale_unknown",  # of a script that gathers gradients: there is no training loss
    "flops_lower_bound",  # operators that compute, without a formula
    "peak_unknown",  # of the device in a number format of the step: there is no MFU
    "device_not_counted",  # its launches of kernels, copies and waits
    "device_not_profiled",
    "trace_omitted",  # too large, or no space for it
    "no_full_batch",  # no step whose time could be compared
    "algorithms_by_time",  # chosen by their time: another launch may choose others
    "target_not_reached",  # the validation loss of a launch did not reach the target: it has no time to it
)

_CHECKS = {
    "parameters_moved_in_training": "parameters_not_moved",
    "weights_kept_in_evaluation": "weights_moved_in_evaluation",
    "samples_as_the_loader_says": "samples_unlike_data",
    "streams_are_waited_for": "streams_not_waited_for",
    "graph_as_the_mode_says": "graph_unexpected",
    **{samples_known(stage): "samples_unknown" for stage in STAGES},
    "forward_seen": "forward_unseen",
    "passes_recognised": "pass_not_recognised",
    "evaluation_marked": "evaluation_unmarked",
    "loss_scale_known": "loss_scale_unknown",
}


@dataclass(frozen=True)
class Caveat:
    """One reason, by its name in CAVEATS; `count` is the number of launches with this caveat."""

    name: str
    count: int


def case_caveats(
    launches: Sequence[Launch], failures: Sequence[Failure], tolerance: float | None = None
) -> list[Caveat]:
    """The caveats of one case, in the order of CAVEATS. `tolerance` is that of the run, if known.

    A finding from guards or step times becomes a caveat if it holds for at least half of the used launches.
    """
    timed = [launch for launch in launches if launch.timed]
    used = [launch for launch in timed if launch.used]
    numbers = {
        "launches_failed": len(failures),
        **_of_intervals(used, tolerance),
        **_of_launches(timed, used),
        **_of_checks(timed),
        **_of_untimed([launch.measurement for launch in launches if not launch.timed]),
        **_of_most(used),
        "algorithms_by_time": sum(
            bool(launch.measurement.conditions.get("algorithms_by_time")) for launch in launches
        ),
    }
    return [Caveat(name, numbers[name]) for name in CAVEATS if numbers.get(name)]


def _of_intervals(used: Sequence[Launch], tolerance: float | None) -> dict[str, int]:
    few = interval_rank(len(used)) is None
    wide = tolerance is not None and not few and width([launch.values for launch in used], tolerance) > 1
    return {"few_launches": len(used) if few else 0, "unsettled": len(used) if wide else 0}


def _of_launches(timed: Sequence[Launch], used: Sequence[Launch]) -> dict[str, int]:
    conditions = [launch.measurement.conditions for launch in timed]
    cold = sum(launch.values.get("compile.cache_misses", 0) > 0 for launch in used)
    return {
        "contaminated": sum(bool(launch.contamination) for launch in used),
        "axis_not_read": sum(bool(unread(launch)) for launch in timed),
        "spawned": sum(one.get("start_method") == "spawn" for one in conditions),
        "other_device": sum(_elsewhere(launch) for launch in timed),
        "allocator_unpinned": sum(one.get("allocator") == "unpinned" for one in conditions),
        "work_differs": sum(
            bool(uneven_stages(launch.measurement)) or _work(launch) != _work(timed[0]) for launch in timed
        ),
        "compiled_late": sum(launch.values.get("compile.time_counted", 0) > 0 for launch in used),
        "compile_cache_mixed": cold if cold < len(used) else 0,
        "no_full_batch": sum(
            "train.throughput" in launch.values and "train.step_time" not in launch.values for launch in timed
        ),
        "peak_unknown": sum(launch.lacks_peak for launch in used),
        "target_not_reached": sum(
            target_loss(launch.measurement.case) is not None and "quality.time_to_loss" not in launch.values
            for launch in used
        ),
    }


def _of_checks(timed: Sequence[Launch]) -> dict[str, int]:
    """Launches in which a check failed, by the caveat of the check."""
    failed = [
        {caveat for check, caveat in _CHECKS.items() if not launch.measurement.checks.get(check, True)}
        for launch in timed
    ]
    return Counter(caveat for caveats in failed for caveat in caveats)


def _of_untimed(records: Sequence[Measurement]) -> dict[str, int]:
    return {
        "flops_lower_bound": sum(bool(one.counts and one.counts.unknown) for one in records),
        "device_not_counted": sum(
            one.counts is not None and "device_not_counted" in one.counts.limits for one in records
        ),
        "trace_omitted": sum(bool(one.profile and one.profile.omitted) for one in records),
        "device_not_profiled": sum(
            one.profile is not None and "device_not_profiled" in one.profile.limits for one in records
        ),
    }


def _of_most(used: Sequence[Launch]) -> dict[str, int]:
    """The findings that hold for at least half of the launches."""
    found = Counter(name for launch in used for name in setting_caveats(launch.measurement))
    found["never_settled"] = sum(not launch.warmup.steady for launch in used)
    found["long_warmup"] = sum(map(_mostly_warmup, used))
    return {name: number for name, number in found.items() if 2 * number >= len(used)}


def _work(launch: Launch) -> dict[str, float]:
    return {name: value for name, value in launch.values.items() if name.startswith("work.")}


def unread(launch: Launch) -> tuple[str, ...]:
    """The axes that nothing in the launch has read."""
    return tuple(launch.measurement.conditions.get("unread", ()))


def _elsewhere(launch: Launch) -> bool:
    """Whether a script chose another device than its case names; `cuda` stands for any CUDA device."""
    named = launch.measurement.case.device
    used = str(launch.measurement.conditions.get("device", named))
    return used != named and used.partition(":")[0] != named


def _mostly_warmup(launch: Launch) -> bool:
    """Whether more than half of a launch's epochs are start-up, and not only the first, which always is."""
    epochs = 1 + max((record.epoch for record in launch.measurement.stages), default=0)
    return launch.warmup.epochs > max(WARMUP_EPOCHS, epochs / 2)
