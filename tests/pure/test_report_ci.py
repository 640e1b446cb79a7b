"""A comparison for CI servers: each surface has its limits and its way to keep text from being more than text."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
import xml.etree.ElementTree as ET

import pytest
from test_report_comparison import CASE, HOSTILE, OTHER, count, failed, gone, hostile_page, page, row

from bench.analysis.compare.policy import Policy
from bench.measurement import metric
from bench.report.formats import csv as csv_format
from bench.report.formats import json as json_format
from bench.report.formats import junit, markdown
from bench.report.formats.github import MOST_ANNOTATIONS, annotation, workflow_commands
from bench.report.formats.markdown import MOST_CHARACTERS

WARN = Policy(0.01, regression="warn")
numbered = pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))


class TestMarkdown:
    def test_the_verdict_is_the_first_line(self):
        made = markdown.render(page(row("regressed"), row(case=OTHER), exit_code=1))
        assert made.splitlines()[0] == "**Failed: 1 regressed, 1 equivalent**"
        assert made.splitlines()[2] == (
            "base <code>main</code>, candidate <code>work</code>: measured side by side"
        )
        assert made.splitlines()[4] == "every case: <code>s, device=cpu</code>"

    def test_what_fails_or_warns_stands_open_with_its_phase_and_the_rest_is_folded(self):
        rows = [
            row("regressed"),
            row("regressed", "epoch.time", policy=WARN),
            row("regressed", "train.phase.data", gates=False),
            row("improved", case=OTHER),
            row(case=OTHER),
        ]
        moved = {(CASE, "train.step_time"): "backward takes 0.3 ms more"}
        opened, _, folded = markdown.render(page(*rows, phases=moved, exit_code=1)).partition("<details>")
        assert "| case | metric | base | candidate | change | verdict | phase |" in opened
        assert opened.count("<code>batch_size=64</code>") == 2
        assert "+3.1 % (+1.0 to +5.2 %) | regressed | backward takes 0.3 ms more |" in opened
        assert "| regressed (warn) |  |" in opened
        assert folded.startswith("<summary>1 regressed (1 not gated), 1 improved, 1 equivalent</summary>\n\n")
        assert folded.count("\n| <code>") == 3
        assert folded.endswith("\n\n</details>\n")

    def test_without_a_gate_what_is_worse_stands_open(self):
        rows = [row("regressed", gates=False), row("improved", gates=False, case=OTHER)]
        opened, _, folded = markdown.render(page(*rows)).partition("<details>")
        assert opened.startswith("**1 regressed, 1 improved**\n")
        assert "| regressed |" in opened
        assert folded.startswith("<summary>1 improved</summary>")
        assert list(workflow_commands(page(*rows))) == []

    def test_where_nothing_regressed_all_is_folded(self):
        made = markdown.render(
            page(row(), only_base=["s/a=1"], only_candidate=["s/b=1"], notes=["torch differs"])
        )
        before, _, folded = made.partition("<details>")
        assert "|" not in before
        assert "- only in the base: <code>s/a=1</code>\n" in folded
        assert "- only in the candidate, which does not gate: <code>s/b=1</code>\n" in folded
        assert "- torch differs\n" in folded

    def test_remarks_alone_are_folded_under_their_own_name(self):
        assert "<summary>remarks</summary>" in markdown.render(page(row("regressed"), notes=["x"]))
        assert "<details>" not in markdown.render(page(row("regressed")))
        assert markdown.render(page()).startswith("**Passed: nothing to compare**")

    def test_why_something_was_not_measured_is_said(self):
        assert f"- {CASE}, train.step_time&#58; timeout&#58; 60 s" in markdown.render(page(gone()))

    def test_a_single_case_stands_above_and_not_in_each_row(self):
        made = markdown.render(page(row("regressed"), row()))
        assert made.count("batch_size=64") == 1
        assert "| metric | base |" in made
        assert "| case |" not in made
        rows = [line for line in made.splitlines() if line.startswith("| <code>")]
        assert [line.split()[1] for line in rows] == ["<code>train.step_time</code>"] * 2

    def test_a_case_that_has_gone_is_said_once(self):
        made = markdown.render(page(gone(case="s/old=1"), row(), only_base=["s/old=1"], exit_code=3))
        assert made.count("s/old=1") == 1

    @pytest.mark.parametrize("verdict", ["regressed", "equivalent", "not_measured"])
    def test_it_never_grows_beyond_what_a_comment_may_hold_and_says_what_it_left_out(self, verdict):
        rows = [
            row(verdict, case=f"s/number={number}", reason=failed(f"r{number}")) for number in range(3_000)
        ]
        made = markdown.render(page(*rows, notes=["note"] * 3_000, base="b" * 9_999, exit_code=1))
        assert MOST_CHARACTERS - 1_500 < len(made) <= MOST_CHARACTERS
        shown = len(set(re.findall(r"\| <code>number=(\d+)</code>", made)))
        left = re.search(r"([\d,]+) more (?:such )?rows are not shown here", made)
        assert shown + int(left[1].replace(",", "")) == 3_000
        assert made.count("<details>") == made.count("</details>") == 1
        assert made.endswith("</details>\n")

    def test_what_regressed_has_the_room_before_all_else(self):
        rows = [*(row(case=f"s/n={n}") for n in range(2_000)), row("regressed", case="s/n=last")]
        assert "<code>n=last</code>" in markdown.render(page(*rows)).partition("<details>")[0]

    @numbered
    def test_no_text_of_a_user_is_markup(self, text):
        made = markdown.render(hostile_page(text))
        tags = set(re.findall(r"</?\w+[^>]*>", made))
        assert tags <= {"<code>", "</code>", "<details>", "</details>", "<summary>", "</summary>"}
        assert not set("`[]*~\\@'\"") & set(made.replace("**", "", 2))
        assert "#" not in re.sub(r"&#\d+;", "", made)
        assert len(made) <= MOST_CHARACTERS
        tables = [line.count("|") for line in made.splitlines() if line.startswith("|")]
        assert set(tables) <= {8, 9}, "no cell is split"
        assert all(letter.isprintable() for line in made.split("\n") for letter in line)

    def test_nobody_is_mentioned_and_nothing_is_linked(self):
        made = markdown.render(page(row("regressed", case="@someone"), base="@team", notes=["@a fixes #12"]))
        shown = html.unescape(made)
        outside = re.sub(r"<code>.*?</code>", "", shown)
        assert "<code>@team</code>" in shown
        assert re.findall(r"[@#]\w", outside) == []
        assert "- @\u200ba fixes #\u200b12" in outside

    @pytest.mark.parametrize("note", ["- x", "+ x", "1) x", "1. x", "---", "* x", "# x", "[ ] x", "a", "> x"])
    def test_a_remark_is_one_item_of_its_list(self, note):
        (item,) = [line for line in markdown.render(page(notes=[note])).splitlines() if line.startswith("- ")]
        assert re.match(r"- (&#\d+;|1&#\d+;|a)", item)
        assert html.unescape(item).replace("\u200b", "") == f"- {note}"

    def test_plain_names_stay_readable_in_the_source(self):
        made = markdown.render(page(row("regressed", case="s/model=net-v1.5/batch_size=64"), row()))
        assert "<code>model=net-v1.5</code>" in made

    def test_a_text_reads_as_it_was_written(self):
        case = "a|b\\|c `x` <b>&amp;</b> www.example.com _it_"
        assert f"<code>{case}</code>" in html.unescape(
            markdown.render(page(row("regressed", case=case), row()))
        )


class TestAnnotations:
    def test_what_fails_is_an_error_and_what_warns_or_is_open_a_warning(self):
        rows = [
            row("regressed"),
            row("regressed", "epoch.time", policy=WARN),
            row("inconclusive", smallest=0.09),
            row("inconclusive", gates=False),
            row("regressed", gates=False),
            gone(),
            row("improved"),
            row(),
        ]
        assert list(workflow_commands(page(*rows))) == [
            f"::error title=train.step_time regressed::{CASE}: train.step_time regressed; "
            "+3.1 %25 (+1.0 to +5.2 %25), 1.20 ms to 1.24 ms",
            f"::warning title=epoch.time regressed (warn)::{CASE}: epoch.time regressed (warn); "
            "+3.1 %25 (+1.0 to +5.2 %25), 1.20 ms to 1.24 ms",
            f"::warning title=train.step_time not measured::{CASE}: train.step_time not measured; timeout: 60 s",
            f"::warning title=train.step_time inconclusive::{CASE}: train.step_time inconclusive; "
            "+3.1 %25 (+1.0 to +5.2 %25), 1.20 ms to 1.24 ms; a rise from 9.0 %25 would have been detected",
        ]

    def test_the_phase_that_moved_is_said(self):
        moved = {(CASE, "train.step_time"): "backward takes 0.3 ms more"}
        (line,) = workflow_commands(page(row("regressed"), phases=moved))
        assert line.endswith("; backward takes 0.3 ms more")

    def test_an_improvement_that_fails_is_an_error(self):
        (line,) = workflow_commands(page(row("improved", policy=Policy(0.01, improvement="fail"))))
        assert line.startswith("::error title=train.step_time improved (fail)::")

    @pytest.mark.parametrize("number", [MOST_ANNOTATIONS, MOST_ANNOTATIONS + 1, 50])
    def test_there_are_no_more_than_are_shown_and_the_last_counts_the_rest(self, number):
        rows = [row("regressed"), *(row("inconclusive", case=f"s/n={n}") for n in range(number))]
        error, *warnings = workflow_commands(page(*rows))
        assert error.startswith("::error")
        assert len(warnings) == MOST_ANNOTATIONS
        rest = number - MOST_ANNOTATIONS + 1
        if number > MOST_ANNOTATIONS:
            assert warnings[-1] == f"::warning title=and more::{rest} more rows: {rest} inconclusive"
        else:
            assert "more rows" not in warnings[-1]

    def test_what_is_not_decided_and_need_not_be_is_one_notice(self):
        rows = [
            row("inconclusive", "epoch.time", smallest=0.021),
            row("inconclusive", smallest=0.034),
            row("inconclusive", case=OTHER, smallest=0.012),
            row(name="epoch.time", case=OTHER),
        ]
        (line,) = workflow_commands(page(*rows, allow_inconclusive=True))
        assert line == (
            "::notice title=not decided::3 inconclusive, which sets no exit code (epoch.time, train.step_time); "
            "in each of them a rise from 3.4 %25 on would have been detected"
        )

    def test_what_was_not_measured_is_a_warning_whatever_is_allowed(self):
        (line,) = workflow_commands(page(gone(), row(case=OTHER), allow_inconclusive=True))
        assert line.startswith("::warning title=train.step_time not measured::")

    def test_where_nothing_at_all_was_decided_that_is_a_warning_although_it_is_allowed(self):
        made = page(row("inconclusive", undecided_gates=False))
        (line,) = workflow_commands(made)
        assert line.startswith("::warning title=train.step_time inconclusive::")

    def test_between_runs_of_different_times_an_open_time_that_sets_no_exit_code_is_a_notice(self):
        made = page(row("inconclusive", undecided_gates=False), row(case=OTHER))
        (line,) = workflow_commands(made)
        assert line.startswith("::notice title=not decided::1 inconclusive, which sets no exit code")

    def test_a_row_is_marked_where_its_suite_is(self):
        places = {"s": ("benchmarks/mine, 50%.py", 12), "other": ("o.py", 1)}
        (line,) = workflow_commands(page(row("regressed"), places=places))
        assert line.startswith(
            "::error file=benchmarks/mine%2C 50%25.py,line=12,title=train.step_time regressed::"
        )

    def test_percent_line_ends_and_in_titles_colons_and_commas_are_escaped(self):
        assert annotation("error", "50%: a, b", "50%: a, b") == "::error title=50%25%3A a%2C b::50%25: a, b"
        assert annotation("error", "a\nb", "%0A\r\n") == "::error title=a b::%250A%0D%0A"

    @numbered
    def test_no_text_of_a_user_ends_its_line_or_begins_another(self, text):
        for line in workflow_commands(hostile_page(text)):
            assert all(letter.isprintable() for letter in line)
            order, _, message = line[2:].partition("::")
            level, _, title = order.partition(" title=")
            assert level in ("error", "warning", "notice")
            assert "," not in title
            assert ":" not in title
            assert re.search("%(?!25|0A|0D|3A|2C)", order + message) is None
            assert len(line) < 4_000


# The rules of junit-10.xsd, with which Jenkins' xunit plugin checks a file before it reads any of it: by element,
# attributes that must be and that may be, and the elements inside. The newest of its versions is the strictest.
SCHEMA = {
    "testsuites": ((), ("name", "time", "tests", "failures", "errors"), ("testsuite",)),
    "testsuite": (
        ("name", "tests", "failures", "errors"),
        ("group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"),
        ("testsuite", "properties", "testcase", "system-out", "system-err"),
    ),
    "properties": ((), (), ("property",)),
    "property": (("name", "value"), (), ()),
    "testcase": (
        ("name",),
        ("time", "classname", "group"),
        ("skipped", "error", "failure", "system-out", "system-err"),
    ),
    **dict.fromkeys(("skipped", "error", "failure"), ((), ("type", "message"), ())),
    "system-out": ((), (), ()),
}
HOLDS_TEXT = ("skipped", "error", "failure", "system-out", "system-err")


def faults(element: ET.Element) -> list[str]:
    """Where an element is not as the schema wants it."""
    if element.tag not in SCHEMA:
        return [f"unknown element {element.tag}"]
    must, may, inside = SCHEMA[element.tag]
    found = [f"{element.tag} lacks {name}" for name in must if name not in element.attrib]
    found += [f"{element.tag} has {name}" for name in element.attrib if name not in (*must, *may)]
    found += [f"{child.tag} in {element.tag}" for child in element if child.tag not in inside]
    loose = [element.text or "", *(child.tail or "" for child in element)]
    if element.tag not in HOLDS_TEXT and "".join(loose).strip():
        found.append(f"text in {element.tag}")
    return [*found, *(fault for child in element for fault in faults(child))]


def cases_in(made: str) -> list[ET.Element]:
    root = ET.fromstring(made.encode())
    assert root.tag == "testsuites"
    assert faults(root) == []
    return list(root.iter("testcase"))


def result(test: ET.Element) -> str:
    """The element of the outcome; a test has one at most."""
    (found,) = [child.tag for child in test if child.tag != "system-out"] or ["passed"]
    return found


class TestJUnit:
    @pytest.mark.parametrize(
        "wrong",
        [
            '<testsuites><testsuite tests="0" failures="0" errors="0"/></testsuites>',
            '<testsuites><testcase name="x"/></testsuites>',
            '<testcase name="x"><properties/></testcase>',
            '<testcase name="x" verdict="y"/>',
            "<properties>x</properties>",
            "<other/>",
        ],
    )
    def test_the_rules_of_the_schema_find_what_is_wrong(self, wrong):
        assert len(faults(ET.fromstring(wrong))) == 1

    @pytest.mark.parametrize(
        ("found", "code", "ends"),
        [
            (row("regressed"), 1, "failure"),
            (row("improved", policy=Policy(0.01, improvement="fail")), 1, "failure"),
            (row("regressed", policy=WARN), 0, "passed"),
            (row("regressed", gates=False), 0, "passed"),
            (row("improved"), 0, "passed"),
            (row(), 0, "passed"),
            (row("inconclusive"), 0, "skipped"),
            (row("inconclusive"), 1, "skipped"),
            (row("inconclusive"), 3, "error"),
            (row("inconclusive", gates=False), 3, "skipped"),
            (gone(), 0, "skipped"),
            (gone(), 3, "error"),
        ],
    )
    def test_a_row_is_a_test_that_ends_as_it_was_judged(self, found, code, ends):
        (test,) = cases_in(junit.render(page(found, exit_code=code)))
        assert result(test) == ends
        assert test.get("classname") == "s"
        assert test.get("name") == f"{CASE} train.step_time"
        if ends != "passed":
            outcome = test.find(ends)
            assert outcome.get("type") == found.verdict
            assert outcome.get("message").startswith(
                f"{CASE}: train.step_time {found.verdict.replace('_', ' ')}"
            )

    def test_numbers_are_lines_of_the_output_since_a_test_may_hold_no_properties(self):
        (test,) = cases_in(junit.render(page(row("regressed"))))
        assert test.find("system-out").text.splitlines() == [
            "base=0.0012",
            "candidate=0.001237",
            "unit=s",
            "ratio=1.031",
            "low=1.01",
            "high=1.052",
            "verdict=regressed",
        ]

    def test_a_number_that_is_none_is_blank(self):
        (test,) = cases_in(junit.render(page(count(0, 5, ratio=math.inf))))
        assert test.find("system-out").text.splitlines()[3:6] == ["ratio=", "low=", "high="]

    def test_suites_count_their_own_tests_and_the_whole_counts_all(self):
        rows = [row("regressed"), row("regressed", case=OTHER), gone(), row(suite="t"), row(suite="t")]
        root = ET.fromstring(junit.render(page(*rows, exit_code=1)))
        totals = ("tests", "failures", "errors")
        assert [root.get(name) for name in totals] == ["5", "2", "0"]
        assert [[suite.get(name) for name in ("name", *totals, "skipped")] for suite in root] == [
            ["s", "3", "2", "0", "1"],
            ["t", "2", "0", "0", "0"],
        ]

    def test_both_sides_are_properties_of_each_suite(self):
        root = ET.fromstring(junit.render(page(row(), paired=False)))
        found = {fact.get("name"): fact.get("value") for fact in root.iter("property")}
        assert found == {"base": "main", "candidate": "work", "paired": "false"}

    def test_remarks_are_the_output_of_the_last_suite(self):
        made = junit.render(page(row(), row(suite="t"), notes=["line 3 is incomplete", "a\x00b"]))
        assert cases_in(made)
        assert [suite.findtext("system-out") for suite in ET.fromstring(made)] == [
            None,
            "line 3 is incomplete\na\\x00b",
        ]

    @numbered
    def test_what_was_not_compared_is_one_error(self, text):
        (test,) = cases_in(junit.error("not_comparable", text))
        assert result(test) == "error"
        assert test.find("error").get("type") == "not_comparable"

    def test_without_rows_it_is_an_empty_report(self):
        assert cases_in(junit.render(page())) == []

    @numbered
    def test_no_text_of_a_user_breaks_it(self, text):
        assert len(cases_in(junit.render(hostile_page(text)))) == 4

    def test_what_xml_cannot_hold_is_spelt_out_and_the_rest_is_kept(self):
        case = "a\x00\x1b\ufffe<b>&]]>\ud800 é"
        (test,) = cases_in(junit.render(page(row(case=case))))
        assert test.get("name") == r"a\x00\x1b\ufffe<b>&]]>\ud800 é train.step_time"


class TestJson:
    def test_it_has_all_there_is(self):
        made = page(
            row("regressed", smallest=0.015, caveats=("unsettled",)),
            gone(case=OTHER),
            phases={(CASE, "train.step_time"): "backward"},
            only_base=["a"],
            only_candidate=["b"],
            notes=["c"],
            exit_code=1,
        )
        data = json.loads(json_format.render(made))
        assert data["counts"]["regressed"] == data["counts"]["not_measured"] == 1
        assert (data["base"], data["candidate"], data["exit_code"], data["paired"]) == (
            "main",
            "work",
            1,
            True,
        )
        assert (data["only_base"], data["only_candidate"], data["notes"]) == (["a"], ["b"], ["c"])
        first, second = data["rows"]
        assert first == {
            "suite": "s", "case": CASE, "metric": "train.step_time", "better": "less", "base": 0.0012,
            "candidate": 0.001237, "unit": "s", "ratio": 1.031, "low": 1.01, "high": 1.052,
            "verdict": "regressed", "action": "fail", "gates": True, "decides": False, "relative": 0.01,
            "absolute": None, "smallest": 0.015, "reason": "", "caveats": ["unsettled"], "phase": "backward",
            "spread": None, "folded": False,
        }  # fmt: skip
        assert (second["candidate"], second["ratio"], second["reason"]) == (None, None, "timeout: 60 s")

    @pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, None])
    def test_a_number_is_finite_or_null(self, number):
        odd = row(base=number, ratio=number, low=number, high=number, smallest=number)
        (found,) = json.loads(json_format.render(page(odd)), parse_constant=pytest.fail)["rows"]
        assert {found[name] for name in ("base", "ratio", "low", "high", "smallest")} == {None}

    @numbered
    def test_texts_are_whole_and_harmless_in_a_page_or_a_log(self, text):
        made = json_format.render(hostile_page(text))
        assert json.loads(made)["base"] == text
        assert made.isascii()
        assert not set("<>&#") & set(made)
        assert not any(line.lstrip().startswith("::") for line in made.splitlines())

    def test_half_a_letter_is_replaced(self):
        made = json_format.render(page(base="x\ud800y", candidate="\\ud800 \U0001f600"))
        assert json.loads(made)["base"] == "x\ufffdy"
        assert json.loads(made)["candidate"] == "\\ud800 \U0001f600"

    def test_a_metric_of_the_users_own_is_fine(self):
        assert json.loads(json_format.render(page(row(metric=metric("mine")))))["rows"][0]["better"] == ""


def read_csv(made: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(made)))


class TestCsv:
    def test_a_row_is_a_line_with_the_columns_of_the_json(self):
        made = page(row("regressed", caveats=("unsettled", "spawned")), gone(case=OTHER))
        first, second = read_csv(csv_format.render(made))
        in_json = json.loads(json_format.render(made))["rows"]
        assert set(first) == set(in_json[0])
        assert (first["case"], first["ratio"], first["gates"]) == (CASE, "1.031", "true")
        assert first["caveats"] == "unsettled;spawned"
        assert (second["ratio"], second["candidate"], second["reason"]) == ("", "", "timeout: 60 s")

    def test_without_rows_there_is_the_head(self):
        assert read_csv(csv_format.render(page())) == []
        assert csv_format.render(page()).startswith("verdict,suite,case,metric,")

    @numbered
    def test_no_text_of_a_user_is_a_line_or_an_order_or_a_formula(self, text):
        made = csv_format.render(hostile_page(text))
        lines = made.splitlines()
        assert len(lines) == 5
        assert all(
            line.startswith(("verdict", "regressed", "not_measured", "inconclusive")) for line in lines
        )
        assert "##[" not in made
        assert all(
            not cell.startswith(("@", "=", "+", "-")) for row in read_csv(made) for cell in row.values()
        )

    @pytest.mark.parametrize("first", "=+-@")
    def test_a_formula_is_text_to_a_spreadsheet(self, first):
        (found,) = read_csv(csv_format.render(page(row(case=f"{first}cmd()"))))
        assert found["case"] == f"'{first}cmd()"
