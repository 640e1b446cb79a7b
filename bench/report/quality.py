"""Time to quality on the terminal: a table for each group of configurations whose losses can be compared.

What is fast an epoch and worse in its loss is said in a sentence below its table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group as Lot
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..analysis.quality import ASKED, AXIS, HALF, Group, Row
from ..case import Case, columns, spell
from .lines import Lines
from .table import setting
from .units import NOTHING, digits, plain, quantity, scale

if TYPE_CHECKING:
    from ..results.tables import Tables

CLOCK = "Training is the train and validate stages, warm-up included, without the test stage."

_SOURCES = {
    ASKED: "as asked",
    AXIS: "the axis target_loss",
    HALF: "which half of the configurations reach; --target-loss X sets another",
}
_SELF_EVIDENT = ("dataset", "model", "optimizer", "device")  # whose values need no name beside them


def pages(tables: Tables, groups: Sequence[Group]) -> Iterator[RenderableType]:
    """A table a group, with its sentences; then what no launch of came so far."""
    for group in groups:
        varying = varying_axes([row.case for row in group.rows])
        parts: list[RenderableType] = [_head(tables, group, varying), Text(), _table(group, varying), Text()]
        yield Lines(Lot(*parts, *(Text(plain(line), style="yellow") for line in sentences(group, varying))))
    yield from (Lines(Text(plain(line), style="red")) for line in _missing(tables))


def varying_axes(cases: Sequence[Case]) -> list[str]:
    """The axes that tell these cases apart, in the order of their suite."""
    axes = columns(list(cases))
    return [axis for axis in axes if len({_spelled(case, axis) for case in cases}) > 1]


def _spelled(case: Case, axis: str) -> str:
    return spell(case.used[axis]) if axis in case.used else ""


def _name(case: Case, varying: Sequence[str]) -> str:
    """A configuration in a sentence: "batch size 256, sgd"."""
    parts = [
        _spelled(case, axis) if axis in _SELF_EVIDENT else f"{axis.replace('_', ' ')} {_spelled(case, axis)}"
        for axis in varying
        if axis in case.used
    ]
    return ", ".join(parts) or "the only configuration"


def _head(tables: Tables, group: Group, varying: Sequence[str]) -> Text:
    first = group.rows[0].case
    constant = ", ".join(
        f"{axis}={spell(value)}" for axis, value in first.used.items() if axis not in varying
    )
    numbers = sorted({row.launches for row in group.rows})
    launches = " to ".join(str(number) for number in dict.fromkeys((numbers[0], numbers[-1])))
    lines = [
        f"every case: {constant}" if constant else "",
        f"target: a validation loss of {_number(group.target)}, {_SOURCES[group.target_from]}",
        f"loss is that of validation, accuracy that of the test; medians over {launches} "
        f"launch{'' if numbers == [1] else 'es'} a case",
        CLOCK[0].lower() + CLOCK[1:].rstrip("."),
    ]
    title = (
        Text(plain(group.suite), style="bold") + Text("  time to quality  ") + Text(plain(setting(tables)))
    )
    return Text("\n").join([title, *(Text(plain(line), style="dim") for line in lines if line)])


def _table(group: Group, varying: Sequence[str]) -> Table:
    rows = group.rows
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    cells: list[list[str]] = []

    def add(head: str, column: Sequence[str], justify: Any = "right") -> None:
        table.add_column(Text(head), justify=justify, overflow="fold")
        cells.append(list(column))

    for axis in varying:
        column = [plain(_spelled(row.case, axis)) for row in rows]
        add(plain(axis.replace("_", " ")), column, "left")
    has_accuracy = any(row.accuracy is not None for row in rows)
    add(f"loss after\n{_epochs(group.epochs)}", [_number(row.loss) for row in rows])
    if has_accuracy:
        add("accuracy\nthen", [_number(row.accuracy) for row in rows])
    add(*_times("training", [row.seconds for row in rows]))
    add(f"loss within\n{quantity(group.seconds, 's')}", [_number(row.loss_in_time) for row in rows])
    if has_accuracy:
        add("accuracy\nthen", [_number(row.accuracy_in_time) for row in rows])
    head, times = _times(f"to loss {_number(group.target)}", [row.time_to_target for row in rows])
    add(head, [_to_target(row, time) for row, time in zip(rows, times, strict=True)])
    for line in zip(*cells, strict=True):
        table.add_row(*(Text(cell) for cell in line))
    return table


def _times(head: str, seconds: Sequence[float | None]) -> tuple[str, list[str]]:
    """A column of times in one unit: its head and its cells."""
    factor, unit = scale(seconds, "s")
    return f"{head}\n{unit}", [_number(None if time is None else time * factor) for time in seconds]


def _to_target(row: Row, time: str) -> str:
    if not row.reached:
        return f"never, best {_number(row.best)}"
    return time if row.reached == row.launches else f"{time} ({row.reached} of {row.launches})"


def _number(value: float | None) -> str:
    return NOTHING if value is None or not math.isfinite(value) else digits(value)


def _epochs(number: int) -> str:
    return f"{number} epoch{'' if number == 1 else 's'}"


def sentences(group: Group, varying: Sequence[str]) -> list[str]:
    """What the table comes to: whether the fastest is any good, and who is at the target first."""
    said = []
    if group.fastest is not None and group.is_fast_but_worse:
        fastest, best = group.fastest, group.best
        times = f"{_number(fastest.loss / best.loss)} times the best" if best.loss > 0 else "not the best"
        said.append(
            f"fastest an epoch: {_name(fastest.case, varying)} ({quantity(fastest.epoch_time, 's')}), but its "
            f"validation loss after {_epochs(group.epochs)} is {_number(fastest.loss)}, {times} "
            f"({_number(best.loss)}: {_name(best.case, varying)})"
        )
    target = _number(group.target)
    if group.first is None:
        said.append(f"no configuration came to a loss of {target} in most of its launches")
    else:
        first = group.first
        said.append(
            f"first at a loss of {target}: {_name(first.case, varying)}, after "
            f"{quantity(first.time_to_target, 's')} of training"
        )
    partly = [row for row in group.rows if 0 < row.reached < row.launches]
    if partly:
        said.append(
            f"({partly[0].reached} of {partly[0].launches}): so many of its launches came to the target"
        )
    return said


def _missing(tables: Tables) -> Iterator[str]:
    """The trained cases that failed in all of their launches: worse than any loss."""
    seen: dict[str, str] = {}
    for row in tables.failures.to_dict("records"):
        if row.get("mode") in (None, "train") or row["mode"] != row["mode"]:
            seen.setdefault(str(row["case"]), str(row["failure"]))
    for case, failure in seen.items():
        if case not in tables.trained:
            yield f"not shown, for all its launches failed: {case} ({failure})"


def as_json(groups: Sequence[Group]) -> str:
    """The groups as one JSON object, for programs: seconds and losses as plain numbers, cases by id."""
    return json.dumps({"groups": [_group(group) for group in groups]}, indent=2)


def _id(row: Row | None) -> str | None:
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
