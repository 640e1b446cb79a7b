"""Parses the texts of options: durations, sizes, shares, the values of an axis, the cases of -k."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import UsageError
from ..plurals import counted
from ..running.plan import SuiteListing
from ..suite.case import AxisValue, Case, spell
from ..suite.matrix import ARGUMENT, VARIABLE, column, parse_axis
from ..suite.selection import parse

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)\s*"
_DURATION = re.compile(_NUMBER + r"(s|m|h|)")
_SHARE = re.compile(_NUMBER + r"(%|)")
_SIZE = re.compile(_NUMBER + r"(?:([kmgt])(i?))?b?")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_MOST_BYTES = 2**62  # the largest limit that the kernel takes


def seconds(text: str) -> float:
    """A duration such as 90, 90s, 1.5m or 2h, in seconds. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise UsageError(f"{text!r} is not a duration; write it as 90, 90s, 5m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def size(text: str) -> int:
    """A number of bytes such as 2GiB, 500 MB or 1048576. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip().lower())
    # A prefix without B is refused: tools do not agree on whether G is a power of 1000 or of 1024.
    if match is None or (match[2] and not text.strip().lower().endswith("b")):
        raise UsageError(f"{text!r} is not a size; write it as 2GiB, 500MB or a number of bytes")
    step = 1024 if match[3] else 1000
    count = float(match[1]) * step ** _POWERS.get(match[2], 0)
    if not 1 <= count <= _MOST_BYTES:
        raise UsageError(
            f"{text!r} is not a possible size of memory; write it as 2GiB, 500MB or a number of bytes"
        )
    return int(count)


def share(text: str) -> float:
    """A share such as 2%, 0.5% or 0.02. Raises UsageError."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 1.0
    if not 0 < value < 1:
        raise UsageError(f"{text!r} is not a share between 0 % and 100 %; write it as 2% or 0.02")
    return value


def script_axes(axes: Sequence[str] | None) -> dict[str, list[AxisValue]]:
    """The values given by --axis, by the axis as typed. Raises UsageError for an axis that is given twice."""
    return _by_axis([parse_axis(text) for text in axes or []])


def suite_axes(axes: Sequence[str] | None) -> dict[str, list[AxisValue]]:
    """The values given by --axis, by the axis of a suite. Raises UsageError for one given twice or a script's."""
    pairs = [parse_axis(text) for text in axes or []]
    for name, _ in pairs:
        if name.startswith((VARIABLE, ARGUMENT)):
            raise UsageError(
                f"--axis {name}: env: and arg: name the options of a script; a suite's axis has neither"
            )
    return _by_axis([(column(name), values) for name, values in pairs])


def _by_axis(pairs: Sequence[tuple[str, list[AxisValue]]]) -> dict[str, list[AxisValue]]:
    given: dict[str, list[AxisValue]] = {}
    for name, values in pairs:
        if name in given:
            raise UsageError(f"--axis {name} is given twice; give its values once, joined by commas")
        given[name] = values
    return given


def select_cases(listings: Sequence[SuiteListing], keyword: str | None) -> list[Case]:
    """The cases that -k selects. Raises UsageError with the existing cases if there are none."""
    cases = [case for listing in listings for case in listing.expansion.cases]
    chosen = list(filter(parse(keyword), cases)) if keyword is not None else cases
    if chosen:
        return chosen
    if not cases:
        reasons = {reason for listing in listings for _, reason in listing.expansion.excluded}
        raise UsageError(f"no case is left: {'; '.join(sorted(reasons))}")
    values: dict[str, dict[str, None]] = {}
    for case in cases:
        for axis, value in case.used.items():
            values.setdefault(axis, {})[spell(value)] = None
    there = "; ".join(f"{axis}: {', '.join(spelled)}" for axis, spelled in values.items())
    raise UsageError(f"-k {keyword!r} matches none of the {counted(len(cases), 'case')}; there are {there}")
