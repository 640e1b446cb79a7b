"""Different work on every surface: from what to what, what is not compared, and the rule that says it is meant."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import xml.etree.ElementTree as ET

import pytest
from test_report_comparison import CASE, HOSTILE, OTHER, page, row
from test_report_comparison import text_of as told

from bench.analysis.compare.comparable import BySample
from bench.analysis.compare.policy import Policy, ThresholdRule
from bench.analysis.compare.work import WorkDifference
from bench.report.comparison import VERDICTS, tally, verdict_line
from bench.report.formats import csv as csv_format
from bench.report.formats import json as json_format
from bench.report.formats import junit, markdown
from bench.report.formats.github import workflow_commands
from bench.report.row_words import build_effect, per_sample_remarks, remedy, work_differences, work_remarks

LESS = (WorkDifference("train", "samples", 1437, 1408), WorkDifference("train", "batches", 23, 22))
BARE = {"ratio": None, "low": None, "high": None}


def unlike(work=LESS, **changes):
    """The row that stands for its case."""
    first = work[0]
    facts = {**BARE, "base": first.before, "candidate": first.after, "work": work, "policy": Policy(0.0)}
    return row("different_work", first.metric, **(facts | changes))


def spoilt(name, work=LESS, **changes):
    facts = {**BARE, "work": work, "folded": True, "gates": False}
    return row("different_work", name, **(facts | changes))


PAGE = page(
    unlike(), spoilt("epoch.time"), spoilt("train.step_time"), row(name="count.ops"), exit_code=3,
    allow_inconclusive=True,
)  # fmt: skip
RULE = '[[rule]]\nmetric = "work.train.*"\npolicy = "ignore"'


class TestOneVerdict:
    def test_it_is_one_in_the_headline_and_first(self):
        assert verdict_line(PAGE) == "Undecided: 1 different work, 1 equivalent"
        assert VERDICTS[0] == "different_work"

    @pytest.mark.parametrize("width", [80, 120])
    def test_the_terminal_says_from_what_to_what_and_how_it_is_said_to_be_meant(self, width):
        text = told(PAGE, width=width)
        flat = " ".join(text.split())
        assert "did different work: train: samples 1,437 to 1,408, batches 23 to 22" in flat
        assert "not compared: epoch.time, train.step_time" in flat
        assert all(line in text.splitlines() for line in RULE.splitlines())
        assert "improved" not in text

    def test_a_comment_has_it_and_the_rule_above_the_fold(self):
        opened, _, folded = markdown.render(PAGE).partition("<details>")
        assert "| <code>work.train.samples</code> | 1,437 | 1,408 | -29 samples | different work |" in opened
        assert "<pre>\n&#91;&#91;rule&#93;&#93;\nmetric = &#34;work.train&#46;&#42;&#34;" in opened
        assert "epoch.time</code> | 1.20 ms | 1.24 ms | not compared | different work" in folded

    def test_actions_get_one_error_with_the_rule(self):
        (line,) = workflow_commands(PAGE)
        assert line.startswith("::error title=work.train.samples different work::")
        assert line.endswith(RULE.replace("\n", "%0A"))

    def test_jenkins_gets_one_error_and_the_others_are_skipped(self):
        tests = {
            one.get("name").split()[-1]: one for one in ET.fromstring(junit.render(PAGE)).iter("testcase")
        }
        (error,) = tests["work.train.samples"].findall("error")
        assert "samples 1,437 to 1,408" in error.get("message")
        assert RULE in tests["work.train.samples"].findtext("system-out")
        assert tests["epoch.time"].find("skipped") is not None
        assert tests["epoch.time"].find("error") is None

    def test_programs_read_it(self):
        data = json.loads(json_format.render(PAGE))
        assert (data["counts"]["different_work"], data["remedy"]) == (1, RULE)
        first, *_ = data["rows"]
        assert (first["verdict"], first["decides"], first["action"]) == ("different_work", True, "fail")
        assert first["reason"] == "train: samples 1,437 to 1,408, batches 23 to 22"
        assert [one["folded"] for one in data["rows"]] == [False, True, True, False]
        assert csv_format.render(PAGE).splitlines()[1].startswith("different_work,s,")

    def test_one_that_only_warns_says_so_and_has_no_rule(self):
        warned = page(unlike(policy=Policy(0.0, regression="warn"), gates=False), row())
        assert verdict_line(warned) == "Passed: 1 different work (1 warn), 1 equivalent"
        assert [line.split(" ")[0] for line in workflow_commands(warned)] == ["::warning"]
        assert remedy(warned.rows) == []

    def test_a_row_that_is_folded_weighs_nothing(self):
        assert build_effect(spoilt("epoch.time", policy=Policy(0.0, regression="warn"))) == ""
        assert tally([spoilt("epoch.time")]) == ""


class TestTheRule:
    def test_of_some_cases_each_has_its_own_and_it_holds_for_that_alone(self):
        text = "\n".join(remedy([unlike(), row(case=OTHER)]))
        (rule,) = tomllib.loads(text)["rule"]
        assert rule == {"metric": "work.train.*", "case": CASE, "policy": "ignore"}

    @pytest.mark.parametrize("name", [*HOSTILE[:-1], "a[0]*?", 'a"b\\c'])
    def test_it_means_the_case_whatever_that_is_called(self, name):
        (rule,) = tomllib.loads("\n".join(remedy([unlike(case=name), row()])))["rule"]
        made = ThresholdRule("", metric=rule["metric"], case=rule["case"])
        assert made.holds("work.train.samples", "s", name, "cpu")
        assert not made.holds("work.train.samples", "s", f"{name}x", "cpu")

    def test_of_many_cases_some_are_left_out_and_it_says_how_to_mean_all(self):
        lines = remedy([row(), *(unlike(case=f"s/a={number}") for number in range(9))])
        assert lines.count("[[rule]]") == 5
        assert lines[-1] == "# and 4 more cases; a rule without a case applies to all of them"

    @pytest.mark.parametrize(
        ("work", "metric"),
        [
            ((WorkDifference("validate", "samples", 40, 30),), "work.validate.*"),
            ((*LESS, WorkDifference("test", "samples", 40, 30)), "work.*"),
            (
                (WorkDifference("test", "samples", None, 30),),
                "work.*",
            ),  # the base has none that it could match
        ],
    )
    def test_it_is_about_the_stages_that_differ(self, work, metric):
        assert remedy([unlike(work)])[1] == f'metric = "{metric}"'

    def test_one_that_had_to_be_cut_would_be_none(self):
        long = [unlike(case="long" * 2_000), row()]
        assert remedy(long, 4_000) == []
        assert "<pre>" not in markdown.render(page(*long, exit_code=3))

    def test_of_what_differs_by_an_axis_there_is_none(self):
        asked = dataclasses.replace(spoilt("train.step_time"), folded=False, gates=True)
        assert remedy([asked]) == []
        assert work_remarks([asked]) == [
            f"{CASE}: train.step_time is not compared, since the work differs: {work_differences(LESS)}"
        ]


class TestWords:
    def test_a_stage_of_one_side_alone_is_from_none(self):
        work = (*LESS[:1], WorkDifference("validate", "samples", None, 360))
        assert work_differences(work) == "train: samples 1,437 to 1,408; validate: samples none to 360"

    def test_many_metrics_are_counted(self):
        names = ("count.a", "count.b", "count.c", "count.d", "epoch.time")
        (line,) = work_remarks([unlike(), *(spoilt(name) for name in names)])
        assert line.endswith("; not compared: epoch.time, count.a, count.b and 2 more")

    def test_what_is_compared_by_the_sample_is_said_on_every_surface(self):
        one = BySample(CASE, LESS, ["train.step_time", "work.train.samples"])
        made = page(row(), by_sample=[one], notes=["more"])
        (line,) = per_sample_remarks([one])
        assert line.endswith("samples 1,437 to 1,408, batches 23 to 22; not compared: train.step_time")
        assert made.remarks == json.loads(json_format.render(made))["notes"] == [line, "more"]
        assert "compared per sample" in " ".join(told(made, width=120).split())
        assert "compared per sample" in markdown.render(made)
        assert line in junit.render(made)
