"""A comparison as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from ..comparison import ComparisonPage, as_dict, ordered
from ..safe_text import one_line

_COLUMNS = (
    "verdict", "suite", "case", "metric", "better", "unit", "base", "candidate", "ratio", "low", "high",
    "smallest", "action", "gates", "decides", "relative", "absolute", "caveats", "phase", "reason",
    "spread", "folded",
)  # fmt: skip


def render(page: ComparisonPage) -> str:
    """One line per row, with the columns of the JSON; unknown values are empty.

    The verdict comes first, so that no line begins with a text of a user.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in ordered(page.rows):
        data = as_dict(page, row) | {"caveats": ";".join(row.caveats)}
        writer.writerow(_cell(data[column]) for column in _COLUMNS)
    return file.getvalue()


def _cell(value: Any) -> str:
    """One line, which neither a spreadsheet interprets as a formula nor GitHub as a command."""
    if not isinstance(value, str):
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    text = one_line(value).replace("##[", "# #[")
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
