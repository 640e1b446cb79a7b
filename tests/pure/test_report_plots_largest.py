"""The picture of the search for the largest batch: its lines, marks and words."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import environment, failure, measurement, stage
from matplotlib.figure import Figure

from bench.measurement import SEARCHED
from bench.report.plots import batch_size_search as largest
from bench.report.plots import draw, pages, style
from bench.results.journal import Records
from bench.results.tables import Tables, build
from bench.suite.case import Case


def searched(case: Case, fits: int, data: int = 1000):
    """The records of a search that ended, and a launch at what it found."""
    for size in (16, 32, 64):
        place = {"case": case.sized(size), "kind": SEARCHED}
        if size > fits:
            yield failure(**place, failure="out_of_memory", message="no")
        else:
            steps = tuple(stage(name, 0, (0.1,), samples=(size,)) for name in ("train", "test"))
            yield measurement(
                **place, stages=steps, conditions={"data_samples": data}, memory={"peak_rss": 2**26}
            )
    yield measurement(case=case.sized(max(16, fits)))


def case(**axes) -> Case:
    return Case("s", {"device": "cpu", "batch_size": "max", "optimizer": "sgd", "mode": "train", **axes})


def tables_of(*records) -> Tables:
    gathered = Records()
    for record in records:
        gathered.add(record)
    return build(gathered, {}, environment())


def figure_of(tables: Tables) -> Figure | None:
    (page,) = pages.pages_of(tables)
    with style.own_settings():
        return largest.draw(page)


def keys(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def marks(figure: Figure, marker: str) -> list[list[float]]:
    """Where in each panel lines have this marker."""
    return [
        [float(x) for line in axes.lines if line.get_marker() == marker for x in line.get_xdata()]
        for axes in figure.axes
    ]


def test_throughput_and_memory_stand_side_by_side_and_what_did_not_fit_is_marked():
    figure = figure_of(tables_of(*searched(case(), 32, data=32)))
    assert keys(figure) == ["sgd: 32", "the largest that fits"]
    unfinished = figure_of(tables_of(*searched(case(), 32)))
    assert keys(unfinished) == ["sgd", "did not fit"]
    assert marks(unfinished, "x") == [[64.0], [64.0]]
    throughput, memory = unfinished.axes
    assert list(throughput.lines[0].get_ydata()) == [160.0, 320.0]
    assert list(memory.lines[0].get_ydata()) == [64.0, 64.0]
    assert (throughput.get_ylabel(), memory.get_ylabel()) == ("throughput [samples/s]", "peak memory [MiB]")
    assert throughput.get_xscale() == "log"


def test_each_search_has_a_line_that_looks_as_in_the_other_pictures():
    tables = tables_of(*searched(case(), 32, 32), *searched(case(optimizer="adam", mode="eval"), 16, 16))
    figure = figure_of(tables)
    assert keys(figure) == ["sgd: 32", "eval: 16", "the largest that fits"]
    (page,) = pages.pages_of(tables)
    looks = page.looks(())
    for axes in figure.axes:
        lines = [line for line in axes.lines if line.get_linestyle() not in ("", "None")]
        assert [line.get_color() for line in lines] == [looks[name].colour for name in ("sgd", "eval")]


def test_what_changes_what_is_measured_has_panels_of_its_own():
    figure = figure_of(tables_of(*searched(case(model="a"), 32, 32), *searched(case(model="b"), 64, 64)))
    assert [axes.get_title("left") for axes in figure.axes] == [*["a (sgd: 32)"] * 2, *["b (sgd: 64)"] * 2]
    assert keys(figure)[0] == "sgd"


@pytest.mark.parametrize("records", [[], list(searched(case(), 0))[:2]], ids=["no search", "nothing fits"])
def test_without_anything_to_draw_there_is_no_picture(records):
    assert figure_of(tables_of(measurement(), *records)) is None


def test_it_is_one_of_the_pictures_of_a_run(tmp_path):
    draw(tables_of(*searched(case(), 32)), tmp_path)
    assert {path.name for path in Path(tmp_path).glob("batch_search*")} == {
        "batch_search.png",
        "batch_search.svg",
    }
