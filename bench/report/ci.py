"""A comparison for CI servers and programs: a comment of a pull request, annotations, JUnit XML, JSON and CSV.

Names of cases, refs and messages are texts of users: each surface has its own way to keep them from being read as
more than text.
"""

# No `from __future__ import annotations` here: the name is that of a function.

import csv
import io
import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..analysis.compare.verdict import Row, undecided
from ..plurals import counted as things
from .comparison import (
    ORDER,
    ComparisonPage,
    change,
    counted,
    decides,
    how,
    judged,
    ordered,
    outvoted,
    reasons,
    sees,
    sides,
    told_apart,
    verdict,
    weight,
    word,
)
from .layout import shortened
from .quality_words import is_quality, listed, spreads
from .reasons import reason_said
from .units import one_line, percent
from .work_words import REMEDY, different_work, remedy, work_said

MOST_CHARACTERS = 60_000  # of a comment; GitHub refuses more than 65,536
MOST_ANNOTATIONS = 10  # of one kind in a step; GitHub drops the others without a word

_LONGEST_NAME = 160  # characters, where there is a whole page to share
_LONGEST_SENTENCE = 400
_LONGEST_RULE = 4_000
_CLOSING = 1_000  # characters that are kept for what ends a page: its tags, and what was left out

_URGENT = ("case", "metric", "base", "candidate", "change", "verdict", "phase")
_REST = ("case", "metric", "base", "candidate", "change", "verdict", "sees from", "caveats")


def markdown(page: ComparisonPage) -> str:
    """For a pull request: the verdict, what fails or warns, and the rest folded. Never longer than it may be."""
    rows = [row for row in ordered(page.rows) if not page.is_gone(row)]
    urgent = [row for row in rows if _is_urgent(page, row)]
    rest = [row for row in rows if not _is_urgent(page, row)]
    same, names = told_apart(rows)
    sheet = _Sheet(MOST_CHARACTERS - _CLOSING)
    sheet.add(
        f"**{verdict(page)}**", "", f"base {_code(page.base)}, candidate {_code(page.candidate)}: {how(page)}"
    )
    for whose, parts in same.items():
        sheet.add("", f"{_said(whose)}: {_code(parts)}")
    first = 0 if any(names.values()) else 1  # a single case stands above
    if urgent:
        sheet.add("", *_head(_URGENT[first:]))
        sheet.add_rows((_cells(_facts(page, row, names), _URGENT[first:]) for row in urgent), "such rows")
    if unlike := different_work(rows):
        sheet.add("")
        sheet.add_rows((f"- {_said(line)}" for line in unlike), "such cases")
    if rule := remedy(page.rows, _LONGEST_RULE):
        sheet.add("", f"{_said(REMEDY)}:", "", "<pre>", *map(_entities, rule), "</pre>")
    remarks = [
        *_one_sided(page),
        *map(_said, [*spreads(rows), *outvoted(rows), *reasons(rows), *page.remarks]),
    ]
    if rest or remarks:
        sheet.add("", f"<details><summary>{counted(rest, page.is_gate) or 'remarks'}</summary>", "")
        sheet.add_rows((f"- {remark}" for remark in remarks), "remarks")
        if rest:
            sheet.add("", *_head(_REST[first:]))
            sheet.add_rows((_cells(_facts(page, row, names), _REST[first:]) for row in rest), "rows")
        sheet.close("", "</details>")
    return sheet.text


def _is_urgent(page: ComparisonPage, row: Row) -> bool:
    """Whether the row stands open: what fails or warns, and what was learnt where it changed.

    Without a gate, whatever is worse.
    """
    if is_quality(row) and row.verdict in ("regressed", "moved", "improved"):
        return True
    return bool(weight(row)) or (row.verdict == "regressed" and not page.is_gate)


summary_markdown = markdown  # of a job: the same page, which stays far below what may be shown there


class _Sheet:
    """Lines as long as there is room; what had no room is counted."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._lines: list[str] = []

    def add(self, *lines: str) -> None:
        self._lines += lines
        self._room -= sum(len(line) + 1 for line in lines)

    def add_rows(self, rows: Iterable[str], things: str) -> None:
        left = 0
        for row in rows:
            if left or len(row) + 1 > self._room:
                left += 1
            else:
                self.add(row)
        if left:
            self.close("", f"{left:,} more {things} are left out here; the JSON has them all.")

    def close(self, *lines: str) -> None:
        """What must be there, in the room that was kept for it."""
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
        "base": _said(base),
        "candidate": _said(candidate),
        "change": _said(change(row)),
        "verdict": _said(judged(row, page.is_gate)),
        "phase": _said(page.phase(row)),
        "sees from": _said(sees(row)),
        "caveats": _said(", ".join(map(word, row.caveats))),
    }


def _one_sided(page: ComparisonPage) -> list[str]:
    return [
        *(f"only in the base: {_code(case)}" for case in page.only_base),
        *(f"only in the candidate, which does not gate: {_code(case)}" for case in page.only_candidate),
    ]


def _code(text: str) -> str:
    """A name: nobody is mentioned and nothing is linked in code.

    Tags instead of backticks, since no backslash keeps a pipe after a backslash from ending a cell.
    """
    return f"<code>{_entities(shortened(one_line(text), _LONGEST_NAME))}</code>" if text else ""


def _said(text: str) -> str:
    """A sentence. What would mention someone, or link an issue, is broken by a space that is not seen."""
    shown = _entities(shortened(one_line(text), _LONGEST_SENTENCE))
    return shown.replace("&#64;", "&#64;&#8203;").replace("&#35;", "&#35;&#8203;")


# What Markdown or HTML could read as more than a letter. Dots and underlines inside a word are harmless, which
# keeps most names readable, but for the dot that makes a link of 'www.'; a sign or a number begins a list only
# where a text begins, and '%' and other parentheses make nothing.
_MARKS = re.compile(
    r"(?<![A-Za-z0-9])[._]|[._](?![A-Za-z0-9])|(?<=[wW]{3})\.|^[-+](?=[ -]|$)|(?<=[0-9])\)"
    r"|[!\"#$&'*:;<>?@\[\\\]^`{|}~]"
)


def _entities(text: str) -> str:
    """An entity is a letter to Markdown, never a mark."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def markdown_error(message: str) -> str:
    """The same page of what was not compared."""
    return f"**Not compared**: {_said(message)}\n"


def annotations(page: ComparisonPage) -> Iterator[str]:
    """GitHub's orders to mark a run: errors for what fails it, warnings for what warns or keeps it from being decided.

    What was not decided and need not be is one notice, and so is what was learnt as before. Each kind begins with
    what matters most.
    """
    rows = [row for row in ordered(page.rows) if not row.folded]
    open_ = {id(row) for row in undecided(page.rows, page.allow_inconclusive)}
    failing = [row for row in rows if weight(row) == "fail"]
    others = [row for row in rows if weight(row) != "fail"]
    warning = [row for row in others if weight(row) == "warn" or id(row) in open_ or _is_missing(row)]
    said = {id(row) for row in warning}
    harmless = [row for row in others if row.gates and row.verdict == "inconclusive" and id(row) not in said]
    yield from _annotated(page, "error", failing)
    yield from _annotated(page, "warning", warning)
    same = [row for row in rows if is_quality(row) and row.verdict == "equivalent"]
    if same:
        cases = len({row.case for row in same})
        whose = same[0].case if cases == 1 else f"{cases} cases"
        yield annotation(
            "notice", "quality as before", f"{whose}: {shortened(listed(same), _LONGEST_SENTENCE)}"
        )
    if harmless:
        yield annotation("notice", "not decided", _not_decided(harmless))


def _is_missing(row: Row) -> bool:
    return row.gates and row.verdict == "not_measured"


def _not_decided(rows: Sequence[Row]) -> str:
    """What these rows come to: '3 rows inconclusive (epoch.time, train.step_time); rises from 4.1 % on would ...'."""
    names = ", ".join(dict.fromkeys(row.metric.name for row in rows))
    seen = max((row.smallest for row in rows if row.smallest is not None), default=None)
    said = "" if seen is None else f"; in each of them a rise from {percent(seen)} on would have been seen"
    return f"{counted(rows)}, which sets no exit code ({names}){said}"


def _annotated(page: ComparisonPage, level: str, rows: Sequence[Row]) -> Iterator[str]:
    """The last one that is shown counts those that are not."""
    shown = rows if len(rows) <= MOST_ANNOTATIONS else rows[: MOST_ANNOTATIONS - 1]
    for row in shown:
        rule = remedy([row], _LONGEST_RULE) if row.work else []
        message = "\n".join([_message(page, row), *([f"{REMEDY}:"] if rule else []), *rule])
        yield annotation(level, f"{row.metric.name} {judged(row)}", message, page.places.get(row.suite))
    if len(rows) > len(shown):
        more = counted(rows[len(shown) :])
        yield annotation(level, "and more", f"{things(len(rows) - len(shown), 'more row')}: {more}")


def annotation(level: str, title: str, message: str, place: tuple[str, int] | None = None) -> str:
    """One order on one line, with texts that cannot end it; `place` is a file of the repository and a line of it."""
    title = shortened(one_line(title), _LONGEST_NAME)
    where = "" if place is None else f"file={_escaped(place[0], ':', ',')},line={place[1]},"
    return f"::{level} {where}title={_escaped(title, ':', ',')}::{_escaped(message)}"


def _escaped(text: str, *also: str) -> str:
    """The percent sign first: it is what the others are written with."""
    for letter in ("%", "\r", "\n", *also):
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text


def _message(page: ComparisonPage, row: Row) -> str:
    """A row in a sentence, not escaped yet."""
    facts = [f"{row.case}: {row.metric.name} {judged(row)}"]
    if row.work:
        facts.append(work_said(row.work))
    elif row.verdict != "not_measured":
        facts.append(f"{change(row)}, {' to '.join(sides(row))}")
    if row.verdict == "inconclusive" and sees(row):
        facts.append(f"a rise from {sees(row)} would have been seen")
    facts += [reason_said(row.reason), page.phase(row)]
    return "; ".join(shortened(one_line(fact), _LONGEST_SENTENCE) for fact in facts if fact)


def junit(page: ComparisonPage) -> str:
    """JUnit XML as the xunit plugin of Jenkins takes it: a suite of tests for each suite, a test for each row.

    A test may hold no properties there, and a file that has some is refused whole: numbers are lines of its output.
    An undecided row is an error where it decides the exit code, else it is skipped.
    """
    by_suite: dict[str, list[Row]] = {}
    for row in page.rows:
        by_suite.setdefault(row.suite, []).append(row)
    root = ET.Element("testsuites", name="Epochbench")
    for suite, rows in by_suite.items():
        root.append(_test_suite(page, suite, rows))
    if page.remarks and by_suite:
        ET.SubElement(root[-1], "system-out").text = _xml_lines(page.remarks)
    return _document(root)


def junit_error(kind: str, message: str) -> str:
    """The report of what was not compared: one test that ended in an error, so that no older one is read for it."""
    root = ET.Element("testsuites", name="Epochbench")
    suite = ET.SubElement(root, "testsuite", name="bench", tests="1", failures="0", errors="1", skipped="0")
    test = ET.SubElement(suite, "testcase", classname="bench", name="comparison")
    ET.SubElement(test, "error", type=kind, message=_xml(message))
    return _document(root)


def _document(root: ET.Element) -> str:
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(child.get(total, 0)) for child in root)))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _test_suite(page: ComparisonPage, suite: str, rows: Sequence[Row]) -> ET.Element:
    tests = [_test(page, row) for row in rows]
    made = ET.Element("testsuite", name=_xml(suite), tests=str(len(tests)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        made.set(attribute, str(sum(test.find(tag) is not None for test in tests)))
    facts = {"base": page.base, "candidate": page.candidate, "paired": "true" if page.paired else "false"}
    properties = ET.SubElement(made, "properties")
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=_xml(value))
    made.extend(tests)
    return made


def _test(page: ComparisonPage, row: Row) -> ET.Element:
    name = f"{row.case} {row.metric.name}"
    made = ET.Element("testcase", classname=_xml(row.suite), name=_xml(name))
    tag = _result(page, row)
    if tag:
        made.append(ET.Element(tag, type=row.verdict, message=_xml(_message(page, row))))
    lines = [f"{name}={'' if value is None else value}" for name, value in _numbers(row).items()]
    if row.work and not row.folded:
        lines += [work_said(row.work), *remedy([row])]  # the rule is of several lines
    ET.SubElement(made, "system-out").text = _xml_lines(lines)
    return made


def _result(page: ComparisonPage, row: Row) -> str:
    """The element that says how a test ended; a passed one has none."""
    if weight(row) == "fail" and not row.work:
        return "failure"
    if decides(page, row) or (row.work and row.gates):
        return "error"
    return "skipped" if row.verdict in ("inconclusive", "not_measured", "different_work") else ""


def _numbers(row: Row) -> dict[str, Any]:
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
    """JSON has no infinity, and readers of numbers trip over NaN."""
    return float(value) if value is not None and math.isfinite(value) else None


# What XML 1.0 cannot hold even as an entity.
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml(text: str) -> str:
    """One line of text that XML can hold; the library escapes the rest."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", one_line(text))


def _xml_lines(lines: Iterable[str]) -> str:
    return "\n".join(map(_xml, lines))


def as_json(page: ComparisonPage) -> str:
    """All of it, for programs. Texts are whole; numbers are finite, or null."""
    rows = ordered(page.rows)
    data = {
        "format": 1,
        "base": page.base,
        "candidate": page.candidate,
        "paired": page.paired,
        "exit_code": page.exit_code,
        "counts": {name: sum(row.verdict == name and not row.folded for row in rows) for name in ORDER},
        "rows": [_as_data(page, row) for row in rows],
        "only_base": list(page.only_base),
        "only_candidate": list(page.only_candidate),
        "notes": page.remarks,
        "remedy": "\n".join(remedy(page.rows)),
    }
    return f"{_harmless(data)}\n"


def _as_data(page: ComparisonPage, row: Row) -> dict[str, Any]:
    return {
        "suite": row.suite,
        "case": row.case,
        "metric": row.metric.name,
        "better": row.metric.better,
        **_numbers(row),
        "action": weight(row) or "ignore",
        "gates": row.gates,
        "decides": decides(page, row),
        "relative": _finite(row.policy.relative),
        "absolute": _finite(row.policy.absolute),
        "smallest": _finite(row.smallest),
        "spread": _finite(row.spread),
        "folded": row.folded,
        "reason": reason_said(row.reason) or work_said(row.work),
        "caveats": list(row.caveats),
        "phase": page.phase(row),
    }


def _harmless(data: dict[str, Any]) -> str:
    """JSON that is safe inside a page of HTML and in the log of a step: these letters stand in texts only."""
    # Half a letter, which the name of a file may hold, is not JSON to every reader.
    whole = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", json.dumps(data, ensure_ascii=False))
    text = json.dumps(json.loads(whole), indent=2, allow_nan=False)
    for letter in "<>&#":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


_COLUMNS = (
    "verdict", "suite", "case", "metric", "better", "unit", "base", "candidate", "ratio", "low", "high",
    "smallest", "action", "gates", "decides", "relative", "absolute", "caveats", "phase", "reason",
    "spread", "folded",
)  # fmt: skip


def as_csv(page: ComparisonPage) -> str:
    """A row a line, with the columns of the JSON; what is not known is empty.

    The verdict comes first, so that no line begins with a text of a user.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in ordered(page.rows):
        data = _as_data(page, row) | {"caveats": ";".join(row.caveats)}
        writer.writerow(_cell(data[column]) for column in _COLUMNS)
    return file.getvalue()


def _cell(value: Any) -> str:
    """A text on one line, which is no formula to a spreadsheet and no order in the log of a step."""
    if not isinstance(value, str):
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    text = one_line(value).replace("##[", "# #[")
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
