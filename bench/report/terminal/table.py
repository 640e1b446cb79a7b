"""Tables for the terminal. What does not vary is said once above a table, units stand in its head."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.caveats import CAVEATS
from ...analysis.run import largest_batch as largest
from ...measurement import Environment
from ...plurals import counted
from ...results.summary import MISSING, CaseSummary, cases_of
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
    cases = map(_without_untrained_quality, cases_of(tables.summary).values())
    for suite, of_suite in _by_suite(case for case in cases if case.metrics):
        page = SuiteTable(tables, suite, of_suite)
        wanted = columns(tables, suite)
        has_wanted = any(name in case.metrics for case in of_suite for name in wanted)
        for name in wanted if has_wanted else _EXACT:
            page.add_metric(name, head(name), priority(name), with_interval=name in _WITH_INTERVAL)
        page.add_smallest_change(_CHANGE_OF)
        page.add_launches()
        yield SafeLines(page.render())
    if tables.searches:
        yield SafeLines(Group(*(Words(searched(one)) for one in tables.searches), Text()))
    yield from map(SafeLines, _failures(tables))


def _without_untrained_quality(case: CaseSummary) -> CaseSummary:
    if case.axes.get("mode", DEFAULTS["mode"]) == "train":
        return case
    metrics = {name: row for name, row in case.metrics.items() if not name.startswith("quality.")}
    return dataclasses.replace(case, metrics=metrics)


def _by_suite(cases: Iterable[CaseSummary]) -> Iterable[tuple[str, list[CaseSummary]]]:
    suites: dict[str, list[CaseSummary]] = {}
    for case in cases:
        suites.setdefault(case.suite, []).append(case)
    return suites.items()


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
    for suite, cases in _by_suite(cases_of(tables.summary).values()):
        page = SuiteTable(tables, suite, cases)
        names = list(dict.fromkeys(name for case in cases for name in case.metrics))
        for place, name in enumerate(names):  # the first stays longest
            with_interval = len(names) <= _MOST_WITH_INTERVAL
            page.add_metric(name, _folding(name), min(place, _LAUNCHES), with_interval, full_name=name)
        page.add_launches()
        yield SafeLines(page.render())


class SuiteTable:
    """The table of one suite, a row a case."""

    def __init__(self, tables: Tables, suite: str, cases: Sequence[CaseSummary]) -> None:
        self._cases = cases
        self._settings = settings(tables)
        self._constant, varying = _axes(cases, [axis_of(column) for column in tables.axes])
        self._has_metric = False
        self._head = Words(setting(tables), lead=suite)
        self._columns = [
            Column(axis.replace("_", " "), [_spell(case, axis) for case in cases], shrinks=True)
            for axis in varying
        ]

    def add_metric(
        self, name: str, head: str, priority: int, with_interval: bool, full_name: str = ""
    ) -> None:
        """A column of values in one unit, and one of half intervals as shares of them. The first is always shown."""
        rows = [case.metrics.get(name, MISSING) for case in self._cases]
        present = [row for row in rows if not math.isnan(row.value)]
        if not present:
            return
        unit = present[0].unit
        factor, label = scale([row.value for row in present], unit)
        if counts(unit):
            factor, label = 1.0, "" if unit == "1" else "a step"
        cells = [_number(row.value, factor, unit) for row in rows]
        if name.endswith("_share"):
            cells = ["" if math.isnan(row.value) else percent(row.value) for row in rows]
        stays = KEPT if not self._has_metric else priority
        self._has_metric = True
        self._columns.append(Column(head, cells, stays, label, right=True, name=full_name))
        if with_interval and not all(math.isnan(row.low) for row in rows):
            half = ["" if math.isnan(row.value) else interval(row.low, row.high, row.value) for row in rows]
            of = f"95 % interval of {full_name or head}"
            self._columns.append(Column("95 % interval", half, _INTERVAL, right=True, name=of))

    def add_smallest_change(self, name: str) -> None:
        """The smallest change of a metric that two rows like this one would reveal."""
        changes = [case.metrics.get(name, MISSING).smallest_change for case in self._cases]
        smallest = ["" if math.isnan(change) else percent(change) for change in changes]
        self._columns.append(Column("reveals from", smallest, _SMALLEST, right=True))

    def add_launches(self) -> None:
        """How many launches stand behind a row, and how many were contaminated; its caveats by name."""
        launches = [
            str(max((row.launches or 0 for row in case.metrics.values()), default=0) or "")
            for case in self._cases
        ]
        contaminated = [str(case.contaminated or "") for case in self._cases]
        caveats = [LIST.join(case.caveats).replace("_", " ") for case in self._cases]
        self._columns += [
            Column("launches", launches, _LAUNCHES, right=True),
            Column("contaminated", contaminated, _CONTAMINATED, right=True),
            Column("caveats", caveats, _CAVEATS, folds=LIST),
        ]

    def render(self) -> RenderableType:
        named = {name for case in self._cases for name in case.caveats}
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


def _axes(cases: Sequence[CaseSummary], axes: Sequence[str]) -> tuple[str, list[str]]:
    """The axes that are the same in every case, spelt out, and the names of those that vary.

    An axis that only other suites have is neither.
    """
    varying = [axis for axis in axes if len({case.axes.get(axis) for case in cases}) > 1]
    same = {axis: _spell(cases[0], axis) for axis in axes if axis not in varying}
    constant = [f"{axis}={value}" for axis, value in same.items() if value]
    return ", ".join(constant), varying


def _spell(case: CaseSummary, axis: str) -> str:
    return spell(case.axes[axis]) if axis in case.axes else ""


def _number(value: float, factor: float, unit: str) -> str:
    if math.isnan(value):
        return ""
    if not math.isfinite(value):
        return str(value)
    return exactly(value, unit) or digits(value * factor)


def _failures(tables: Tables) -> Iterator[RenderableType]:
    for row in tables.failures.drop_duplicates(["case", "failure", "message"]).to_dict("records"):
        where = f" ({row['where']})" if row["where"] else ""
        yield Words(f"{row['failure']}: {row['case']}: {row['message']}{where}", "red")
