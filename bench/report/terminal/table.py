"""Tables for the terminal. What does not vary is said once above a table, units stand in its head."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.caveats import CAVEATS
from ...analysis.run import largest_batch as largest
from ...measurement import Environment
from ...plurals import counted
from ...suite.case import DEFAULTS, axis_of, spell
from ..advice import Settings, advice
from ..layout import KEPT, LIST, Column, Grid, Words
from ..safe_lines import SafeLines
from ..units import counts, digits, exactly, interval, percent, scale

if TYPE_CHECKING:
    from ...results.tables import Tables

# The columns of the overview where the suite names none. A column without any value is left out.
_OVERVIEW = (
    "train.step_time",
    "train.throughput",
    "validate.throughput",
    "test.throughput",
    "epoch.time",
    "memory.peak_allocated",
    "memory.peak_rss",
    "quality.test_accuracy",
)
# Those where none of them was measured, as with --launches 0.
_EXACT = ("count.ops", "count.flops", "count.saved_bytes", "count.peak_live_bytes")


@dataclass(frozen=True)
class _Shown:
    """How a metric stands in a table: a head that is shorter than its name, and when it is left out."""

    head: str
    priority: int


_OTHER = 4  # the priority of a metric that stands nowhere below: a suite's own column, a task's own metric
_METRICS = {
    "train.step_time": _Shown("step", KEPT),
    "epoch.time": _Shown("epoch", KEPT),
    "train.throughput": _Shown("train", 2),
    "validate.throughput": _Shown("validate", 6),
    "test.throughput": _Shown("test", 7),
    "train.step_mean": _Shown("mean step", 4),
    "train.data_share": _Shown("data share", 3),
    "train.optimizer_share": _Shown("optimizer share", 3),
    "train.phase.optimizer": _Shown("optimizer", 2),
    "memory.peak_allocated": _Shown("device memory", 3),
    "memory.peak_rss": _Shown("memory", 3),
    "quality.test_accuracy": _Shown("accuracy", 1),
    "quality.train_loss": _Shown("train loss", 2),
    "quality.validate_loss": _Shown("validate loss", 2),
    "count.ops": _Shown("operators", KEPT),
    "count.flops": _Shown("FLOPs", 1),
    "count.saved_bytes": _Shown("kept for backward", 2),
    "count.peak_live_bytes": _Shown("peak of live tensors", 2),
    "count.optimizer_ops": _Shown("optimizer operators", 4),
    "count.optimizer_state_bytes": _Shown("optimizer state", 3),
    "work.train.closure_evaluations": _Shown("closure evaluations", 6),
    "compile.time": _Shown("compile", 3),
    "compile.cache_misses": _Shown("cache misses", 7),
}
# Those of the columns that are no metrics. Caveats stay longest: they say which of the other numbers to doubt.
_CAVEATS, _INTERVAL, _LAUNCHES, _SMALLEST, _CONTAMINATED = 1, 5, 8, 9, 10

_MOST_WITH_INTERVAL = 4  # metrics side by side: with more, intervals would push values off the screen
_WITH_INTERVAL = ("train.step_time", "epoch.time")
_CHANGE_OF = "epoch.time"  # every case has it, whatever its mode


def overview(tables: Tables) -> Iterator[RenderableType]:
    """A table a suite: its own columns, or the metrics that most readers ask for; then searches, then failures.

    The quality of a model that was never trained is left out.
    """
    shown = tables.summary
    if "mode" in shown:  # empty for the cases of a suite that declares none
        trained = shown["mode"].fillna(DEFAULTS["mode"]) == "train"
        shown = shown[trained | ~shown["metric"].str.startswith("quality.")]
    for suite, rows in shown.groupby("suite", sort=False):
        page = SuiteTable(tables, str(suite), rows)
        wanted = columns(tables, str(suite))
        for name in wanted if rows["metric"].isin(wanted).any() else _EXACT:
            page.add_metric(name, head(name), priority(name), with_interval=name in _WITH_INTERVAL)
        page.add_smallest_change(_CHANGE_OF)
        page.add_launches()
        yield SafeLines(page.render())
    if tables.searches:
        yield SafeLines(Group(*(Words(searched(one)) for one in tables.searches), Text()))
    yield from map(SafeLines, _failures(tables))


def columns(tables: Tables, suite: str) -> Sequence[str]:
    """The metrics that the table of a suite shows: its own, as far as the plan of the run says so."""
    declared = tables.plan.get("columns")
    own = declared.get(suite) if isinstance(declared, Mapping) else None
    return [str(name) for name in own] if isinstance(own, list) else _OVERVIEW


def head(name: str) -> str:
    """The head of a metric's column: the words of its name, where there is no shorter one."""
    return _METRICS[name].head if name in _METRICS else _folding(name)


def _folding(name: str) -> str:
    """The name of a metric as a head, which folds at its points."""
    return name.replace(".", "\n")


def priority(name: str) -> int:
    """When the column of a metric is left out."""
    return _METRICS[name].priority if name in _METRICS else _OTHER


def searched(search: largest.Search) -> str:
    """What a search for the largest batch has come to, on one line."""
    tried = f"{counted(len(search.tries), 'launch', 'launches')} tried"
    head = f"largest batch of {search.case.id}"
    if search.next is not None:
        fits = f"{search.batch_size} fits" if search.fitting else "none fits so far"
        return f"{head}: not found yet ({fits}; {tried})"
    if search.why == largest.NOTHING:
        return f"{head}: none fits ({_misfit(search.tries)}; {tried}); measured at batch_size=1"
    fastest = "" if search.fastest is None else f"; the most samples/s at {search.fastest}"
    return f"{head}: {search.batch_size} ({_why(search)}; {tried}){fastest}"


def _why(search: largest.Search) -> str:
    match search.why:
        case largest.DATA:
            return f"all of the {'training' if search.case.mode == 'train' else 'evaluation'} data"
        case largest.VALIDATE_EVERY:
            return f"validate_every={search.case.validate_every} leaves no larger one"
        case largest.LOADER:
            return "its loader gives no larger one"
        case largest.FAILED:
            return _misfit(search.failing)
    return "no larger one is tried"


def _misfit(failing: Sequence[largest.Try]) -> str:
    """The smallest size that does not fit, and how that showed."""
    one = min((one for one in failing if not one.fits), key=lambda one: one.size)
    match one.failure:
        case "out_of_memory":
            return f"{one.size} runs out of memory"
        case "timeout":
            return f"{one.size} does not end in time"
    return f"{one.size} fails, {one.failure}: {one.message}"


def metrics(tables: Tables) -> Iterator[RenderableType]:
    """A table a suite with the metrics that the tables were cut down to, each with its interval."""
    for suite, rows in tables.summary.groupby("suite", sort=False):
        page = SuiteTable(tables, str(suite), rows)
        names = list(dict.fromkeys(rows["metric"]))
        for place, name in enumerate(names):  # the first stays longest
            with_interval = len(names) <= _MOST_WITH_INTERVAL
            page.add_metric(name, _folding(name), min(place, _LAUNCHES), with_interval, full_name=name)
        page.add_launches()
        yield SafeLines(page.render())


class SuiteTable:
    """The table of one suite, a row a case."""

    def __init__(self, tables: Tables, suite: str, rows: pd.DataFrame) -> None:
        self._rows = rows
        self._settings = settings(tables)
        self._cases = rows.drop_duplicates("case").set_index("case")
        self._constant, varying = _axes(self._cases, tables.axes)
        self._has_metric = False
        self._head = Words(setting(tables), lead=suite)
        self._columns = [
            Column(
                axis_of(axis).replace("_", " "), [_spell(value) for value in self._cases[axis]], shrinks=True
            )
            for axis in varying
        ]

    def add_metric(
        self, name: str, head: str, priority: int, with_interval: bool, full_name: str = ""
    ) -> None:
        """A column of values in one unit, and one of half intervals as shares of them. The first is always shown."""
        found = self._rows[self._rows["metric"] == name].set_index("case").reindex(self._cases.index)
        if found["value"].isna().all():
            return
        unit = found["unit"].dropna().iloc[0]
        factor, label = scale(found["value"].dropna().tolist(), unit)
        if counts(unit):
            factor, label = 1.0, "" if unit == "1" else "a step"
        cells = [_number(value, factor, unit) for value in found["value"]]
        if name.endswith("_share"):
            cells = ["" if pd.isna(value) else percent(value) for value in found["value"]]
        stays = KEPT if not self._has_metric else priority
        self._has_metric = True
        self._columns.append(Column(head, cells, stays, label, right=True, name=full_name))
        if with_interval and found["ci_low"].notna().any():
            bounds = zip(found["ci_low"], found["ci_high"], found["value"], strict=True)
            half = ["" if pd.isna(value[2]) else interval(*value) for value in bounds]
            of = f"95 % interval of {full_name or head}"
            self._columns.append(Column("95 % interval", half, _INTERVAL, right=True, name=of))

    def add_smallest_change(self, name: str) -> None:
        """The smallest change of a metric that two rows like this one would reveal."""
        found = self._rows[self._rows["metric"] == name].set_index("case").reindex(self._cases.index)
        smallest = ["" if pd.isna(value) else percent(value) for value in found["smallest_change"]]
        self._columns.append(Column("reveals from", smallest, _SMALLEST, right=True))

    def add_launches(self) -> None:
        """How many launches stand behind a row, and how many were contaminated; its caveats by name."""
        made = self._rows.groupby("case", sort=False)["launches"].max()
        launches = ["" if pd.isna(made[case]) else str(made[case]) for case in self._cases.index]
        contaminated = [str(count or "") for count in self._cases["contaminated"].fillna(0).astype(int)]
        caveats = [text.replace(";", LIST).replace("_", " ") for text in self._cases["caveats"].fillna("")]
        self._columns += [
            Column("launches", launches, _LAUNCHES, right=True),
            Column("contaminated", contaminated, _CONTAMINATED, right=True),
            Column("caveats", caveats, _CAVEATS, folds=LIST),
        ]

    def render(self) -> RenderableType:
        named = {name for text in self._cases["caveats"].dropna() for name in text.split(";") if name}
        notes = [
            Words(f"{name.replace('_', ' ')}: {advice(name, self._settings)}", "yellow")
            for name in CAVEATS
            if name in named
        ]
        return Group(Grid(self._columns, [self._head], "case", self._constant), Text(), *notes)


def settings(tables: Tables) -> Settings:
    """What advice depends on, as far as the run says it."""
    known: dict[str, Any] = {}
    if tables.environment is not None:
        machine = tables.environment
        known = {"threads": machine.threads, "allocator": machine.allocator, "governor": machine.governor}
    known["unread"] = tuple(tables.unread)
    schedule = tables.plan.get("schedule")
    if isinstance(schedule, Mapping):
        most = schedule.get("max_launches") or schedule.get("launches")  # alone it is exact
        known |= {"tolerance": schedule.get("tolerance"), "max_launches": most}
        known["has_budget"] = schedule.get("time_budget") is not None
    standard = Settings()
    fitting = {
        name: value for name, value in known.items() if isinstance(value, type(getattr(standard, name)))
    }
    return dataclasses.replace(standard, **fitting)


def setting(tables: Tables) -> str:
    """Machine, threads, allocator, torch and date of a run, as far as they are known."""
    machine = tables.environment
    facts = [str(tables.plan.get("name") or "")]
    if machine is not None:
        facts += [device_name(machine), counted(machine.threads, "thread"), f"{machine.allocator} allocator"]
        facts += [f"torch {machine.torch}"]
    facts.append(str(tables.plan.get("started", ""))[:10])
    return ", ".join(fact for fact in facts if fact)


def device_name(machine: Environment) -> str:
    """The accelerators where there are any, else the processor."""
    names = dict.fromkeys(device.name for device in machine.devices)
    return " + ".join([machine.cpu, *names])


def _axes(cases: pd.DataFrame, axes: Sequence[str]) -> tuple[str, list[str]]:
    """The axes that are the same in every case, spelt out, and the names of those that vary.

    An axis that only other suites have is neither.
    """
    varying = [axis for axis in axes if cases[axis].nunique(dropna=False) > 1]
    same = {axis: _spell(cases[axis].iloc[0]) for axis in axes if axis not in varying}
    constant = [f"{axis_of(axis)}={value}" for axis, value in same.items() if value]
    return ", ".join(constant), varying


def _spell(value: Any) -> str:
    return "" if pd.isna(value) else spell(value)


def _number(value: float, factor: float, unit: str) -> str:
    if pd.isna(value):
        return ""
    if not math.isfinite(value):
        return str(value)
    return exactly(value, unit) or digits(value * factor)


def _failures(tables: Tables) -> Iterator[RenderableType]:
    for row in tables.failures.drop_duplicates(["case", "failure", "message"]).to_dict("records"):
        where = f" ({row['where']})" if row["where"] else ""
        yield Words(f"{row['failure']}: {row['case']}: {row['message']}{where}", "red")
