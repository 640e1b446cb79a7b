"""The summary by case: its rows, one a case and metric, gathered into one object a case."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..suite.case import DEFAULTS, AxisValue, axis_of
from .frames import axis_columns_of


@dataclass(frozen=True)
class MetricSummary:
    """What the summary says of one metric of a case; NaN stands for a number that is missing."""

    unit: str
    value: float
    low: float
    high: float
    smallest_change: float
    launches: int | None


MISSING = MetricSummary("", math.nan, math.nan, math.nan, math.nan, None)


@dataclass(frozen=True)
class CaseSummary:
    """A case of the summary: the axes that it uses, and its metrics by name."""

    id: str
    suite: str
    axes: Mapping[str, AxisValue]
    caveats: tuple[str, ...]
    contaminated: int
    metrics: dict[str, MetricSummary] = field(default_factory=dict)

    @property
    def device(self) -> str:
        return device_of(self.axes)


def cases_of(summary: pd.DataFrame) -> dict[str, CaseSummary]:
    """The cases of a summary by their ids, in its order."""
    axes = axis_columns_of(summary, "metric")
    cases: dict[str, CaseSummary] = {}
    for row in summary.to_dict("records"):
        if row["case"] not in cases:
            cases[row["case"]] = CaseSummary(
                row["case"],
                str(row["suite"]),
                used_axes(row, axes),
                tuple(name for name in _present(row["caveats"], "").split(";") if name),
                _present(row["contaminated"], 0),
            )
        cases[row["case"]].metrics[row["metric"]] = MetricSummary(
            row["unit"],
            _number(row["value"]),
            _number(row["ci_low"]),
            _number(row["ci_high"]),
            _number(row["smallest_change"]),
            _present(row["launches"], None),
        )
    return cases


def used_axes(row: Mapping[Any, Any], columns: list[str]) -> dict[str, AxisValue]:
    """The axes that the case of a row uses, of a table that has them in these columns."""
    return {axis_of(name): row[name] for name in columns if not pd.isna(row[name]) and row[name] != ""}


def device_of(axes: Mapping[str, AxisValue]) -> str:
    """The device of a case; one that does not name it has the standard one."""
    return str(axes.get("device", DEFAULTS["device"]))


def _number(cell: Any) -> float:
    return float(_present(cell, math.nan))


def _present(cell: Any, otherwise: Any) -> Any:
    return otherwise if pd.isna(cell) else cell
