"""What an A/B measures, the cases of each side, and which of them are compared."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SuiteError, UsageError
from ..running.plan import SuiteListing, spread_of
from ..running.preparation import describe, describe_script, suite_files
from ..suite.case import MOST_PAIRS, AxisValue, Case, Conditions, Schedule, spell
from ..suite.matrix import ARGUMENT, VARIABLE, column
from ..suite.script import Script
from ..suite.selection import parse
from .sides import MeasuredSide, Sides
from .trees import Tree


@dataclass(frozen=True)
class AbRequest:
    """What an A/B measures: `suites` as the user named them, the -k expression in `keyword`, the axes of --axis.

    With a `script` there are no suites. `build` is the command that builds each tree; `pairs` the maximum of a case;
    `labels` go into plan.json.
    """

    suites: Sequence[Path]
    schedule: Schedule
    conditions: Conditions
    keyword: str | None = None
    overrides: Mapping[str, Sequence[AxisValue]] = field(default_factory=dict)
    build: str = ""
    download: bool = False
    pairs: int = MOST_PAIRS
    labels: Mapping[str, str] = field(default_factory=dict)
    script: Script | None = None


def cases_of_suites(sides: Sides, request: AbRequest) -> list[list[Case]]:
    """The cases of each side, from the suites that the request names in its tree."""
    files = [_files(side.tree, request.suites) for side in sides]
    if not any(files):
        suite_files(request.suites)  # raises the error
    return [_cases(side, own, request) for side, own in zip(sides, files, strict=True)]


def _files(tree: Tree, suites: Sequence[Path]) -> list[str]:
    """The suite files of a side, without those that its tree does not have."""
    files: list[str] = []
    for suite in suites or [Path("suites")]:
        with contextlib.suppress(SuiteError):
            files += suite_files([Path(tree.path(str(suite)))])
    return files


def _cases(side: MeasuredSide, files: Sequence[str], request: AbRequest) -> list[Case]:
    """The cases of a side, as its own suites declare them. Raises UsageError where a batch size is not known yet."""
    if not files:
        return []
    for name in side.version.axes:
        if name.startswith((VARIABLE, ARGUMENT)):
            raise UsageError(
                f"set:{name}: env: and arg: name the options of a script; a suite's axis has neither"
            )
    overrides = {**request.overrides, **{name: [value] for name, value in side.version.columns.items()}}
    return _listed(side, describe(side.workers, files, overrides), request)


def cases_of_script(side: MeasuredSide, script: Script, request: AbRequest) -> list[Case]:
    """The cases of a script in the tree of a side; none where the tree does not have the file."""
    path = Path(side.tree.path(script.path))
    if not os.path.isfile(path):
        return []
    script = dataclasses.replace(script, path=str(path)).with_axes(side.version.axes)
    side.plan = dataclasses.replace(side.plan, script=script)
    axes = {column(name): values for name, values in request.overrides.items()}
    axes |= {name: [value] for name, value in side.version.columns.items()}
    return _listed(side, describe_script(script, axes), request)


def _listed(side: MeasuredSide, listings: Sequence[SuiteListing], request: AbRequest) -> list[Case]:
    """The cases of these suites that -k selects; their files and cards are recorded in the plan of the side."""
    files = {listing.name: listing.file for listing in listings}
    side.plan = dataclasses.replace(side.plan, files=files, spread=spread_of(listings))
    cases = [case for listing in listings for case in listing.expansion.cases]
    if request.keyword is not None:
        cases = list(filter(parse(request.keyword), cases))
    if any(case.seeks_largest for case in cases):
        raise UsageError(
            "batch_size=max is found by bench run; give the number it found: --axis batch_size=N"
        )
    return cases


@dataclass(frozen=True)
class Matching:
    """`pairs` maps names to the cases of base and candidate; the others exist on one side only."""

    pairs: Mapping[str, tuple[Case, Case]]
    only_base: Sequence[str]
    only_candidate: Sequence[str]

    def on(self, devices: Sequence[Mapping[str, str]]) -> Matching:
        """The same pairs on the devices that a script chose on each side, by the ids of the cases here.

        A pair is named as before where both sides chose alike, but for the device.
        """
        if not any(devices):
            return self
        pairs = {}
        for name, both in self.pairs.items():
            base, candidate = (
                case.on(chosen.get(case.id, case.device)) for case, chosen in zip(both, devices, strict=True)
            )
            renamed = name.replace(both[1].id, candidate.id, 1)
            if base.device != candidate.device:
                renamed = f"{candidate.id} against device={base.device}"
            pairs[renamed] = (base, candidate)
        return Matching(pairs, self.only_base, self.only_candidate)


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
