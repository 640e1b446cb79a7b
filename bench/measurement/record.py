"""What a launch reports: one Measurement, or one Failure; and what the machine and software of a run were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..plurals import counted
from ..suite.case import MAX, Case
from ..system.json_data import JsonRecord, from_json
from .detail import Counts, Profile

STAGES = ("train", "validate", "test")
PHASES = tuple("data transfer forward loss zero_grad backward clip optimizer scheduler metrics other".split())

# The minimum number of epochs at the start of a launch that are kept but not used: if the times of the steps show that
# start-up takes longer, `analysis/launch/values.py` uses fewer.
WARMUP_EPOCHS = 1

TIMED = "timed"  # the launches whose times enter the tables
PHASED = "phases"  # on a device: the launch that measures phases, separate from the timed ones
COUNTED = "counts"  # exact counts, without timing
PROFILED = "profile"  # the loop under torch.profiler
STACKED = "stacks"  # the same with Python's stacks, for a flame graph
SEARCHED = "search"  # a few steps at one batch size, in the search for the largest that fits


def samples_known(stage: str) -> str:
    """The name of the check whether the samples of a stage's steps are known: for a script they may be a guess."""
    return f"samples_known_in_{stage}"


@dataclass(frozen=True)
class StageRecord:
    """One stage of one epoch. Times are seconds.

    `wall` is the time between begin and end of the stage, with the device synchronised at both; `steps` the time of
    each step and `samples` its rows of data; `phases` the times of phases, which add up to the wall time (empty if the
    launch measured none). `closure_evaluations` are those of an optimizer that evaluates its loss repeatedly.
    """

    epoch: int
    stage: str
    wall: float
    steps: tuple[float, ...]
    samples: tuple[int, ...]
    phases: Mapping[str, float] = field(default_factory=dict)
    optimizer_steps: int = 0
    closure_evaluations: int = 0
    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"unknown stage {self.stage!r}; there are {', '.join(STAGES)}")
        if len(self.steps) != len(self.samples):
            raise ValueError(
                f"{counted(len(self.steps), 'step')} and {counted(len(self.samples), 'number')} of samples"
            )

    @property
    def full(self) -> list[bool]:
        """Whether each step ran a full batch: only times of such steps are comparable."""
        largest = max(self.samples, default=0)
        return [samples == largest for samples in self.samples]


@dataclass(frozen=True)
class Measurement(JsonRecord):
    """All that one launch reports.

    `round` is counted from 1, `position` is the place in the round, `fork_server` the process that it was forked from.
    `clock` names the timer of the steps; `memory` is in bytes; `checks` are the results of the work checks;
    `conditions` are the settings in force; `costs` are seconds that the launch spent before and in its loop. `guards`
    are the values described in `worker/timing/guards.py` and `machine/telemetry.py`; `telemetry` was read from outside.
    `compiled` is what torch.compile did, as described in `worker/counts/compiled.py`, empty if it was not used.
    `counts` and `profile` are the results of untimed launches, which have no stages.
    """

    case: Case
    kind: str
    round: int
    position: int
    fork_server: int
    started: str
    clock: str
    stages: tuple[StageRecord, ...]
    memory: Mapping[str, int] = field(default_factory=dict)
    checks: Mapping[str, bool] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    guards: Mapping[str, float] = field(default_factory=dict)
    telemetry: Mapping[str, float] = field(default_factory=dict)
    compiled: Mapping[str, float] = field(default_factory=dict)
    counts: Counts | None = None
    profile: Profile | None = None

    def to_json(self) -> dict[str, Any]:
        absent = [name for name in ("counts", "profile") if getattr(self, name) is None]
        return {name: value for name, value in super().to_json().items() if name not in absent}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        return from_json(cls, _of_launch(data))


FAILURES = ("crash", "timeout", "out_of_memory", "diverged", "error", "unsupported")


@dataclass(frozen=True)
class Failure(JsonRecord):
    """What a launch reports instead of a Measurement.

    `failure` is one of FAILURES, `message` one line, `where` the user's own frame (file:line) if one is known, `detail`
    the traceback or the launch's log; `telemetry` was read from outside.
    """

    case: Case
    kind: str
    round: int
    position: int
    fork_server: int
    started: str
    failure: str
    message: str
    where: str = ""
    detail: str = ""
    telemetry: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("message", "where", "detail"):
            # An error may contain a file name that is not valid text, and so can be neither printed nor stored.
            text = getattr(self, name)
            if isinstance(text, str):
                object.__setattr__(self, name, text.encode(errors="backslashreplace").decode())

    @property
    def summary(self) -> str:
        """'crash: killed by signal 9'."""
        return f"{self.failure}: {self.message}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        return from_json(cls, _of_launch(data))


def _of_launch(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record under today's names: `fork_server` was `nursery` up to version 0.1.

    Raises ValueError for a case that no launch can have.
    """
    case = Case.from_json(data["case"])
    if case.seeks_largest:
        raise ValueError(f"a launch has a batch size, not {MAX!r}")
    return {
        **{("fork_server" if name == "nursery" else name): value for name, value in data.items()},
        "case": case,
    }


@dataclass(frozen=True)
class Device:
    """An accelerator: `memory` in bytes, `power_limit` in watts (None where it is not known).

    `uuid` identifies the card, `pci` is its place on the bus as the kernel writes it (`0000:1b:00.0`); empty where
    they are not known.
    """

    name: str
    kind: str
    index: int
    memory: int | None = None
    capability: str = ""
    power_limit: float | None = None
    uuid: str = ""
    pci: str = ""

    @property
    def device(self) -> str:
        """Its name for torch, such as `cuda:0`."""
        return f"{self.kind}:{self.index}"


@dataclass(frozen=True)
class Peak:
    """The peak FLOP/s of a device in one number format; `source` is the data sheet, or how it was measured."""

    device: str  # as a case names it
    dtype: str
    flops: float
    source: str


@dataclass(frozen=True)
class Bandwidth:
    """The memory bandwidth of a device in bytes per second; `source` is how it was measured."""

    device: str  # as a case names it
    rate: float
    source: str


@dataclass(frozen=True)
class Environment(JsonRecord):
    """The machine and software of a run. `memory` is in bytes, `load` the one-minute average.

    `cards_at_once` is the number of equal cards on which launches ran at the same time.
    """

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
    cards_at_once: int = 1
    peaks: tuple[Peak, ...] = ()
    bandwidths: tuple[Bandwidth, ...] = ()
