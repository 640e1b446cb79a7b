"""Tables and sentences that fit: whatever they hold and however narrow the terminal is."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from bench.report.layout import ESSENTIAL, Column, Grid, SafeLines, Words, arrange
from bench.report.text_fitting import LIST, TEXT, fold, shortened, wrapped

# What stands in tables: numbers, huge and tiny, words of other scripts, emoji, names of 60 letters, nothing.
CELLS = st.one_of(
    st.sampled_from(
        [
            *("1,330", "0.00012", "9.99e+120", "±2.0 %", "+1.0 to +5.2 %", "contaminated", "", "-"),
            *("漢字" * 15, "🙂 smile", "e\u0301a", "x" * 60, "::error::no", "##[error]no"),
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12),
)
HEADS = st.sampled_from(["step", "95 % interval", "optimizer\nstate", "kept for backward", "caveats", "批量"])


@st.composite
def grids(draw) -> Grid:
    rows = draw(st.integers(1, 5))

    def column(number: int) -> Column:
        one_value = draw(st.booleans())
        cells = [draw(CELLS)] * rows if one_value else [draw(CELLS) for _ in range(rows)]
        # Marked, so that a cell can be found again, and found whole.
        marked = [f"{cell}<{number}{'' if one_value else f'.{row}'}>" for row, cell in enumerate(cells)]
        return Column(
            f"{draw(HEADS)}#{number}",
            marked,
            priority=draw(st.integers(ESSENTIAL, 5)),
            unit=draw(st.sampled_from(["", "ms", "k samples/s"])),
            right=draw(st.booleans()),
        )

    columns = [column(number) for number in range(draw(st.integers(1, 7)))]
    return Grid(columns, [Words("a head")], "case", draw(st.sampled_from(["", "device=cpu, mode=train"])))


def printed(part, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(SafeLines(part))
    return console.file.getvalue().splitlines()


def column(*cells: str, head: str = "step", **facts) -> Column:
    return Column(head, cells, **facts)


@given(grids(), st.integers(40, 240))
def test_a_table_fits_and_splits_nothing_and_accounts_for_every_column(grid, width):
    lines = printed(grid, width)
    assert all(cell_len(line) <= width for line in lines)
    text = "\n".join(lines)
    in_one_line = " ".join(text.split())
    dropped = re.search(r"not shown at this width: (.*); --json or", in_one_line)
    above = re.search(r"every case: (.*?)(?=\n\n)", text, re.DOTALL)
    for one in grid.columns:
        if dropped and one.name in dropped[1]:
            assert one.priority > ESSENTIAL
            assert not any(cell in text for cell in one.cells)
        elif above and " ".join(one.name.split()) in " ".join(above[1].split()):
            assert one.is_constant
        else:
            for cell in one.cells:
                whole = any(cell in line for line in lines)
                assert whole or (cell_len(cell) > width - 2 and "cut at this width: " in text), cell
    assert not any(line.lstrip().startswith("::") for line in lines)


@given(st.text(max_size=200), st.integers(1, 100))
def test_a_sentence_fits_and_loses_nothing(text, width):
    shown = "".join(text.split())
    lines = wrapped(text, width)
    assert "".join("".join(lines).split()) == re.sub(r"^::", ": :", shown).replace(" ", "") or "::" in shown
    assert all(cell_len(line) <= max(width, 2) for line in lines)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=20), st.integers(9, 60))
def test_no_word_of_a_sentence_is_split_that_fits_a_line(words, width):
    assert " ".join(wrapped(" ".join(words), width)).split() == words


class TestWhatGives:
    """In this order: what is constant, then texts, then what matters least, then the table itself."""

    CONSTANT = column("20", "20", head="launches", priority=8)
    CASE = column("adam", "sgd", head="optimizer")
    STEP = column("1.25", "3.50", unit="ms", right=True)
    MEMORY = column("30.9", "35.1", head="memory", unit="MiB", right=True, priority=3)
    CAVEATS = column("unsettled, long warmup, spawned", "", head="caveats", priority=1, folds=LIST)
    ALL = (CASE, STEP, MEMORY, CONSTANT, CAVEATS)

    def named(self, width: int) -> tuple[list[str], list[str], list[str]]:
        found = arrange(self.ALL, width)
        shown, above, dropped = [one for one, _ in found.shown], found.above, found.dropped
        return tuple([one.name for one in part] for part in (shown, above, dropped))

    def test_where_all_fits_nothing_moves(self):
        assert self.named(100) == (["optimizer", "step", "memory", "launches", "caveats"], [], [])

    def test_what_is_the_same_in_every_row_moves_above_first(self):
        assert self.named(65) == (["optimizer", "step", "memory", "caveats"], ["launches"], [])
        lines = printed(Grid(self.ALL, [Words("a head")], "case", "device=cpu"), 65)
        assert lines[:3] == ["a head", "every case: device=cpu; launches 20", ""]

    def test_a_list_folds_between_its_items(self):
        lines = printed(Grid(self.ALL), 55)
        assert [line.split("  ")[-1].strip() for line in lines[-3:]] == [
            "unsettled, long warmup,",
            "spawned",
            "35.1",
        ]

    def test_what_matters_least_is_left_out_and_named(self):
        assert self.named(35) == (["optimizer", "step", "memory"], ["launches"], ["caveats"])
        assert self.named(20) == (["optimizer", "step"], ["launches"], ["memory", "caveats"])
        said = " ".join(printed(Grid(self.ALL), 36))
        assert said.endswith(" not shown at this width: caveats; --json or a wider terminal has them")

    def test_what_still_fits_is_shown_though_a_wider_column_that_matters_more_does_not(self):
        wide = column("x" * 30, "y" * 30, head="wide", priority=1)
        found = arrange((self.CASE, wide, self.MEMORY), 30)
        assert ([one.name for one, _ in found.shown], found.dropped) == (["optimizer", "memory"], [wide])

    def test_names_that_differ_do_so_still_when_they_are_cut(self):
        names = [f"{'a' * 20}{number}{'b' * 39}" for number in (1, 2)]
        lines = printed(Grid([column(*names, head="label", shrinks=True), self.STEP]), 55)
        assert [line.split()[0] for line in lines[2:4]] == [shortened(name, 49) for name in names]
        assert lines[4].startswith("cut at this width: label; ")
        assert len(set(lines[2:4])) == 2
        narrow = printed(Grid([column(*names, head="label", shrinks=True), self.STEP]), 40)
        assert narrow[:3] == ["label:", f"  {shortened(names[0], 38)}", "step: 1.25 ms"], (
            "then rows are blocks"
        )

    def test_where_not_even_the_rest_fits_each_row_is_a_block_with_everything(self):
        assert arrange(self.ALL, 14) is None
        named = column("a" * 30, "b", head="name")
        lines = printed(Grid((named, *self.ALL)), 34)
        assert lines[:8] == [
            "name:",
            f"  {'a' * 30}",
            "optimizer: adam",
            "step: 1.25 ms",
            "memory: 30.9 MiB",
            "launches: 20",
            "caveats:",
            "  unsettled, long warmup, spawned",
        ]
        assert lines.count("") == 1, "a blank line between two blocks"
        assert "not shown" not in " ".join(lines)

    def test_a_single_row_is_a_block_before_anything_is_left_out(self):
        one = [
            column("adam", head="optimizer"),
            column("1.25", unit="ms"),
            column("30.9", head="memory", priority=9),
        ]
        assert printed(Grid(one), 20) == ["optimizer: adam", "step: 1.25 ms", "memory: 30.9"]

    def test_a_value_that_is_wider_than_all_is_cut_in_the_middle_and_that_is_said(self):
        lines = printed(Grid([column("begin" + "x" * 100 + "end", "y", head="name")]), 30)
        assert lines[:2] == ["name:", "  beginxxxxxxxxx…xxxxxxxxxxend"]
        assert " ".join(lines[-3:]) == "cut at this width: name; --json or a wider terminal has them whole"

    def test_a_column_without_a_value_is_none(self):
        assert printed(Grid([column("1"), column("", head="memory")]), 80) == ["step", "1"]


class TestColumns:
    def test_numbers_stand_to_the_right_under_their_unit(self):
        lines = printed(Grid([column("1.25", "13.5", unit="ms", right=True), column("a", "b", head="x")]), 80)
        assert lines == ["step", "  ms  x", "1.25  a", "13.5  b"]

    def test_wide_letters_take_two_cells(self):
        lines = printed(Grid([column("漢字", "ab", head="x"), column("1", "2", head="y")]), 80)
        assert lines == ["x     y", "漢字  1", "ab    2"]

    def test_a_head_folds_between_its_words_or_where_it_says(self):
        lines = printed(Grid([column("1", "2", head="optimizer state"), column("1", "2", head="a b\nc")]), 80)
        assert [line.rstrip() for line in lines[:2]] == ["optimizer  a b", "state      c"]

    def test_a_name_that_shrinks_keeps_its_ends(self):
        name = "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>"
        lines = printed(Grid([column(name, head="kernel", shrinks=True), column("1")]), 60)
        # A single row becomes a block before anything is left out, but a name shrinks first.
        assert lines[1].startswith("void at::native::vectorized")
        assert "…" in lines[1]
        assert lines[1].endswith("FillFunctor<float>>  1")
        assert cell_len(lines[1]) == 60 - len("tep"), "the head of the last column is wider than its cell"


@pytest.mark.parametrize(
    ("text", "at", "lines"),
    [
        ("one two three", TEXT, ["one two", "three"]),
        ("a b, c d, e", LIST, ["a b,", "c d, e"]),
        ("one two three", "", ["one two three"]),
        ("a ::error::b", TEXT, ["a ::error::b"[:2].strip(), ": :error::b"]),
    ],
)
def test_a_text_folds_where_it_may(text, at, lines):
    assert fold(text, 7, at) == lines


def test_a_word_wider_than_the_terminal_is_broken_at_a_seam():
    assert wrapped("vision/device=cpu/batch_size=64 failed", 20) == [
        "vision/device=cpu/",
        "batch_size=64 failed",
    ]
    assert wrapped("x" * 12, 5) == ["xxxxx", "xxxxx", "xx"]


@pytest.mark.parametrize(("most", "said"), [(10, "0123456789"), (9, "0123…6789"), (4, "01…9"), (1, "…")])
def test_ends_stay_where_a_text_is_shortened(most, said):
    assert shortened("0123456789", most) == said


def test_wide_letters_are_shortened_by_what_they_take():
    assert shortened("漢字漢字漢字", 7) == "漢…字"
    assert cell_len(shortened("漢" * 50, 8)) <= 8
