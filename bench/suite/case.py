"""What is measured: a `Case` (one combination of axis values) under a `Schedule` and `Conditions`.

All three are frozen, checked on creation, and go through JSON both ways, since parent and worker exchange them.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from ..errors import UsageError
from ..system.json_data import JsonRecord, is_text

AxisValue: TypeAlias = str | int | float | bool | None

MODES = ("train", "eval", "no_grad", "inference_mode")

MAX = "max"  # as a batch size: the largest that fits, found by a search before the case is measured

# The axes that every suite has without declaring them, with the tutorial's defaults.
DEFAULTS: Mapping[str, AxisValue] = MappingProxyType(
    {
        "dataset": "digits",
        "model": "mlp",
        "device": "cpu",
        "batch_size": 64,
        "loss": "cross-entropy",
        "learning_rate": 1e-3,
        "optimizer": "adam",
        "scheduler": "reduce-on-plateau",
        "validate_every": "epoch",
        "epochs": 5,
        "mode": "train",
    }
)

# The columns that identify a row of the summary, and its value: no axis may have one of these names.
RESERVED = ("suite", "case", "metric", "unit", "value")

# Axes that only training reads: under an evaluation mode, cases that differ only in them collapse into one.
TRAINING_AXES = frozenset(
    "optimizer implementation momentum nesterov weight_decay learning_rate scheduler accumulation_steps "
    "clip_grad_norm validate_every target_loss".split()
)


# Axes that the framework itself reads, in every suite.
FRAMEWORK_AXES = frozenset("device mode epochs validate_every target_loss".split())


def unused_axes(mode: AxisValue) -> frozenset[str]:
    """The axes that the mode does not use: cases that differ only in them are the same."""
    return frozenset() if mode == "train" else TRAINING_AXES


@dataclass(frozen=True)
class Case:
    """One combination of axis values of one suite.

    `axes` holds the declared axes in the order of the suite; axes that were not declared read as their
    default. Raises UsageError for a value that no case can have.
    """

    suite: str
    axes: Mapping[str, AxisValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        axes = {name: plain_value(value) for name, value in self.axes.items()}
        object.__setattr__(self, "axes", MappingProxyType(axes))
        for name, value in self.axes.items():
            check_value(name, value)

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and self.id == other.id

    def __getitem__(self, name: str) -> Any:
        """The value of an axis, declared or default; the KeyError names the existing axes."""
        if name in self.axes:
            return self.axes[name]
        if name in DEFAULTS:
            return DEFAULTS[name]
        raise KeyError(f"axis {name!r}; this case has {', '.join([*self.axes, *DEFAULTS])}")

    def get(self, name: str, default: AxisValue = None) -> Any:
        """The value of an axis, or `default` if the axis is neither declared nor a standard one."""
        return self.axes.get(name, DEFAULTS.get(name, default))

    @property
    def device(self) -> str:
        return str(self["device"])

    @property
    def mode(self) -> str:
        return str(self["mode"])

    @property
    def batch_size(self) -> int:
        """Raises UsageError if it is not found yet; a case that is built has a number."""
        if self.seeks_largest:
            raise UsageError(
                f"batch_size is {MAX!r} in {self.id}, a number only once bench run has found it; until then read "
                f"case['batch_size']"
            )
        return int(self["batch_size"])

    @property
    def seeks_largest(self) -> bool:
        """Whether the batch size is the largest that fits, which is not found yet."""
        return bool(self["batch_size"] == MAX)

    def sized(self, batch_size: int | str) -> Case:
        """The same case with another batch size."""
        return Case(self.suite, {**self.axes, "batch_size": batch_size})

    def on(self, device: str) -> Case:
        """The same case on another device."""
        return Case(self.suite, {**self.axes, "device": device})

    @property
    def epochs(self) -> int:
        return int(self["epochs"])

    @property
    def learning_rate(self) -> float:
        """Raises UsageError for "default", which only the optimizer knows."""
        value = self["learning_rate"]
        if value == "default":
            raise UsageError(f"suite {self.suite!r} needs a learning_rate that is a number, not 'default'")
        return float(value)

    @property
    def optimizer(self) -> str:
        return str(self["optimizer"])

    @property
    def loss(self) -> str:
        return str(self["loss"])

    @property
    def scheduler(self) -> str | None:
        value = self["scheduler"]
        return None if value is None else str(value)

    @property
    def validate_every(self) -> int | None:
        """Steps between two validations inside the train stage; None for one at the end of the epoch."""
        value = self["validate_every"]
        return None if value == "epoch" else int(value)

    @property
    def used(self) -> dict[str, AxisValue]:
        """The declared axes that its mode uses, in order: the columns of its row in every table."""
        unused = unused_axes(self.mode)
        return {name: value for name, value in self.axes.items() if name not in unused}

    @property
    def id(self) -> str:
        """The stable name: `suite/axis=value/axis=value`, the same in every run of the same suite."""
        return "/".join([self.suite, *(f"{name}={spell(value)}" for name, value in self.used.items())])

    @property
    def label(self) -> str:
        """The short name for a progress bar: only the values."""
        return " ".join([self.suite, *(spell(value) for value in self.used.values())])

    def to_json(self) -> dict[str, Any]:
        return {"suite": self.suite, "axes": dict(self.axes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Case:
        case = cls(suite=data["suite"], axes=data["axes"])
        if not isinstance(case.suite, str) or not is_text(case.suite):
            raise UsageError(f"the name of a suite must be text, not {case.suite!r}")
        for name in case.axes:
            if not name.isidentifier() or name in RESERVED or not is_text(name):
                raise UsageError(f"{name!r} is not a name of an axis")
        return case


def spell(value: AxisValue) -> str:
    """An axis value as text in ids, flags and tables."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)  # different values have different texts
    return value if isinstance(value, str) else str(value)


def plain_value(value: Any) -> Any:
    """The plain value of an enumeration's member, a numpy number or a subclass of str, since JSON turns these into
    plain values. Other types are returned unchanged, and refused later.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else value


_LIMIT = 1 << 1024  # no float is as large, and Python does not convert much larger numbers to text


def check_value(axis: str, value: object) -> None:
    """Raises UsageError if no case can have this value on this axis."""
    if value is not None and not isinstance(value, str | int | float | bool):
        raise UsageError(
            f"axis {axis!r}: {value!r} is a {type(value).__name__}; use text, a number, true, false or None"
        )
    if isinstance(value, str) and not is_text(value):
        raise UsageError(
            f"axis {axis!r}: {value!r} cannot be written to a file; use text that UTF-8 can hold"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"axis {axis!r}: {value!r} is not a finite number")
    if isinstance(value, int) and abs(value) >= _LIMIT:
        raise UsageError(f"axis {axis!r}: a whole number of {value.bit_length()} bits; use a smaller one")
    if axis == "mode" and value not in MODES:
        raise UsageError(f"unknown mode {value!r}; there are {', '.join(MODES)}")
    if axis == "batch_size" and value != MAX:
        _whole(axis, value, least=1, why=f"or {MAX!r}, the largest that fits")
    if axis == "epochs":
        _whole(axis, value, least=2, why="the first epoch is warm-up and is not used")
    if axis == "validate_every" and value != "epoch":
        _whole(axis, value, least=1, otherwise="'epoch' or ")
    if (
        axis == "learning_rate"
        and value != "default"
        and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0)
    ):
        raise UsageError(
            f"learning_rate must be a number above 0, or 'default' (the optimizer's own), not {value!r}"
        )
    if axis == "target_loss" and isinstance(value, bool | str):
        raise UsageError(f"target_loss must be a number, or none, not {value!r}")
    if axis == "device" and not isinstance(value, str):
        raise UsageError(f"device must be text such as 'cpu' or 'cuda:0', not {value!r}")


def _whole(axis: str, value: object, least: int, why: str = "", otherwise: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        reason = f" ({why})" if why else ""
        raise UsageError(
            f"{axis} must be {otherwise}a whole number of at least {least}, not {value!r}{reason}"
        )


@dataclass(frozen=True)
class Schedule(JsonRecord):
    """How often and how long cases are launched.

    A case has at least `launches` timed launches (0: none, only exact counts), and more, up to `max_launches` (None:
    exactly `launches`), until the 95 % intervals of its gated metrics are within `tolerance` of their values (a share:
    0.02 for 2 %). At most `repeats` launches of a case are repeated because they were contaminated. `time_budget`, of
    the run, and `timeout`, of a launch, are seconds. Raises UsageError for impossible numbers.
    """

    launches: int = 6  # min to max of six covers the median with 96.9 %
    max_launches: int | None = None
    tolerance: float = 0.02
    repeats: int = 6
    time_budget: float | None = None
    timeout: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.launches < 0:
            raise UsageError(f"launches must be at least 0, not {self.launches}")
        if self.most < self.launches:
            raise UsageError(
                f"max-launches must be at least launches, {self.launches}, not {self.max_launches}"
            )
        if not 0 < self.tolerance < 1:
            raise UsageError(f"tolerance must be between 0 % and 100 %, not {self.tolerance:.4g}")
        if self.repeats < 0:
            raise UsageError(f"repeats must be at least 0, not {self.repeats}")
        if self.time_budget is not None and not self.time_budget > 0:
            raise UsageError(f"time-budget must be above 0 seconds, not {self.time_budget:g}")
        if not self.timeout > 0:
            raise UsageError(f"timeout must be above 0 seconds, not {self.timeout:g}")
        if not 0 <= self.seed < 2**32:  # the range that numpy accepts
            raise UsageError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}")

    @property
    def most(self) -> int:
        """The most launches of a case, without repeats."""
        return self.launches if self.max_launches is None else self.max_launches


MOST_PAIRS = 56  # the default maximum of pairs of launches of a case in an A/B

COUNT_THREADS = 2  # of every counts launch, so that counts are comparable
# Scripts use one thread, since their memory is not counted: on a busy processor two threads wait for each other in
# every small operator, so that minutes pass instead of seconds.
SCRIPT_COUNT_THREADS = 1


@dataclass(frozen=True)
class UntimedLaunches(JsonRecord):
    """The untimed launches of each case, one of each kind.

    `stacks` is a second profile, with Python's stacks; `graph` records the autograd graph. `profile_steps` steps of
    each stage are profiled; a trace above `trace_cap` bytes is not kept. Raises UsageError for impossible numbers.
    """

    counts: bool = False
    profile: bool = False
    stacks: bool = False
    graph: bool = False
    profile_steps: int = 5
    trace_cap: int = 50_000_000

    def __post_init__(self) -> None:
        if self.profile_steps < 1:
            raise UsageError(f"profile-steps must be at least 1, not {self.profile_steps}")
        if self.trace_cap < 1:
            raise UsageError(f"trace-cap must be at least 1 byte, not {self.trace_cap}")


ALLOCATORS = ("pinned", "system")
WAIT_POLICIES = ("ACTIVE", "PASSIVE")
START_METHODS = ("fork", "spawn")


@dataclass(frozen=True)
class Conditions(JsonRecord):
    """The part of the environment that the parent sets for every launch of a run.

    `cpus` are the logical processors that a launch may use; `wait_policy` is how idle threads of OpenMP wait, unless
    the user's environment says. Raises UsageError for impossible values.
    """

    threads: int = 1
    cpus: tuple[int, ...] = ()
    allocator: str = "pinned"
    start_method: str = "fork"
    data_root: str = "data"
    wait_policy: str = "ACTIVE"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cpus", tuple(self.cpus))
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, not {self.threads}")
        for name, value, known in (
            ("allocator", self.allocator, ALLOCATORS),
            ("start-method", self.start_method, START_METHODS),
            ("wait policy", self.wait_policy, WAIT_POLICIES),
        ):
            if value not in known:
                raise UsageError(f"unknown {name} {value!r}; there are {', '.join(known)}")


def columns(cases: Iterable[Case]) -> list[str]:
    """The axes of these cases in the order in which the suites declare them."""
    return list(dict.fromkeys(name for case in cases for name in case.axes))


_AXIS_PREFIX = "axis."


def axis_column(axis: str, others: Container[str]) -> str:
    """The column of an axis in a table with these other columns: `axis.step` if one of them is `step`."""
    return f"{_AXIS_PREFIX}{axis}" if axis in others else axis


def axis_of(column: str) -> str:
    """The axis of a column that `axis_column` named."""
    return column.removeprefix(_AXIS_PREFIX)
