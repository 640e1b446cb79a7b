"""A comparison on the terminal: the verdict first, what matters on top, and no text of a user is an order."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from bench.analysis.compare.policy import Policy
from bench.analysis.compare.verdict import Cause, Reason, Row
from bench.measurement import metric
from bench.report.comparison import (
    ComparisonPage,
    case_names,
    decides,
    ordered,
    reasons,
    tally,
    verdict_line,
)
from bench.report.row_words import build_effect, change, minimum_detectable, sides, signed, verdict_words
from bench.report.terminal.comparison import table
from bench.report.text_fitting import shortened

CASE = "s/device=cpu/batch_size=64"
OTHER = "s/device=cpu/batch_size=128"

# What users may call a case, a branch or an error, and what some surface would read it as.
HOSTILE = (
    "<script>alert(1)</script>",
    "`code` ```fence```",
    "a|b\\|c",
    "::error title=x::y",
    "##[error]no",
    "one\ntwo\r\n::warning::three",
    "]]><!--",
    "\x1b[31mred\x1b[0m \x00\x07\ufffe",
    "@someone and @org/team #12",
    "[link](http://example.com) www.example.com",
    "100%,50%:*bold* _it_ ~no~ &amp; 'q' \"q\"",
    "\u202egnp.exe",
    "long" * 5_000,
)


def row(verdict: str = "equivalent", name: str = "train.step_time", **changes) -> Row:
    """A step that takes 3.1 % longer, whatever that was judged to be."""
    facts = {
        "suite": "s", "case": CASE, "metric": metric(name), "base": 1.2e-3, "candidate": 1.237e-3,
        "ratio": 1.031, "low": 1.01, "high": 1.052, "verdict": verdict, "policy": Policy(0.01), "gates": True,
        "undecided_gates": True,
    }  # fmt: skip
    return Row(**(facts | changes))


def count(base: float | None, candidate: float | None, name: str = "count.ops", **changes) -> Row:
    """A count, which has no interval."""
    return row(name=name, base=base, candidate=candidate, low=None, high=None, **changes)


def failed(text: str) -> Reason:
    return Reason(Cause.CANDIDATE_FAILED, text)


def gone(**changes) -> Row:
    """A row whose candidate failed."""
    facts = {"candidate": None, "ratio": None, "low": None, "high": None, "reason": failed("timeout: 60 s")}
    return row("not_measured", **(facts | changes))


def page(*rows: Row, **changes) -> ComparisonPage:
    facts = {
        "base": "main", "candidate": "work", "rows": rows, "only_base": (), "only_candidate": (), "notes": (),
        "phases": {}, "exit_code": 0, "paired": True,
    }  # fmt: skip
    return ComparisonPage(**(facts | changes))


def hostile_page(text: str) -> ComparisonPage:
    """The same text wherever a user may put one."""
    return page(
        row("regressed", case=text, suite=text, caveats=(text,)),
        row("regressed", name=text, case=CASE),
        gone(case=text, suite=text, reason=failed(text)),
        row("inconclusive", case=text, suite=text),
        base=text,
        candidate=text,
        only_base=[text],
        only_candidate=[text],
        notes=[text],
        phases={(text, "train.step_time"): text},
        exit_code=1,
    )


def text_of(page: ComparisonPage, everything: bool = False, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    for part in table(page, everything):
        console.print(part)
    return console.file.getvalue()


def lines_of(page: ComparisonPage, everything: bool = False, width: int = 200) -> list[str]:
    return [line.rstrip() for line in text_of(page, everything, width).splitlines()]


class TestVerdict:
    def test_it_stands_first_and_says_the_outcome_in_words(self):
        rows = [row("regressed"), row("regressed"), row("improved"), row("inconclusive"), row(), row()]
        assert lines_of(page(*rows, exit_code=1))[0] == (
            "Failed: 2 regressed, 1 improved, 1 inconclusive, 2 equivalent"
        )

    @pytest.mark.parametrize(
        ("code", "said"),
        [(0, "Passed"), (1, "Failed"), (3, "Undecided"), (4, "Not comparable"), (9, "Exit code 9")],
    )
    def test_each_exit_code_has_its_word(self, code, said):
        assert verdict_line(page(gone(), exit_code=code)) == f"{said}: 1 not measured"

    def test_nothing_to_compare_is_said(self):
        assert verdict_line(page()) == "Passed: nothing to compare"
        assert len(lines_of(page())) == 2

    def test_what_does_not_do_what_its_verdict_suggests_is_counted_beside(self):
        rows = [
            row("regressed"),
            row("regressed", policy=Policy(0.01, regression="warn")),
            row("regressed", gates=False),
            row("improved", policy=Policy(0.01, improvement="fail")),
            row("improved"),
        ]
        assert tally(rows) == "3 regressed (1 warn, 1 not gated), 2 improved (1 fail)"

    def test_a_verdict_that_is_not_known_is_counted_too(self):
        assert tally([row("excused"), row("improved")]) == "1 improved, 1 excused"

    def test_an_answer_that_is_no_gate_passes_and_fails_nothing(self):
        faster = page(row("regressed", gates=False), row("improved", gates=False))
        assert lines_of(faster)[0] == "1 regressed, 1 improved"
        assert "not gated" not in text_of(faster)
        undecided = page(row("regressed", gates=False), exit_code=3)
        assert lines_of(undecided)[0] == "Undecided: 1 regressed (1 not gated)"

    def test_both_sides_are_named_with_how_they_were_measured(self):
        assert lines_of(page(row()))[1] == "base main, candidate work: measured side by side"
        assert lines_of(page(row(), paired=False))[1].endswith(": measured at different times")


class TestWhatARowDoes:
    @pytest.mark.parametrize(
        ("found", "policy", "gates", "does", "said"),
        [
            ("regressed", Policy(0.01), True, "fail", "regressed"),
            ("regressed", Policy(0.01), False, "", "regressed (not gated)"),
            ("regressed", Policy(0.01, regression="warn"), False, "warn", "regressed (warn)"),
            ("regressed", Policy(0.01, regression="ignore"), True, "", "regressed (not gated)"),
            ("improved", Policy(0.01), True, "", "improved"),
            ("improved", Policy(0.01, improvement="warn"), True, "warn", "improved (warn)"),
            ("improved", Policy(0.01, improvement="fail"), True, "fail", "improved (fail)"),
            ("inconclusive", Policy(0.01), True, "", "inconclusive"),
            ("not_measured", Policy(0.01), True, "", "not measured"),
        ],
    )
    def test_it_is_said_where_one_would_not_expect_it(self, found, policy, gates, does, said):
        judged_row = row(found, policy=policy, gates=gates)
        assert build_effect(judged_row) == does
        assert verdict_words(judged_row) == said

    def test_an_undecided_row_decides_only_what_nothing_else_did(self):
        asked, silent = row("inconclusive"), row("inconclusive", undecided_gates=False)
        assert decides(page(asked, row(), exit_code=3), asked)
        assert not decides(page(silent, row(), exit_code=3), silent)
        assert decides(page(silent, exit_code=3), silent), "it is all that there is"
        assert not decides(page(asked, row("regressed"), exit_code=1), asked)
        assert not decides(page(row(), exit_code=3), row())
        shown = row("inconclusive", gates=False)
        assert not decides(page(shown, exit_code=3), shown)


class TestOrder:
    def test_regressed_first_and_the_largest_of_each_first(self):
        rows = [
            row(ratio=1.0),
            row("inconclusive", ratio=1.5),
            gone(),
            row("improved", ratio=0.9),
            row("improved", ratio=0.5),
            row("regressed", ratio=1.1),
            row("regressed", ratio=math.inf),
            row("regressed", ratio=2.0),
        ]
        assert [(found.verdict, found.ratio) for found in ordered(rows)] == [
            ("regressed", math.inf),
            ("regressed", 2.0),
            ("regressed", 1.1),
            ("improved", 0.5),
            ("improved", 0.9),
            ("not_measured", None),
            ("inconclusive", 1.5),
            ("equivalent", 1.0),
        ]

    def test_what_fails_a_build_stands_above_what_is_only_shown(self):
        failing, shown = row("regressed", ratio=1.1), row("regressed", ratio=9.0, gates=False)
        warning = row("regressed", ratio=1.2, policy=Policy(0.01, regression="warn"))
        assert ordered([shown, warning, failing]) == [failing, warning, shown]

    @pytest.mark.parametrize("ratio", [None, math.nan, -1.0])
    def test_a_ratio_that_says_nothing_comes_last_of_its_verdict(self, ratio):
        odd, sound = row("regressed", ratio=ratio), row("regressed", ratio=1.0)
        assert ordered([odd, sound]) == [sound, odd]

    def test_a_verdict_that_is_not_known_breaks_nothing(self):
        assert [found.verdict for found in ordered([row("excused"), row()])] == ["equivalent", "excused"]


class TestChange:
    @pytest.mark.parametrize(
        ("name", "ratio", "low", "high", "said"),
        [
            ("epoch.time", 1.031, 1.01, 1.052, "+3.1 % (+1.0 to +5.2 %)"),
            ("epoch.time", 0.9, 0.88, 0.93, "-10 % (-12 to -7.0 %)"),
            ("epoch.time", 1.0, 0.995, 1.0042, "0 % (-0.50 to +0.42 %)"),
            ("epoch.time", 1.2, None, None, "+20 %"),
            ("epoch.time", 1.2, 1.1, math.inf, "+20 % (+10 % to no limit)"),
            ("epoch.time", 0.0, 0.0, 0.0, "-100 % (-100 to -100 %)"),
            ("epoch.time", 1e6, 1e5, 1e7, "1,000,000 times (100,000 times to 10,000,000 times)"),
            ("epoch.time", None, None, None, "not known"),
            ("epoch.time", math.nan, 1.0, 2.0, "not known"),
            ("epoch.time", math.inf, 1.0, math.inf, "was zero"),
        ],
    )
    def test_it_is_a_signed_percent_with_its_interval_or_a_word(self, name, ratio, low, high, said):
        assert change(row(name=name, ratio=ratio, low=low, high=high)) == said

    @pytest.mark.parametrize(
        ("ratio", "low", "high", "said"),
        [
            (1 / 0.97, 1 / 0.98, 1 / 0.96, "-3.0 % (-4.0 to -2.0 %)"),
            (0.8, 0.5, 1.0, "+25 % (0 to +100 %)"),
            (math.inf, None, None, "-100 %"),
            (0.0, 0.0, 1.0, "was zero"),
            (None, None, None, "not known"),
        ],
    )
    def test_a_throughput_that_fell_reads_as_fallen(self, ratio, low, high, said):
        assert change(row(name="train.throughput", ratio=ratio, low=low, high=high)) == said

    @pytest.mark.parametrize(
        ("name", "base", "candidate", "said"),
        [
            ("count.ops", 100, 112, "+12 operators a step"),
            ("count.kernel_launches", 12_000, 11_000, "-1,000 kernel launches a step"),
            ("count.copies.host_to_device", 0, 3, "+3 copies host to device a step"),
            ("work.train.optimizer_steps", 8, 9, "+1 optimizer steps"),
            ("count.saved_bytes", 2**20, 2**20 + 1, "+1 B/step"),
            ("count.parameter_bytes", 2**20, 2**20 + 1, "+1 B"),
            ("count.validate.ops", 7.5, 9, "+1.5 operators a step"),
            ("count.graph_breaks", 0, 2, "+2 graph breaks"),
            ("memory.peak_allocated", 2**30, 2**29, "-512 MiB"),
            ("count.flops", 1e9, 1.5e9, "+500 MFLOP/step"),
            ("count.ops", 7, 7, "none"),
            ("count.ops", None, 7, "not known"),
            ("count.ops", math.nan, 7, "not known"),
        ],
    )
    def test_a_count_says_its_difference(self, name, base, candidate, said):
        assert change(count(base, candidate, name)) == said

    def test_a_ratio_of_one_has_no_sign(self):
        assert signed(1.0) == "0 %"


class TestSides:
    @pytest.mark.parametrize(
        ("name", "base", "candidate", "said"),
        [
            ("epoch.time", 0.0009, 0.0012, ("0.900 ms", "1.20 ms")),
            ("train.throughput", 900.0, 14_000.0, ("0.900 k samples/s", "14.0 k samples/s")),
            ("count.ops", 123_456, 123_457, ("123,456", "123,457")),
            ("quality.test_accuracy", 0.75, 1.0, ("0.750", "1")),
            ("epoch.time", None, 1.0, ("-", "1.00 s")),
            ("epoch.time", math.nan, math.inf, ("-", "infinite")),
            ("memory.peak_rss", 2**20, 2**30, ("0.000977 GiB", "1.00 GiB")),
        ],
    )
    def test_both_stand_under_one_prefix(self, name, base, candidate, said):
        assert sides(row(name=name, base=base, candidate=candidate)) == said

    @pytest.mark.parametrize(
        ("smallest", "said"), [(0.021, "2.1 %"), (None, ""), (math.inf, ""), (math.nan, "")]
    )
    def test_what_could_be_seen_is_a_percent(self, smallest, said):
        assert minimum_detectable(row(smallest=smallest)) == said


class TestNames:
    def test_what_all_cases_share_is_said_once(self):
        same, names = case_names([row(), row(case=OTHER), row("improved")])
        assert same == {"every case": "s, device=cpu"}
        assert names == {("s", CASE): "batch_size=64", ("s", OTHER): "batch_size=128"}

    def test_a_single_case_is_all_in_common(self):
        assert case_names([row(), row()]) == (
            {"every case": "s, device=cpu, batch_size=64"},
            {("s", CASE): ""},
        )
        lines = lines_of(page(row("regressed")))
        assert lines[2] == "every case: s, device=cpu, batch_size=64"
        assert lines[4].split()[0] == "metric", "a column of nothing is left out"

    def test_without_rows_there_is_nothing_in_common(self):
        assert case_names([]) == ({}, {})

    def test_suites_tell_apart_too(self):
        same, names = case_names([row(), row(suite="t", case="t/device=cpu/batch_size=64")])
        assert same == {"every case": "device=cpu, batch_size=64"}
        assert list(names.values()) == ["s", "t"]

    def test_what_a_suite_has_in_common_is_said_of_it_alone(self):
        mine = [f"m/device=cpu/model=a/mode={mode}" for mode in ("train", "eval")]
        same, names = case_names([row(), row(case=OTHER), *(row(suite="m", case=case) for case in mine)])
        assert same == {"every case": "device=cpu", "every case of m": "model=a"}
        assert list(names.values()) == [
            "s, batch_size=64",
            "s, batch_size=128",
            "m, mode=train",
            "m, mode=eval",
        ]

    def test_a_value_may_hold_slashes(self):
        cases = [f"s/data=/mnt/{name}/x/device=cpu" for name in "ab"]
        _, names = case_names([row(case=case) for case in cases])
        assert list(names.values()) == ["data=/mnt/a/x", "data=/mnt/b/x"]

    def test_a_case_that_is_part_of_another_keeps_its_name(self):
        _, names = case_names([row(case="s"), row(case="s/width=8")])
        assert names == {("s", "s"): "s", ("s", "s/width=8"): "width=8"}

    @pytest.mark.parametrize(("most", "said"), [(10, "0123456789"), (6, "012…89"), (5, "01…89")])
    def test_a_long_text_loses_its_middle(self, most, said):
        assert shortened("0123456789", most) == said
        assert len(said) <= most


class TestTable:
    def test_a_row_says_all_there_is(self):
        rows = [
            row("regressed", smallest=0.015, caveats=("machine_busy", "few_launches")),
            row("improved", case=OTHER),
        ]
        lines = lines_of(page(*rows))
        assert lines[2] == "every case: s, device=cpu"
        assert (
            lines[5].split() == "case metric base candidate change 95 % interval verdict from caveats".split()
        )
        assert lines[6].split("  ")[0] == "batch_size=64"
        said = ("train.step_time", "1.20 ms", "1.24 ms", "+3.1 %  +1.0 to +5.2 %", "regressed", "1.5 %")
        assert all(text in lines[6] for text in said)
        assert lines[6].endswith("machine busy, few launches")

    def test_equivalent_rows_are_one_line_unless_all_are_asked_for(self):
        made = page(row("regressed"), row(case=OTHER), row(case=OTHER, name="epoch.time"))
        assert lines_of(made)[-1] == "2 rows equivalent"
        assert "batch_size=128" not in text_of(made)
        assert text_of(made, everything=True).count("batch_size=128") == 2
        assert "rows equivalent" not in text_of(made, everything=True)
        assert lines_of(page(row()))[-1] == "1 row equivalent"

    def test_the_phase_that_moved_is_said_of_its_row(self):
        moved = {(CASE, "train.step_time"): "backward takes 0.3 ms more", (CASE, "epoch.time"): ""}
        lines = lines_of(page(row("regressed"), row("regressed", "epoch.time"), phases=moved))
        assert lines[-1] == f"{CASE}, train.step_time: backward takes 0.3 ms more"
        assert sum("epoch.time" in line for line in lines) == 1

    def test_a_failure_is_said_once_for_all_metrics_of_its_case(self):
        rows = [gone(), gone(metric=metric("epoch.time")), gone(case=OTHER), row()]
        assert reasons(rows) == [
            f"{CASE}, 2 metrics: timeout: 60 s",
            f"{OTHER}, train.step_time: timeout: 60 s",
        ]

    def test_a_failure_that_was_printed_while_it_was_measured_is_counted(self):
        absent = gone(case="s/new=1", reason=Reason(Cause.NO_PAIR))
        made = page(gone(), gone(metric=metric("epoch.time")), gone(case=OTHER), absent, row(), is_live=True)
        assert not any("timeout" in line for line in lines_of(made))
        assert lines_of(made)[-1] == "2 failures, shown above on standard error"
        assert any(line.startswith("s/new=1, train.step_time: ") for line in lines_of(made))

    def test_cases_of_one_side_and_notes_end_the_page(self):
        made = page(row(), only_base=["s/old=1"], only_candidate=["s/new=1"], notes=["torch differs"])
        assert lines_of(made)[-3:] == [
            "only in the base: s/old=1",
            "only in the candidate, which does not gate: s/new=1",
            "torch differs",
        ]

    def test_a_case_that_has_gone_is_said_once(self):
        made = page(gone(case="s/old=1"), row(), only_base=["s/old=1"], exit_code=3)
        assert lines_of(made)[0] == "Undecided: 1 not measured, 1 equivalent"
        assert [line for line in lines_of(made) if "old" in line] == ["only in the base: s/old=1"]

    def test_it_is_said_where_the_interval_that_is_shown_would_have_said_more(self):
        rows = [
            row("inconclusive", family=40),
            row("inconclusive", family=40, ratio=0.9, low=0.88, high=0.93),
            row("inconclusive", family=40, low=0.99),
            row("inconclusive", family=40, policy=Policy(0.05)),
            row("inconclusive", family=0),
            row("regressed", family=40),
        ]
        said = "outside their 95 % interval but not outside the one that"
        assert f"2 rows lie {said} 40 gated rows call for: inconclusive" in lines_of(page(*rows))
        one = lines_of(page(row("inconclusive", family=1)))
        assert f"1 row lies {said} 1 gated row calls for: inconclusive" in one
        assert not any(said in line for line in lines_of(page(*rows[2:])))

    def test_what_unlike_machines_tell_nothing_of_comes_last(self):
        time = row("regressed", ratio=2.0, gates=False, caveats=("other_machine",))
        assert ordered([time, count(7, 7)]) == [count(7, 7), time]


class TestTextsOfUsers:
    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    @pytest.mark.parametrize("width", [40, 200])
    def test_none_is_an_order_to_a_terminal_or_a_server(self, text, width):
        shown = text_of(hostile_page(text), everything=True, width=width)
        assert all(letter.isprintable() for line in shown.split("\n") for letter in line)
        assert not any(line.lstrip().startswith("::") for line in shown.split("\n"))
        assert "##[" not in shown

    def test_brackets_are_no_markup(self):
        assert "[bold]x[/bold]" in text_of(page(notes=["[bold]x[/bold]"]))

    def test_a_long_name_does_not_fill_the_screen(self):
        assert (
            len(lines_of(page(row("regressed", case="s/x=" + "y" * 9_999), row("regressed")), width=120)) < 30
        )
