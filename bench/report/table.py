"""Tables for the terminal. What does not vary is said once above a table, units stand in its head."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..analysis import largest
from ..analysis.caveats import CAVEATS
from ..case import DEFAULTS, spell
from ..measurement import Environment
from .advice import Settings, advice
from .lines import Lines
from .units import counts, digits, exactly, interval, percent, plain, scale

if TYPE_CHECKING:
    from ..results.tables import Tables

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
# Heads that are shorter than the names.
_HEADS = {
    "train.step_time": "step",
    "train.step_mean": "mean\nstep",
    "train.throughput": "train",
    "validate.throughput": "validate",
    "test.throughput": "test",
    "epoch.time": "epoch",
    "memory.peak_allocated": "device memory",
    "memory.peak_rss": "memory",
    "quality.test_accuracy": "accuracy",
    "quality.train_loss": "train\nloss",
    "quality.validate_loss": "validate\nloss",
    "train.data_share": "data\nshare",
    "train.optimizer_share": "optimizer\nshare",
    "train.phase.optimizer": "optimizer",
    "count.ops": "operators",
    "count.flops": "FLOPs",
    "count.saved_bytes": "kept for\nbackward",
    "count.peak_live_bytes": "peak of live\ntensors",
    "count.optimizer_ops": "optimizer\noperators",
    "count.optimizer_state_bytes": "optimizer\nstate",
    "work.train.closure_evaluations": "closure\nevaluations",
    "compile.time": "compile",
    "compile.cache_misses": "cache\nmisses",
}
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
        page = Page(tables, str(suite), rows)
        wanted = columns(tables, str(suite))
        for name in wanted if rows["metric"].isin(wanted).any() else _EXACT:
            page.add_metric(name, head(name), with_interval=name in _WITH_INTERVAL)
        page.add_smallest_change(_CHANGE_OF)
        page.add_launches()
        yield Lines(page.render())
    if tables.searches:
        yield Lines(Text("\n").join([*(Text(plain(searched(one))) for one in tables.searches), Text()]))
    yield from map(Lines, _failures(tables))


def columns(tables: Tables, suite: str) -> Sequence[str]:
    """The metrics that the table of a suite shows: its own, as far as the plan of the run says so."""
    declared = tables.plan.get("columns")
    own = declared.get(suite) if isinstance(declared, Mapping) else None
    return [str(name) for name in own] if isinstance(own, list) else _OVERVIEW


def head(name: str) -> str:
    """The head of a metric's column: its name, folded, where there is no shorter one."""
    return _HEADS.get(name, name.replace(".", "\n"))


def searched(search: largest.Search) -> str:
    """What a search for the largest batch has come to, on one line."""
    number = len(search.tries)
    tried = f"{number} launch{'es' if number != 1 else ''} tried"
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
        page = Page(tables, str(suite), rows)
        names = list(dict.fromkeys(rows["metric"]))
        for name in names:
            page.add_metric(name, name.replace(".", "\n"), with_interval=len(names) <= _MOST_WITH_INTERVAL)
        page.add_launches()
        yield Lines(page.render())


class Page:
    """The table of one suite, a row a case."""

    def __init__(self, tables: Tables, suite: str, rows: pd.DataFrame) -> None:
        self._rows = rows
        self._settings = settings(tables)
        self._cases = rows.drop_duplicates("case").set_index("case")
        constant, varying = _axes(self._cases, tables.axes)
        self._head = Text("\n").join(
            [
                Text(plain(suite), style="bold") + Text(f"  {plain(setting(tables))}"),
                *([Text(plain(f"every case: {constant}"), style="dim")] if constant else []),
            ]
        )
        self._table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        self._columns: list[list[str]] = []
        for axis in varying:
            self._add(axis.replace("_", " "), [_spell(value) for value in self._cases[axis]], justify="left")

    def _add(self, head: str, cells: Sequence[str], justify: Any = "right") -> None:
        shown = "\n".join(map(plain, head.split("\n")))
        self._table.add_column(Text(shown), justify=justify, overflow="fold")
        self._columns.append(list(cells))

    def add_metric(self, name: str, head: str, with_interval: bool) -> None:
        """A column of values in one unit, and one of half intervals as shares of them."""
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
        self._add(f"{head}\n{label}".rstrip(), cells)
        if with_interval and found["ci_low"].notna().any():
            bounds = zip(found["ci_low"], found["ci_high"], found["value"], strict=True)
            self._add("95 %\ninterval", ["" if pd.isna(value[2]) else interval(*value) for value in bounds])

    def add_smallest_change(self, name: str) -> None:
        """The smallest change of a metric that two rows like this one would reveal."""
        found = self._rows[self._rows["metric"] == name].set_index("case").reindex(self._cases.index)
        if found["smallest_change"].notna().any():
            self._add(
                "reveals\nfrom",
                ["" if pd.isna(value) else percent(value) for value in found["smallest_change"]],
            )

    def add_launches(self) -> None:
        """How many launches stand behind a row, and how many were disturbed; its caveats by name."""
        made = self._rows.groupby("case", sort=False)["launches"].max()
        self._add("launches", ["" if pd.isna(made[case]) else str(made[case]) for case in self._cases.index])
        disturbed = self._cases["contaminated"].fillna(0).astype(int)
        if disturbed.any():
            self._add("dis-\nturbed", [str(count or "") for count in disturbed])
        caveats = self._cases["caveats"].fillna("")
        if caveats.any():
            self._add(
                "caveats", [text.replace(";", ", ").replace("_", " ") for text in caveats], justify="left"
            )

    def render(self) -> RenderableType:
        for cells in zip(*self._columns, strict=True):
            self._table.add_row(*(Text(plain(cell)) for cell in cells))
        named = {name for text in self._cases["caveats"].dropna() for name in text.split(";") if name}
        notes = [
            Text(f"{name.replace('_', ' ')}: {advice(name, self._settings)}", style="yellow")
            for name in CAVEATS
            if name in named
        ]
        return Group(self._head, Text(), self._table, Text(), *notes)


def settings(tables: Tables) -> Settings:
    """What advice depends on, as far as the run says it."""
    known: dict[str, Any] = {}
    if tables.environment is not None:
        machine = tables.environment
        known = {"threads": machine.threads, "allocator": machine.allocator, "governor": machine.governor}
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
        facts += [device_name(machine), f"{machine.threads} threads", f"{machine.allocator} allocator"]
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
    constant = [f"{axis}={value}" for axis, value in same.items() if value]
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
        yield Text(plain(f"{row['failure']}: {row['case']}: {row['message']}{where}"), style="red")
