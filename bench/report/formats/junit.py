"""A comparison as JUnit XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

from ...analysis.compare.verdict import Row
from ..comparison import ComparisonPage, decides, numbers, sentence
from ..row_words import build_effect, remedy, work_differences
from ..safe_text import one_line

# What XML 1.0 cannot hold even as an entity.
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(page: ComparisonPage) -> str:
    """JUnit XML as the xunit plugin of Jenkins accepts it: a test suite for each suite, a test for each row.

    The plugin refuses files with properties of a test: numbers are lines of its output instead. An undecided row is an
    error if it decides the exit code, else it is skipped.
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


def error(kind: str, message: str) -> str:
    """The report if nothing was compared: one test with an error, which replaces an older report."""
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
    element = ET.Element("testsuite", name=_xml(suite), tests=str(len(tests)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(test.find(tag) is not None for test in tests)))
    properties = ET.SubElement(element, "properties")
    paired = "true" if page.paired else "false"
    for name, value in (("base", page.base), ("candidate", page.candidate), ("paired", paired)):
        ET.SubElement(properties, "property", name=name, value=_xml(value))
    element.extend(tests)
    return element


def _test(page: ComparisonPage, row: Row) -> ET.Element:
    name = f"{row.case} {row.metric.name}"
    element = ET.Element("testcase", classname=_xml(row.suite), name=_xml(name))
    if tag := _result(page, row):
        element.append(ET.Element(tag, type=row.verdict, message=_xml(sentence(page, row))))
    lines = [f"{name}={'' if value is None else value}" for name, value in numbers(row).items()]
    if row.work and not row.folded:
        lines += [work_differences(row.work), *remedy([row])]  # the rule has several lines
    ET.SubElement(element, "system-out").text = _xml_lines(lines)
    return element


def _result(page: ComparisonPage, row: Row) -> str:
    """The tag of a test's result; empty where it passed."""
    if build_effect(row) == "fail" and not row.work:
        return "failure"
    if decides(page, row) or (row.work and row.gates):
        return "error"
    return "skipped" if row.verdict in ("inconclusive", "not_measured", "different_work") else ""


def _xml(text: str) -> str:
    """One line of text that XML can hold; the library escapes the rest."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", one_line(text))


def _xml_lines(lines: Iterable[str]) -> str:
    return "\n".join(map(_xml, lines))
