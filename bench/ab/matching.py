"""Which case of one side is compared with which of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..suite.case import AxisValue, Case, spell


@dataclass(frozen=True)
class Matching:
    """`pairs` maps names to the cases of base and candidate; the others exist on one side only."""

    pairs: Mapping[str, tuple[Case, Case]]
    only_base: Sequence[str]
    only_candidate: Sequence[str]


def match(base: Sequence[Case], candidate: Sequence[Case], set_axes: Sequence[str] = ()) -> Matching:
    """Pairs of cases that are equal except for the axes that a side has set."""
    candidates: dict[tuple[str, tuple[tuple[str, AxisValue], ...]], list[Case]] = {}
    for case in candidate:
        candidates.setdefault(_rest(case, set_axes), []).append(case)
    pairs: dict[str, tuple[Case, Case]] = {}
    paired: set[str] = set()
    only_base = []
    for case in base:
        equal = candidates.get(_rest(case, set_axes), [])
        if not equal:
            only_base.append(case.id)
        for other in equal:
            pairs[_name(case, other, set_axes)] = (case, other)
            paired.add(other.id)
    return Matching(pairs, only_base, [case.id for case in candidate if case.id not in paired])


def _rest(case: Case, set_axes: Sequence[str]) -> tuple[str, tuple[tuple[str, AxisValue], ...]]:
    return case.suite, tuple((name, value) for name, value in case.used.items() if name not in set_axes)


def _name(base: Case, candidate: Case, set_axes: Sequence[str]) -> str:
    if base.id == candidate.id:
        return base.id
    values = ", ".join(f"{name}={spell(base.get(name))}" for name in set_axes)
    return f"{candidate.id} against {values}"
