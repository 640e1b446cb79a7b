"""The cases that -k takes, of suites and of the sides of a comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..analysis.compare.sides import Side
from ..errors import UsageError
from ..plurals import counted
from ..running.plan import SuiteListing
from ..suite.case import Case, spell
from ..suite.selection import parse


def select_cases(listings: Sequence[SuiteListing], keyword: str | None) -> list[Case]:
    """The cases that -k takes. Raises UsageError, which names what there is, where it takes none."""
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


@dataclass(frozen=True)
class _SideCase:
    """A case of a side, as -k looks at it."""

    id: str
    used: Mapping[str, Any]


def select_side(side: Side, keyword: str | None, may_be_empty: bool = False) -> Side:
    """The side with the cases that -k takes. Raises UsageError where it takes none."""
    if keyword is None:
        return side
    takes = parse(keyword)
    cases = {
        name: case for name, case in side.cases.items() if takes(_SideCase(name, side.axes.get(name, {})))
    }
    if not cases and not may_be_empty:
        raise UsageError(
            f"-k {keyword!r} matches none of the {counted(len(side.cases), 'case')} of {side.name}"
        )
    axes = {name: values for name, values in side.axes.items() if name in cases}
    return dataclasses.replace(side, cases=cases, axes=axes)
