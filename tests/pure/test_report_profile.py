"""Profiles on the terminal: what a page says, and that no name of an operator spoils it."""

from __future__ import annotations

import io
import re

import pytest
from fakes import CASE, counts, failure, graph, measurement, operator_time, profile
from rich.console import Console

from bench.measurement import COUNTED, PROFILED, STACKED, GraphNode
from bench.report.terminal.profile import profiles
from bench.results.journal import Records
from bench.results.tables import build
from bench.suite.case import Case

OTHER = Case("fake", {**CASE.axes, "mode": "no_grad"})


def counted(found=None, **changes):
    return measurement(**{"kind": COUNTED, "stages": (), "counts": found or counts(), **changes})


def profiled(found=None, **changes):
    return measurement(**{"kind": PROFILED, "stages": (), "profile": found or profile(), **changes})


def printed(*records, most: int = 12, width: int = 160) -> str:
    """The pages of a run of these launches, as a terminal of this width has them."""
    gathered = Records()
    for record in records:
        gathered.add(record)
    console = Console(file=io.StringIO(), width=width, highlight=False, force_terminal=False)
    for page in profiles(build(gathered), most):
        console.print(page)
    return console.file.getvalue()


def line_with(text: str, word: str) -> str:
    (line,) = [line for line in text.splitlines() if word in line]
    return " ".join(line.split())


class TestAPage:
    def test_begins_with_its_case(self):
        assert printed(counted(), profiled()).splitlines()[0] == CASE.id

    def test_says_what_was_counted_and_over_how_many_steps(self):
        said = (
            "counted over 2 train, 1 validate, 1 test steps; train step: operators 2, FLOPs 50.0 FLOP, "
            "kept for backward 2.38, peak of live tensors 180"
        )
        assert said.replace("KiB", "") in printed(counted()).replace(" KiB", "").replace("KiB", "")

    @pytest.mark.parametrize("width", [100, 160])
    def test_names_the_operators_that_make_the_flops_a_lower_bound(self, width):
        there = " ".join(printed(counted(counts(unknown=("mylib.thing", "aten.cdist"))), width=width).split())
        assert "no FLOP formula for mylib.thing, aten.cdist: a lower bound" in there
        assert "lower bound" not in printed(counted())

    def test_says_what_profiling_costs(self):
        there = printed(profiled())
        assert "profiled step 4.00 s, plain step 2.00 s: profiling makes it 2.00 times as long" in there
        assert "idle" not in there

    @pytest.mark.parametrize("lacks", [{"plain_step": 0.0}, {"profiled_step": 0.0}], ids=str)
    def test_says_no_cost_that_is_not_known(self, lacks):
        there = printed(profiled(profile(**lacks)))
        assert "profiled" in there.splitlines()
        assert "times as long" not in there

    def test_says_how_long_a_device_was_idle(self):
        assert "; device idle 25 %" in printed(profiled(profile(device={"idle_share": 0.25})))

    def test_has_the_operators_by_their_time_with_shares(self):
        there = printed(profiled())
        assert line_with(there, "aten::addmm") == "4.00 s 50 % 2 aten::addmm train forward"
        assert line_with(there, "(outside operators)") == "2.00 s 25 % 1 (outside operators) train backward"
        assert "kernel" not in there

    @pytest.mark.parametrize("width", [100, 160])
    @pytest.mark.parametrize("most", [1, 2, 40])
    def test_has_shares_that_add_up(self, width, most):
        times = tuple(
            operator_time(f"aten::{name}", share)
            for name, share in zip("abcd", (50, 25, 15, 10), strict=True)
        )
        there = printed(profiled(profile(operators=times)), most=most, width=width)
        shares = re.findall(r"^ *[\d.]+ m?s +(\d+) %", there, re.MULTILINE)
        assert sum(map(int, shares)) == 100
        assert len(shares) == min(4, most + 1)

    def test_has_kernels_in_a_table_of_their_own(self):
        kernel = operator_time("gemm_128x64", 0.0, kind="kernel", device_self=3.0, device_total=3.0)
        there = printed(profiled(profile(operators=(*profile().operators, kernel))))
        assert line_with(there, "gemm_128x64") == "3.00 s 100 % 2 gemm_128x64 train forward"
        assert [line.split()[-3] for line in there.splitlines() if "mostly in" in line] == [
            "operator",
            "kernel",
        ]

    def test_sums_up_the_graph(self):
        there = printed(counted())
        assert "autograd graph of one step: 6 nodes keep 4.75" in there
        assert line_with(there, "AccumulateGrad") == "2 torch::autograd::AccumulateGrad"

    @pytest.mark.parametrize(("names", "rest"), [(12, None), (13, "1 other"), (20, "8 others")])
    def test_has_the_rest_of_a_large_graph_as_one_row(self, names, rest):
        nodes = [GraphNode(f"Function{number}", 0, ()) for number in range(names)]
        there = printed(counted(counts(graph=graph(*nodes))))
        assert there.count("Function") == min(names, 12)
        if rest is None:
            assert "other" not in there
        else:
            assert line_with(there, "other") == f"{names - 12} {rest}"

    def test_has_no_graph_where_none_was_kept(self):
        assert "autograd" not in printed(counted(counts(graph=None)))

    def test_is_there_for_each_case_in_order(self):
        there = printed(counted(), counted(case=OTHER))
        assert [line for line in there.splitlines() if line.startswith("fake/")] == [CASE.id, OTHER.id]


class TestNothingToSay:
    @pytest.mark.parametrize(
        "record",
        [measurement(), failure(), profiled(kind=STACKED), measurement(kind=COUNTED, stages=())],
        ids=["timed", "failed", "stacks alone", "counts without counts"],
    )
    def test_gives_no_page(self, record):
        assert printed(record) == ""

    def test_but_counts_of_nothing_are_said(self):
        nothing = counts(steps={}, totals={}, operators=(), timeline=None, graph=None)
        assert "counted over no steps" in printed(counted(nothing))

    def test_and_a_profile_of_nothing_too(self):
        there = printed(profiled(profile(operators=())))
        assert "times as long" in there
        assert "self time" not in there


HOSTILE = {
    "markup": "[red]aten::mm[/red]",
    "an open tag": "[/]",
    "two lines": "aten::\nmm",
    "a return": "aten::\rmm",
    "an escape": "aten::\x1b[31mmm",
    "a bell": "\x07\x00\x08mm",
    "a line of another kind": "a\u2028b\x85c",
    "written from the right": "a\u202eb",
    "long": "x" * 3000,
    "empty": "",
}


class TestHostileNames:
    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
    @pytest.mark.parametrize("width", [100, 160])
    def test_are_printed_as_harmless_text(self, name, width):
        there = printed(
            counted(counts(unknown=(name,), steps={name: 2}, graph=graph(GraphNode(name, 1, ())))),
            profiled(profile(operators=(operator_time(name, stage=name, phase=name),))),
            width=width,
        )
        assert all(line.isprintable() for line in there.split("\n"))
        assert all(len(line) <= width for line in there.split("\n"))
        assert "100 %" in there

    def test_are_not_taken_for_markup(self):
        there = printed(profiled(profile(operators=(operator_time("[red]aten::mm[/red]"),))))
        assert "[red]aten::mm[/red]" in there

    def test_take_one_line_each(self):
        there = printed(profiled(profile(operators=(operator_time("aten::\nmm\x1b"),))))
        assert "aten:: mm\\x1b" in there
