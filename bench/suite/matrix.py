"""A suite is a named matrix: axes times values, expanded into cases.

Expansion drops combinations, each with the reason: those that differ only in an axis that their mode does not use
collapse into one case, repeated ones are one case, and impossible ones on this machine are excluded.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..errors import SuiteError, UsageError
from ..user_errors import detail_of, one_line, where
from .case import DEFAULTS, RESERVED, AxisValue, Case, check_value, plain_value, spell, unused_axes

AVAILABLE = "available"  # every device of the machine, equal cards as one
ALL = "all"  # every device of the machine, each card by itself
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_AXIS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Suite:
    """A named matrix of cases.

    `build(case)` makes the `bench.training.Task` of a case; it runs in the worker only, so torch is imported inside it.
    `axes` maps a name to its values (`"device": "available"` stands for every device of the machine, where equal cards
    are one device; `"all"` for each card by itself). `choices` names the possible values of an axis, so that a misspelt
    one is found before anything is built. `exclude(case)` returns the reason why a combination is impossible, or None.
    `columns` names the metrics in the suite's table, instead of the default ones. Raises SuiteError for a declaration
    that cannot be expanded.
    """

    name: str
    build: Callable[[Case], Any]
    axes: Mapping[str, Sequence[AxisValue] | str] = field(default_factory=dict)
    choices: Mapping[str, Collection[AxisValue]] = field(default_factory=dict)
    exclude: Callable[[Case], str | None] | None = None
    columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise SuiteError(f"suite name {self.name!r}: use letters, digits, '-', '_' and '.'")
        if not callable(self.build):
            raise SuiteError(f"suite {self.name!r}: build must be a function of a case")
        if self.exclude is not None and not callable(self.exclude):
            raise SuiteError(f"suite {self.name!r}: exclude must be a function of a case, or None")
        for name in ("axes", "choices"):
            if not isinstance(getattr(self, name), Mapping):
                raise SuiteError(f"suite {self.name!r}: {name} maps the name of an axis to its values")
        # Read only once: a generator is then exhausted, and a list may change.
        axes = {axis: _read(values) for axis, values in self.axes.items()}
        object.__setattr__(self, "axes", MappingProxyType(axes))
        object.__setattr__(self, "columns", _read(self.columns))
        for axis, values in self.axes.items():
            self._check_axis(axis, values)
        if not isinstance(self.columns, tuple) or not all(isinstance(name, str) for name in self.columns):
            raise SuiteError(
                f"suite {self.name!r}: columns is a list of metrics, such as ['train.step_time']"
            )

    def _check_axis(self, axis: str, values: Sequence[AxisValue] | str) -> None:
        where = f"suite {self.name!r}, axis {axis!r}"
        if not isinstance(axis, str) or not _AXIS.fullmatch(axis):
            raise SuiteError(f"{where}: an axis is named like a Python variable")
        if axis in RESERVED:
            raise SuiteError(f"{where}: every table has a column of this name; call the axis something else")
        if isinstance(values, str):
            if axis == "device" and values in (AVAILABLE, ALL):
                return
            raise SuiteError(f"{where}: give a list of values, such as [{values!r}]")
        if not isinstance(values, tuple) or not values:
            raise SuiteError(f"{where}: give a list with at least one value")
        for value in values:
            try:
                self.check(axis, value)
            except UsageError as problem:
                raise SuiteError(f"suite {self.name!r}: {problem}") from None

    def check(self, axis: str, value: AxisValue) -> None:
        """Raises UsageError for a value that no case of this suite can have."""
        check_value(axis, value)
        known = self.choices.get(axis)
        if known is not None and value not in known:
            raise UsageError(f"unknown {axis} {value!r}; there are {', '.join(map(spell, known))}")

    def needs_devices(self, overrides: Mapping[str, Sequence[AxisValue]]) -> bool:
        """True if expanding needs to know the devices of the machine."""
        devices = overrides.get("device", self.axes.get("device", AVAILABLE))
        return isinstance(devices, str) or any(value != "cpu" for value in devices)

    def expand(
        self,
        devices: Sequence[str] = ("cpu",),
        overrides: Mapping[str, Sequence[AxisValue]] | None = None,
        absent: Callable[[str], str] | None = None,
        equal: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Expansion:
        """All cases of the matrix, in the order of its axes; the last axis varies fastest.

        `devices` are those of this machine, `equal` the cards that are like one of them, itself included, by the first
        of them; `overrides` replaces the values of an axis; `absent` returns why a device is not among `devices`.
        Raises UsageError for an override of an axis that the suite does not have, for a value that no case can have,
        and for a device that this machine does not have.
        """
        # `device` is an axis of every suite, since every launch has a device.
        declared = {"device": AVAILABLE, **self.axes}
        matrix = {
            axis: [values] if isinstance(values, str) else list(values) for axis, values in declared.items()
        }
        for axis, values in (overrides or {}).items():
            there = dict.fromkeys([*matrix, *DEFAULTS, *self.choices])
            if axis not in there:
                raise UsageError(f"suite {self.name!r} has no axis {axis!r}; it has {', '.join(there)}")
            for value in values:
                self.check(axis, value)
                if axis == "device" and not set(_named(value, devices, equal)) <= set(devices):
                    raise UsageError(_why_not(str(value), devices, absent))
            matrix[axis] = list(values)
        requested = matrix["device"]
        matrix["device"] = [name for device in requested for name in _named(device, devices, equal)]

        expansion = Expansion(spread=_spread(requested, devices, equal))
        excluded: dict[str, str] = {}
        refused: dict[str, Case] = {}
        ids: set[str] = set()
        for values in itertools.product(*matrix.values()):
            case = Case(self.name, dict(zip(matrix, values, strict=True)))
            reason = self._exclusion(case, devices, absent)
            if case.id in ids or case.id in excluded:
                unused = unused_axes(case.mode) & matrix.keys()
                key = (case.mode, tuple(axis for axis in matrix if axis in unused))
                expansion.collapsed[key] = expansion.collapsed.get(key, 0) + 1
            if reason is not None and case.id not in ids:
                excluded.setdefault(case.id, reason)
                refused[case.id] = case
            elif reason is None and case.id not in ids:
                # The reason was in an axis that the mode does not use.
                excluded.pop(case.id, None)
                expansion.cases.append(case)
                ids.add(case.id)
        expansion.excluded = list(excluded.items())
        for axis, values in (overrides or {}).items():
            for value in values:
                self._check_asked(axis, value, expansion, refused)
        return expansion

    def _check_asked(
        self, axis: str, value: AxisValue, expansion: Expansion, refused: Mapping[str, Case]
    ) -> None:
        """Raises UsageError if a flag names a value, and every case with it is excluded."""
        if any(case.used.get(axis, ...) == value for case in expansion.cases):
            return
        reasons = {
            reason: None for name, reason in expansion.excluded if refused[name].used.get(axis, ...) == value
        }
        if reasons:
            raise UsageError(
                f"suite {self.name!r} has no case of {axis}={spell(value)}: {'; '.join(reasons)}"
            )

    def _exclusion(
        self, case: Case, devices: Sequence[str], absent: Callable[[str], str] | None
    ) -> str | None:
        if case.device not in devices:
            return _why_not(case.device, devices, absent)
        if self.exclude is None:
            return None
        try:
            reason: Any = self.exclude(case)
        except UsageError:
            raise
        except (Exception, SystemExit) as problem:
            raise SuiteError(
                f"suite {self.name!r}: exclude raised {one_line(problem)} at {where(problem) or 'a place unknown'} "
                f"for {case.id}",
                detail_of(problem),
            ) from None
        if reason is None or reason is False:  # as the result of `case.batch_size > 512 and "too large"`
            return None
        if not isinstance(reason, str):
            raise SuiteError(
                f"suite {self.name!r}: exclude gave {reason!r:.60} for {case.id}; return the reason as text, or None"
            )
        return reason


@dataclass
class Expansion:
    """The cases of a matrix, and the dropped combinations with the reasons.

    `spread` has, by the device of a case, the equal cards over which its launches are spread, itself included.
    """

    cases: list[Case] = field(default_factory=list)
    # (mode, the axes that it does not use) -> number of combinations that are the same case; no axes: duplicates
    collapsed: dict[tuple[str, tuple[str, ...]], int] = field(default_factory=dict)
    excluded: list[tuple[str, str]] = field(default_factory=list)
    spread: dict[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "cases": [case.to_json() for case in self.cases],
            "collapsed": [[mode, list(axes), count] for (mode, axes), count in self.collapsed.items()],
            "excluded": [list(pair) for pair in self.excluded],
            "spread": self.spread,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Expansion:
        return cls(
            cases=[Case.from_json(case) for case in data["cases"]],
            collapsed={(mode, tuple(axes)): count for mode, axes, count in data["collapsed"]},
            excluded=[(case, reason) for case, reason in data["excluded"]],
            spread={device: list(cards) for device, cards in data["spread"].items()},
        )


def _read(values: Any) -> Any:
    """An iterable as a tuple of plain values; anything else, also text, unchanged."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return values
    return tuple(map(plain_value, values))


def _named(device: AxisValue, devices: Sequence[str], equal: Mapping[str, Sequence[str]]) -> list[Any]:
    """The devices that a value of the axis stands for: `cuda` is the first of its kind, as it is for torch."""
    if device == AVAILABLE:
        others = {card for cards in equal.values() for card in cards[1:]}
        return [name for name in devices if name not in others]
    if device == ALL:
        return list(devices)
    first = f"{device}:0"
    return [first if device not in devices and first in devices else device]


def _spread(
    requested: Sequence[AxisValue], devices: Sequence[str], equal: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """The equal cards for each device that stands for several: not for one that is requested by its number."""
    if ALL in requested:
        return {}
    kinds = [name for device in requested for name in _named(device, devices, equal) if name != device]
    return {kind: list(equal[kind]) for kind in kinds if kind in equal and kind not in requested}


def _why_not(device: str, devices: Sequence[str], absent: Callable[[str], str] | None) -> str:
    reason = f": {absent(device)}" if absent is not None else ""
    return f"this machine has no device {device!r}, it has {', '.join(devices)}{reason}"


def parse_axis(text: str) -> tuple[str, list[AxisValue]]:
    """Parses `name=v1,v2` of a flag; a value that looks like a number is one. Raises UsageError."""
    name, equals, values = text.partition("=")
    if not equals or not name.strip() or not all(value.strip() for value in values.split(",")):
        raise UsageError(f"--axis {text!r}: write it as name=value or name=value,value")
    return name.strip(), [parse_value(value.strip()) for value in values.split(",")]


VARIABLE, ARGUMENT = (
    "env:",
    "arg:",
)  # prefixes of a script's axis: an environment variable; an argument as written
_IN_A_COLUMN = str.maketrans("-.", "__")


def column(name: str) -> str:
    """The name of an axis in tables and suites: `batch_size` for `batch-size`, `b` for `arg:-b`, `WORKERS` for
    `env:WORKERS`.
    """
    return name.removeprefix(VARIABLE).removeprefix(ARGUMENT).lstrip("-").translate(_IN_A_COLUMN)


def parse_value(text: str) -> AxisValue:
    """Text of a flag as the value that it spells: the inverse of `case.spell`."""
    named: dict[str, AxisValue] = {"none": None, "true": True, "false": False}
    if text.lower() in named:
        return named[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
