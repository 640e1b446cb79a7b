"""One row as several formats take it: as data, and as a sentence."""

from __future__ import annotations

import math
from typing import Any

from ...analysis.compare.verdict import Row
from ..comparison import ComparisonPage, decides
from ..reason_words import reason_said
from ..row_words import build_effect, change, minimum_detectable, sides, verdict_words, work_differences
from ..text_fitting import shortened
from ..units import one_line

LONGEST_NAME = 160  # characters
LONGEST_SENTENCE = 400
LONGEST_RULE = 4_000


def as_dict(page: ComparisonPage, row: Row) -> dict[str, Any]:
    return {
        "suite": row.suite,
        "case": row.case,
        "metric": row.metric.name,
        "better": row.metric.better,
        **numbers(row),
        "action": build_effect(row) or "ignore",
        "gates": row.gates,
        "decides": decides(page, row),
        "relative": finite(row.policy.relative),
        "absolute": finite(row.policy.absolute),
        "smallest": finite(row.smallest),
        "spread": finite(row.spread),
        "folded": row.folded,
        "reason": reason_said(row.reason) or work_differences(row.work),
        "caveats": list(row.caveats),
        "phase": page.phase(row),
    }


def numbers(row: Row) -> dict[str, Any]:
    return {
        "base": finite(row.base),
        "candidate": finite(row.candidate),
        "unit": row.metric.unit,
        "ratio": finite(row.ratio),
        "low": finite(row.low),
        "high": finite(row.high),
        "verdict": row.verdict,
    }


def finite(value: float | None) -> float | None:
    """JSON has no infinity, and readers of numbers trip over NaN."""
    return float(value) if value is not None and math.isfinite(value) else None


def sentence(page: ComparisonPage, row: Row) -> str:
    """A row as a sentence, not escaped yet."""
    facts = [f"{row.case}: {row.metric.name} {verdict_words(row)}"]
    if row.work:
        facts.append(work_differences(row.work))
    elif row.verdict != "not_measured":
        facts.append(f"{change(row)}, {' to '.join(sides(row))}")
    if row.verdict == "inconclusive" and minimum_detectable(row):
        facts.append(f"a rise from {minimum_detectable(row)} would have been seen")
    facts += [reason_said(row.reason), page.phase(row)]
    return "; ".join(shortened(one_line(fact), LONGEST_SENTENCE) for fact in facts if fact)
