"""Pictures of one case: the memory of a step and the graph of autograd, of plausible and of extreme records."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from fakes import CASE, counts, environment, graph, measurement, timeline
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Annotation
from tiers import LONG

from bench.measurement import COUNTED, GraphNode, MemoryTimeline
from bench.report.plots import autograd_graph, draw_cases, memory_timeline, pages, style
from bench.results.journal import Records
from bench.results.tables import Tables, build
from bench.suite.case import Case

KIB = 2**10
LEAF = "torch::autograd::AccumulateGrad"


def tables_of(*found, case: Case = CASE) -> Tables:
    records = Records()
    for one in found:
        records.add(measurement(case=case, kind=COUNTED, stages=(), counts=one))
    return build(records, {}, environment())


def figure_of(picture, tables: Tables) -> Figure | None:
    """The picture of the only case of these tables, not drawn yet."""
    (page,) = pages.pages_of(tables)
    with style.own_settings():
        return picture.draw_case(page, page.cases[0])


def memory(**changes) -> Figure | None:
    return figure_of(memory_timeline, tables_of(counts(timeline=timeline(**changes), graph=None)))


def functions(*nodes: GraphNode) -> Figure | None:
    return figure_of(autograd_graph, tables_of(counts(timeline=None, graph=graph(*nodes))))


def said(figure: Figure) -> list[str]:
    """All texts of a picture, on its axes and around."""
    there = [text for axes in figure.axes for text in axes.texts]
    keys = [text for legend in figure.legends for text in legend.get_texts()]
    return [text.get_text() for text in (*figure.texts, *keys, *there) if text.get_text()]


def boxes(figure: Figure) -> list:
    """Where the texts of a picture lie, in pixels, with the boxes around them."""
    with style.own_settings():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        shown = [text for axes in figure.axes for text in axes.texts if text.get_text()]
        around = [
            text.get_bbox_patch().get_window_extent(renderer)
            if text.get_bbox_patch()
            else text.get_window_extent(renderer)
            for text in shown
        ]
        return [*around, *(text.get_window_extent(renderer) for text in figure.texts)]


def assert_texts_have_room(figure: Figure) -> None:
    """All lie inside the picture, and none over another."""
    width, height = figure.get_size_inches() * figure.dpi
    found = boxes(figure)
    for box in found:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    for one, other in itertools.combinations(found, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 1 or down <= 1, "two texts lie over each other"


def assert_nothing_is_cut(folder: Path) -> None:
    """What ran over the edge of a picture would leave ink there."""
    for path in folder.glob("*.png"):
        pixels = imread(path)
        for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
            assert (edge == 1).all(), path.name


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Few pixels: nobody looks at these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.SETTINGS, "savefig.dpi", 50)
        yield


class TestFiles:
    def test_each_case_has_both_pictures_in_both_formats(self, tmp_path):
        paths = draw_cases(tables_of(counts()), tmp_path, {CASE.id: "mine"})
        assert [path.name for path in paths] == [
            *("memory_timeline-mine.png", "memory_timeline-mine.svg"),
            *("autograd_graph-mine.png", "autograd_graph-mine.svg"),
        ]
        for path in paths:
            assert path.stat().st_size > 1000
        assert_nothing_is_cut(tmp_path)

    @pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "<script>&", "$x_1$", "W" * 400, "漢字", "_x"])
    @pytest.mark.filterwarnings("error")
    def test_any_text_may_be_the_name_of_a_phase_a_function_or_an_axis(self, name, tmp_path):
        found = counts(
            timeline=timeline(phases=(name,) * 4, bytes={name: (1, 2, 3, 4)}),
            graph=graph(
                GraphNode(name, 1, (1, 2)), GraphNode(f"{name}Backward0", 0, ()), GraphNode(name, 9, ())
            ),
        )
        case = Case("fake", {**CASE.axes, "thing": name})
        paths = draw_cases(tables_of(found, case=case), tmp_path, {case.id: "mine"})
        assert len(paths) == 4
        for path in paths:
            if path.suffix == ".svg":
                ET.parse(path)  # well-formed
        assert_nothing_is_cut(tmp_path)

    def test_a_case_that_was_not_counted_has_none(self, tmp_path):
        records = Records()
        records.add(measurement())
        assert draw_cases(build(records), tmp_path, {CASE.id: "mine"}) == []


class TestTheMemoryOfAStep:
    def test_says_its_case_its_categories_its_phases_and_its_peak(self):
        there = said(memory())
        assert "Memory over a step: sgd" in there
        assert CASE.id in " ".join(there)
        assert {"parameters", "activations", "gradients"} <= set(there)
        assert {"data", "forward", "backward", "optimizer"} <= set(there)
        assert "peak 180KiB in forward" in [text.replace(" KiB", "KiB") for text in there]

    def test_leaves_out_categories_without_bytes(self):
        assert "batch" not in said(memory(bytes={"parameters": (1,) * 4, "batch": (0,) * 4}))

    def test_shows_categories_that_it_does_not_know_as_other(self):
        figure = memory(
            bytes={"parameters": (KIB,) * 4, "strange": (KIB, 0, 0, KIB), "[red]\n": (0, KIB, 0, KIB)}
        )
        there = said(figure)
        assert "other" in there
        assert not {"strange", "[red]\n"} & set(there)
        assert any("3.00" in text and "peak" in text for text in there)

    def test_stacks_the_categories_up_to_the_peak(self):
        figure = memory()
        (axes,) = figure.axes
        tops = [shape.get_paths()[0].vertices[:, 1].max() for shape in axes.collections]
        assert max(tops) == pytest.approx(180)
        assert axes.get_ylim()[1] > 180

    def test_goes_on_to_the_end_of_the_last_phase(self):
        (axes,) = memory().axes
        assert axes.get_xlim() == (0, pytest.approx(4))

    @pytest.mark.parametrize(
        "changes",
        [
            {"seconds": (0.0,), "bytes": {"parameters": (5,)}},
            {"bytes": {"parameters": (0,) * 4}},
            {"bytes": {"parameters": (2**63 - 1,) * 4, "gradients": (2**63 - 1,) * 4}},
            {"seconds": (0.0,) * 4},
            {"seconds": (0.0,) * 4, "ends": (0.0, 0.0, 0.0, 1e-9)},
            {"ends": (1e3, 2e3, 3e3, 1e5)},
            {"seconds": (0.0, 0.004, 0.004, 0.004)},
            {"bytes": {"activations": (0, 0, 0, 9)}, "seconds": (0.0, 0.001, 0.002, 0.004)},
            {
                "phases": (
                    "a phase of one's own with quite a long name that is longer than half a page " * 3,
                )
                * 4
            },
        ],
        ids=[
            *("one point", "all zeros", "huge", "one moment", "short", "long", "at the end"),
            *("peak at the end", "long names"),
        ],
    )
    @pytest.mark.filterwarnings("error")
    def test_may_be_extreme(self, changes):
        figure = memory(**changes)
        assert figure is not None
        assert_texts_have_room(figure)

    @pytest.mark.filterwarnings("error")
    def test_may_have_thousands_of_points(self):
        number = 5000
        figure = memory(
            seconds=tuple(0.004 * at / number for at in range(number)),
            bytes={
                "parameters": (KIB,) * number,
                "temporary": tuple(at * 7919 % KIB for at in range(number)),
            },
        )
        assert_texts_have_room(figure)

    def test_may_have_phases_too_narrow_for_their_names(self):
        ends = tuple(0.004 * (n + 1) / 200 for n in range(200))
        figure = memory(phases=("forward",) * 200, ends=ends)
        assert said(figure).count("forward") == 0
        assert_texts_have_room(figure)

    @pytest.mark.parametrize(
        "changes",
        [
            {"bytes": {}},
            {"seconds": (), "bytes": {"parameters": ()}},
            {"phases": (), "ends": ()},
            {"seconds": (0.0,) * 4, "ends": (0.0,) * 4},
            {"ends": (1.0, 2.0, 3.0, 1e300)},
        ],
        ids=["no category", "no point", "no phase", "no time", "years"],
    )
    def test_of_nothing_is_none(self, changes):
        assert memory(**changes) is None

    def test_of_a_case_without_one_is_none(self):
        assert figure_of(memory_timeline, tables_of(counts(timeline=None))) is None

    @settings(max_examples=200 if LONG else 2)
    @given(data=st.data())
    def test_of_any_record_can_be_drawn(self, data):
        times = st.lists(st.floats(0, 1e5), max_size=5).map(sorted).map(tuple)
        seconds, ends = data.draw(times), data.draw(times)
        ends = ends and (*ends, max([*ends, *seconds]))
        values = st.lists(st.integers(0, 2**63 - 1), min_size=len(seconds), max_size=len(seconds)).map(tuple)
        categories = st.sampled_from(["parameters", "temporary", "strange"])
        made = MemoryTimeline(
            seconds, data.draw(st.dictionaries(categories, values)), ("forward",) * len(ends), ends
        )
        figure = figure_of(memory_timeline, tables_of(counts(timeline=made)))
        if figure is not None:
            boxes(figure)

    def test_of_a_run_is_that_of_the_case_which_takes_the_most(self):
        records = Records()
        for width, size in ((1, KIB), (2, 3 * KIB), (3, 2 * KIB)):
            case = Case("fake", {**CASE.axes, "width": width})
            made = counts(timeline=timeline(bytes={"parameters": (size,) * 4}))
            records.add(measurement(case=case, kind=COUNTED, stages=(), counts=made))
        (page,) = pages.pages_of(build(records))
        with style.own_settings():
            assert "Memory over a step: sgd, width=2" in said(memory_timeline.draw(page))


def chain(length: int, name: str = "MulBackward0") -> list[GraphNode]:
    return [GraphNode(name, 1, (at + 1,) if at + 1 < length else ()) for at in range(length)]


def star(width: int, name: str = LEAF) -> list[GraphNode]:
    """A loss that calls so many others."""
    return [GraphNode("Loss", 1, tuple(range(1, width + 1))), *(GraphNode(name, 0, ()) for _ in range(width))]


class TestTheGraph:
    def test_says_its_case_its_functions_and_what_they_keep(self):
        there = said(functions())
        assert "Autograd graph of a step: sgd" in there
        assert {"NllLoss\n128 B", "AccumulateGrad", "T"} <= set(there)
        assert "6 nodes keep" in " ".join(there)

    @pytest.mark.parametrize("nodes", [(), chain(1), chain(40), star(12), star(11)[:1]], ids=len)
    @pytest.mark.filterwarnings("error")
    def test_has_room_for_all_its_texts(self, nodes):
        nodes = nodes if len(nodes) != 1 else [GraphNode("Loss", 1, ())]
        assert_texts_have_room(functions(*nodes))

    @pytest.mark.parametrize("name", ["ScaledDotProductFlashAttentionForCpuBackward0", "W" * 2000])
    @pytest.mark.parametrize("width", [1, 2, 5, 12])
    def test_has_room_for_long_names(self, name, width):
        assert_texts_have_room(functions(*star(width, name)))

    def test_puts_each_below_all_that_call_it_and_the_loss_at_the_top(self):
        figure = functions(
            GraphNode("Loss", 1, (1, 3)),
            GraphNode("A", 0, (2,)),
            GraphNode("B", 0, (3,)),
            GraphNode("C", 0, ()),
        )
        layers = {text.get_text().split("\n")[0]: text.get_position()[1] for text in figure.axes[0].texts}
        assert [layers[name] for name in ("Loss", "A", "B", "C")] == [0, 1, 2, 3]

    def test_leads_an_arrow_past_other_boxes_around_them(self):
        nodes = [GraphNode("Loss", 1, (1, 2)), GraphNode("A", 0, (2,)), GraphNode("B", 0, ())]
        arrows = [text for text in functions(*nodes).axes[0].texts if isinstance(text, Annotation)]
        bends = [arrow.arrow_patch.get_connectionstyle().rad for arrow in arrows]
        assert [bend > 0 for bend in bends] == [False, True, False]

    @pytest.mark.parametrize("length", [1, 150])
    def test_may_have_so_many_nodes(self, length):
        assert functions(*chain(length)) is not None

    @pytest.mark.parametrize(
        "nodes",
        [chain(151), star(13), [GraphNode("A", 0, (0,))], [GraphNode("A", 0, (1,)), GraphNode("B", 0, (0,))]],
        ids=["151 nodes", "wide", "itself", "a circle"],
    )
    def test_that_cannot_be_drawn_is_none(self, nodes):
        assert functions(*nodes) is None

    def test_without_nodes_is_none(self):
        empty = graph().__class__(())
        assert figure_of(autograd_graph, tables_of(counts(graph=empty))) is None

    def test_of_a_case_without_one_is_none(self):
        assert figure_of(autograd_graph, tables_of(counts(graph=None))) is None

    def test_may_call_a_node_twice(self):
        assert_texts_have_room(functions(GraphNode("MulBackward0", 4, (1, 1)), GraphNode(LEAF, 0, ())))

    @settings(max_examples=200 if LONG else 4)
    @given(st.data())
    def test_of_any_record_has_room_for_its_texts(self, data):
        number = data.draw(st.integers(1, 25))
        names = st.sampled_from([LEAF, "AddBackward0", "ScaledDotProductFlashAttentionForCpuBackward0"])
        nodes = [
            GraphNode(
                data.draw(names),
                data.draw(st.integers(0, 2**40)),
                tuple(data.draw(st.lists(st.integers(min(at + 1, number - 1), number - 1), max_size=3)))
                if at + 1 < number
                else (),
            )
            for at in range(number)
        ]
        figure = functions(*nodes)
        if figure is not None:
            assert_texts_have_room(figure)
