"""A comparison as JSON."""

from __future__ import annotations

from ..comparison import VERDICTS, ComparisonPage, as_dict, ordered
from ..row_words import remedy
from ..safe_text import plain_json


def render(page: ComparisonPage) -> str:
    """The whole page. Texts are not shortened; numbers are finite, or null."""
    rows = ordered(page.rows)
    data = {
        "format": 1,
        "base": page.base,
        "candidate": page.candidate,
        "paired": page.paired,
        "exit_code": page.exit_code,
        "counts": {name: sum(row.verdict == name and not row.folded for row in rows) for name in VERDICTS},
        "rows": [as_dict(page, row) for row in rows],
        "only_base": list(page.only_base),
        "only_candidate": list(page.only_candidate),
        "notes": page.remarks,
        "remedy": "\n".join(remedy(page.rows)),
    }
    return f"{plain_json(data)}\n"
