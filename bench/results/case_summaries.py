"""A summary table by case, and what else is read of the rows of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..suite.case import DEFAULTS, AxisValue, axis_of

if TYPE_CHECKING:
    import pandas as pd


def axis_columns_of(frame: pd.DataFrame, first: str) -> list[str]:
    """The axis columns of a table whose other columns begin with `first`."""
    return list(frame.columns[2 : frame.columns.get_loc(first)])


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table with all digits; None is a missing value."""
    rows: list[dict[Any, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows


@dataclass(frozen=True)
class MetricSummary:
    """The summary of one metric of a case; NaN is a missing number."""

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
    for row in rows_of(summary):
        if row["case"] not in cases:
            cases[row["case"]] = CaseSummary(
                row["case"],
                str(row["suite"]),
                used_axes(row, axes),
                tuple(name for name in (row["caveats"] or "").split(";") if name),
                row["contaminated"] or 0,
            )
        cases[row["case"]].metrics[row["metric"]] = MetricSummary(
            row["unit"],
            _number(row["value"]),
            _number(row["ci_low"]),
            _number(row["ci_high"]),
            _number(row["smallest_change"]),
            row["launches"],
        )
    return cases


def used_axes(row: Mapping[str, Any], columns: list[str]) -> dict[str, AxisValue]:
    """The axes that the case of a row uses, from these columns of a table."""
    return {axis_of(name): row[name] for name in columns if row[name] not in (None, "")}


def device_of(axes: Mapping[str, AxisValue]) -> str:
    """The device of a case, the default one if the case does not name it."""
    return str(axes.get("device", DEFAULTS["device"]))


def _number(cell: Any) -> float:
    return math.nan if cell is None else float(cell)
