"""SI values as people read them: a prefix that fits, three significant digits."""

from __future__ import annotations

import math
from collections.abc import Iterable

NOTHING = "-"  # stands for a missing value

_SI = {1e-9: "n", 1e-6: "µ", 1e-3: "m", 1.0: "", 1e3: "k", 1e6: "M", 1e9: "G", 1e12: "T", 1e15: "P"}
_BINARY = {1.0: "", 2.0**10: "Ki", 2.0**20: "Mi", 2.0**30: "Gi", 2.0**40: "Ti", 2.0**50: "Pi"}

_LARGE = {step: prefix for step, prefix in _SI.items() if step >= 1}

# Every other unit counts things, such as samples/s: there are no milli-samples, and a blank follows the prefix.
_PREFIXES = {
    "s": {step: prefix for step, prefix in _SI.items() if step <= 1},  # kiloseconds are unusual
    **dict.fromkeys(("B", "B/step"), _BINARY),
    "%": {1.0: ""},
    **dict.fromkeys(("J", "J/sample", "W", "Hz"), _SI),
    **dict.fromkeys(("FLOP", "FLOP/s", "FLOP/B", "FLOP/step"), _LARGE),
}

_PLAIN_ALONE = 1e6  # a count below it is written in full: 14,500 samples/s
_PLAIN_IN_COLUMN = 1e4  # on an axis or in a column the digits repeat, so that a prefix helps earlier
_EXACT = 1e9  # a whole number below it is exact, digit for digit: counts are compared exactly


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit: 0.00123 s is '1.23 ms', 36700160 B '35.0 MiB'; '-' where there is no value."""
    known = _known(value)
    if known is None:
        return NOTHING
    if exact := exactly(known, unit):
        return f"{exact} {_word(unit)}".rstrip()
    step, label = _prefix(abs(known), unit, _PLAIN_ALONE)
    if known.is_integer() and step == 1 and unit in ("B", "B/step"):
        return f"{known:,.0f} {_word(unit)}"
    return f"{digits(known / step)} {label}".rstrip()


def counts(unit: str) -> bool:
    """Whether values in this unit are numbers of things, in total or per step."""
    return unit in ("1", "1/step")


def exactly(value: float, unit: str) -> str:
    """A number of things in all its digits, since it is compared exactly; empty for any other value.

    A number per step is the mean of a few steps, and may end in a half.
    """
    if not counts(unit) or abs(value) >= _EXACT:
        return ""
    if value.is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}" if unit != "1" and (2 * value).is_integer() else ""


def interval(low: float | None, high: float | None, value: float | None) -> str:
    """Half the width of an interval as a share of the value: '±2.1 %'; '-' without an interval."""
    ends = [_known(end) for end in (low, high, value)]
    if ends[0] is None or ends[1] is None or not ends[2]:
        return NOTHING
    return f"±{percent((ends[1] - ends[0]) / 2 / abs(ends[2]))}"


def percent(share: float) -> str:
    """A share as percent with two digits: '2.1 %', '12 %', '0.42 %'; never rounded to nothing."""
    value = share * 100
    if value == 0:
        return "0 %"
    if value >= 9.95:
        return f"{value:,.0f} %"
    return f"{value:.1f} %" if value >= 0.995 else f"{max(value, 0.01):.2f} %"


def scale(values: Iterable[float | None], unit: str) -> tuple[float, str]:
    """One prefix for all numbers of an axis or a column, so that they compare at a glance.

    Returns the factor to multiply each value by and the unit to write in the head: (1000.0, 'ms'). The
    largest value chooses the prefix.
    """
    largest = max((abs(known) for value in values if (known := _known(value)) is not None), default=0.0)
    step, label = _prefix(largest, unit, _PLAIN_IN_COLUMN)
    return 1 / step, label


def digits(value: float) -> str:
    """A bare number with three significant digits: '0.0123', '1.20', '14,500'."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    magnitude = math.floor(math.log10(abs(rounded)))
    if not -4 <= magnitude < 15:
        return f"{rounded:.2e}"
    return f"{rounded:,.{max(2 - magnitude, 0)}f}"


def _prefix(size: float, unit: str, plain_below: float) -> tuple[float, str]:
    """The largest prefix that leaves a number of at least 1, and the unit with that prefix."""
    prefixes = _PREFIXES.get(unit, _LARGE)
    if size == 0 or (unit not in _PREFIXES and size < plain_below):
        return 1.0, _word(unit)
    # 999.9 us rounds to 1.00 ms, and 1,000 KiB reads better as 0.977 MiB: no number has four digits.
    fitting = [step for step in prefixes if size / step < 999.5]
    step = min(fitting) if fitting else max(prefixes)
    joint = "" if unit in _PREFIXES else " "
    return step, f"{prefixes[step]}{joint}{_word(unit)}".strip()


def _word(unit: str) -> str:
    return {"1": "", "1/step": "a step"}.get(unit, unit)


def _known(value: float | None) -> float | None:
    """The value if it is a finite number, else None. A pandas column may hold NA, which float() refuses."""
    try:
        number = float(value)  # type: ignore[arg-type]  # it refuses None, which is caught
    except TypeError:
        return None
    return number if math.isfinite(number) else None
