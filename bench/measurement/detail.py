"""What untimed launches report: exact counts, or a profile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from ..system.json_data import JsonRecord

# The row of a profile that holds the host time of a phase which no operator took: Python, the loader.
REMAINDER = "(outside operators)"


def _refuse_negative(what: str, values: Iterable[float]) -> None:
    """Checks sizes, counts and times, which must not be negative or infinite: pictures and shares would be wrong."""
    if not all(0 <= value < math.inf for value in values):
        raise ValueError(f"{what} is not a finite number from zero on")


def _refuse_endless(what: str, values: Iterable[float]) -> None:
    """Checks times, which may be slightly negative: a profiler subtracts them from each other."""
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{what} is not a finite number")


@dataclass(frozen=True)
class OperatorCount(JsonRecord):
    """One operator in one phase of one stage: how often it was dispatched, and how much it did.

    `flops` are floating-point operations, two for a multiplication with its addition; `bytes` the size of the tensors
    that it read and wrote (0 for a view); `dtype` the number format of its arithmetic.
    """

    stage: str
    phase: str
    operator: str
    dtype: str
    calls: int
    flops: int
    bytes: int

    def __post_init__(self) -> None:
        _refuse_negative("a count of an operator", (self.calls, self.flops, self.bytes))


@dataclass(frozen=True)
class MemoryTimeline(JsonRecord):
    """The live bytes of tensors over one step, by category, each after a change at `seconds` from its start.

    `bytes[category]` is as long as `seconds`. `phases` names each phase, `ends` is when it ends in seconds.
    """

    seconds: tuple[float, ...]
    bytes: Mapping[str, tuple[int, ...]]
    phases: tuple[str, ...]
    ends: tuple[float, ...]

    def __post_init__(self) -> None:
        if any(len(values) != len(self.seconds) for values in self.bytes.values()):
            raise ValueError("a category of a timeline is not as long as its times")
        if len(self.phases) != len(self.ends):
            raise ValueError(f"{len(self.phases)} phases and {len(self.ends)} ends of phases")
        for values in self.bytes.values():
            _refuse_negative("a size in a timeline", values)
        for moments in (self.seconds, self.ends):
            _refuse_negative("a time in a timeline", moments)
            if any(before > after for before, after in pairwise(moments)):
                raise ValueError("a timeline goes back in time")
        if self.seconds and self.ends and self.seconds[-1] > self.ends[-1]:
            raise ValueError("a timeline continues after its last phase")


@dataclass(frozen=True)
class GraphNode(JsonRecord):
    """One node of an autograd graph: its function, the bytes it keeps, and the nodes that it calls next."""

    name: str
    saved: int
    next: tuple[int, ...]

    def __post_init__(self) -> None:
        _refuse_negative("what a node keeps", (self.saved,))


@dataclass(frozen=True)
class AutogradGraph(JsonRecord):
    """The autograd graph of one step; `next` of a node are indices of `nodes`, the loss comes first."""

    nodes: tuple[GraphNode, ...]

    def __post_init__(self) -> None:
        if any(not 0 <= place < len(self.nodes) for node in self.nodes for place in node.next):
            raise ValueError("a node of a graph calls one that does not exist")


@dataclass(frozen=True)
class Counts(JsonRecord):
    """Exact counts, by the names of METRICS without "count.".

    `operators` are those of a few steps of each stage: `steps` has the number of steps by stage, `samples` their rows
    of data (empty in journals of earlier versions). `per_step` has, by stage, the counts of one step, the mean over the
    counted ones; `totals` the counts that belong to no step: bytes held, the peak, compiled graphs. `unknown` names
    operators that compute but have no FLOP formula: the FLOPs are then a lower bound. `limits` names what could not be
    counted.
    """

    steps: Mapping[str, int]
    totals: Mapping[str, int]
    operators: tuple[OperatorCount, ...]
    per_step: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    timeline: MemoryTimeline | None = None
    graph: AutogradGraph | None = None
    samples: Mapping[str, int] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _refuse_negative("a number of steps", self.steps.values())
        _refuse_negative("a number of samples", self.samples.values())
        _refuse_negative("a total", self.totals.values())
        for values in self.per_step.values():
            _refuse_negative("a count of a step", values.values())


@dataclass(frozen=True)
class OperatorTime(JsonRecord):
    """An operator, a kernel or the remainder in one phase of one stage. Times are seconds over all calls.

    `self` times exclude its calls. `device` times are zero on the CPU. `bytes` is allocated minus freed memory;
    `shapes` those of its inputs.
    """

    stage: str
    phase: str
    operator: str
    kind: str  # operator, kernel, or remainder
    shapes: str
    calls: int
    host_self: float
    host_total: float
    device_self: float
    device_total: float
    bytes: int

    def __post_init__(self) -> None:
        _refuse_negative("a number of calls", (self.calls,))
        times = (self.host_self, self.host_total, self.device_self, self.device_total)
        _refuse_endless("a time of an operator", times)


@dataclass(frozen=True)
class Profile(JsonRecord):
    """The loop under torch.profiler; its times are those of a profiled loop, and enter no other table.

    `steps` and `wall` (seconds on the host clock) are of the profiled window, by stage. `plain_step` and
    `profiled_step` are the means of train steps (or of evaluation) without and with the profiler. `device` holds shares
    and seconds of the device's own time. `trace` and `stacks` name files of the run folder, empty if there are none;
    `omitted` is the reason. `limits` names what could not be profiled.
    """

    steps: Mapping[str, int]
    wall: Mapping[str, float]
    plain_step: float
    profiled_step: float
    operators: tuple[OperatorTime, ...]
    device: Mapping[str, float] = field(default_factory=dict)
    trace: str = ""
    stacks: str = ""
    omitted: str = ""
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _refuse_negative("a number of steps", self.steps.values())
        _refuse_negative("a time of a step", (self.plain_step, self.profiled_step, *self.wall.values()))
        _refuse_endless("a time or share of the device", self.device.values())
