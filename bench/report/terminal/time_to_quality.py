"""Time to quality on the terminal: a table for each group of configurations whose losses can be compared.

Sentences below a table name the fastest configuration, if its loss is worse, and the first one at the target.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group as Parts
from rich.console import RenderableType
from rich.text import Text

from ...analysis.run.time_to_quality import ASKED, AXIS, HALF, Group, QualityRow
from ...plurals import counted
from ...results.tables import Tables
from ...suite.case import Case, columns, spell
from ..layout import ESSENTIAL, Column, Grid, SafeLines, Words
from ..text_fitting import LIST
from ..units import NOTHING, digits, quantity, scale
from .overview import run_description, spelled

CLOCK = "Training is the train and validate stages, warm-up included, without the test stage."

_SOURCES = {
    ASKED: "as requested",
    AXIS: "the axis target_loss",
    HALF: "which half of the configurations reach; --target-loss X sets another",
}
_SELF_EVIDENT = ("dataset", "model", "optimizer", "device")  # their values need no name


def pages(tables: Tables, groups: Sequence[Group]) -> Iterator[RenderableType]:
    """One table per group with its sentences, then the cases without a result."""
    for group in groups:
        varying = _varying_axes([row.case for row in group.rows])
        notes = (Words(line, "yellow") for line in sentences(group, varying))
        yield SafeLines(Parts(_table(group, varying, [*_head(tables, group)]), Text(), *notes))
    yield from (SafeLines(Words(line, "red")) for line in _missing(tables))


def _varying_axes(cases: Sequence[Case]) -> list[str]:
    """The axes in which these cases differ, in the order of their suite."""
    return [axis for axis in columns(cases) if len({spelled(case.used, axis) for case in cases}) > 1]


def _name(case: Case, varying: Sequence[str]) -> str:
    """A configuration in a sentence: "batch size 256, sgd"."""
    parts = [
        spell(case.used[axis])
        if axis in _SELF_EVIDENT
        else f"{axis.replace('_', ' ')} {spell(case.used[axis])}"
        for axis in varying
        if axis in case.used
    ]
    return ", ".join(parts) or "the only configuration"


def _head(tables: Tables, group: Group) -> Iterator[Words]:
    numbers = sorted({row.launches for row in group.rows})
    launches = counted(numbers[-1], "launch", "launches")
    if numbers[0] != numbers[-1]:
        launches = f"{numbers[0]} to {launches}"
    yield Words(f"time to quality: {run_description(tables)}", lead=group.suite)
    yield Words(f"target: a validation loss of {_number(group.target)}, {_SOURCES[group.target_from]}", "dim")
    yield Words(
        f"loss is that of validation, accuracy that of the test; medians over {launches} a case", "dim"
    )
    yield Words(CLOCK[0].lower() + CLOCK[1:].rstrip("."), "dim")


def _table(group: Group, varying: Sequence[str], head: Sequence[RenderableType]) -> Grid:
    rows = group.rows
    after, within, target = (
        counted(group.epochs, "epoch"),
        quantity(group.seconds, "s"),
        _number(group.target),
    )
    constant = [f"{axis}={spell(value)}" for axis, value in rows[0].case.used.items() if axis not in varying]

    def add(head: str, cells: Sequence[str], priority: int, unit: str = "", name: str = "") -> Column:
        known = cells if any(cell != NOTHING for cell in cells) else []
        return Column(head, known, priority, unit, right=True, name=name)

    times, unit = _times([row.seconds for row in rows])
    to_target, target_unit = _times([row.time_to_target for row in rows])
    reached = [_to_target(row, time) for row, time in zip(rows, to_target, strict=True)]
    accuracy = [_number(row.accuracy) for row in rows]
    in_time = [_number(row.accuracy_in_time) for row in rows]
    columns = [
        *(
            Column(axis.replace("_", " "), [spelled(row.case.used, axis) for row in rows], shrinks=True)
            for axis in varying
        ),
        add(f"loss after\n{after}", [_number(row.loss) for row in rows], ESSENTIAL),
        add("accuracy then", accuracy, 3, name=f"accuracy after {after}"),
        add("training", times, 2, unit),
        add(f"loss within\n{within}", [_number(row.loss_in_time) for row in rows], 1),
        add("accuracy then", in_time, 4, name=f"accuracy within {within}"),
        add(f"to loss\n{target}", reached, ESSENTIAL, target_unit),
    ]
    return Grid(columns, head, "case", LIST.join(constant))


def _times(seconds: Sequence[float | None]) -> tuple[list[str], str]:
    """The cells of a column of times, and their unit."""
    factor, unit = scale(seconds, "s")
    return [_number(None if time is None else time * factor) for time in seconds], unit


def _to_target(row: QualityRow, time: str) -> str:
    if not row.reached:
        return f"never, best {_number(row.best)}"
    return time if row.reached == row.launches else f"{time} ({row.reached} of {row.launches})"


def _number(value: float | None) -> str:
    return NOTHING if value is None or not math.isfinite(value) else digits(value)


def sentences(group: Group, varying: Sequence[str]) -> list[str]:
    """Conclusions from the table: whether the fastest configuration is as good, and which is first at the target."""
    lines = []
    if group.fastest is not None and group.is_fast_but_worse:
        fastest, best = group.fastest, group.best
        times = f"{_number(fastest.loss / best.loss)} times the best" if best.loss > 0 else "not the best"
        lines.append(
            f"fastest per epoch: {_name(fastest.case, varying)} ({quantity(fastest.epoch_time, 's')}), but its "
            f"validation loss after {counted(group.epochs, 'epoch')} is {_number(fastest.loss)}, {times} "
            f"({_number(best.loss)}: {_name(best.case, varying)})"
        )
    target = _number(group.target)
    if group.first is None:
        lines.append(f"no configuration reached a loss of {target} in most of its launches")
    else:
        first = group.first
        lines.append(
            f"first at a loss of {target}: {_name(first.case, varying)}, after "
            f"{quantity(first.time_to_target, 's')} of training"
        )
    partly = [row for row in group.rows if 0 < row.reached < row.launches]
    if partly:
        lines.append(
            f"({partly[0].reached} of {partly[0].launches}): this many of its launches reached the target"
        )
    return lines


def _missing(tables: Tables) -> Iterator[str]:
    """A line for each trained case whose launches all failed."""
    failures: dict[str, str] = {}
    for row in tables.failures.to_dict("records"):
        if row.get("mode") in (None, "train") or row["mode"] != row["mode"]:
            failures.setdefault(str(row["case"]), str(row["failure"]))
    for case, failure in failures.items():
        if case not in tables.trained:
            yield f"not shown, since all its launches failed: {case} ({failure})"


def as_json(groups: Sequence[Group]) -> dict[str, Any]:
    """The groups as one JSON object, for programs: seconds and losses as plain numbers, cases by id."""
    return {"groups": [_group(group) for group in groups]}


def _id(row: QualityRow | None) -> str | None:
    return None if row is None else row.case.id


def _group(group: Group) -> dict[str, Any]:
    return {
        "suite": group.suite,
        "dataset": group.dataset,
        "loss": group.loss,
        "label_smoothing": group.label_smoothing,
        "epochs": group.epochs,
        "seconds": group.seconds,
        "target_loss": group.target,
        "target_from": group.target_from,
        "fastest_epoch": _id(group.fastest),
        "best_loss": _id(group.best),
        "first_at_target": _id(group.first),
        "fast_but_worse": group.is_fast_but_worse,
        "configurations": [
            {
                "case": row.case.id,
                "axes": row.case.used,
                "launches": row.launches,
                "epoch_time": row.epoch_time,
                "validate_loss": row.loss,
                "test_accuracy": row.accuracy,
                "seconds": row.seconds,
                "validate_loss_in_time": row.loss_in_time,
                "test_accuracy_in_time": row.accuracy_in_time,
                "launches_at_target": row.reached,
                "time_to_loss": row.time_to_target,
                "best_validate_loss": row.best,
            }
            for row in group.rows
        ],
    }
