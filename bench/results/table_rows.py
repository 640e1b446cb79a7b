"""The rows of each table of a run: one function per table, and TABLES with the columns and files of each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from ..analysis.caveats import case_caveats
from ..analysis.launch.derived_counts import family
from ..analysis.launch.learning_curve import learning_curve
from ..analysis.launch.values import Launch, steps
from ..analysis.run.card_effects import card_of
from ..analysis.run.estimate import estimate
from ..analysis.run.time_to_quality import Trained
from ..measurement import METRICS, PROFILED, STACKED, STAGES, Counts, Failure, Measurement, Profile, metric
from ..suite.case import Case

_ORDER = {name: place for place, name in enumerate(METRICS)}


@dataclass(frozen=True)
class CaseRecords:
    """The records of one case; `launches` are its measurements as analysed, `tolerance` is that of the run."""

    case: Case
    measurements: Sequence[Measurement]
    failures: Sequence[Failure]
    launches: Sequence[Launch]
    tolerance: float | None

    @property
    def counted(self) -> list[Launch]:
        """The launches whose values enter the summary."""
        return [launch for launch in self.launches if launch.used]

    @property
    def timed(self) -> list[Launch]:
        return [launch for launch in self.launches if launch.timed]


Rows = Iterable[dict[str, Any]]


def summary_rows(of: CaseRecords) -> Rows:
    """One row per metric: the median over the used launches, with its interval."""
    names = dict.fromkeys(name for launch in of.counted for name in launch.values)
    caveats = ";".join(caveat.name for caveat in case_caveats(of.launches, of.failures, of.tolerance))
    contaminated = sum(bool(launch.contamination) for launch in of.launches)
    for name in sorted(names, key=_place):
        launches = [launch for launch in of.counted if name in launch.values]
        estimated = estimate([launch.values[name] for launch in launches])
        taken = [_steps_taken(name, launch) for launch in launches]
        counted, warmup = (sum(numbers) for numbers in zip(*taken, strict=True))
        yield {
            "metric": name,
            "unit": metric(name).unit,
            "value": estimated.value,
            "ci_low": estimated.low,
            "ci_high": estimated.high,
            "smallest_change": estimated.smallest_change,
            "launches": estimated.launches,
            "contaminated": contaminated,
            "steps": counted or None,
            "warmup_steps": warmup if counted else None,
            "caveats": caveats,
        }


def _place(name: str) -> int:
    """The order of metrics in a table: as in METRICS, then the task's own."""
    return _ORDER.get(name, len(_ORDER))


def _steps_taken(name: str, launch: Launch) -> tuple[int, int]:
    """How many steps of a launch are in a time, and how many were warm-up; None for other metrics."""
    if metric(name).kind != "time" and ".phase." not in name and name != "train.step_mean":
        return 0, 0
    stage = name.partition(".")[0]
    records = [r for r in launch.measurement.stages if stage in (r.stage, "epoch")]
    if name == "train.step_time":
        counted = [comes_after for _, full, comes_after in steps(records, launch.warmup) if full]
        return sum(counted), len(counted) - sum(counted)
    used = sum(len(record.steps) for record in records if launch.warmup.is_over(record))
    return used, sum(len(record.steps) for record in records) - used


def step_rows(of: CaseRecords) -> Rows:
    """One row per step of each timed launch."""
    for launch in of.timed:
        for record in launch.measurement.stages:
            timed = zip(record.samples, steps([record], launch.warmup), strict=True)
            for number, (samples, (seconds, full, counted)) in enumerate(timed, start=1):
                yield {
                    "round": launch.measurement.round,
                    "contaminated": bool(launch.contamination),
                    "epoch": record.epoch + 1,
                    "stage": record.stage,
                    "step": number,
                    "samples": samples,
                    "full": full,
                    "warmup": not counted,
                    "seconds": seconds,
                }


def phase_rows(of: CaseRecords) -> Rows:
    """One row per phase of a stage: means over the launches, so that they add up to its mean step."""
    for stage in STAGES:
        prefix = f"{stage}.phase."
        by_launch = [
            {name: value for name, value in launch.values.items() if name.startswith(prefix)}
            for launch in of.counted
        ]
        by_launch = [values for values in by_launch if values]
        names = dict.fromkeys(name for values in by_launch for name in values)
        means = {name: fmean(values.get(name, 0.0) for values in by_launch) for name in names}
        total = sum(means.values())
        for name in sorted(means, key=_place):
            yield {
                "stage": stage,
                "phase": name.removeprefix(prefix),
                "seconds_per_step": means[name],
                "share": means[name] / total if total else 0.0,
                "launches": len(by_launch),
            }


def launch_rows(of: CaseRecords) -> Rows:
    """One row per launch and metric: the values whose median is in the summary."""
    for launch in of.launches:
        for name, value in launch.values.items():
            yield {
                "kind": launch.measurement.kind,
                "round": launch.measurement.round,
                "card": card_of(launch.measurement),
                "contaminated": ";".join(launch.contamination),
                "counted": launch.used,
                "settled": launch.warmup.steady,
                "metric": name,
                "value": value,
            }


FAILURE_COLUMNS = ("kind", "round", "failure", "message", "where")


def failure_rows(of: CaseRecords) -> Rows:
    """One row per launch that failed."""
    for failure in of.failures:
        yield {name: getattr(failure, name) for name in FAILURE_COLUMNS}


def epoch_rows(of: CaseRecords) -> Rows:
    """One row per validation of a launch that trained, and per test metric of each of its epochs."""
    for launch in of.timed if of.case.mode == "train" else ():
        curve = learning_curve(launch.measurement)
        values = [(one.epoch, one.seconds, "quality.validate_loss", one.loss) for one in curve.validations]
        values += [
            (end.epoch, end.seconds, f"quality.test_{name}", value)
            for end in curve.ends
            for name, value in end.metrics.items()
        ]
        for epoch, seconds, name, value in sorted(values, key=lambda row: row[0]):
            yield {
                "round": launch.measurement.round,
                "counted": launch.used,
                "epoch": epoch + 1,
                "seconds": seconds,
                "metric": name,
                "value": value,
            }


def count_rows(of: CaseRecords) -> Rows:
    """One row per operator that was counted in a phase of a stage."""
    for counts in (m.counts for m in of.measurements if m.counts is not None):
        for operator in counts.operators:
            yield {
                **dataclasses.asdict(operator),
                "family": family(operator.operator),
                "number_format": operator.dtype,
                "formula": operator.operator not in counts.unknown,
            }


def operator_rows(of: CaseRecords) -> Rows:
    """One row per operator or kernel of a profile, by phase of a stage and shapes."""
    for profile in (m.profile for m in of.measurements if m.profile is not None):
        yield from map(dataclasses.asdict, profile.operators)


@dataclass(frozen=True)
class Table:
    """A table of a run: the function that makes its rows, its columns, and its files in the run folder."""

    rows: Callable[[CaseRecords], Rows]
    columns: Sequence[str]
    files: Sequence[str]


TABLES = {
    "summary": Table(
        summary_rows,
        (
            *("metric", "unit", "value", "ci_low", "ci_high", "smallest_change"),
            *("launches", "contaminated", "steps", "warmup_steps", "caveats"),
        ),
        ("summary.csv", "summary.parquet"),
    ),
    "steps": Table(
        step_rows,
        ("round", "contaminated", "epoch", "stage", "step", "samples", "full", "warmup", "seconds"),
        ("steps.parquet",),
    ),
    "phases": Table(phase_rows, ("stage", "phase", "seconds_per_step", "share", "launches"), ("phases.csv",)),
    "epochs": Table(epoch_rows, ("round", "counted", "epoch", "seconds", "metric", "value"), ("epochs.csv",)),
    "launches": Table(
        launch_rows,
        ("kind", "round", "card", "contaminated", "counted", "settled", "metric", "value"),
        ("launches.parquet",),
    ),
    "failures": Table(failure_rows, FAILURE_COLUMNS, ("failures.csv",)),
    "counts": Table(
        count_rows,
        ("stage", "phase", "operator", "family", "number_format", "calls", "flops", "bytes", "formula"),
        ("counts.csv",),
    ),
    "ops": Table(
        operator_rows,
        (
            *("stage", "phase", "operator", "kind", "shapes", "calls"),
            *("host_self", "host_total", "device_self", "device_total", "bytes"),
        ),
        ("ops.parquet",),
    ),
}


@dataclass(frozen=True)
class UntimedFindings:
    """Results of the untimed launches of a case that are not in tables."""

    counts: Counts | None = None
    profile: Profile | None = None
    stacks: Profile | None = None


def untimed_findings(of: CaseRecords) -> UntimedFindings:
    profiles = {m.kind: m.profile for m in of.measurements if m.profile is not None}
    counts = next((m.counts for m in of.measurements if m.counts is not None), None)
    return UntimedFindings(counts, profiles.get(PROFILED), profiles.get(STACKED))


def trained(of: CaseRecords) -> Trained | None:
    """The learning curves of the used launches; None if the case did not train, or none was validated."""
    if of.case.mode != "train":
        return None
    launches = [launch for launch in of.timed if launch.used]
    curves = tuple(curve for launch in launches if (curve := learning_curve(launch.measurement)).ends)
    times = [launch.values.get("epoch.time", math.nan) for launch in launches]
    finite = [seconds for seconds in times if math.isfinite(seconds)]
    return Trained(of.case, curves, median(finite) if finite else None) if curves else None
