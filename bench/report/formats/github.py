"""A comparison as annotations of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...analysis.compare.verdict import Row, undecided
from ...plurals import counted
from ..comparison import (
    LONGEST_NAME,
    LONGEST_RULE,
    LONGEST_SENTENCE,
    ComparisonPage,
    ordered,
    sentence,
    tally,
)
from ..row_words import REMEDY, build_effect, is_quality, quality_values, remedy, verdict_words
from ..safe_text import one_line
from ..text_fitting import shortened
from ..units import percent

MOST_ANNOTATIONS = 10  # of one kind in a step; GitHub drops further ones silently


def workflow_commands(page: ComparisonPage) -> Iterator[str]:
    """Annotations of a run: errors for rows that fail it, warnings for those that warn or are undecided.

    Undecided rows that set no exit code are one notice, and so is unchanged quality. Each kind begins with the most
    important.
    """
    rows = [row for row in ordered(page.rows) if not row.folded]
    undecided_rows = {id(row) for row in undecided(page.rows, page.allow_inconclusive)}
    failing, warning, harmless = [], [], []
    for row in rows:
        if build_effect(row) == "fail":
            failing.append(row)
        elif (
            build_effect(row) == "warn"
            or id(row) in undecided_rows
            or (row.gates and row.verdict == "not_measured")
        ):
            warning.append(row)
        elif row.gates and row.verdict == "inconclusive":
            harmless.append(row)
    yield from _annotated(page, "error", failing)
    yield from _annotated(page, "warning", warning)
    same = [row for row in rows if is_quality(row) and row.verdict == "equivalent"]
    if same:
        cases = len({row.case for row in same})
        whose = same[0].case if cases == 1 else f"{cases} cases"
        yield annotation(
            "notice", "quality unchanged", f"{whose}: {shortened(quality_values(same), LONGEST_SENTENCE)}"
        )
    if harmless:
        yield annotation("notice", "not decided", _not_decided(harmless))


def _not_decided(rows: Sequence[Row]) -> str:
    """'3 inconclusive, which sets no exit code (epoch.time, train.step_time); in each of them ...'."""
    names = ", ".join(dict.fromkeys(row.metric.name for row in rows))
    smallest = max((row.smallest for row in rows if row.smallest is not None), default=None)
    limit = (
        ""
        if smallest is None
        else f"; in each of them a rise from {percent(smallest)} on would have been detected"
    )
    return f"{tally(rows)}, which sets no exit code ({names}){limit}"


def _annotated(page: ComparisonPage, level: str, rows: Sequence[Row]) -> Iterator[str]:
    """At most MOST_ANNOTATIONS; if there are more rows, the last annotation counts those that are not shown."""
    shown = rows if len(rows) <= MOST_ANNOTATIONS else rows[: MOST_ANNOTATIONS - 1]
    for row in shown:
        rule = remedy([row], LONGEST_RULE) if row.work else []
        message = "\n".join([sentence(page, row), *([f"{REMEDY}:"] if rule else []), *rule])
        yield annotation(
            level, f"{row.metric.name} {verdict_words(row)}", message, page.places.get(row.suite)
        )
    if len(rows) > len(shown):
        more = tally(rows[len(shown) :])
        yield annotation(level, "and more", f"{counted(len(rows) - len(shown), 'more row')}: {more}")


def annotation(level: str, title: str, message: str, place: tuple[str, int] | None = None) -> str:
    """One command on one line, which no text can terminate; `place` is a file of the repository and a line in it."""
    title = shortened(one_line(title), LONGEST_NAME)
    where = "" if place is None else f"file={_escaped(place[0], ':', ',')},line={place[1]},"
    return f"::{level} {where}title={_escaped(title, ':', ',')}::{_escaped(message)}"


def _escaped(text: str, *also: str) -> str:
    """Percent-encoded, the percent sign first, since the others are written with it."""
    for letter in ("%", "\r", "\n", *also):
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text
