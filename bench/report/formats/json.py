"""A comparison as JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from ..comparison import VERDICTS, ComparisonPage, as_dict, ordered
from ..row_words import remedy


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
    return f"{_safe_json(data)}\n"


def _safe_json(data: dict[str, Any]) -> str:
    """JSON that is safe inside HTML and in the log of a step: these characters occur only in texts."""
    # A lone surrogate, which the name of a file may hold, is refused by some readers.
    whole = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", json.dumps(data, ensure_ascii=False))
    text = json.dumps(json.loads(whole), indent=2, allow_nan=False)
    for letter in "<>&#":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
