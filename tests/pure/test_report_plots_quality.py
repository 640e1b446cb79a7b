"""The picture of validation loss against time of training."""

from __future__ import annotations

import math

import pytest
from fakes import trained
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report.plots import learning_curves as quality
from bench.report.plots import pages, style
from bench.results.journal import Records
from bench.results.tables import build
from bench.suite.case import Case


def case(number: int, **axes) -> Case:
    return Case("s", {"width": number, **axes})


def picture(*launches) -> Figure | None:
    """The picture of the only page of these launches."""
    records = Records()
    for launch in launches:
        records.add(launch)
    (page,) = pages.pages_of(build(records))
    with style.own_settings():
        return quality.draw(page)


def lines(figure: Figure, panel: int = 0) -> list[tuple[list[float], list[float]]]:
    """What each line but that of the target goes through."""
    drawn = figure.axes[panel].lines
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in drawn if len(line.get_xdata()) > 2]


def said(figure: Figure) -> str:
    texts = [text.get_text() for axes in figure.axes for text in axes.texts] + [
        text.get_text() for text in figure.texts
    ]
    return " ".join([*texts, *(text.get_text() for text in figure.legends[0].get_texts())])


def many(number: int, losses=lambda n: (2.0, 1.5, 1.0 + n / 100), seconds=lambda n: 1.0 + n / 100):
    return [trained(case(n), *losses(n), seconds=seconds(n)) for n in range(number)]


class TestLines:
    def test_each_configuration_has_one_on_the_clock_of_training(self):
        figure = picture(*many(2, seconds=lambda n: 0.004 * (n + 1)))
        assert lines(figure) == [
            (pytest.approx([5, 10, 15]), [2.0, 1.5, 1.0]),
            (pytest.approx([10, 20, 30]), [2.0, 1.5, 1.01]),
        ]
        assert figure.axes[0].get_xlabel() == "training [ms]"
        assert "width=0" in said(figure)

    def test_it_goes_through_the_medians_of_the_launches(self):
        launches = [trained(case(0), 3.0, 2.0, loss, round=n) for n, loss in enumerate((1.0, 1.2, 1.8))]
        figure = picture(*launches, *many(3)[1:])
        assert [3.0, 2.0, 1.2] in [losses for _, losses in lines(figure)]

    def test_no_two_look_alike(self):
        figure = picture(*many(12))
        looks = {
            (line.get_color(), line.get_marker())
            for line in figure.axes[0].lines
            if len(line.get_xdata()) > 2
        }
        assert len(looks) == 12

    def test_the_target_is_a_line_with_its_value(self):
        figure = picture(*many(2))
        assert "target 1.01" in said(figure)
        assert any(list(line.get_ydata()) == [1.01, 1.01] for line in figure.axes[0].lines)

    def test_a_single_configuration_has_no_picture(self):
        assert picture(*many(1)) is None
        assert picture(*many(1), trained(case(0, mode="eval"), 2.0, 1.0)) is None


class TestScales:
    @pytest.mark.parametrize(
        ("least", "scale"), [(0.3, "log"), (0.5, "linear"), (-1.0, "linear"), (0.0, "linear")]
    )
    def test_losses_are_logarithmic_where_they_spread_and_are_above_zero(self, least, scale):
        figure = picture(*many(2, losses=lambda n: (2.0, 1.0, least)))
        assert figure.axes[0].get_yscale() == scale

    @pytest.mark.parametrize(("times", "scale"), [(6, "log"), (4, "linear")])
    def test_so_is_time_where_one_takes_many_times_as_long(self, times, scale):
        figure = picture(*many(2, seconds=lambda n: 1.0 + n * (times - 1)))
        assert figure.axes[0].get_xscale() == scale

    @pytest.mark.parametrize("least", [0.3, 1e-3, 1e-20])
    def test_its_ticks_are_plain_numbers(self, least):
        figure = picture(*many(2, losses=lambda n: (2.0, 1.0, least)))
        axes = figure.axes[0]
        FigureCanvasAgg(figure).draw()
        labels = [text.get_text() for text in axes.get_yticklabels()]
        assert sum(math.isfinite(float(label)) for label in labels if label) >= 2


class TestWhatMayBeTooMuch:
    def test_the_first_at_the_target_are_drawn_and_the_others_counted(self):
        figure = picture(*many(20))
        assert len(lines(figure)) == 12
        assert "12 of 20 configurations" in said(figure)
        assert "configurations" not in said(picture(*many(12)))

    def test_the_fastest_an_epoch_is_always_drawn(self):
        worst = trained(case(99), 9.0, 9.0, 9.0, seconds=0.5)
        figure = picture(*many(19), worst)
        assert len(lines(figure)) == 12
        assert [9.0, 9.0, 9.0] in [losses for _, losses in lines(figure)]

    def test_many_epochs_have_few_marks(self):
        long = [trained(case(n), *(2.0 - epoch / 100 for epoch in range(100))) for n in (0, 1)]
        assert picture(*long).axes[0].lines[0].get_markevery() == 9


def test_losses_that_cannot_be_compared_have_panels_of_their_own():
    launches = [
        trained(case(n, loss=loss), 2.0, 1.5, 1.0) for loss in ("cross-entropy", "nll") for n in (0, 1)
    ]
    figure = picture(*launches)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["digits, cross-entropy", "digits, nll"]
    assert [len(lines(figure, panel)) for panel in (0, 1)] == [2, 2]
