"""Builds pages from tables: one per suite and device, with its cases in the form that pictures need, and labels."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from ...analysis.run.largest_batch import Search
from ...analysis.run.time_to_quality import Group, groups
from ...measurement import AutogradGraph, Environment, MemoryTimeline
from ...plurals import counted
from ...results.case_summaries import CaseSummary, cases_of
from ...results.tables import Tables
from ...suite.case import DEFAULTS, TRAINING_AXES, axis_of, spell, unused_axes
from .style import Look, fit

TRAIN, EVALUATION = "training", "evaluation modes"  # the kinds of case: each has panels of its own

_MOST_TIMES = 5  # how many times smaller a value may be to share a scale
_SELF_EVIDENT = ("dataset", "model", "optimizer", "mode")  # their values need no name


@dataclass(frozen=True)
class Value:
    """A value of the summary; without an interval, its ends are NaN, which is not drawn."""

    value: float
    low: float
    high: float

    @property
    def top(self) -> float:
        return self.value if math.isnan(self.high) else self.high


@dataclass(frozen=True)
class Dot:
    """A metric's value in one launch. The estimate uses contaminated launches only if most are contaminated."""

    round: int
    value: float
    contaminated: bool
    is_used: bool


@dataclass(frozen=True)
class _Labelled:
    """An item with a label: `parts` has its values, by axis, of the axes that vary on the page."""

    parts: Mapping[str, str]

    def label(self, without: Collection[str] = ()) -> str:
        return ", ".join(part for axis, part in self.parts.items() if axis not in without)

    def panel(self, panel_axes: Iterable[str]) -> str:
        return ", ".join(self.parts[axis] for axis in panel_axes if axis in self.parts)


@dataclass(frozen=True)
class PlotCase(_Labelled):
    """A case in the form that pictures need."""

    mode: str
    batch_size: int  # zero if it is not an axis
    values: Mapping[str, Value]
    phases: Mapping[str, tuple[float, float]]  # of a train step: seconds, share
    launches: Mapping[str, Sequence[Dot]]  # by metric
    id: str = ""
    timeline: MemoryTimeline | None = None
    graph: AutogradGraph | None = None
    group: Group | None = None  # the trained cases whose losses can be compared with its own

    @property
    def kind(self) -> str:
        return TRAIN if self.mode == "train" else EVALUATION

    @property
    def step(self) -> float:
        return sum(seconds for seconds, _ in self.phases.values())

    def line(self, panel_axes: Collection[str]) -> str:
        """The line of which the case is a point, if these axes have their own panels."""
        return self.label({"batch_size", *panel_axes}) or self.mode


@dataclass(frozen=True)
class PlotSearch(_Labelled):
    """A search for the largest batch; its label is that of its line."""

    search: Search


@dataclass(frozen=True)
class PlotPage:
    """The cases of one suite on one device, and the texts of all their pictures."""

    cases: Sequence[PlotCase]
    subtitle: str
    caveats: Sequence[str]  # notes of every picture
    suffix: str  # of the file names
    searches: Sequence[PlotSearch] = ()

    def having(self, metrics: Mapping[str, str]) -> dict[str, list[PlotCase]]:
        """By kind, the cases that have the metric of their kind; kinds without cases are absent."""
        kinds = {
            kind: [case for case in self.cases if case.kind == kind and name in case.values]
            for kind, name in metrics.items()
        }
        return {kind: cases for kind, cases in kinds.items() if cases}

    @property
    def workload_axes(self) -> list[str]:
        return workload_axes(case.parts for case in self.cases)

    @property
    def memory(self) -> str:
        """The metric of memory: that of the device, if it was measured."""
        on_device = any("memory.peak_allocated" in case.values for case in self.cases)
        return "memory.peak_allocated" if on_device else "memory.peak_rss"

    def looks(self, panel_axes: Collection[str]) -> dict[str, Look]:
        """The style of each line, the same in every picture of these lines."""
        ordered = sorted(self.cases, key=lambda case: case.kind != TRAIN)
        names = dict.fromkeys(case.line(panel_axes) for case in ordered)
        return {name: Look.number(number) for number, name in enumerate(names)}


def workload_axes(parts: Iterable[Mapping[str, str]]) -> list[str]:
    """The varying axes that change what is measured, not how: each value may have its own panel."""
    axes = dict.fromkeys(axis for of_case in parts for axis in of_case)
    return [axis for axis in axes if axis not in {"batch_size", "mode", *TRAINING_AXES}]


def uneven(sizes: Collection[float]) -> bool:
    """Whether the smallest value would be invisible on the scale of the largest."""
    return max(sizes) > _MOST_TIMES * min(sizes)


def pages_of(tables: Tables) -> list[PlotPage]:
    """A page for each suite and device with a measured case."""
    measured = _by_page(tables.summary)
    failed = _by_page(tables.failures[~tables.failures["case"].isin(tables.summary["case"])])
    summary = cases_of(tables.summary)
    phases, launches = _train_phases(tables), _launch_values(tables, summary)
    comparable = {row.case.id: group for group in groups(tables.trained.values()) for row in group.rows}
    pages: dict[str, PlotPage] = {}
    for (suite, device), rows in measured.items():
        cases = [
            PlotCase(
                mode=_axis_text(row, "mode"),
                batch_size=0 if _absent(row.get("batch_size")) else int(row["batch_size"]),
                parts=parts,
                values={
                    name: Value(of.value, of.low, of.high)
                    for name, of in summary[row["case"]].metrics.items()
                    if math.isfinite(of.value)
                },
                phases=phases.get(row["case"], {}),
                launches=launches.get(row["case"], {}),
                id=row["case"],
                timeline=_counts(tables, row["case"], "timeline"),
                graph=_counts(tables, row["case"], "graph"),
                group=comparable.get(row["case"]),
            )
            for row, parts in zip(rows, varying_parts(rows, tables.axes), strict=True)
        ]
        suffix = f"-{_slug(f'{suite}-{device}')}" if len(measured) > 1 else ""
        while suffix in pages:
            suffix += "-2"
        caveats = _caveats(rows, failed=len(failed.get((suite, device), ())))
        searches = _searches(tables, suite, device)
        pages[suffix] = PlotPage(cases, _subtitle(tables, suite, device), caveats, suffix, searches)
    return list(pages.values())


def _searches(tables: Tables, suite: str, device: str) -> list[PlotSearch]:
    searches = [
        search for search in tables.searches if (search.case.suite, search.case.device) == (suite, device)
    ]
    rows = [{axis: search.case.used.get(axis_of(axis)) for axis in tables.axes} for search in searches]
    return list(map(PlotSearch, varying_parts(rows, tables.axes), searches))


def _by_page(frame: pd.DataFrame) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The axes of each case, by suite and device."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in frame.drop_duplicates("case").to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        groups.setdefault((str(row["suite"]), _axis_text(row, "device")), []).append(row)
    return groups


def _counts(tables: Tables, case: str, name: str) -> Any:
    """A part of the counts of a case that is not a number; None if it has none."""
    untimed = tables.untimed.get(case)
    return None if untimed is None or untimed.counts is None else getattr(untimed.counts, name)


def _slug(text: str) -> str:
    """Part of a file name, in lower case, since some file systems ignore case."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80]


def _train_phases(tables: Tables) -> dict[str, dict[str, tuple[float, float]]]:
    rows = tables.phases[tables.phases["stage"] == "train"]
    columns = rows[["case", "phase", "seconds_per_step", "share"]]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for case, phase, seconds, share in columns.itertuples(index=False):
        found.setdefault(case, {})[phase] = seconds, share
    return found


def _launch_values(tables: Tables, summary: Mapping[str, CaseSummary]) -> dict[str, dict[str, list[Dot]]]:
    launches: dict[str, dict[str, list[Dot]]] = {}
    columns = tables.launches[["case", "metric", "round", "value", "contaminated"]]
    for case, name, number, value, reasons in columns.itertuples(index=False):
        dot = Dot(number, value, contaminated=bool(reasons), is_used=not reasons)
        launches.setdefault(case, {}).setdefault(name, []).append(dot)
    for case, by_metric in launches.items():
        rows = summary[case].metrics if case in summary else {}
        for name, dots in by_metric.items():
            if name in rows and rows[name].launches == len(dots):
                by_metric[name] = [replace(dot, is_used=True) for dot in dots]
    return launches


def _absent(value: Any) -> bool:
    return bool(pd.isna(value))


def _axis_text(row: Mapping[str, Any], axis: str) -> str:
    """The value of an axis as text; the default if the suite does not declare it."""
    value = row.get(axis)
    return spell(DEFAULTS.get(axis) if _absent(value) else value)


def varying_parts(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[dict[str, str]]:
    """For each case, by axis: the optimizer or mode, then the values of axes that vary, the batch size last."""
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
    """By axis, the value that each case uses. An axis without values belongs to another suite."""
    present = [axis for axis in axes if not all(_absent(row[axis]) for row in rows)]
    return [
        {
            axis: "none" if _absent(row[axis]) else spell(row[axis])
            for axis in present
            if axis not in unused_axes(_axis_text(row, "mode"))
        }
        for row in rows
    ]


def part(axis: str, value: str) -> str:
    """The value of an axis, with its name if needed."""
    if axis == "batch_size":
        return f"batch {value}"
    return value if axis in _SELF_EVIDENT and value else f"{axis_of(axis)}={value}"


def _caveats(rows: Sequence[Mapping[str, Any]], failed: int) -> list[str]:
    """Notes on all cases of a page; "few launches" is noted in the pictures that it affects."""
    names = dict.fromkeys(name for row in rows for name in str(row["caveats"] or "").split(";"))
    words = [name.replace("_", " ") for name in names if name not in ("", "few_launches")]
    notes = [f"Caveats of some cases: {', '.join(words)}."] if words else []
    if failed:
        cases, their = ("case is", "its") if failed == 1 else ("cases are", "their")
        notes.append(f"{failed} {cases} not shown: all {their} launches failed.")
    return notes


def _subtitle(tables: Tables, suite: str, device: str) -> str:
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
    """The start of the run to the minute; empty if the plan does not have it."""
    try:
        when = datetime.fromisoformat(started)
    except (TypeError, ValueError):
        return ""
    return f"{(when if when.tzinfo is None else when.astimezone(UTC)):%Y-%m-%d %H:%M} UTC"
