"""The content of a comparison, independent of the format: verdict, ordered rows as data and as sentences, remarks."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..analysis.compare.comparable import BySample
from ..analysis.compare.verdict import Row, undecided
from ..plurals import counted
from .reason_words import reason_said
from .row_words import (
    build_effect,
    change,
    minimum_detectable,
    per_sample_remarks,
    quality_outcome,
    sides,
    unexpected_effect,
    verdict_words,
    word,
    work_differences,
)
from .safe_text import one_line
from .text_fitting import shortened

LONGEST_NAME, LONGEST_SENTENCE, LONGEST_RULE = 160, 400, 4_000  # characters
VERDICTS = ("different_work", "regressed", "moved", "improved", "not_measured", "inconclusive", "equivalent")
_EFFECT_ORDER = ("fail", "warn", "")
_UNLIKE_MACHINES = frozenset({"other_machine", "other_software", "other_cpu"})
_OUTCOMES = {0: "Passed", 1: "Failed", 3: "Undecided", 4: "Not comparable"}


@dataclass(frozen=True)
class ComparisonPage:
    """The content of one comparison for all formats. Every text in it may come from the user.

    `notes` are remarks of one line; `phases` has, by case and metric, a short sentence on the phase that moved;
    `by_sample` the cases whose sides intentionally do different work; `places`, by suite, its file in the repository
    and the line, if known. `is_live`: its failures were printed while it was measured.
    """

    base: str
    candidate: str
    rows: Sequence[Row]
    only_base: Sequence[str]
    only_candidate: Sequence[str]
    notes: Sequence[str]
    phases: Mapping[tuple[str, str], str]
    exit_code: int
    paired: bool
    allow_inconclusive: bool = False
    by_sample: Sequence[BySample] = ()
    is_live: bool = False
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """The cases that are compared per sample, then the notes."""
        return [*per_sample_remarks(self.by_sample), *self.notes]

    @property
    def is_gate(self) -> bool:
        """False if the page never fails a build, such as a comparison of optimizers."""
        return self.exit_code != 0 or not self.rows or any(row.gates for row in self.rows)

    @property
    def visible_rows(self) -> list[Row]:
        """The rows in order, without those that only represent a case that the candidate does not have."""
        return [
            row
            for row in ordered(self.rows)
            if row.verdict != "not_measured" or row.case not in self.only_base
        ]

    @property
    def one_sided(self) -> list[tuple[str, str]]:
        """The cases that only one side has, each with a label that names the side."""
        return [
            *(("only in the base", case) for case in self.only_base),
            *(("only in the candidate, which does not gate", case) for case in self.only_candidate),
        ]

    @property
    def how_measured(self) -> str:
        return "measured side by side" if self.paired else "measured at different times"

    def phase(self, row: Row) -> str:
        return self.phases.get((row.case, row.metric.name), "")


def verdict_line(page: ComparisonPage) -> str:
    """One line: 'Passed; quality fell (quality.test_accuracy 0.767 to 0.198): 1 regressed (1 warn), 10 equivalent'."""
    quality = quality_outcome(page.rows)
    if not page.is_gate:
        return ": ".join(filter(None, (quality, tally(page.rows, gate=False))))
    outcome = _OUTCOMES.get(page.exit_code, f"Exit code {page.exit_code}")
    return f"{'; '.join(filter(None, (outcome, quality)))}: {tally(page.rows) or 'nothing to compare'}"


def tally(rows: Iterable[Row], gate: bool = True) -> str:
    """How many rows have each verdict, and in a gate how many of these have an unexpected effect.

    A case that did different work counts once.
    """
    by_verdict: dict[str, list[Row]] = {name: [] for name in VERDICTS}
    for row in rows:
        if not row.folded:
            by_verdict.setdefault(row.verdict, []).append(row)
    return ", ".join(
        f"{len(of)} {word(name)}{_unexpected_effects(of) if gate else ''}"
        for name, of in by_verdict.items()
        if of
    )


def _unexpected_effects(rows: Sequence[Row]) -> str:
    """' (1 warn)': this explains why a build passed with '2 regressed'."""
    effects = Counter(filter(None, map(unexpected_effect, rows)))
    return f" ({', '.join(f'{number} {effect}' for effect, number in effects.items())})" if effects else ""


def decides(page: ComparisonPage, row: Row) -> bool:
    """Whether the exit code is 3 because of this undecided row."""
    return page.exit_code == 3 and any(row is one for one in undecided(page.rows, page.allow_inconclusive))


def ordered(rows: Iterable[Row]) -> list[Row]:
    """The order of rows: by verdict, then by effect on the build, then by size of the change; rows without a ratio come
    last.

    Rows that cannot be decided across machines come after all others.
    """
    return sorted(
        rows,
        key=lambda row: (
            *(not _UNLIKE_MACHINES.isdisjoint(row.caveats), _rank(row.verdict)),
            *(_EFFECT_ORDER.index(build_effect(row)), -_distance(row)),
        ),
    )


def _rank(name: str) -> int:
    return VERDICTS.index(name) if name in VERDICTS else len(VERDICTS)


def _distance(row: Row) -> float:
    """The distance of r from 1, the same for twice and for half."""
    if row.ratio is None or math.isnan(row.ratio) or row.ratio < 0:
        return -1.0
    return abs(math.log(row.ratio)) if 0 < row.ratio < math.inf else math.inf


def case_names(rows: Iterable[Row]) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """The axes that all cases share, and those that the cases of each suite share, in words; and each case by its other
    axes.

    A single case shares all of its axes, and its name is empty.
    """
    cases = {(row.suite, row.case): _parts(row.suite, row.case) for row in rows}
    suites: dict[str, list[list[str]]] = {}
    for (suite, _), parts in cases.items():
        suites.setdefault(suite, []).append(parts)
    everywhere = _common(cases.values())
    common = {suite: _common(of) for suite, of in suites.items()}
    same = {"every case": ", ".join(everywhere)}
    for suite, parts in common.items():
        beside = [part for part in parts if part not in (*everywhere, suite)]
        same[f"every case of {suite}"] = ", ".join(beside)
    names = {}
    for (suite, case), parts in cases.items():
        own = [part for part in parts if part not in common[suite]]
        if not own and len(suites[suite]) > 1:
            own = [case]
        names[suite, case] = ", ".join([suite, *own] if len(suites) > 1 else own)
    return {whose: parts for whose, parts in same.items() if parts}, names


def _common(cases: Iterable[Sequence[str]]) -> list[str]:
    """The parts that all of these cases share, in the order of the first."""
    first, *others = [*cases] or [[]]
    return [part for part in first if all(part in other for other in others)]


def _parts(suite: str, case: str) -> list[str]:
    """The parts of an id: the suite, then each axis with its value, which may contain slashes."""
    axes = case[len(suite) + 1 :] if case.startswith(f"{suite}/") else "" if case == suite else case
    return [part for part in (suite, *re.split(r"/(?=[^\W\d]\w*=)", axes)) if part]


def family_remarks(rows: Iterable[Row]) -> list[str]:
    """A line if printed 95 % intervals exclude "no change" while the wider ones for the family of rows do not."""
    found = [row for row in rows if _is_beyond_printed_interval(row)]
    if not found:
        return []
    family = max(row.family for row in found)
    return [
        f"{counted(len(found), 'row lies', 'rows lie')} outside their 95 % interval but not outside the one that "
        f"{counted(family, 'gated row calls', 'gated rows call')} for: inconclusive"
    ]


def _is_beyond_printed_interval(row: Row) -> bool:
    low, ratio, high, base = row.low, row.ratio, row.high, row.base
    if low is None or ratio is None or high is None or base is None or not row.family:
        return False
    most = 1 + row.policy.threshold(base)
    outside = (low > 1 and ratio > most) or (high < 1 and ratio < 1 / most)
    return outside and row.verdict == "inconclusive"


def reasons(rows: Iterable[Row]) -> list[str]:
    """Why rows were not measured: a line for each case and reason, since a failure affects all metrics."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.reason:
            found.setdefault((row.case, reason_said(row.reason)), []).append(row.metric.name)
    return [
        f"{case}, {names[0] if len(names) == 1 else counted(len(names), 'metric')}: {reason}"
        for (case, reason), names in found.items()
    ]


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
        "relative": _finite(row.policy.relative),
        "absolute": _finite(row.policy.absolute),
        "smallest": _finite(row.smallest),
        "spread": _finite(row.spread),
        "folded": row.folded,
        "reason": reason_said(row.reason) or work_differences(row.work),
        "caveats": list(row.caveats),
        "phase": page.phase(row),
    }


def numbers(row: Row) -> dict[str, Any]:
    return {
        "base": _finite(row.base),
        "candidate": _finite(row.candidate),
        "unit": row.metric.unit,
        "ratio": _finite(row.ratio),
        "low": _finite(row.low),
        "high": _finite(row.high),
        "verdict": row.verdict,
    }


def _finite(value: float | None) -> float | None:
    """None for infinity and NaN, which JSON does not have."""
    return float(value) if value is not None and math.isfinite(value) else None


def sentence(page: ComparisonPage, row: Row) -> str:
    """A row as a sentence, not escaped yet."""
    facts = [f"{row.case}: {row.metric.name} {verdict_words(row)}"]
    if row.work:
        facts.append(work_differences(row.work))
    elif row.verdict != "not_measured":
        facts.append(f"{change(row)}, {' to '.join(sides(row))}")
    if row.verdict == "inconclusive" and minimum_detectable(row):
        facts.append(f"a rise from {minimum_detectable(row)} would have been detected")
    facts += [reason_said(row.reason), page.phase(row)]
    return "; ".join(shortened(one_line(fact), LONGEST_SENTENCE) for fact in facts if fact)
