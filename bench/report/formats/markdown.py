"""A comparison as Markdown, for the comment of a pull request and the summary of a job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...analysis.compare.verdict import Row
from ..comparison import (
    LONGEST_NAME,
    LONGEST_RULE,
    LONGEST_SENTENCE,
    ComparisonPage,
    case_names,
    family_remarks,
    reasons,
    tally,
    verdict_line,
)
from ..row_words import (
    REMEDY,
    build_effect,
    change,
    is_quality,
    minimum_detectable,
    quality_spreads,
    remedy,
    sides,
    verdict_words,
    word,
    work_remarks,
)
from ..safe_text import one_line
from ..text_fitting import shortened

MOST_CHARACTERS = 60_000  # of a comment; GitHub refuses more than 65,536
_CLOSING = 1_000  # characters reserved for the end of a page: its tags, and the number of omitted rows

_URGENT = ("case", "metric", "base", "candidate", "change", "verdict", "phase")
_REST = ("case", "metric", "base", "candidate", "change", "verdict", "detectable from", "caveats")


def render(page: ComparisonPage) -> str:
    """The verdict, the rows that fail or warn, and the others folded; at most MOST_CHARACTERS."""
    rows = page.visible_rows
    urgent = [row for row in rows if _is_urgent(page, row)]
    rest = [row for row in rows if not _is_urgent(page, row)]
    same, names = case_names(rows)
    lines = _LimitedLines(MOST_CHARACTERS - _CLOSING)
    lines.add(f"**{verdict_line(page)}**", "")
    lines.add(f"base {_code(page.base)}, candidate {_code(page.candidate)}: {page.how_measured}")
    for whose, parts in same.items():
        lines.add("", f"{_sentence(whose)}: {_code(parts)}")
    first = 0 if any(names.values()) else 1  # a single case stands above
    if urgent:
        lines.add("", *_head(_URGENT[first:]))
        lines.add_rows((_cells(_facts(page, row, names), _URGENT[first:]) for row in urgent), "such rows")
    if unlike := work_remarks(rows):
        lines.add("")
        lines.add_rows((f"- {_sentence(line)}" for line in unlike), "such cases")
    if rule := remedy(page.rows, LONGEST_RULE):
        lines.add("", f"{_sentence(REMEDY)}:", "", "<pre>", *map(_entities, rule), "</pre>")
    remarks = [
        *(f"{label}: {_code(case)}" for label, case in page.one_sided),
        *map(_sentence, [*quality_spreads(rows), *family_remarks(rows), *reasons(rows), *page.remarks]),
    ]
    if rest or remarks:
        lines.add("", f"<details><summary>{tally(rest, page.is_gate) or 'remarks'}</summary>", "")
        lines.add_rows((f"- {remark}" for remark in remarks), "remarks")
        if rest:
            lines.add("", *_head(_REST[first:]))
            lines.add_rows((_cells(_facts(page, row, names), _REST[first:]) for row in rest), "rows")
        lines.close("", "</details>")
    return lines.text


def _is_urgent(page: ComparisonPage, row: Row) -> bool:
    """Whether the row is not folded: it fails or warns, is a changed quality or, without a gate, is worse."""
    if is_quality(row) and row.verdict in ("regressed", "moved", "improved"):
        return True
    return bool(build_effect(row)) or (row.verdict == "regressed" and not page.is_gate)


class _LimitedLines:
    """Lines of at most `most` characters; rows that do not fit are counted."""

    def __init__(self, most: int) -> None:
        self._space = most
        self._lines: list[str] = []

    def add(self, *lines: str) -> None:
        self._lines += lines
        self._space -= sum(len(line) + 1 for line in lines)

    def add_rows(self, rows: Iterable[str], name: str) -> None:
        omitted = 0
        for row in rows:
            if omitted or len(row) + 1 > self._space:
                omitted += 1
            else:
                self.add(row)
        if omitted:
            self.close("", f"{omitted:,} more {name} are not shown here; the JSON has them all.")

    def close(self, *lines: str) -> None:
        """Adds lines always, in the space reserved by _CLOSING."""
        self._lines += lines

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _head(columns: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]


def _cells(facts: dict[str, str], columns: Sequence[str]) -> str:
    return f"| {' | '.join(facts[column] for column in columns)} |"


def _facts(page: ComparisonPage, row: Row, names: dict[tuple[str, str], str]) -> dict[str, str]:
    """By column, the cells of a row, escaped."""
    base, candidate = sides(row)
    return {
        "case": _code(names[row.suite, row.case]),
        "metric": _code(row.metric.name),
        "base": _sentence(base),
        "candidate": _sentence(candidate),
        "change": _sentence(change(row)),
        "verdict": _sentence(verdict_words(row, page.is_gate)),
        "phase": _sentence(page.phase(row)),
        "detectable from": _sentence(minimum_detectable(row)),
        "caveats": _sentence(", ".join(map(word, row.caveats))),
    }


def _code(text: str) -> str:
    """A name as code, in which GitHub creates no mentions or links.

    Tags instead of backticks, since no backslash keeps a pipe after a backslash from ending a cell.
    """
    return f"<code>{_entities(shortened(one_line(text), LONGEST_NAME))}</code>" if text else ""


def _sentence(text: str) -> str:
    """A sentence, in which a zero-width space prevents mentions and links to issues."""
    shown = _entities(shortened(one_line(text), LONGEST_SENTENCE))
    return shown.replace("&#64;", "&#64;&#8203;").replace("&#35;", "&#35;&#8203;")


# What may be markup in Markdown or HTML. Dots and underlines inside a word are harmless, which keeps most names
# readable, but for the dot that makes a link of 'www.'; a sign or a number begins a list only where a text begins.
_MARKS = re.compile(
    r"(?<![A-Za-z0-9])[._]|[._](?![A-Za-z0-9])|(?<=[wW]{3})\.|^[-+](?=[ -]|$)|(?<=[0-9])\)"
    r"|[!\"#$&'*:;<>?@\[\\\]^`{|}~]"
)


def _entities(text: str) -> str:
    """Characters that may be markup as entities, which never are."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def error(message: str) -> str:
    """The page if nothing was compared."""
    return f"**Not compared**: {_sentence(message)}\n"
