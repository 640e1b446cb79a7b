"""Pictures of made-up runs: which files come, what stands in them, and that no table breaks them."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import pytest
from fakes import CONTAMINATED, timeline
from matplotlib.image import imread
from pictures import texts_of

from bench.errors import ResultsError
from bench.measurement import METRICS, PHASES, Counts, Device, Environment, Failure, Measurement, StageRecord
from bench.report.plots import (
    batch_sizes,
    draw,
    drawing,
    evaluation_modes,
    launches,
    pages,
    phases,
    sheet,
    style,
)
from bench.report.plots.drawing import PICTURES
from bench.results.journal import Records
from bench.results.tables import Tables, build
from bench.suite.case import MODES, Case

SHARES = dict(zip(PHASES, (0.2, 0.01, 0.25, 0.03, 0.04, 0.3, 0.01, 0.11, 0.02, 0.02, 0.01), strict=True))
MIB = 2**20
STARTED = "2026-01-02T03:04:05+00:00"
SHOWN = PICTURES.keys() - {"batch_search", "data_wait"}  # of runs that search for nothing, with loaders alike

ENVIRONMENT = Environment(
    host="h", system="Linux", kernel="6", cpu="Made-Up CPU", cpu_capability="AVX2", cores=8, cpus=(0,),
    memory=2**33, governor="", load=0.0, threads=4, interop_threads=1, openmp={}, allocator="pinned",
    start_method="fork", loader_start_method="fork", python="3.11.7", torch="2.9.0", packages={}, cuda=None,
    cudnn=None, driver=None, devices=(Device("Made-Up GPU", "cuda", 0),), flags={}, seed=0,
)  # fmt: skip


def matrix(suite: str = "made_up", **axes) -> list[Case]:
    """All combinations, each once: the optimizer does not tell two evaluations apart."""
    values = itertools.product(*axes.values())
    return list(
        dict.fromkeys(Case(suite, dict(zip(axes, combination, strict=True))) for combination in values)
    )


def launch(case: Case, number: int, step: float, memory: int, guards=None) -> Measurement:
    """Two epochs of four steps each: a train step takes `step` seconds, one of an evaluation half as long."""

    def stage(epoch: int, name: str) -> StageRecord:
        seconds = step if name == "train" else step / 2
        phases = {phase: 4 * seconds * share for phase, share in SHARES.items()}
        return StageRecord(epoch, name, 4 * seconds, (seconds,) * 4, (case.batch_size,) * 4, phases, loss=0.5)

    names = ("train", "validate", "test") if case.mode == "train" else ("validate", "test")
    stages = tuple(stage(epoch, name) for epoch in (0, 1) for name in names)
    held = {"peak_rss": memory} | ({} if case.device == "cpu" else {"peak_allocated": memory * 2})
    return Measurement(case, "timed", number, 1, 1, STARTED, "host", stages, held, guards=guards or {})


def counted(case: Case) -> Measurement:
    """The launch that counts."""
    return Measurement(
        case, "counts", 1, 1, 1, STARTED, "none", (), counts=Counts({}, {}, (), timeline=timeline())
    )


def run(
    cases,
    launches=6,
    step=lambda case, number: 1e-3 * (1 + number / 50),
    memory=40 * MIB,
    contaminated=(),
    **plan,
) -> Tables:
    """The tables of a run; `step` gives the seconds of a train step, `memory` may depend on the mode.

    The launches of the rounds `contaminated` are contaminated.
    """
    records = Records()
    for case in cases:
        held = memory[case.mode] if isinstance(memory, dict) else memory
        for number in range(1, launches + 1):
            guards = CONTAMINATED if number in contaminated else None
            records.add(launch(case, number, step(case, number), held, guards))
        records.add(counted(case))
    return build(records, plan, ENVIRONMENT)


def figure_of(picture, tables: Tables):
    """One picture of a run with one page, not drawn yet; None where there is no data for it."""
    (page,) = pages.pages_of(tables)
    with style.own_settings():
        return picture(page)


def said(picture, tables: Tables) -> list[str]:
    """The texts in one picture."""
    with style.own_settings():
        return texts_of(figure_of(picture, tables))


def drawn(picture, tables: Tables, folder: Path) -> list[str]:
    """The texts in one picture, drawn into files."""
    with style.own_settings():
        sheet.save(figure_of(picture, tables), folder, "picture")
    return texts(folder, "picture")


@pytest.fixture
def draw_pages(monkeypatch, tmp_path):
    """Draws some of the pictures of each page."""

    def draw_some(tables: Tables, *pictures: str) -> list[Path]:
        monkeypatch.setattr(drawing, "PICTURES", {name: PICTURES[name] for name in pictures})
        return draw(tables, tmp_path)

    return draw_some


@pytest.fixture
def figures(monkeypatch, tmp_path):
    """Some of the pictures of each page by the name of their files, not rendered."""

    def of(tables: Tables, *pictures: str) -> dict[str, list[str]]:
        found = []
        monkeypatch.setattr(drawing, "PICTURES", {name: PICTURES[name] for name in pictures})
        monkeypatch.setattr(
            drawing, "save", lambda figure, _, name: found.append((name, texts_of(figure))) or []
        )
        draw(tables, tmp_path)
        assert len(dict(found)) == len(found), "one would overwrite another"
        return dict(found)

    return of


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Few pixels: nobody looks at these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.SETTINGS, "savefig.dpi", 50)
        yield


def names(paths: list[Path]) -> set[str]:
    """The pictures by name; each must have come in both formats, and not be empty."""
    assert all(path.stat().st_size > 1000 for path in paths)
    stems = sorted(path.stem for path in paths)
    assert stems[::2] == stems[1::2]
    assert {path.suffix for path in paths} <= {".svg", ".png"}
    return set(stems)


def texts(folder: Path, picture: str) -> list[str]:
    return texts_in(ET.parse(folder / f"{picture}.svg").getroot())


def texts_in(root: ET.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def legend(folder: Path, picture: str) -> ET.Element:
    root = ET.parse(folder / f"{picture}.svg").getroot()
    return next(group for group in root.iter() if group.get("id") == "legend_1")


def assert_nothing_is_cut(folder: Path) -> None:
    """What ran over the edge of a picture would leave ink there."""
    for path in folder.glob("*.png"):
        pixels = imread(path)
        for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
            assert (edge == 1).all(), path.name


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    """A whole matrix on one device: three optimizers and three evaluation modes at four batch sizes."""
    folder = tmp_path_factory.mktemp("vision")
    cases = matrix(
        device=["cpu"], batch_size=[32, 64, 128, 256], optimizer=["sgd", "adam", "rmsprop"], mode=list(MODES)
    )
    assert len(cases) == 24
    memory = {"train": 80 * MIB, "eval": 50 * MIB, "no_grad": 40 * MIB, "inference_mode": 35 * MIB}
    return folder, draw(run(cases, memory=memory, started=STARTED, name="nightly"), folder)


class TestAWholeMatrix:
    def test_every_picture_comes_as_svg_and_png(self, vision):
        folder, paths = vision
        assert names(paths) == SHOWN
        assert sorted(paths) == sorted(folder.iterdir())
        assert_nothing_is_cut(folder)

    @pytest.mark.parametrize("picture", sorted(SHOWN))
    def test_a_title_says_what_then_where_and_when(self, vision, picture):
        titles = {
            "throughput": "Throughput against batch size",
            "phases": "Phases of a train step",
            "evaluation_modes": "Evaluation modes side by side",
            "memory": "Peak memory against batch size",
            "launches": "Every launch and the estimate of its case",
            "memory_timeline": "Memory over a step: sgd, batch 32",
            "optimizers": "The cost of the optimizers",
            "quality": "Validation loss against time of training",
        }
        there = texts(vision[0], picture)
        assert titles[picture] in there
        assert (
            "made_up · cpu · Made-Up CPU, 4 threads · torch 2.9.0 · 2026-01-02 03:04 UTC · nightly" in there
        )

    def test_throughput_has_a_line_for_each_optimizer_and_mode(self, vision):
        there = texts(vision[0], "throughput")
        assert {"sgd", "adam", "rmsprop", "eval", "no_grad", "inference_mode"} <= set(there)
        assert {"training (train stage)", "evaluation modes (test stage)"} <= set(there)
        assert there.count("throughput [k samples/s]") == there.count("batch size [samples]") == 2
        assert {"32", "64", "128", "256"} <= set(there)
        assert "Error bars: 95 % interval of the median over launches." in there

    def test_no_two_lines_look_alike_even_without_colour(self, vision):
        key = ET.tostring(legend(vision[0], "throughput"), encoding="unicode")
        assert len(set(re.findall(r"stroke: (#\w+)", key))) == 6
        assert len(set(re.findall(r'href="#(\w+)"', key))) == 6  # markers

    def test_phases_stand_in_the_order_of_the_loop_and_no_two_look_alike(self, vision):
        there = texts(vision[0], "phases")
        assert [text for text in there if text in PHASES] == list(PHASES)
        fills = re.findall(r"fill: ([^;\"]+)", ET.tostring(legend(vision[0], "phases"), encoding="unicode"))
        assert len({fill for fill in fills if fill != "none"}) >= len(PHASES)

    def test_phases_say_their_share_and_the_time_of_the_step(self, vision):
        there = texts(vision[0], "phases")
        assert there.count("30 %") == there.count("25 %") == 12  # backward and forward in each train case
        assert there.count("1.07 ms") == 12  # the mean of 1.02 to 1.12 ms
        assert "1 %" not in there  # too narrow to write in
        assert "mean time of a step [ms]" in there

    def test_evaluation_modes_say_what_they_save_against_eval(self, vision):
        there = texts(vision[0], "evaluation_modes")
        assert there.count("50.0 MiB") == 4
        assert there.count("\N{MINUS SIGN}20.0 %") == 4  # no_grad: 40 of 50 MiB
        assert there.count("\N{MINUS SIGN}30.0 %") == 4
        assert there.count("+0.0 %") == 8  # and none is faster here
        assert {"peak memory [MiB]", "throughput of the test stage [k samples/s]"} <= set(there)
        assert {"batch 32", "batch 64", "batch 128", "batch 256"} <= set(there)

    def test_launches_stand_beside_the_estimate_of_their_case(self, vision):
        there = texts(vision[0], "launches")
        assert [text for text in there if text.startswith("round")] == [f"round {n}" for n in range(1, 7)]
        assert "sgd, batch 32" in there
        assert "inference_mode, batch 256" in there
        assert there.count("1.07 ms  ±4.7 %") == 12  # 1.02 to 1.12 ms around 1.07 ms
        assert "difference from the estimate of the case [%]" in there

    def test_the_same_tables_give_the_same_file(self, tmp_path):
        tables = run(matrix(batch_size=[8, 16]))
        for folder in (tmp_path / "a", tmp_path / "b"):
            folder.mkdir()
            drawn(batch_sizes.throughput, tables, folder)
        assert (tmp_path / "a/picture.svg").read_bytes() == (tmp_path / "b/picture.svg").read_bytes()


class TestAxes:
    def test_each_suite_and_device_has_pictures_of_its_own(self, figures):
        vision = matrix("vision", device=["cpu", "cuda:0"], batch_size=[32])
        made = figures(run([*vision, *matrix("language.v2", batch_size=[32])]), "memory", "phases")
        found = ("vision-cpu", "vision-cuda-0", "language-v2-cpu")
        assert made.keys() == {f"{name}-{page}" for name in ("memory", "phases") for page in found}
        on_device = made["memory-vision-cuda-0"]
        assert "vision · cuda:0 · Made-Up GPU, Made-Up CPU, 4 threads · torch 2.9.0" in on_device
        assert "peak memory [MiB]" in on_device
        assert METRICS["memory.peak_allocated"].meaning in " ".join(on_device)
        assert METRICS["memory.peak_rss"].meaning in " ".join(made["memory-vision-cpu"])

    def test_two_suites_of_like_names_do_not_overwrite_each_other(self, figures):
        made = figures(run([*matrix("a.b"), *matrix("A-b")]), "memory")
        assert len({name.lower() for name in made}) == 2

    def test_an_axis_of_ones_own_makes_further_lines(self):
        tables = run(matrix(width=[128, 512], bias=[True, False], batch_size=[32, 64]))
        there = said(batch_sizes.throughput, tables)
        assert {f"width={w}, bias={b}" for w in (128, 512) for b in ("true", "false")} <= set(there)
        assert "width=512, bias=true, batch 64" in said(phases.draw, tables)

    def test_an_axis_that_is_none_in_some_cases_is_spelled(self):
        there = said(batch_sizes.memory, run(matrix(clip=["norm", None], batch_size=[32, 64])))
        assert {"clip=norm", "clip=none"} <= set(there)

    def test_the_axes_are_read_as_how_on_what_and_in_which_batches(self):
        used = [{"batch_size": size, "clip": "norm", "width": 8, "optimizer": "sgd"} for size in (32, 64)]
        used[1]["clip"] = None
        found = pages.varying_parts(used, ["batch_size", "clip", "width", "optimizer"])
        assert [", ".join(parts.values()) for parts in found] == [
            "sgd, clip=norm, batch 32",
            "sgd, clip=none, batch 64",
        ]

    def test_lines_that_one_panel_cannot_hold_are_spread_over_several(self):
        cases = matrix(model=["mlp", "cnn", "vit"], batch_size=[32, 64], optimizer=["sgd", "adam", "lion"])
        there = said(batch_sizes.throughput, run(cases))
        assert {f"{model}: training (train stage)" for model in ("mlp", "cnn", "vit")} <= set(there)
        assert there.count("sgd") == there.count("adam") == there.count("lion") == 1

    def test_a_slow_model_does_not_flatten_a_fast_one(self):
        cases = matrix(model=["mlp", "vit"], batch_size=[32, 64])
        tables = run(cases, step=lambda case, number: {"mlp": 1e-3, "vit": 1.0}[case["model"]])
        there = said(batch_sizes.throughput, tables)
        assert {"throughput [k samples/s]", "throughput [samples/s]"} <= set(there)
        assert {"mean time of a step [ms]", "mean time of a step [s]"} <= set(said(phases.draw, tables))

    def test_without_batch_sizes_there_are_bars(self):
        tables = run(matrix(optimizer=["sgd", "adam"], mode=["train", "eval"]))
        there = said(batch_sizes.throughput, tables)
        assert {"Throughput", "sgd", "adam", "eval"} <= set(there)
        assert not any("batch" in text for text in there)
        assert there.count("59,800 samples/s") == 2  # 64 samples, the default, in 1.07 ms

    def test_a_case_without_any_axis_is_named_by_its_mode(self, tmp_path):
        there = names(draw(run(matrix()), tmp_path))
        assert there == SHOWN - {"evaluation_modes", "optimizers", "quality"}
        assert "train" in texts(tmp_path, "throughput")

    def test_evaluation_alone_has_no_phases_of_training(self):
        tables = run(matrix(batch_size=[32, 64], mode=["no_grad", "inference_mode"]))
        there = {name for name, picture in PICTURES.items() if figure_of(picture, tables)}
        assert there == SHOWN - {"phases", "optimizers", "quality"}
        assert "difference from eval" not in " ".join(said(evaluation_modes.draw, tables))

    def test_sizes_with_no_room_for_a_label_are_not_written_over_each_other(self):
        there = said(batch_sizes.throughput, run(matrix(batch_size=[64, 65, 4096])))
        assert {"64", "4096"} <= set(there)
        assert "65" not in there


class TestWhatMayBeMissing:
    def test_empty_tables_give_no_picture(self, tmp_path):
        assert draw(build(Records()), tmp_path / "new") == []

    def test_cases_that_all_failed_give_no_picture(self, tmp_path):
        failures = [Failure(case, "timed", 1, 1, 1, STARTED, "crash", "m") for case in matrix(width=[1, 2])]
        assert draw(build(Records(failures=failures)), tmp_path) == []

    def test_a_case_that_failed_beside_others_is_counted_at_the_foot(self):
        lost, *measured = matrix(batch_size=[32, 64, 128])
        records = Records(failures=[Failure(lost, "timed", 1, 1, 1, STARTED, "out_of_memory", "no room")])
        for case, number in itertools.product(measured, range(1, 7)):
            records.add(launch(case, number, 1e-3, MIB))
        foot = " ".join(said(batch_sizes.throughput, build(records)))
        assert "1 case is not shown: all its launches failed." in foot
        assert "32" not in foot.split()

    @pytest.mark.parametrize("picture", [batch_sizes.throughput, evaluation_modes.draw, launches.draw])
    def test_too_few_launches_for_an_interval_are_said(self, picture):
        tables = run(matrix(batch_size=[32, 64], mode=["train", "eval", "no_grad"]), launches=2)
        assert "Too few launches for a 95 % interval." in " ".join(said(picture, tables))

    @pytest.mark.parametrize("started", ["yesterday", "", None, 7])
    def test_without_environment_and_date_the_title_is_short(self, started):
        tables = run(matrix(), launches=1, started=started)
        tables.environment = None
        (page,) = pages.pages_of(tables)
        assert page.subtitle == "made_up · cpu"

    def test_caveats_are_said_at_the_foot(self):
        tables = run(matrix())
        tables.summary["caveats"] = "few_launches;work_differs;spawned"
        assert "Caveats of some cases: work differs, spawned." in " ".join(said(batch_sizes.memory, tables))

    def test_summary_without_launches_or_phases_still_draws(self, tmp_path):
        tables = run(matrix(batch_size=[32, 64]))
        tables.launches, tables.phases, tables.untimed = tables.launches[:0], tables.phases[:0], {}
        tables.trained = {}
        assert names(draw(tables, tmp_path)) == {"throughput", "memory"}

    def test_zero_seconds_and_zero_bytes_draw(self):
        tables = run(matrix(batch_size=[32, 64]), memory=0)
        tables.summary.loc[tables.summary["unit"] == "s", "value"] = 0.0
        assert "peak memory [B]" in said(batch_sizes.memory, tables)
        assert said(launches.draw, tables)

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "plots").write_text("a file")
        with pytest.raises(ResultsError, match="plots"):
            draw(run(matrix()), tmp_path / "plots")


class TestDisturbedLaunches:
    def hollow(self, tables: Tables) -> list[bool]:
        """Which dots of the first case are hollow, round by round."""
        figure = figure_of(launches.draw, tables)
        dots = [line for line in figure.axes[0].lines if line.get_marker() != "None"]
        return [line.get_markerfacecolor() == "white" for line in dots]

    def test_they_are_hollow_in_the_colour_of_their_round(self, tmp_path):
        tables = run(matrix(), launches=7, contaminated={3})
        assert self.hollow(tables) == [number == 3 for number in range(1, 8)]
        line = [
            line for line in figure_of(launches.draw, tables).axes[0].lines if line.get_marker() != "None"
        ][2]
        assert line.get_markeredgecolor() == style.Look.number(2).colour
        assert line.get_markeredgewidth() > 0

    def test_they_are_hollow_where_they_count_too(self):
        tables = run(matrix(), launches=7, contaminated={1, 2, 3, 4})
        assert self.hollow(tables) == [number <= 4 for number in range(1, 8)]

    def test_without_any_nothing_is_said_of_them(self):
        assert not any(self.hollow(run(matrix())))
        assert "Hollow" not in " ".join(said(launches.draw, run(matrix())))

    @pytest.mark.parametrize(
        ("contaminated", "note"),
        [({3}, "Hollow: contaminated, not in the estimate."), ({1, 2, 3, 4}, "Hollow: contaminated.")],
        ids=["few", "most"],
    )
    def test_a_note_says_whether_they_count(self, contaminated, note):
        assert note in " ".join(said(launches.draw, run(matrix(), launches=7, contaminated=contaminated)))

    def test_a_note_holds_for_cases_of_both_kinds(self):
        calm, busy = matrix(width=[1, 2])
        records = Records()
        for number, case in itertools.product(range(1, 8), (calm, busy)):
            contaminated = number > 6 if case == calm else number > 3
            records.add(launch(case, number, 1e-3, MIB, CONTAMINATED if contaminated else None))
        there = " ".join(said(launches.draw, build(records)))
        assert "Hollow: contaminated, not in the estimate unless most are." in there


class TestWhatMayBeTooMuch:
    HOSTILE = (
        "$x_1$ and $", r"\frac{$", "<script>alert('&')</script>", "two\nlines\x00\x1b[31m", "W" * 300, "x" * 99_999,
        "", "_hidden", "漢字",
    )  # fmt: skip

    @pytest.mark.filterwarnings("error")
    def test_any_text_may_be_the_value_of_an_axis(self, draw_pages, tmp_path):
        tables = run(matrix(thing=list(self.HOSTILE), batch_size=[32, 64]), launches=1, name="$" * 999)
        draw_pages(tables, "launches", "memory")
        there = " ".join(texts(tmp_path, "launches"))  # well-formed, or it would not be read
        assert_nothing_is_cut(tmp_path)
        for shown in ("$x_1$ and $", r"\frac{$", "<script>alert('&')</script>", "two lines", "WW…WW", "漢字"):
            assert shown in there
        assert "thing=_hidden" in " ".join(texts(tmp_path, "memory"))

    @pytest.mark.parametrize("text", HOSTILE)
    def test_a_text_takes_no_more_than_its_room(self, text):
        with style.own_settings():
            short = style.fit(text, 2)
            assert short.isprintable()
            assert style.inches(short) <= 2

    def test_a_name_that_begins_with_an_underscore_is_in_the_legend(self):
        there = said(batch_sizes.throughput, run(matrix(optimizer=["_mine", "adam"], batch_size=[32, 64])))
        assert "_mine" in [text.strip() for text in there]

    def test_a_picture_grows_with_its_rows_up_to_a_limit_that_it_says(self, monkeypatch):
        monkeypatch.setattr(sheet, "MOST_ROWS", 20)  # as 100 take their time

        def picture(cases: int):
            return figure_of(
                batch_sizes.memory, run(matrix(width=list(range(cases)), mode=["eval"]), launches=1)
            )

        low, high, higher = (picture(cases).get_figheight() for cases in (5, 20, 30))
        assert low < high / 2
        assert higher < high * 1.1
        assert "The first 20 of 30 cases" in " ".join(text.get_text() for text in picture(30).texts)

    def test_a_launch_far_away_stands_at_the_edge_with_its_figure(self):
        tables = run(matrix(), step=lambda case, number: 1e-2 if number == 3 else 1e-3)
        assert "+900 %" in said(launches.draw, tables)

    def test_a_contaminated_launch_that_does_not_count_does_not_flatten_those_that_do(self):
        tables = run(
            matrix(), launches=7, step=lambda case, number: 1.3e-3 if number == 7 else 1e-3, contaminated={7}
        )
        assert "+30 %" in said(launches.draw, tables)
        assert "+30 %" not in said(
            launches.draw, run(matrix(), launches=7, step=lambda _, n: 1e-3 * (n / 10 + 1))
        )
        (axes,) = figure_of(launches.draw, tables).axes
        assert axes.get_xlim()[1] < 10

    def test_a_calm_case_has_a_scale_of_whole_percents(self):
        figure = figure_of(launches.draw, run(matrix(), step=lambda case, number: 1e-3 * (1 + number * 1e-7)))
        low, high = figure.axes[0].get_xlim()
        ticks = figure.axes[0].get_xticks()
        assert (low, high) == (-1, 1)
        assert len(ticks) > 2
        assert min(ticks) < -0.5
        assert max(ticks) > 0.5

    def test_many_rounds_are_shaded_and_named_in_part(self, tmp_path):
        there = drawn(launches.draw, run(matrix(), launches=40), tmp_path)
        assert 8 <= sum(text.startswith("round") for text in there) <= 16
        assert_nothing_is_cut(tmp_path)


def test_settings_of_the_user_are_neither_used_nor_changed(draw_pages, tmp_path):
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40}):
        draw_pages(run(matrix()), "phases")
        assert matplotlib.rcParams["text.usetex"] is True
        assert matplotlib.rcParams["font.size"] == 40
    assert_nothing_is_cut(tmp_path)
