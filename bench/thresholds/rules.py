"""The thresholds of a project: a TOML file with the tolerated change of each metric, read into rules.

`[default]` applies to every row, each `[[rule]]` to the rows that its patterns match; later rules override earlier
ones. A file with an error is refused, since a misspelt word could let every change pass. So is a rule that matches no
row of a comparison, since it checks nothing.
"""

from __future__ import annotations

import fnmatch
import math
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..analysis.compare.policy import ACTIONS, ThresholdRule
from ..analysis.compare.sides import FOREIGN_METRICS
from ..errors import UsageError
from ..measurement import METRICS, PER_STEP, QUALITY, Metric, metric
from ..suite.matrix import column
from .suggestions import alternatives, closest, meant, short, some

SELECTORS = ("metric", "suite", "case", "device")

# The keys of a table, and the fields of a policy that they set.
SAYS: Mapping[str, tuple[str, ...]] = {
    "threshold": ("relative", "absolute"),
    "policy": ("regression",),
    "improvement": ("improvement",),
    "better": ("better",),
}
_BETTER = ("less", "more")

_TABLES = ("default", "rule")
_MOST_BYTES = 2**20  # of a file that a person writes
_NUMBER = re.compile(
    r"([+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|nan))\s*([^\d\s_.,+-]\S*)?", re.ASCII | re.IGNORECASE
)  # with a unit behind it
_EXAMPLES = {"s": "2ms", "B": "10MiB", "1": "3"}

# Units in the file: the value of one of them in the unit of a metric.
_UNITS: Mapping[str, tuple[float, str]] = {
    "s": (1, "s"),
    "ms": (1e-3, "s"),
    "us": (1e-6, "s"),
    "\N{MICRO SIGN}s": (1e-6, "s"),
    "\N{GREEK SMALL LETTER MU}s": (1e-6, "s"),  # looks the same, and keyboards have it
    "ns": (1e-9, "s"),
    "B": (1, "B"),
    **{f"{prefix}B": (1000**power, "B") for power, prefix in enumerate("kMGT", start=1)},
    **{f"{prefix}iB": (1024**power, "B") for power, prefix in enumerate("KMGT", start=1)},
    "samples/s": (1, "samples/s"),
    "J/sample": (1, "J/sample"),
    "mJ/sample": (1e-3, "J/sample"),
    **{f"{prefix}{unit}": (1000**power, unit)
       for unit in ("FLOP", "FLOP/s", "FLOP/B")
       for power, prefix in enumerate(("", "k", "M", "G", "T", "P"))},
}  # fmt: skip


def read_thresholds(path: Path) -> list[ThresholdRule]:
    """The rules in this file, the default first. Raises UsageError for a file with an error."""
    document = _document(path)
    for name in document:
        if name not in _TABLES:
            raise _unknown(f"{path}: table [{short(name)}]", name, _TABLES)
    rules = []
    default, tables = _tables(path, document)
    if default:
        rules.append(_Table(path, "[default]", default).rule(selectors=()))
    for number, table in enumerate(tables, start=1):
        rules.append(_Table(path, f"[[rule]] {number}", table).rule(selectors=SELECTORS))
    _refuse_contradictions(path, rules)
    return rules


def _document(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        # Reading a pipe would wait forever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a file; name the TOML file with the thresholds")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as problem:  # the latter for a path with a NUL
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise UsageError(f"{path} cannot be read: {why}; name the TOML file with the thresholds") from None
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{path} holds more than 1 MiB; name the TOML file with the thresholds")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as problem:
        raise UsageError(
            f"{path} is not UTF-8 text, from byte {problem.start} on; save it as UTF-8"
        ) from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deep; write [default] and [[rule]] tables only") from None
    except ValueError as problem:  # a TOMLDecodeError, or a number of thousands of digits
        raise UsageError(f"{path} is not TOML: {short(str(problem), 160)}; fix it there") from None


def _tables(path: Path, document: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The default and the rules, if they are written with the right brackets."""
    default, rules = document.get("default", {}), document.get("rule", [])
    if not isinstance(default, dict):
        raise UsageError(f"{path}: default is {_kind(default)}; write it as the one table [default]")
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        what = _kind(rules) if not isinstance(rules, list) else "an array of other things than tables"
        raise UsageError(f"{path}: rule is {what}; write each rule under its own [[rule]], in two brackets")
    return default, rules


class _Table:
    """One table of the file: its rule, or a message about its error."""

    def __init__(self, path: Path, place: str, table: Mapping[str, Any]) -> None:
        self.path = path
        self.place = place
        self.table = table

    def wrong(self, key: str, why: str, remedy: str) -> UsageError:
        """The error of a key, in one line."""
        return UsageError(f"{self.path}: {self.place}: {key} = {_shown(self.table[key])} {why}; {remedy}")

    def rule(self, selectors: Sequence[str]) -> ThresholdRule:
        """The table as a rule; `selectors` are the keys of which it needs at least one, empty for the default."""
        self._check_keys(selectors)
        patterns = {key: self._pattern(key) for key in selectors if key in self.table}
        if selectors and not patterns:
            what = "chooses no rows; add metric, suite, case or device, or put it into [default]"
            raise UsageError(f"{self.path}: {self.place} {what}")
        changes = self._changes(patterns.get("metric", ""))
        if not changes:
            raise UsageError(
                f"{self.path}: {self.place} has no effect; add threshold, policy, improvement or better"
            )
        return ThresholdRule(self.place, **patterns, changes=changes)

    def _check_keys(self, selectors: Sequence[str]) -> None:
        for key in self.table:
            if key in SELECTORS and key not in selectors:
                raise self.wrong(
                    key, "cannot stand here, for the default is of every row", "put it into a [[rule]]"
                )
            if key not in SELECTORS and key not in SAYS:
                raise _unknown(f"{self.path}: {self.place}: key {short(key)}", key, (*selectors, *SAYS))

    def _pattern(self, key: str) -> str:
        pattern = self.table[key]
        if not isinstance(pattern, str):
            raise self.wrong(key, f"is {_kind(pattern)}", "write a pattern in quotes")
        if not pattern.strip():
            raise self.wrong(key, "matches nothing", 'write a pattern, such as "*", or leave it out')
        return "/".join(map(_as_in_an_id, pattern.split("/"))) if key == "case" else pattern

    def _changes(self, pattern: str) -> dict[str, float | str]:
        """The fields of a policy that the rule changes."""
        changes: dict[str, float | str] = {}
        if "threshold" in self.table:
            changes.update(self._threshold(pattern))
        for key, name in (("policy", "regression"), ("improvement", "improvement")):
            if key in self.table:
                changes[name] = action = self.table[key]
                if action not in ACTIONS:
                    raise self.wrong(key, "is not a policy", f"write {alternatives(ACTIONS)}")
        if "better" in self.table:
            changes["better"] = self._better(pattern)
        return changes

    def _better(self, pattern: str) -> str:
        """The direction of user-defined metrics; a metric with a direction cannot get another one."""
        better: str = self.table["better"]
        if better not in _BETTER:
            raise self.wrong("better", "is not a direction", f"write {alternatives(_BETTER)}")
        known = [row for row in _matched(pattern) if row.better not in ("", better)]
        if known:
            raise self.wrong(
                "better",
                f"cannot be set for {known[0].name}, of which {known[0].better} is better",
                "name a metric of your own",
            )
        return better

    def _threshold(self, pattern: str) -> dict[str, float]:
        """A share as `relative`, anything with a unit as `absolute`."""
        written = self.table["threshold"]
        if isinstance(written, float):
            return {"relative": self._share(written)}
        number, unit = self._quantity(written)
        self._check_number(number)
        if unit == "%":
            return {"relative": number / 100}
        if not number and not unit:
            return {"relative": 0.0}  # zero in any unit
        step, of = self._unit(unit)
        self._check_unit(pattern, of, whole=number.is_integer())
        return {"absolute": number * step}

    def _share(self, written: float) -> float:
        """A number with a decimal point is a share; from 1 on it might be meant as a percentage."""
        self._check_number(written)
        if written >= 1:
            percent = f"{written * 100:g}%"
            raise self.wrong(
                "threshold", f"would be {percent}", f'write "{written:g}%" or "{percent}", whichever is meant'
            )
        return written

    def _quantity(self, written: object) -> tuple[float, str]:
        """The number of the threshold and its unit; a number without quotes has no unit."""
        if isinstance(written, int) and not isinstance(written, bool):
            # It may be of any length: read from a text it is infinite where no float is as large.
            return float(str(written)), ""
        if not isinstance(written, str):
            raise self.wrong("threshold", f"is {_kind(written)}", _write("s", "B", "1"))
        match = _NUMBER.fullmatch(written.strip())
        if match is None:
            raise self.wrong("threshold", "is not a number with a unit", _write("s", "B", "1"))
        return float(match[1]), match[2] or ""

    def _check_number(self, number: float) -> None:
        for holds, what in ((number < 0, "is negative"), (not math.isfinite(number), "is not finite")):
            if holds:
                raise self.wrong("threshold", what, "write a number from 0 on: the largest tolerated change")

    def _unit(self, unit: str) -> tuple[float, str]:
        """The factor of a unit, and the unit of metrics that it is for."""
        if not unit:
            return 1, "1"
        unit = unit.removesuffix(PER_STEP)  # a count of a step may be written with or without it
        if unit not in _UNITS:
            raise self.wrong(
                "threshold", f"has no known unit, {unit!r:.40}", meant(unit, _UNITS, _write("s", "B", "1"))
            )
        return _UNITS[unit]

    def _check_unit(self, pattern: str, unit: str, whole: bool) -> None:
        """An absolute threshold has one unit, so all metrics that it applies to must have that unit."""
        metrics = _matched(pattern)
        units = list(dict.fromkeys(row.unit.removesuffix(PER_STEP) for row in metrics))
        if len(units) > 1:
            whose = f"metric = {_shown(pattern)} matches" if pattern else "it is for all"
            raise self.wrong(
                "threshold",
                f"is in one unit, but {whose} metrics in {some(units)}",
                'name metrics of one unit, or write a share, such as "5%"',
            )
        if unit != units[0]:
            what = "is a plain number" if unit == "1" else f"is in {unit}"
            meant = "is a plain number" if units[0] == "1" else f"is in {units[0]}"
            raise self.wrong("threshold", f"{what}, but {_shown(pattern)} {meant}", _write(units[0]))
        if unit == "1" and not whole and any(row.kind in ("exact", "machine") for row in metrics):
            raise self.wrong("threshold", f"is not a whole number, but {_shown(pattern)} counts", _write("1"))


def _matched(pattern: str) -> list[Metric]:
    """The metrics that a pattern matches; one that matches no known metric is for user-defined metrics."""
    if pattern in FOREIGN_METRICS:
        return [FOREIGN_METRICS[pattern]]
    found = [row for name, row in METRICS.items() if fnmatch.fnmatchcase(name, pattern or "*")]
    if pattern.startswith(QUALITY):
        # A time to a loss needs its own name, which the last line finds: see `ThresholdRule.names`.
        found = [row for row in found if row.kind == "quality"]
    return found or [metric(pattern)]


def _refuse_contradictions(path: Path, rules: Sequence[ThresholdRule]) -> None:
    """Refuses two rules for the same rows that differ: the later would override the earlier one unnoticed."""
    said: dict[tuple[tuple[str, str], ...], list[ThresholdRule]] = {}
    for rule in rules:
        alike = said.setdefault(tuple(selectors(rule).items()), [])
        for earlier in alike:
            for key in SAYS:
                old, new = _saying(earlier, key), _saying(rule, key)
                if old and new and old != new:
                    raise UsageError(
                        f"{path}: {rule.place} and {earlier.place} are for the same rows and differ in {key}; "
                        "keep one of them"
                    )
        alike.append(rule)


def _saying(rule: ThresholdRule, key: str) -> dict[str, float | str]:
    return {name: rule.changes[name] for name in SAYS[key] if name in rule.changes}


def _as_in_an_id(part: str) -> str:
    """A part of a pattern for ids, with the axis as in ids: `batch_size=64` for `batch-size=64`."""
    axis, equals, value = part.partition("=")
    return f"{column(axis)}={value}" if equals and "[" not in axis else part


def _write(*units: str) -> str:
    """The remedy for a threshold: a share, or a quantity in one of these units."""
    examples = [f'"{_EXAMPLES.get(unit, f"1{unit}")}"' for unit in units]
    return f'write a share, such as "5%" or 0.05, or a quantity, such as {alternatives(examples)}'


def selectors(rule: ThresholdRule) -> dict[str, str]:
    """The patterns that a rule has."""
    return {key: getattr(rule, key) for key in SELECTORS if getattr(rule, key)}


def _unknown(what: str, word: str, known: Iterable[str]) -> UsageError:
    return UsageError(f"{what} is not known; {meant(word, known)}")


def _kind(value: object) -> str:
    """The type of a TOML value, in words."""
    names = {dict: "a table", list: "an array", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "a date or time")


def _shown(value: object) -> str:
    """A value as in the file; the type of tables, arrays and very large numbers."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{short(value)}"'
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**20):
        return str(value)
    return f"({_kind(value)})"


_Row = tuple[str, str, str, str]  # metric, suite, case and device


def check_used(rules: Sequence[ThresholdRule], rows: Iterable[_Row], path: Path) -> None:
    """Raises UsageError for a rule that matches no row (metric, suite, case, device) of a comparison."""
    there = list(dict.fromkeys(rows))
    for rule in rules:
        if _is_of_quality(rule):
            continue
        if selectors(rule) and not any(rule.holds(*row) for row in there):
            raise UsageError(
                f"{path}: {rule.place} matches nothing in this comparison: {_missed(rule, there)}"
            )


def _is_of_quality(rule: ThresholdRule) -> bool:
    """Whether a rule is about the quality of all cases, by a pattern: a loop may have no loss."""
    ours = (row for row in METRICS.values() if row.kind == "quality")
    return (
        list(selectors(rule)) == ["metric"]
        and "*" in rule.metric
        and any(fnmatch.fnmatchcase(row.name, rule.metric) for row in ours)
    )


def _missed(rule: ThresholdRule, rows: Sequence[_Row]) -> str:
    """The pattern that matches nothing, and existing names."""
    patterns = selectors(rule)
    # A pattern that matches nothing by itself is named first; else the pattern that leaves no row.
    alone = [key for key in patterns if not _matching(rows, key, patterns[key])]
    key, left = (alone[0], rows) if alone else _last_left(rows, patterns)
    named = list(dict.fromkeys(row[SELECTORS.index(key)] for row in left))
    before = "" if alone else " in the rows that its other patterns leave"
    return (
        f'{key} = "{short(patterns[key])}" matches no {key}{before}, where there is '
        f"{some(closest(patterns[key], named)) or 'none'}; fix the pattern, or take the rule out"
    )


def _last_left(rows: Sequence[_Row], patterns: Mapping[str, str]) -> tuple[str, Sequence[_Row]]:
    """The first pattern that matches none of the rows left by the patterns before it, and these rows."""
    (key, pattern), *others = patterns.items()
    matching = _matching(rows, key, pattern)
    return _last_left(matching, dict(others)) if matching else (key, rows)


def _matching(rows: Sequence[_Row], key: str, pattern: str) -> list[_Row]:
    place = SELECTORS.index(key)
    return [row for row in rows if fnmatch.fnmatchcase(row[place], pattern)]
