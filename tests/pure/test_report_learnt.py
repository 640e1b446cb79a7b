"""What was learnt, on every surface: above the fold where it changed, and said where it did not."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from test_report_comparison import CASE, OTHER, page, row
from test_report_comparison import text_of as told

from bench.analysis.compare.policy import Policy
from bench.report.comparison import verdict_line
from bench.report.formats import csv as csv_format
from bench.report.formats import json as json_format
from bench.report.formats import junit, markdown
from bench.report.formats.github import workflow_commands
from bench.report.row_words import change, from_to, quality_outcome, quality_spreads, unchanged_quality

WARN = Policy(0.02, regression="warn", least=0.02)


def learnt(verdict="equivalent", before=0.953, after=0.953, name="test_accuracy", **changes):
    facts = {"low": None, "high": None, "ratio": None, "policy": WARN, "gates": False, "spread": 0.0}
    return row(verdict, f"quality.{name}", base=before, candidate=after, **(facts | changes))


FALL = learnt("regressed", 0.767, 0.198)
FELL = page(row(), FALL, learnt("regressed", 0.3, 2.1, "test_loss"), learnt(name="train_loss"))


class TestAFall:
    def test_it_is_in_the_headline_of_a_build_that_passes(self):
        assert verdict_line(FELL) == (
            "Passed; quality fell (quality.test_accuracy 0.767 to 0.198, and 1 more): "
            "2 regressed (2 warn), 2 equivalent"
        )

    def test_of_one_that_fails(self):
        gated = page(learnt("regressed", 0.767, 0.198, gates=True, policy=Policy(0.02)), exit_code=1)
        assert verdict_line(gated).startswith(
            "Failed; quality fell (quality.test_accuracy 0.767 to 0.198): 1 regressed"
        )

    def test_and_where_nothing_gates(self):
        assert verdict_line(page(FALL)).startswith(
            "quality fell (quality.test_accuracy 0.767 to 0.198): 1 regressed"
        )

    @pytest.mark.parametrize("width", [80, 120])
    def test_the_terminal_has_both_values(self, width):
        text = told(FELL, width=width)
        assert all(part in text for part in ("0.767", "0.198", "-0.569"))

    def test_a_comment_has_it_above_the_fold(self):
        opened, _, _ = markdown.render(FELL).partition("<details>")
        assert "| <code>quality.test_accuracy</code> | 0.767 | 0.198 | -0.569 | regressed (warn) |" in opened

    def test_actions_are_warned(self):
        found = [line for line in workflow_commands(FELL) if line.startswith("::warning")]
        assert found[0].endswith("quality.test_accuracy regressed (warn); -0.569, 0.767 to 0.198")

    def test_programs_read_it(self):
        first = next(
            one
            for one in json.loads(json_format.render(FELL))["rows"]
            if one["metric"] == "quality.test_accuracy"
        )
        assert (first["base"], first["candidate"], first["action"]) == (0.767, 0.198, "warn")
        assert (first["verdict"], first["gates"], first["spread"]) == ("regressed", False, 0.0)
        assert "quality.test_accuracy" in csv_format.render(FELL)
        tests = [one.get("name") for one in ET.fromstring(junit.render(FELL)).iter("testcase")]
        assert f"{CASE} quality.test_accuracy" in tests

    def test_one_whose_direction_nobody_knows_has_moved(self):
        moved = learnt("moved", 1.0, 2.0, "test_score")
        assert verdict_line(page(row(), moved)) == (
            "Passed; quality moved (quality.test_score 1.00 to 2.00): 1 moved (1 warn), 1 equivalent"
        )
        assert "moved (warn)" in markdown.render(page(row(), moved)).partition("<details>")[0]
        assert quality_outcome([moved, FALL]).startswith("quality fell")


class TestWithoutAFall:
    SAME = page(row(), learnt(), learnt(before=0.312, after=0.31, name="test_loss"))

    def test_the_headline_does_not_speak_of_it(self):
        assert verdict_line(self.SAME) == "Passed: 3 equivalent"

    def test_the_terminal_says_what_it_is(self):
        assert "quality unchanged: test_accuracy 0.953, test_loss 0.312 to 0.310" in told(
            self.SAME, width=200
        )

    def test_a_comment_has_it_below_the_fold(self):
        opened, _, folded = markdown.render(self.SAME).partition("<details>")
        assert "quality" not in opened
        assert "<code>quality.test_accuracy</code> | 0.953 | 0.953 | none | equivalent" in folded

    def test_actions_are_told_in_one_notice(self):
        (line,) = workflow_commands(self.SAME)
        assert (
            line == f"::notice title=quality unchanged::{CASE}: test_accuracy 0.953, test_loss 0.312 to 0.310"
        )

    def test_of_many_cases_a_few_have_a_line(self):
        rows = [learnt(case=f"s/a={number}") for number in range(20)]
        assert len(unchanged_quality(rows)) == 12
        assert unchanged_quality(rows)[-1] == "quality unchanged in 9 more cases"
        assert len(unchanged_quality(rows[:12])) == 12

    def test_what_rose_stands_open(self):
        opened, _, _ = markdown.render(page(row(), learnt("improved", 0.5, 0.9))).partition("<details>")
        assert "+0.400 | improved" in opened


def test_how_much_launches_differ_is_said_where_it_matters():
    noisy = learnt("inconclusive", 0.9, 0.85, spread=0.0712)
    line = f"quality, launches of one side differ: test_accuracy by 0.0712: {CASE}"
    assert quality_spreads([noisy, learnt(spread=0.5), FALL]) == [line]
    assert line in told(page(noisy), width=200)
    assert "differ&#58; test_accuracy by 0.0712" in markdown.render(page(noisy))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (0.5, 0.5, "0.500"),
        (0.5, 0.50001, "0.500"),
        (None, 0.5, "- to 0.500"),
        (0.5, None, "0.500 to -"),
        (-1, 1, "-1.00 to 1.00"),
    ],
)
def test_both_values_are_said_unless_they_are_written_alike(before, after, words):
    assert from_to(learnt(before=before, after=after)) == words


def test_a_change_is_a_difference_in_its_own_unit():
    assert change(FALL) == "-0.569"
    assert change(learnt(before=0.0, after=0.5)) == "+0.500"
    assert change(learnt(before=None)) == "not known"
    assert change(learnt(case=OTHER)) == "none"
