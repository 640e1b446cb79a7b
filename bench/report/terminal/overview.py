"""The tables of a run, one per suite. Values that do not vary are above the table, units in its head."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.caveats import CAVEATS
from ...measurement import Environment
from ...plurals import counted
from ...results.case_summaries import MISSING, CaseSummary, cases_of
from ...results.tables import Tables
from ...suite.case import DEFAULTS, axis_of, spell
from ..caveat_texts import RunSettings, caveat_text
from ..layout import ESSENTIAL, Column, Grid, SafeLines, Words
from ..reason_words import search_line
from ..text_fitting import LIST
from ..units import counts, digits, exactly, interval, percent, scale

# The default columns of a suite. A column without any value is not shown.
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
# The columns if none of these was measured, as with --launches 0.
_EXACT = ("count.ops", "count.flops", "count.saved_bytes", "count.peak_live_bytes")

_OTHER = 4  # the priority of all other metrics: a suite's own column, a task's own metric
# The column of a metric: a head shorter than its name, and its priority.
_METRICS = {
    "train.step_time": ("step", ESSENTIAL),
    "epoch.time": ("epoch", ESSENTIAL),
    "train.throughput": ("train", 2),
    "validate.throughput": ("validate", 6),
    "test.throughput": ("test", 7),
    "train.step_mean": ("mean step", 4),
    "train.data_share": ("data share", 3),
    "train.optimizer_share": ("optimizer share", 3),
    "train.phase.optimizer": ("optimizer", 2),
    "memory.peak_allocated": ("device memory", 3),
    "memory.peak_rss": ("memory", 3),
    "quality.test_accuracy": ("accuracy", 1),
    "quality.train_loss": ("train loss", 2),
    "quality.validate_loss": ("validate loss", 2),
    "count.ops": ("operators", ESSENTIAL),
    "count.flops": ("FLOPs", 1),
    "count.saved_bytes": ("kept for backward", 2),
    "count.peak_live_bytes": ("peak of live tensors", 2),
    "count.optimizer_ops": ("optimizer operators", 4),
    "count.optimizer_state_bytes": ("optimizer state", 3),
    "work.train.closure_evaluations": ("closure evaluations", 6),
    "compile.time": ("compile", 3),
    "compile.cache_misses": ("cache misses", 7),
}
# The priorities of other columns. Caveats stay longest: they name the numbers to doubt.
_CAVEATS, _INTERVAL, _LAUNCHES, _DETECTABLE, _CONTAMINATED = 1, 5, 8, 9, 10

_MOST_WITH_INTERVAL = 4  # metrics in one table: with more, intervals would displace values
_WITH_INTERVAL = ("train.step_time", "epoch.time")
_DETECTABLE_METRIC = "epoch.time"  # every case has it, in any mode


def overview(tables: Tables) -> Iterator[RenderableType]:
    """One table per suite with its own or the default columns; then deviating cards, searches for the largest batch,
    and failures.

    The quality of untrained models is not shown.
    """
    cases = map(_without_untrained_quality, cases_of(tables.summary).values())
    for suite, of_suite in _by_suite(case for case in cases if case.metrics):
        page = _SuiteTable(tables, suite, of_suite)
        wanted = _wanted_metrics(tables, suite)
        has_wanted = any(name in case.metrics for case in of_suite for name in wanted)
        for name in wanted if has_wanted else _EXACT:
            head, priority = _METRICS.get(name, (_folding(name), _OTHER))
            page.add_metric(name, head, priority, with_interval=name in _WITH_INTERVAL)
        page.add_minimum_detectable()
        page.add_launches()
        yield SafeLines(page.render())
    if tables.deviating_cards:
        yield SafeLines(Group(*(Words(line, "yellow") for line in card_lines(tables)), Text()))
    if tables.searches:
        yield SafeLines(Group(*(Words(search_line(one)) for one in tables.searches), Text()))
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


def _wanted_metrics(tables: Tables, suite: str) -> Sequence[str]:
    """The metrics in the table of a suite: its own, if the plan of the run has them."""
    declared = tables.plan.get("columns")
    own = declared.get(suite) if isinstance(declared, Mapping) else None
    return [str(name) for name in own] if isinstance(own, list) else _OVERVIEW


def _folding(name: str) -> str:
    """The name of a metric as a head that can fold at its dots."""
    return name.replace(".", "\n")


def metrics(tables: Tables) -> Iterator[RenderableType]:
    """One table per suite with the selected metrics, each with its interval."""
    for suite, cases in _by_suite(cases_of(tables.summary).values()):
        page = _SuiteTable(tables, suite, cases)
        names = list(dict.fromkeys(name for case in cases for name in case.metrics))
        for place, name in enumerate(names):  # the first is dropped last
            with_interval = len(names) <= _MOST_WITH_INTERVAL
            page.add_metric(name, _folding(name), min(place, _LAUNCHES), with_interval, full_name=name)
        page.add_launches()
        yield SafeLines(page.render())


class _SuiteTable:
    """The table of one suite, one row per case."""

    def __init__(self, tables: Tables, suite: str, cases: Sequence[CaseSummary]) -> None:
        self._cases = cases
        self._settings = caveat_settings(tables)
        self._constant, varying = _axes(cases, [axis_of(column) for column in tables.axes])
        self._has_metric = False
        self._head = Words(run_description(tables), lead=suite)
        self._columns = [
            Column(axis.replace("_", " "), [spelled(case.axes, axis) for case in cases], shrinks=True)
            for axis in varying
        ]

    def add_metric(
        self, name: str, head: str, priority: int, with_interval: bool, full_name: str = ""
    ) -> None:
        """A column of values in one unit, and one of half intervals as shares. The first is always shown."""
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
        stays = ESSENTIAL if not self._has_metric else priority
        self._has_metric = True
        self._columns.append(Column(head, cells, stays, label, right=True, name=full_name))
        if with_interval and not all(math.isnan(row.low) for row in rows):
            half = ["" if math.isnan(row.value) else interval(row.low, row.high, row.value) for row in rows]
            of = f"95 % interval of {full_name or head}"
            self._columns.append(Column("95 % interval", half, _INTERVAL, right=True, name=of))

    def add_minimum_detectable(self) -> None:
        """The minimum detectable effect of the epoch time, between two rows like this one."""
        changes = [case.metrics.get(_DETECTABLE_METRIC, MISSING).smallest_change for case in self._cases]
        smallest = ["" if math.isnan(change) else percent(change) for change in changes]
        self._columns.append(Column("detectable from", smallest, _DETECTABLE, right=True))

    def add_launches(self) -> None:
        """How many launches are in a row, and how many were contaminated; its caveats by name."""
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
            Words(f"{name.replace('_', ' ')}: {caveat_text(name, self._settings)}", "yellow")
            for name in CAVEATS
            if name in named
        ]
        return Group(Grid(self._columns, [self._head], "case", self._constant), Text(), *notes)


def caveat_settings(tables: Tables) -> RunSettings:
    """The settings of the run on which caveats depend, if it records them."""
    known: dict[str, Any] = {}
    if tables.environment is not None:
        machine = tables.environment
        known = {"threads": machine.threads, "allocator": machine.allocator, "governor": machine.governor}
    known["unread"] = tuple(tables.unread)
    schedule = tables.plan.get("schedule")
    if isinstance(schedule, Mapping):
        most = schedule.get("max_launches") or schedule.get("launches")  # without a maximum it is the number
        known |= {"tolerance": schedule.get("tolerance"), "max_launches": most}
        known["has_budget"] = schedule.get("time_budget") is not None
    fitting = {
        name: value for name, value in known.items() if isinstance(value, type(getattr(RunSettings, name)))
    }
    return RunSettings(**fitting)


def card_lines(tables: Tables) -> Iterator[str]:
    """A sentence for each card that is slower or faster than its equals."""
    cards = tables.environment.devices if tables.environment is not None else ()
    names = {card.uuid: card.device for card in cards}
    for effect in tables.deviating_cards:
        low, high = sorted(abs(bound - 1) for bound in (effect.low, effect.high))
        yield (
            f"{names.get(effect.card, effect.card)} is {percent(abs(effect.ratio - 1))} "
            f"{'slower' if effect.ratio > 1 else 'faster'} than the other cards of its kind ({percent(low)} to "
            f"{percent(high)}): look for heat, a power limit, or another program on it (bench doctor)"
        )


def run_description(tables: Tables) -> str:
    """Name, machine, threads, allocator, torch and date of a run, if known."""
    machine = tables.environment
    facts = [str(tables.plan.get("name") or "")]
    if machine is not None:
        facts += [device_name(machine), counted(machine.threads, "thread"), f"{machine.allocator} allocator"]
        facts += [f"{machine.cards_at_once} cards at once"] if machine.cards_at_once > 1 else []
        facts += [f"torch {machine.torch}"]
    facts.append(str(tables.plan.get("started", ""))[:10])
    return ", ".join(fact for fact in facts if fact)


def device_name(machine: Environment) -> str:
    """The accelerators if there are any, else the processor."""
    cards = Counter(device.name for device in machine.devices)
    return " + ".join(
        [machine.cpu, *(f"{number} x {name}" if number > 1 else name for name, number in cards.items())]
    )


def _axes(cases: Sequence[CaseSummary], axes: Sequence[str]) -> tuple[str, list[str]]:
    """The axes that are the same in every case, with their values, and the names of those that vary.

    Axes of other suites are in neither.
    """
    varying = [axis for axis in axes if len({case.axes.get(axis) for case in cases}) > 1]
    same = {axis: spelled(cases[0].axes, axis) for axis in axes if axis not in varying}
    constant = [f"{axis}={value}" for axis, value in same.items() if value]
    return ", ".join(constant), varying


def spelled(axes: Mapping[str, Any], axis: str) -> str:
    """The value of an axis as text; empty if the case has none."""
    return spell(axes[axis]) if axis in axes else ""


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
