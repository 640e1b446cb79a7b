"""A stored session of `bench ab`: the runs of its two sides, and which of their launches are pairs.

They are read as one run with the axis `side`. Which launches are a pair follows from their rounds and positions.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis.compare.environments import differences
from ..errors import ResultsError
from ..measurement import Environment, Failure, Measurement
from ..suite.case import Case
from .folder import SIDES, RunFolder
from .journal import Records, read_journal

FILE = "session.json"
AXIS = "side"

Record = Measurement | Failure


@dataclass(frozen=True)
class StoredPair:
    """Two successive launches of a case; `name` is the common name of the case."""

    name: str
    number: int
    records: tuple[Record, Record]
    base_led: bool


@dataclass(frozen=True)
class StoredSession:
    """A session as stored: `names` has the case of each side by their common name.

    `labels` are the user's names for the sides; `counts` is whether their exact counts are comparable; `most` is the
    maximum number of pairs of a case, None if unknown.
    """

    path: Path
    labels: tuple[str, str]
    names: Mapping[str, tuple[Case, Case]]
    pairs: Sequence[StoredPair]
    only: tuple[Sequence[str], Sequence[str]]
    environments: tuple[Environment | None, Environment | None]
    counts: bool
    most: int | None
    notes: Sequence[str]


def write(place: Path, names: Mapping[str, tuple[Case, Case]], **facts: Any) -> None:
    """Stores which cases of the two sides belong together, with other facts of the session."""
    both = {name: [case.id for case in pair] for name, pair in names.items()}
    RunFolder(place).write_json(FILE, {"cases": both, **facts})


def read(path: Path) -> StoredSession:
    """Raises ResultsError if a file of the session cannot be read."""
    sides = [RunFolder(path / side) for side in SIDES]
    records = [_records(side) for side in sides]
    plans = [side.plan() for side in sides]
    about = RunFolder(path).read_json(FILE)
    cases = [[Case.from_json(case) for case in plan.get("cases", [])] for plan in plans]
    names = _names(about.get("cases"), cases)
    return StoredSession(
        path=path,
        labels=(_label(plans[0], 0), _label(plans[1], 1)),
        names=names,
        pairs=list(_pairs(records, names)),
        only=(_texts(about.get("only_base")), _texts(about.get("only_candidate"))),
        environments=(sides[0].environment(), sides[1].environment()),
        counts=about.get("counts") is not False,
        most=most if isinstance(most := about.get("pairs"), int) else None,
        notes=[note for one in records for note in one.notes],
    )


def as_one(path: Path) -> tuple[Records, dict[str, Any], Environment | None]:
    """Records, plan and environment of both sides as those of one run; the last axis of its cases is the side.

    The environment is the candidate's; notes name differences of the base. Raises ResultsError as `read` does.
    """
    records = Records()
    cases: list[list[Mapping[str, Any]]] = []
    plans = []
    for side in SIDES:
        folder = RunFolder(path / side)
        found, plan = _records(folder), folder.plan()
        records.measurements += [
            dataclasses.replace(one, case=_of(one.case, side)) for one in found.measurements
        ]
        records.failures += [dataclasses.replace(one, case=_of(one.case, side)) for one in found.failures]
        records.notes += found.notes
        cases.append([_of(Case.from_json(case), side).to_json() for case in plan.get("cases", [])])
        plans.append(plan)
    first, second = (RunFolder(path / side).environment() for side in SIDES)
    if first is not None and second is not None:
        records.notes += [
            f"{path}: the sides differ in {one.field}: {one.first} and {one.second}"
            for one in differences(first, second)
        ]
    longest = max(map(len, cases))
    in_turn = [of[place] for place in range(longest) for of in cases if place < len(of)]
    schedule = {**plans[1].get("schedule", {}), "tolerance": None}  # a session is ended by its verdicts
    return records, {**plans[1], "cases": in_turn, "schedule": schedule}, second or first


def _of(case: Case, side: str) -> Case:
    axis = AXIS if AXIS not in case.axes else f"{AXIS}_of_ab"  # the user may have an axis of that name
    return Case(case.suite, {**case.axes, axis: side})


def _records(folder: RunFolder) -> Records:
    """The records of a side; empty if the session ended before its first launch."""
    return read_journal(folder.journal) if os.path.exists(folder.journal) else Records()


def _label(plan: Mapping[str, Any], number: int) -> str:
    label = plan.get("side")
    return label if isinstance(label, str) and label else SIDES[number]


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _names(written: Any, cases: Sequence[Sequence[Case]]) -> dict[str, tuple[Case, Case]]:
    """The case of each side by name; cases of the same name, if the names were not stored."""
    by_id = [{case.id: case for case in of} for of in cases]
    if isinstance(written, Mapping):
        try:
            return {str(name): (by_id[0][ids[0]], by_id[1][ids[1]]) for name, ids in written.items()}
        except (KeyError, IndexError, TypeError):
            raise ResultsError(
                f"{FILE} names cases that the plans of the sides do not have; remove it to continue without it"
            ) from None
    return {name: (case, by_id[1][name]) for name, case in by_id[0].items() if name in by_id[1]}


def _pairs(records: Sequence[Records], names: Mapping[str, tuple[Case, Case]]) -> Iterator[StoredPair]:
    """The pairs in the order of their rounds. A launch without a partner is dropped."""
    called = {(base.id, candidate.id): name for name, (base, candidate) in names.items()}
    sides: list[dict[tuple[int, str, int], Record]] = []
    for of in records:
        every: list[Record] = [*of.measurements, *of.failures]
        sides.append({_place(record): record for record in every})
    for place in sorted(sides[0].keys() & sides[1].keys()):
        base, candidate = sides[0][place], sides[1][place]
        name = called.get((base.case.id, candidate.case.id))
        if name is not None:
            yield StoredPair(name, place[0], (base, candidate), base.position < candidate.position)


def _place(record: Record) -> tuple[int, str, int]:
    """Round, kind and place of a pair; its two launches have successive positions."""
    return record.round, record.kind, (record.position + 1) // 2
