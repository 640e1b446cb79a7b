"""A forest plot: a line a row, which is seen by its place, its marker and its words."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.image import imread
from pictures import texts_of
from test_report_comparison import CASE, HOSTILE, OTHER, count, gone, page, row

from bench.analysis.compare.policy import Policy
from bench.analysis.compare.work import WorkDifference
from bench.report import plots
from bench.report.plots import drawing, forest, sheet, style

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Few pixels: nobody looks at these."""
    monkeypatch.setitem(style.SETTINGS, "savefig.dpi", 50)


def said(*rows) -> list[str]:
    """The texts of the picture of some rows."""
    with style.own_settings():
        return texts_of(forest.draw(rows, "Compared"))


@pytest.fixture
def drawn(tmp_path):
    """The texts of the picture of some rows, rendered, of which nothing is cut."""

    def draw(*rows, title="Compared") -> list[str]:
        with style.own_settings():
            png, svg = sheet.save(forest.draw(rows, title), tmp_path, "forest")
        pixels = imread(png)
        for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
            assert (edge == 1).all(), "something runs over the edge"
        return ["".join(text.itertext()) for text in ET.parse(svg).getroot().iter(f"{SVG}text")]

    return draw


def axes_of(*rows):
    with style.own_settings():
        return forest.draw(rows, "Compared").axes[0]


def looks(axes) -> list[str]:
    """The markers that are drawn, in order; open ones in brackets."""
    marks = [line for line in axes.lines if line.get_marker() != "None"]
    return [
        f"({mark.get_marker()})" if mark.get_markerfacecolor() == "white" else mark.get_marker()
        for mark in marks
    ]


def test_a_row_says_its_case_its_metric_its_change_and_its_verdict(drawn):
    there = drawn(
        row("regressed"),
        row("regressed", "train.throughput", case=OTHER, policy=Policy(0.01, regression="warn")),
        count(100, 112, case=OTHER, verdict="improved", ratio=1.12),
    )
    assert "Compared" in there
    assert "batch 64: train.step_time" in there
    assert "batch 128: train.throughput" in there
    assert "+3.1 % (+1.0 to +5.2 %), regressed" in there
    assert "-3.0 % (-4.9 to -0.99 %), regressed (warn)" in there
    assert "+12 operators a step, improved" in there
    assert "change in the direction in which more is worse [%]" in there
    assert any("Every case: s, device=cpu." in text for text in there)


def test_what_does_not_gate_is_said_beside_what_does():
    shown = row("regressed", "epoch.time", gates=False)
    assert "+3.1 % (+1.0 to +5.2 %), regressed (not gated)" in said(row(), shown)
    assert "+3.1 % (+1.0 to +5.2 %), regressed" in said(shown)


def test_a_single_case_is_named_below_the_picture():
    there = said(row("regressed"))
    assert "train.step_time" in there
    assert any(", ".join(CASE.split("/")) in text for text in there)


def test_of_suites_that_are_mixed_a_row_keeps_what_tells_it_apart():
    models, ways = ("resnet18", "mobilenet_v3_small"), ("train", "inference_mode")
    many = [f"models/device=cpu/model={model}/batch_size=16/mode={way}" for model in models for way in ways]
    names = ("train.step_time", "memory.peak_allocated")
    rows = [row(name=name, suite="models", case=case) for case in many for name in names]
    there = said(*rows, row(), row(case=OTHER))
    assert len({text for text in there if "models, " in text and "…" not in text}) == len(rows)
    assert "models, mobilenet_v3_small, inference_mode: memory.peak_allocated" in there
    assert any("Every case of models: batch_size=16." in text for text in there)


def test_of_a_long_label_the_metric_is_kept():
    there = said(row(case="s/own=" + "long" * 99), row(case="s/own=short"))
    assert any(
        text.startswith("own=long") and text.endswith("…longlonglong: train.step_time")
        for text in [re.sub("…(long|ong|ng|g)*long: ", "…longlonglong: ", text) for text in there]
    )


def test_the_legend_has_the_verdicts_that_there_are_and_the_band():
    there = said(row(), row("inconclusive"))
    assert [text for text in there if text in ("inconclusive", "equivalent", "within the threshold")] == [
        "inconclusive",
        "equivalent",
        "within the threshold",
    ]
    assert "regressed" not in there


def test_without_a_threshold_there_is_no_band():
    assert "within the threshold" not in said(count(7, 8, ratio=8 / 7, policy=Policy(0.0)))


@pytest.mark.parametrize("rows", [(), (gone(),), (row(ratio=math.nan),)])
def test_without_any_ratio_there_is_no_picture(rows):
    assert forest.draw(rows, "Compared") is None


def test_rows_without_a_ratio_are_counted_below():
    assert any("Not drawn, without a ratio: 2 rows." in text for text in said(row(), gone(), gone()))
    assert any("Not drawn, without a ratio: 1 row." in text for text in said(row(), gone()))
    assert not any("Not drawn" in text for text in said(row()))


def test_verdicts_differ_in_marker_and_in_colour():
    looked = [(look.marker, look.colour) for look in forest._LOOKS.values()]
    assert len({marker for marker, _ in looked}) == len({colour for _, colour in looked}) == len(looked)


def test_worse_is_to_the_right_whatever_the_metric():
    axes = axes_of(row("regressed"), row("regressed", "train.throughput"))
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == ">"]
    assert marks == pytest.approx([3.1, 3.1])


def test_the_band_is_the_threshold_of_each_row():
    axes = axes_of(row(policy=Policy(0.05)), row(policy=Policy(0.0, absolute=1.2e-4)), row(base=None))
    bands = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches)
    wide = (100 / 1.1 - 100, 10.0)
    assert bands == [
        pytest.approx(wide),
        pytest.approx((100 / 1.05 - 100, 5.0)),
        pytest.approx((100 / 1.01 - 100, 1.0)),
    ]


def test_what_lies_beyond_the_edge_is_an_open_arrow_at_it():
    axes = axes_of(
        row("regressed", ratio=9.0, low=8.0, high=10.0),
        row("improved", ratio=0.1, low=0.05, high=0.2),
        row("inconclusive", ratio=1.1, low=0.1, high=math.inf),
        row(),
    )
    low, high = axes.get_xlim()
    assert -60 < low < high < 60
    assert sorted(looks(axes)) == sorted(["(>)", "(<)", "(<)", "(>)", "D", "o"])


def test_open_arrows_are_explained_where_there_are_any():
    assert any("Open arrows" in text for text in said(row("regressed", ratio=math.inf)))
    assert not any("Open arrows" in text for text in said(row()))


def test_a_calm_comparison_looks_calm():
    low, high = axes_of(row(ratio=1.0, low=0.999, high=1.001)).get_xlim()
    assert low < -1.9
    assert high > 1.9


def test_a_count_has_no_line_of_an_interval():
    lines = [line for line in axes_of(count(7, 8, ratio=8 / 7)).lines if line.get_marker() == "None"]
    assert len(lines) == 1, "the line of no change"


def test_no_more_than_a_hundred_rows_are_drawn_and_the_worst_are_among_them():
    rows = [row(case=f"s/number={number}") for number in range(140)]
    there = said(*rows, row("regressed", case="s/number=last"))
    assert sum(bool(re.match("number=.*: train.step_time$", text)) for text in there) == 100
    assert "number=last: train.step_time" in there
    assert any("The first 100 of 141 rows; the tables have them all." in text for text in there)


def test_a_verdict_that_is_not_known_is_drawn_all_the_same():
    assert "+3.1 % (+1.0 to +5.2 %), excused" in said(row("excused"))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_of_a_user_breaks_it(drawn, text):
    there = drawn(row("regressed", case=text, suite=text), row(name=text), title=text)
    assert all(letter.isprintable() for line in there for letter in line)


def test_different_work_is_said_though_it_cannot_be_drawn():
    work = (WorkDifference("train", "samples", 1437, 1408),)
    facts = {"ratio": None, "low": None, "high": None, "work": work}
    unlike = [
        row("different_work", "work.train.samples", case=f"s/a={number}", **facts) for number in range(4)
    ]
    texts = " ".join(said(row(), *unlike, row("different_work", "epoch.time", folded=True, **facts)))
    assert texts.count("Different work: train: samples 1,437 to 1,408.") == 2
    assert "Different work in 2 more cases." in texts
    assert "Not drawn, without a ratio: 5 rows." in texts


def test_a_comparison_is_drawn_with_the_settings_of_all_pictures(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(drawing, "save", lambda figure, *_: figures.append(figure) or [])
    plots.draw_comparison(page(row("regressed")), tmp_path)
    assert not figures[0].legends[0].get_frame_on()
