"""The picture of waiting for data: which runs have it, and what stands where in it."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest
from fakes import environment, measurement, stage
from matplotlib.image import imread

from bench.measurement import PHASED
from bench.report.plots import data_wait, draw, pages, sheet, style
from bench.results.journal import Records
from bench.results.tables import Tables, build
from bench.suite.case import Case


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Few pixels: nobody looks at these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.SETTINGS, "savefig.dpi", 50)
        yield


def cases(**axes) -> list[Case]:
    values = itertools.product(*axes.values())
    return [Case("mine", dict(zip(axes, combination, strict=True))) for combination in values]


def tables_of(measured, waits=lambda case: 0.5, launches=6, apart=False) -> Tables:
    """Train steps of a second each, of which a share waits for data: in timed launches, or in one of their own."""
    records = Records()
    for case in measured:
        share = waits(case)
        phases = {"data": 2 * share, "forward": 2 * (1 - share)}
        for number in range(1, launches + 1):
            taken = {} if apart else phases
            stages = tuple(stage(epoch=epoch, phases=taken) for epoch in (0, 1))
            records.add(measurement(case=case, round=number, stages=stages))
        if apart:
            stages = tuple(stage(epoch=epoch, phases=phases) for epoch in (0, 1))
            records.add(measurement(case=case, kind=PHASED, stages=stages))
    return build(records, {}, environment())


def figure_of(tables: Tables):
    """The picture of the only page of these tables, not drawn yet; None where it has none."""
    (page,) = pages.pages_of(tables)
    with style.own_settings():
        return data_wait.draw(page)


def keys(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def ticks(axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def drawn(axes) -> list[tuple[list[str], list[float]]]:
    """By line with markers, the ticks it has a point at, and its heights there."""
    names = ticks(axes)
    return [
        ([names[round(x)] for x in line.get_xdata()], pytest.approx(list(line.get_ydata())))
        for line in axes.lines
        if line.get_marker() not in ("None", "_", "|", "")
    ]


WAITS = {0: 0.8, 1: 0.7, 2: 0.4, 4: 0.1}


def whole() -> list[Case]:
    """What the shipped suite has: each number of workers, the same kept, and a placement in memory."""
    return [
        *cases(placement=[None], persistent_workers=[None], workers=[0, 1, 2, 4]),
        *cases(placement=[None], persistent_workers=[True], workers=[1, 2, 4]),
        *cases(placement=["memory"], persistent_workers=[None], workers=[0]),
    ]


def share(case: Case) -> float:
    return 0.02 if case["placement"] else WAITS[case["workers"]] / (2 if case["persistent_workers"] else 1)


class TestWhatItShows:
    def test_the_share_that_waits_against_workers_and_placements_a_line_for_each_loader(self):
        figure = figure_of(tables_of(whole(), share))
        left, right = figure.axes
        assert ticks(left) == ticks(right) == ["0", "1", "2", "4", "memory"]
        assert keys(figure) == ["persistent_workers=none", "persistent_workers=true", "placement=memory"]
        assert drawn(left) == [
            (["0", "1", "2", "4"], [80, 70, 40, 10]),
            (["1", "2", "4"], [35, 20, 5]),
            (["memory"], [2]),
        ]
        low, high = left.get_ylim()
        assert low < 0 < 100 < high

    def test_the_throughput_stands_beside_it(self):
        figure = figure_of(tables_of(whole(), share))
        _, right = figure.axes
        assert right.get_ylabel() == "throughput [samples/s]"
        assert drawn(right)[0] == (["0", "1", "2", "4"], [4] * 4)  # steps of 4 samples and one second
        assert right.get_ylim()[0] == 0

    def test_a_placement_goes_through_the_panel_as_what_the_others_may_come_to(self):
        left, _ = figure_of(tables_of(whole(), share)).axes
        (level,) = [line for line in left.lines if list(line.get_xdata()) == [0, 1]]
        assert level.get_ydata() == pytest.approx([2, 2])

    def test_workers_stand_in_the_order_of_their_number_and_none_is_zero(self):
        left, _ = figure_of(tables_of(cases(workers=[16, 2, None]))).axes
        assert ticks(left) == ["0", "2", "16"]
        assert drawn(left) == [(["0", "2", "16"], [50] * 3)]

    def test_other_axes_make_panels_of_their_own(self):
        figure = figure_of(tables_of(cases(model=["mlp", "cnn"], batch_size=[4, 8], workers=[0, 2])))
        heads = ["mlp, batch 4", "mlp, batch 8", "cnn, batch 4", "cnn, batch 8"]
        assert [axes.get_title(loc="left") for axes in figure.axes] == [head for head in heads for _ in "lr"]
        assert keys(figure) == ["DataLoader"]

    def test_every_option_of_a_loader_makes_a_line(self):
        figure = figure_of(
            tables_of(cases(pin_memory=[True, False], prefetch_factor=[None, 8], workers=[1, 2]))
        )
        assert keys(figure)[:2] == [
            "pin_memory=true, prefetch_factor=none",
            "pin_memory=true, prefetch_factor=8",
        ]
        assert len(keys(figure)) == 4

    def test_placements_alone_are_set_against_the_one_loader(self):
        figure = figure_of(tables_of(cases(placement=[None, "memory", "device"])))
        left, _ = figure.axes
        assert ticks(left) == ["DataLoader", "device", "memory"]
        assert keys(figure) == ["DataLoader", "placement=device", "placement=memory"]

    def test_phases_of_a_launch_of_their_own_will_do(self):
        left, _ = figure_of(tables_of(cases(workers=[0, 2]), apart=True)).axes
        assert drawn(left) == [(["0", "2"], [50, 50])]


class TestWhichRunsHaveIt:
    @pytest.mark.parametrize(
        "measured",
        [
            cases(workers=[2]),
            cases(batch_size=[4, 8], pin_memory=[True, False]),
            cases(workers=["few", "many"]),
            cases(mode=["eval"], workers=[0, 2]),
        ],
        ids=["nothing varies", "others vary", "no number", "nothing is trained"],
    )
    def test_others_have_none(self, measured):
        stages = tuple(stage(name, epoch) for epoch in (0, 1) for name in ("validate", "test"))
        tables = tables_of(measured)
        if measured[0].mode == "eval":
            records = Records()
            for case in measured:
                records.add(measurement(case=case, stages=stages))
            tables = build(records, {}, environment())
        assert figure_of(tables) is None

    def test_it_comes_in_both_formats_with_nothing_cut_whatever_the_axes_hold(self, tmp_path, monkeypatch):
        monkeypatch.setattr("bench.report.plots.drawing.PICTURES", {"data_wait": data_wait.draw})
        hostile = ["W" * 300, "<script>&", "two\nlines\x1b[31m", None]
        tables = tables_of(cases(model=["_x", "W" * 300], placement=hostile), launches=2)
        paths = draw(tables, tmp_path)
        assert {path.name for path in paths} == {"data_wait.svg", "data_wait.png"}
        text = " ".join("".join(t.itertext()) for t in ET.parse(tmp_path / "data_wait.svg").getroot().iter())
        assert "Too few launches for a 95 % interval." in text
        pixels = imread(tmp_path / "data_wait.png")
        for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
            assert (edge == 1).all()

    def test_panels_that_do_not_fit_are_counted(self, monkeypatch):
        for module in (data_wait, sheet):
            monkeypatch.setattr(module, "MOST_PANELS", 2)
        figure = figure_of(tables_of(cases(model=["a", "b", "c"], workers=[0, 2])))
        assert len(figure.axes) == 4
        assert "The first 2 of 3 panels" in " ".join(text.get_text() for text in figure.texts)
