"""Reasons to trust a case's numbers less, found in its records. Data only: the words are in `report/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.estimate import interval_rank
from bench.analysis.launch import same_work_each_epoch
from bench.measurement import TIMED, Failure, Measurement

CAVEATS = (
    "few_launches",  # too few for a 95 % interval
    "launches_failed",
    "spawned",  # forking was not sound, or not wanted
    "allocator_unpinned",  # pinning was asked for and did not take
    "work_differs",  # between epochs of one launch, or between launches
    "parameters_not_moved",  # by training
    "weights_moved_in_evaluation",
    "graph_unexpected",  # an autograd graph where the mode forbids one, or none where it records
    "no_full_batch",  # no step whose time could be compared
)

_CHECKS = {
    "parameters_moved_in_training": "parameters_not_moved",
    "weights_kept_in_evaluation": "weights_moved_in_evaluation",
    "graph_as_the_mode_says": "graph_unexpected",
}


@dataclass(frozen=True)
class Caveat:
    """One reason, by its name in CAVEATS; `count` is the number of launches that it holds for."""

    name: str
    count: int


def case_caveats(
    launches: Sequence[tuple[Measurement, Mapping[str, float]]], failures: Sequence[Failure]
) -> list[Caveat]:
    """The caveats of one case, in the order of CAVEATS; its launches come with their `launch_values`."""
    timed = [measurement for measurement, _ in launches if measurement.kind == TIMED]
    values = [values for measurement, values in launches if measurement.kind == TIMED]
    work = [{name: v for name, v in launch.items() if name.startswith("work.")} for launch in values]
    found = {
        "few_launches": len(timed) if interval_rank(len(timed)) is None else 0,
        "launches_failed": len(failures),
        "spawned": sum(m.conditions.get("start_method") == "spawn" for m in timed),
        "allocator_unpinned": sum(m.conditions.get("allocator") == "unpinned" for m in timed),
        "work_differs": sum(
            not same_work_each_epoch(m) or done != work[0] for m, done in zip(timed, work, strict=True)
        ),
        "no_full_batch": sum(
            "train.throughput" in launch and "train.step_time" not in launch for launch in values
        ),
    }
    for check, name in _CHECKS.items():
        found[name] = sum(not m.checks.get(check, True) for m in timed)
    return [Caveat(name, found[name]) for name in CAVEATS if found[name]]
