"""The thin waist: what a launch reports, and what every metric is.

A launch reports one `Measurement` or one `Failure`; `Environment` says what the machine and software were.
The records are frozen, hold raw samples and plain SI numbers, and go through JSON both ways. `METRICS` is
the one table that says of each metric its unit, its class and which direction is better.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.case import Case, is_text

STAGES = ("train", "validate", "test")
PHASES = (
    "data",
    "transfer",
    "forward",
    "loss",
    "zero_grad",
    "backward",
    "optimizer",
    "scheduler",
    "metrics",
    "other",
)

# How many epochs at the start of a launch are kept and marked, but not counted, at the least: where the
# series of steps shows that start-up goes on, `analysis/launch.py` leaves out more.
WARMUP_EPOCHS = 1

TIMED = "timed"  # the launches whose times enter the tables
PHASED = "phases"  # on a device: the launch that takes the phase ledger, apart from the timed ones


@dataclass(frozen=True)
class StageRecord:
    """One stage of one epoch. Times are seconds.

    `wall` is the host clock between the edges of the stage, with the device synchronised at both;
    `steps` the time of each step and `samples` its rows of data; `phases` the ledger, which adds up to
    the wall time (empty where the launch took none).
    """

    epoch: int
    stage: str
    wall: float
    steps: tuple[float, ...]
    samples: tuple[int, ...]
    phases: Mapping[str, float] = field(default_factory=dict)
    optimizer_steps: int = 0
    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"unknown stage {self.stage!r}; there are {', '.join(STAGES)}")
        if len(self.steps) != len(self.samples):
            raise ValueError(f"{len(self.steps)} steps and {len(self.samples)} numbers of samples")

    @property
    def full(self) -> list[bool]:
        """Which steps ran a full batch: only their times are comparable."""
        largest = max(self.samples, default=0)
        return [samples == largest for samples in self.samples]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StageRecord:
        return cls(**checked(cls, {**data, "steps": tuple(data["steps"]), "samples": tuple(data["samples"])}))


@dataclass(frozen=True)
class Measurement:
    """All that one launch reports.

    `round` counts from 1, `position` is the place in the round, `nursery` the process that it was forked
    from. `clock` names what timed the steps; `memory` is in bytes; `checks` say whether the work was what
    the mode promises; `conditions` are the settings as they took; `costs` are seconds that the launch
    spent before and in its loop. `guards` count what could have disturbed it, as `worker/guards.py` and
    `machine/telemetry.py` name it; `telemetry` is what was seen of it from outside.
    """

    case: Case
    kind: str
    round: int
    position: int
    nursery: int
    started: str
    clock: str
    stages: tuple[StageRecord, ...]
    memory: Mapping[str, int] = field(default_factory=dict)
    checks: Mapping[str, bool] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    guards: Mapping[str, float] = field(default_factory=dict)
    telemetry: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        stages = [dataclasses.asdict(stage) for stage in self.stages]
        return {**_shallow(self), "case": self.case.to_json(), "stages": stages}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        stages = tuple(StageRecord.from_json(stage) for stage in data["stages"])
        return cls(**checked(cls, {**data, "case": Case.from_json(data["case"]), "stages": stages}))


FAILURES = ("crash", "timeout", "out_of_memory", "diverged", "error", "unsupported")


@dataclass(frozen=True)
class Failure:
    """What a launch reports instead of a Measurement.

    `failure` is one of FAILURES, `message` one line, `where` the user's own frame (file:line) if one is
    known, `detail` the traceback or the launch's log; `telemetry` is what was seen of it from outside.
    """

    case: Case
    kind: str
    round: int
    position: int
    nursery: int
    started: str
    failure: str
    message: str
    where: str = ""
    detail: str = ""
    telemetry: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("message", "where", "detail"):
            # An error may tell of a file whose name is no text, which could be neither printed nor kept.
            text = getattr(self, name)
            if isinstance(text, str):
                object.__setattr__(self, name, text.encode(errors="backslashreplace").decode())

    def to_json(self) -> dict[str, Any]:
        return {**_shallow(self), "case": self.case.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        return cls(**checked(cls, {**data, "case": Case.from_json(data["case"])}))


@dataclass(frozen=True)
class Device:
    """An accelerator: `memory` in bytes, `power_limit` in watts (None where it is not told)."""

    name: str
    kind: str
    index: int
    memory: int | None = None
    capability: str = ""
    power_limit: float | None = None


@dataclass(frozen=True)
class Environment:
    """What the machine and software were. `memory` is in bytes, `load` the one-minute average."""

    host: str
    system: str
    kernel: str
    cpu: str
    cpu_capability: str
    cores: int
    cpus: tuple[int, ...]
    memory: int
    governor: str
    load: float
    threads: int
    interop_threads: int
    openmp: Mapping[str, str]
    allocator: str
    start_method: str
    loader_start_method: str
    python: str
    torch: str
    packages: Mapping[str, str]
    cuda: str | None
    cudnn: str | None
    driver: str | None
    devices: tuple[Device, ...]
    flags: Mapping[str, Any]
    seed: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Environment:
        devices = tuple(Device(**checked(Device, device)) for device in data["devices"])
        return cls(**checked(cls, {**data, "cpus": tuple(data["cpus"]), "devices": devices}))


def checked(cls: type, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a record as they were read. Raises ValueError for one that is none, or not of its type."""
    hints = _hints(cls)
    for name, value in data.items():
        if name not in hints:
            raise ValueError(f"{name!r} is no field of a {cls.__name__}")
        if not _fits(value, hints[name]):
            raise ValueError(f"{name!r} of a {cls.__name__} is not of its type")
    return data


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


_LIMIT = 2**53  # whole numbers below it are exact as floats, and have a column of numbers


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(name, str) and _fits(item, arguments[1]) for name, item in value.items()
        )
    if kind in (int, float):
        if isinstance(value, int):
            return not isinstance(value, bool) and abs(value) < _LIMIT
        return kind is float and isinstance(value, float)
    if kind is Any:
        return _is_shallow(value)
    return isinstance(value, kind) and not (isinstance(value, str) and not is_text(value))


def _is_shallow(value: Any, levels: int = 8) -> bool:
    """Whether JSON can be written of it again, which is read with more levels than it is written with."""
    inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)


def _shallow(record: Any) -> dict[str, Any]:
    return {
        item.name: dict(value) if isinstance(value, Mapping) else value
        for item in dataclasses.fields(record)
        for value in [getattr(record, item.name)]
    }


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    `kind` is its class in the sense of the gate: time, exact, machine (exact on one kind of machine),
    memory or shown. `better` is the direction of improvement; `gated` says whether it gates by default.
    """

    name: str
    unit: str
    kind: str
    better: str  # "less", "more" or "" where neither is
    gated: bool
    meaning: str


def _table(*rows: tuple[str, str, str, str, bool, str]) -> dict[str, Metric]:
    return {row[0]: Metric(*row) for row in rows}


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
    ("energy.per_sample", "J/sample", "time", "less", False, "the device's energy over the loop, by its samples"),
    ("memory.peak_rss", "B", "memory", "less", True, "rise of resident memory over its level before the task"),
    ("memory.peak_allocated", "B", "machine", "less", True, "peak of the bytes of tensors on the device"),
    ("memory.peak_reserved", "B", "memory", "less", True, "peak of the bytes the device's allocator held"),
    *(
        (f"{stage}.phase.{phase}", "s", "shown", "less", False, f"{phase}, mean over the {stage} steps")
        for stage in STAGES
        for phase in PHASES
    ),
    ("quality.train_loss", "1", "shown", "less", False, "mean loss over the last epoch's training data"),
    ("quality.validate_loss", "1", "shown", "less", False, "mean loss of the last validation"),
    ("quality.test_loss", "1", "shown", "less", False, "mean loss of the last test"),
    ("quality.test_accuracy", "1", "shown", "more", False, "share of the test data classified right"),
)  # fmt: skip


def metric(name: str) -> Metric:
    """The row of METRICS; a metric of the user's own task, or a phase of its own, is a shown one."""
    if name in METRICS:
        return METRICS[name]
    if ".phase." in name:
        return Metric(name, "s", "shown", "less", False, "a phase of the task's own, mean over the steps")
    return Metric(name, "1", "shown", "", False, "a metric of the task's own")
