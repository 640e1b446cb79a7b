"""The words that tell cases apart on their page, and pages from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from ...measurement import Environment
from ...plurals import counted
from ...results.tables import Tables
from ...suite.case import DEFAULTS, axis_of, spell, unused_axes
from .lettering import fit

_SELF_EVIDENT = ("dataset", "model", "optimizer", "mode")  # whose values need no name beside them


def absent(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def text(row: Mapping[str, Any], axis: str) -> str:
    """The value of an axis as it is written; a suite that does not declare it has the standard's."""
    value = row.get(axis)
    return spell(DEFAULTS.get(axis) if absent(value) else value)


def parts(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[dict[str, str]]:
    """By axis, what tells each case of a page apart, in the order in which it is read: how, on what, in
    which batches.
    """
    texts = _spelled(rows, axes)
    found: dict[str, set[str]] = {}
    for spelled in texts:
        for axis, value in spelled.items():
            found.setdefault(axis, set()).add(value)
    varying = [axis for axis, values in found.items() if len(values) > 1]
    what = [axis for axis in varying if axis not in ("mode", "batch_size")]
    size = [axis for axis in varying if axis == "batch_size"]
    made = []
    for spelled in texts:
        how = "optimizer" if spelled.get("mode", "train") == "train" else "mode"
        ordered = dict.fromkeys([how, *what, *size])
        made.append({axis: part(axis, spelled[axis]) for axis in ordered if axis in spelled})
    return made


def _spelled(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[dict[str, str]]:
    """By axis, what each case uses. An axis that is empty all over belongs to another suite."""
    there = [axis for axis in axes if not all(absent(row[axis]) for row in rows)]
    return [
        {
            axis: "none" if absent(row[axis]) else spell(row[axis])
            for axis in there
            if axis not in unused_axes(text(row, "mode"))
        }
        for row in rows
    ]


def part(axis: str, value: str) -> str:
    """The value of an axis, with as much of its name as it needs."""
    if axis == "batch_size":
        return f"batch {value}"
    return value if axis in _SELF_EVIDENT and value else f"{axis_of(axis)}={value}"


def caveats(rows: Sequence[Mapping[str, Any]], failed: int) -> list[str]:
    """What a reader should know of all these cases; that launches are few is seen where it matters."""
    names = dict.fromkeys(name for row in rows for name in str(row["caveats"] or "").split(";"))
    words = [name.replace("_", " ") for name in names if name not in ("", "few_launches")]
    notes = [f"Caveats of some cases: {', '.join(words)}."] if words else []
    if failed:
        cases, their = ("case is", "its") if failed == 1 else ("cases are", "their")
        notes.append(f"{failed} {cases} not shown: all {their} launches failed.")
    return notes


def where(tables: Tables, suite: str, device: str) -> str:
    """The second line of each title: suite, device, machine, software, date and name of the run."""
    facts = [suite, device]
    if tables.environment is not None:
        facts += [_machine(tables.environment, device), f"torch {tables.environment.torch}"]
    facts += [_date(tables.plan.get("started")), fit(str(tables.plan.get("name") or ""), 2)]
    return " · ".join(fact for fact in facts if fact)


def _machine(environment: Environment, device: str) -> str:
    """The accelerator where it is one, then the processor, which feeds it."""
    kind, _, index = device.partition(":")
    asked = (kind, index or "0")
    cards = [card.name for card in environment.devices if (card.kind, str(card.index)) == asked]
    threads = f"{counted(environment.threads, 'thread')}"
    return ", ".join([*cards, environment.cpu, threads])


def _date(started: Any) -> str:
    """The start of the run to the minute; nothing where the plan does not say it."""
    try:
        when = datetime.fromisoformat(started)
    except (TypeError, ValueError):
        return ""
    return f"{(when if when.tzinfo is None else when.astimezone(UTC)):%Y-%m-%d %H:%M} UTC"
