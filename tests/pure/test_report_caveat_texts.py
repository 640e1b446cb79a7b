"""What to do about a caveat: one line for each, which knows the settings of the run."""

from __future__ import annotations

import itertools

import pytest

from bench.analysis import caveats
from bench.report.caveat_texts import TEXTS, RunSettings, caveat_text

SETTINGS = [
    RunSettings(threads=threads, allocator=allocator, has_budget=budget, governor=governor)
    for threads, allocator, budget, governor in itertools.product(
        (1, 2), ("pinned", "system"), (False, True), ("", "powersave", "performance")
    )
]


def test_every_caveat_has_a_text_and_every_text_a_caveat():
    assert sorted(TEXTS) == sorted(caveats.CAVEATS)


@pytest.mark.parametrize("name", caveats.CAVEATS)
def test_under_every_setting_it_is_one_line_that_says_more_than_the_name(name):
    for settings in SETTINGS:
        said = caveat_text(name, settings)
        assert len(said.splitlines()) == 1
        assert len(said.split()) > len(name.split("_")) + 3
        assert said == said.strip()
        assert said[0].islower() or said.startswith("Python"), "it stands behind the name and a colon"
        assert not said.endswith("."), "it stands beside others"


def test_page_faults_are_the_allocators_unless_it_is_pinned():
    assert "--allocator pinned" in caveat_text("page_faults", RunSettings(allocator="system"))
    pinned = caveat_text("page_faults", RunSettings(allocator="pinned"))
    assert "--allocator" not in pinned, "it is pinned already"
    assert "memory-mapped files" in pinned


@pytest.mark.parametrize("name", ["machine_busy", "contaminated"])
def test_beside_others_fewer_threads_help_where_there_are_several(name):
    assert "leave them a processor with --threads 1" in caveat_text(name, RunSettings(threads=2))
    alone = caveat_text(name, RunSettings(threads=1))
    assert "end other processes" in alone
    assert "--threads is 1 already" in alone


def test_an_unsettled_case_wants_more_launches_or_more_time():
    plenty = caveat_text("unsettled", RunSettings(max_launches=20, tolerance=0.02))
    assert "±2 %" in plenty
    assert "--max-launches above 20" in plenty
    assert "--time-budget" not in plenty
    short = caveat_text("unsettled", RunSettings(has_budget=True, tolerance=0.005))
    assert "±0.5 %" in short
    assert "a longer --time-budget" in short
    assert "--max-launches" not in short


@pytest.mark.parametrize("governor", ["powersave", "ondemand", "schedutil", "conservative"])
def test_a_clock_that_changes_is_the_governors_where_it_lets_it(governor):
    said = caveat_text("clock_changed", RunSettings(governor=governor))
    assert f"governor {governor}" in said
    assert "set the governor to performance" in said


@pytest.mark.parametrize("governor", ["performance", ""])
def test_a_clock_that_changes_under_performance_has_another_reason(governor):
    said = caveat_text("clock_changed", RunSettings(governor=governor))
    assert "set the governor" not in said
    assert "bench doctor" in said


def test_axes_that_are_not_read_are_named():
    assert "an axis that it declares (model, width)" in caveat_text(
        "axis_not_read", RunSettings(unread=("model", "width"))
    )
