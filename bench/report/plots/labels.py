"""The labels of cases on their page, and the subtitle and notes of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from ...measurement import Environment
from ...plurals import counted
from ...results.tables import Tables
from ...suite.case import DEFAULTS, axis_of, spell, unused_axes
from .texts import fit

_SELF_EVIDENT = ("dataset", "model", "optimizer", "mode")  # whose values need no name beside them


def absent(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def text(row: Mapping[str, Any], axis: str) -> str:
    """The value of an axis as it is written; the default where a suite does not declare it."""
    value = row.get(axis)
    return spell(DEFAULTS.get(axis) if absent(value) else value)


def parts(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[dict[str, str]]:
    """Of each case, by axis, the optimizer or mode, then the values of axes that vary, the batch size last."""
    texts = _used_values(rows, axes)
    values: dict[str, set[str]] = {}
    for text_of in texts:
        for axis, value in text_of.items():
            values.setdefault(axis, set()).add(value)
    varying = [axis for axis, different in values.items() if len(different) > 1 and axis != "mode"]
    varying.sort(key=lambda axis: axis == "batch_size")
    return [
        {
            axis: part(axis, text_of[axis])
            for axis in dict.fromkeys(
                ["optimizer" if text_of.get("mode", "train") == "train" else "mode", *varying]
            )
            if axis in text_of
        }
        for text_of in texts
    ]


def _used_values(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[dict[str, str]]:
    """By axis, the value that each case uses. An axis without any value belongs to another suite."""
    present = [axis for axis in axes if not all(absent(row[axis]) for row in rows)]
    return [
        {
            axis: "none" if absent(row[axis]) else spell(row[axis])
            for axis in present
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
    """Notes on all cases of a page; few launches are noted where they matter."""
    names = dict.fromkeys(name for row in rows for name in str(row["caveats"] or "").split(";"))
    words = [name.replace("_", " ") for name in names if name not in ("", "few_launches")]
    notes = [f"Caveats of some cases: {', '.join(words)}."] if words else []
    if failed:
        cases, their = ("case is", "its") if failed == 1 else ("cases are", "their")
        notes.append(f"{failed} {cases} not shown: all {their} launches failed.")
    return notes


def subtitle(tables: Tables, suite: str, device: str) -> str:
    """Suite, device, machine, software, date and name of the run."""
    facts = [suite, device]
    if tables.environment is not None:
        facts += [_machine(tables.environment, device), f"torch {tables.environment.torch}"]
    facts += [_date(tables.plan.get("started")), fit(str(tables.plan.get("name") or ""), 2)]
    return " · ".join(fact for fact in facts if fact)


def _machine(environment: Environment, device: str) -> str:
    """The accelerator, if there is one, then the processor."""
    kind, _, index = device.partition(":")
    wanted = (kind, index or "0")
    cards = [card.name for card in environment.devices if (card.kind, str(card.index)) == wanted]
    threads = f"{counted(environment.threads, 'thread')}"
    return ", ".join([*cards, environment.cpu, threads])


def _date(started: Any) -> str:
    """The start of the run to the minute; empty where the plan does not have it."""
    try:
        when = datetime.fromisoformat(started)
    except (TypeError, ValueError):
        return ""
    return f"{(when if when.tzinfo is None else when.astimezone(UTC)):%Y-%m-%d %H:%M} UTC"
