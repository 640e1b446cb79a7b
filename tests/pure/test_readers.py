"""Result files of other tools: real ones as they were written, and what no such tool writes.

The files in data/ were made by pytest-benchmark 5.3.1 and pyperf 2.10.0; nothing but the host's name was changed.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from bench.errors import ResultsError
from bench.pytest_plugin import described
from bench.readers import Foreign, json_document, pyperf, pytest_benchmark, read_foreign
from bench.suite.case import Case

DATA = Path(__file__).parents[1] / "data"
PYTEST, SAVED, TIMEIT, SUITE, MEMORY = (
    DATA / name
    for name in (
        "pytest_benchmark.json",
        "pytest_benchmark_saved.json",
        "pyperf_timeit.json",
        "pyperf_suite.json",
        "pyperf_memory.json.gz",
    )
)
READABLE = "; name a JSON file of pytest-benchmark or pyperf"
PYTEST_ANEW = "; write it again with: pytest --benchmark-json=FILE"
PYPERF_ANEW = "; write it again with pyperf's option: -o FILE"
GONE = object()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "results.json"


def save(place: Path, document: object) -> Path:
    place.write_text(json.dumps(document))
    return place


def edited(original: Path, keys: tuple, value: object) -> dict:
    """A real document with one thing in it replaced, or taken out."""
    document = json.loads(original.read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return document


def refused(path: Path) -> str:
    """The one line that reading this file ends in, without the path that it begins with."""
    with pytest.raises(ResultsError) as caught:
        read_foreign(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path} ")
    return message.removeprefix(f"{path} ")


def values(foreign: Foreign) -> dict[str, tuple[float, ...]]:
    return {name: case.values for name, case in foreign.cases.items()}


def ours() -> dict:
    """What a test of the plugin notes."""
    notes = {
        "epochbench": "0.1.0",
        "suite": "mine",
        "case": "mine/device=cpu/width=128/compile=none",
        "axes": ["device", "width", "compile"],
        "device": "cpu",
        "width": 128,
        "compile": None,
    }
    benchmark = {"fullname": "suites/mine.py::mine", "extra_info": notes, "stats": {"median": 2.0}}
    return {"benchmarks": [benchmark]}


@pytest.mark.parametrize(
    ("mine", "other", "original"),
    [
        (pytest_benchmark, pyperf, PYTEST),
        (pytest_benchmark, pyperf, SAVED),
        (pyperf, pytest_benchmark, TIMEIT),
        (pyperf, pytest_benchmark, SUITE),
    ],
)
def test_each_reader_knows_the_files_of_its_tool_and_no_others(mine, other, original):
    document = json.loads(original.read_text())
    assert mine.wrote(document)
    assert not other.wrote(document)


class TestPytestBenchmark:
    def test_each_benchmark_is_one_value_the_median_of_its_rounds(self):
        found = read_foreign(PYTEST)
        assert found.tool == "pytest-benchmark"
        assert values(found) == {
            "test_sums.py::test_sum[100]": (4.366000212030485e-07,),
            "test_sums.py::test_sum[1000]": (7.887699757702648e-06,),
            "test_sums.py::test_sorting": (9.08399852050934e-08,),
        }

    def test_the_value_has_its_name_and_unit(self):
        case = read_foreign(PYTEST).cases["test_sums.py::test_sorting"]
        assert (case.name, case.unit, case.value) == ("test_sums.py::test_sorting", "s", case.values[0])

    def test_a_saved_run_has_no_rounds_and_needs_none(self):
        assert values(read_foreign(SAVED))["test_sums.py::test_sorting"] == (8.938501196098514e-08,)

    def test_it_is_known_without_the_machine(self, place):
        found = read_foreign(save(place, edited(PYTEST, ("machine_info",), GONE)))
        assert found.tool == "pytest-benchmark"

    def test_a_case_of_a_suite_has_its_own_name_and_axes(self, place):
        [found] = read_foreign(save(place, ours())).cases.values()
        assert found.name == "mine/device=cpu/width=128/compile=none"
        assert found.case == Case("mine", {"device": "cpu", "width": 128, "compile": None})
        assert found.value == 2.0

    @pytest.mark.parametrize("earlier", [False, True])
    def test_an_axis_called_like_another_fact_has_a_prefix_since_a_later_version(self, place, earlier):
        case = Case("mine", {"device": "cpu", "threads": 4})
        info = described(case, {"threads": 1})
        assert (info["threads"], info["axis.threads"], info["axes"]) == (1, 4, ["device", "threads"])
        if earlier:
            info["threads"] = info.pop("axis.threads")
        document = ours()
        document["benchmarks"][0]["extra_info"] = info
        [found] = read_foreign(save(place, document)).cases.values()
        assert found.case == case

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"suite": None}, "benchmarks[0].extra_info has no 'suite'"),
            ({"axes": "device"}, "benchmarks[0].extra_info.axes is a text and not a list"),
            ({"axes": ["a b"]}, "benchmarks[0].extra_info is not a case: 'a b' is not a name of an axis"),
            ({"width": [1]}, "is not a case: axis 'width': [1] is a list"),
            (
                {"width": 64},
                "extra_info.case is not 'mine/device=cpu/width=64/compile=none', as its axes show",
            ),
            ({"device": "\x1b[31m"}, "benchmarks[0].extra_info.case is not 'mine/device=\\x1b"),
            (
                {"case": "mine/device=\x1b", "device": "\x1b", "axes": ["device"]},
                "which no terminal can show",
            ),
        ],
    )
    def test_a_case_that_cannot_be_is_refused(self, place, changes, why):
        document = ours()
        document["benchmarks"][0]["extra_info"] |= changes
        assert why in refused(save(place, document))

    def test_a_note_that_is_called_case_makes_none(self, place):
        document = edited(PYTEST, ("benchmarks", 0, "extra_info"), {"case": "a", "suite": "b", "axes": []})
        assert read_foreign(save(place, document)).cases["test_sums.py::test_sum[100]"].case is None

    def test_a_file_that_does_not_say_its_version_is_read(self, place):
        assert read_foreign(save(place, edited(PYTEST, ("version",), GONE))).cases

    @pytest.mark.parametrize(
        ("keys", "value", "why"),
        [
            (("benchmarks", 1, "stats"), GONE, "benchmarks[1] has no 'stats'"),
            (("benchmarks", 1, "stats"), [], "benchmarks[1].stats is a list and not a table"),
            (("benchmarks", 1, "stats", "median"), GONE, "benchmarks[1].stats has no 'median'"),
            (("benchmarks", 1, "stats", "median"), None, "benchmarks[1].stats has no 'median'"),
            (("benchmarks", 1, "stats", "data"), [], "benchmarks[1].stats.data is empty"),
            (("benchmarks", 1, "stats", "data"), "x", "benchmarks[1].stats.data is a text and not a list"),
            (
                ("benchmarks", 1, "stats", "data", 2),
                -1.0,
                "benchmarks[1].stats.data[2] is -1.0, which cannot have been measured",
            ),
            (
                ("benchmarks", 1, "stats", "median"),
                1.0,
                "benchmarks[1].stats.median is 1.0, but the median of its rounds is 7.887699757702648e-06",
            ),
        ],
    )
    def test_a_benchmark_that_cannot_be_read_is_left_out_by_name_and_the_others_stand(
        self, place, keys, value, why
    ):
        found = read_foreign(save(place, edited(PYTEST, keys, value)))
        assert set(found.cases) == {"test_sums.py::test_sum[100]", "test_sums.py::test_sorting"}
        assert found.unread == {"test_sums.py::test_sum[1000]": why}
        assert found.nameless == []

    @pytest.mark.parametrize(
        ("keys", "value", "why"),
        [
            (("benchmarks", 1), 5, "benchmarks[1] is a number and not a table"),
            (("benchmarks", 1), None, "benchmarks[1] is null and not a table"),
            (("benchmarks", 1, "fullname"), GONE, "benchmarks[1] has no 'fullname'"),
            (("benchmarks", 1, "fullname"), " ", "benchmarks[1].fullname is ' ' and must be a text"),
            (("benchmarks", 1, "fullname"), 7, "benchmarks[1].fullname is 7 and must be a text"),
            (
                ("benchmarks", 1, "fullname"),
                "a\x1b[2Jb",
                "benchmarks[1].fullname is 'a\\x1b[2Jb', which no terminal can show",
            ),
            (
                ("benchmarks", 1, "fullname"),
                "\ud800",
                "benchmarks[1].fullname is '\\ud800', which no terminal can show",
            ),
        ],
    )
    def test_one_without_a_name_is_left_out_too(self, place, keys, value, why):
        found = read_foreign(save(place, edited(PYTEST, keys, value)))
        assert len(found.cases) == 2
        assert (found.unread, found.nameless) == ({}, [why])

    def test_of_a_name_that_is_there_twice_nobody_knows_which_is_meant(self, place):
        document = edited(PYTEST, ("benchmarks", 1, "fullname"), "test_sums.py::test_sorting")
        found = read_foreign(save(place, document))
        assert set(found.cases) == {"test_sums.py::test_sum[100]"}
        assert found.unread == {
            "test_sums.py::test_sorting": "benchmarks[1] and benchmarks[2] have the same name"
        }

    @pytest.mark.parametrize(
        ("keys", "value"),
        [
            (("benchmarks", 1, "params"), [1]),
            (("benchmarks", 1, "extra_info"), 5),
            (("benchmarks", 1, "group"), {}),
            (("benchmarks", 1, "news"), {"of": ["tomorrow"]}),
            (("version",), 5),
            (("machine_info",), "x"),
        ],
    )
    def test_what_no_value_depends_on_may_be_anything(self, place, keys, value):
        assert values(read_foreign(save(place, edited(PYTEST, keys, value)))) == values(read_foreign(PYTEST))

    def test_where_none_can_be_read_the_file_is_refused_in_a_line(self, place):
        document = edited(PYTEST, ("benchmarks", 0, "stats"), None)
        for benchmark in document["benchmarks"]:
            benchmark["stats"] = None
        assert refused(save(place, document)) == (
            f"is not a result that can be read: benchmarks[0] has no 'stats' (nor can 2 other benchmarks){PYTEST_ANEW}"
        )

    def test_without_any_it_is_refused(self, place):
        message = refused(save(place, edited(PYTEST, ("benchmarks",), [])))
        assert message == f"is not a result that can be read: benchmarks is empty{PYTEST_ANEW}"


class TestPyperf:
    def test_each_process_is_one_value_the_mean_of_its_own(self):
        found = read_foreign(TIMEIT)
        assert found.tool == "pyperf"
        # What pyperf itself says of this file; the first run, which calibrates, has none.
        assert values(found) == {"timeit": pytest.approx((1.5747705083650014e-07, 8.789558917735955e-08))}

    def test_values_are_those_of_one_loop_already(self):
        # 50 inner loops times 8192: pyperf itself says 4.51 ns.
        case = read_foreign(SUITE).cases["sum, counted as 50 additions"]
        assert case.value == pytest.approx(4.4982137067014114e-09)

    def test_the_value_is_the_median_of_the_processes(self):
        # One process was contaminated: 395 ns, where the others took 233 and 240.
        case = read_foreign(SUITE).cases["sorted"]
        assert max(case.values) == pytest.approx(3.945732829357951e-07)
        assert case.value == pytest.approx(2.40451009177652e-07)

    def test_every_benchmark_of_a_suite_has_its_unit(self):
        assert {name: case.unit for name, case in read_foreign(SUITE).cases.items()} == {
            "sorted": "s",
            "sum, counted as 50 additions": "s",
            "numbers": "1",
        }

    def test_packed_memory_is_read_in_bytes(self):
        case = read_foreign(MEMORY).cases["timeit"]
        assert (case.unit, case.values) == ("B", (12488704.0, 12496896.0, 12488704.0))

    def test_metadata_further_in_is_the_stronger(self, place):
        document = edited(SUITE, ("metadata", "name"), "outer")
        document["metadata"]["tags"] = ["a", "b"]
        assert "sorted" in read_foreign(save(place, document)).cases

    def test_what_only_the_runs_say_is_found_there(self, place):
        document = edited(TIMEIT, ("metadata",), GONE)
        for run in document["benchmarks"][0]["runs"]:
            run["metadata"] |= {"name": "mine", "unit": "byte"}
        found = read_foreign(save(place, document))
        assert found.cases["mine"].unit == "B"

    def test_without_a_unit_it_is_seconds(self, place):
        found = read_foreign(save(place, edited(TIMEIT, ("metadata", "unit"), GONE)))
        assert found.cases["timeit"].unit == "s"

    def test_files_of_its_format_before_are_read(self, place):
        assert values(read_foreign(save(place, edited(TIMEIT, ("version",), 6)))) == values(
            read_foreign(TIMEIT)
        )

    @pytest.mark.parametrize(
        ("keys", "value", "why"),
        [
            (("benchmarks",), [], "benchmarks is empty"),
            (("version",), GONE, "it has no 'version'"),
            (("version",), "2.0", "version is '2.0', and only formats 1.0 and 6 can be read"),
            (("version",), 6.0, "version is 6.0, and only formats 1.0 and 6 can be read"),
            (("metadata",), [], "the name of benchmarks[0] is '' and must be a text"),
            (("metadata", "name"), GONE, "the name of benchmarks[0] is '' and must be a text"),
            (
                ("metadata", "name"),
                "a\rb",
                "the name of benchmarks[0] is 'a\\rb', which no terminal can show",
            ),
            (
                ("metadata", "unit"),
                "tag",
                "benchmarks[0] has values in 'tag', and only second, byte, integer can be read",
            ),
            (
                ("benchmarks", 0, "runs", 1, "metadata"),
                {"unit": "byte"},
                "benchmarks[0] has runs of different unit: 'byte' and 'second'",
            ),
            (("benchmarks", 0, "runs"), [], "benchmarks[0].runs is empty"),
            (("benchmarks", 0, "runs"), {}, "benchmarks[0].runs is a table and not a list"),
            (("benchmarks", 0, "runs", 1), "x", "benchmarks[0].runs[1] is a text and not a table"),
            (
                ("benchmarks", 0, "runs"),
                [{"warmups": [[1, 1.0]]}],
                "benchmarks[0] has only calibration runs, without a value",
            ),
            (("benchmarks", 0, "runs", 1, "values"), [], "benchmarks[0].runs[1].values is empty"),
            (
                ("benchmarks", 0, "runs", 1, "values", 0),
                None,
                "benchmarks[0].runs[1].values[0] is null and must be a number",
            ),
        ],
    )
    def test_what_it_never_writes_is_refused(self, place, keys, value, why):
        message = refused(save(place, edited(TIMEIT, keys, value)))
        assert message == f"is not a result that can be read: {why}{PYPERF_ANEW}"

    def test_one_that_cannot_be_read_is_left_out_by_name_and_the_others_stand(self, place):
        document = edited(SUITE, ("benchmarks", 0, "runs"), [])
        name = document["benchmarks"][0]["metadata"]["name"]
        found = read_foreign(save(place, document))
        assert found.unread == {name: "benchmarks[0].runs is empty"}
        assert set(found.cases) == set(read_foreign(SUITE).cases) - {name}

    def test_a_unit_of_its_own_is_read_of_no_benchmark_but_that(self, place):
        document = edited(SUITE, ("benchmarks", 1, "metadata", "unit"), "tag")
        found = read_foreign(save(place, document))
        (why,) = found.unread.values()
        assert why == "benchmarks[1] has values in 'tag', and only second, byte, integer can be read"
        assert len(found.cases) == 2

    def test_of_a_name_that_is_there_twice_nobody_knows_which_is_meant(self, place):
        document = edited(SUITE, ("benchmarks", 2, "metadata", "name"), "sorted")
        found = read_foreign(save(place, document))
        assert set(found.unread) == {"sorted"}
        assert "sorted" not in found.cases


@pytest.mark.parametrize(
    ("original", "keys", "where"),
    [
        (SAVED, ("benchmarks", 0, "stats", "median"), "benchmarks[0].stats.median"),
        (TIMEIT, ("benchmarks", 0, "runs", 2, "values", 1), "benchmarks[0].runs[2].values[1]"),
    ],
    ids=["pytest-benchmark", "pyperf"],
)
class TestNumbers:
    @pytest.mark.parametrize(
        ("written", "why"),
        [
            ("NaN", "is nan, which cannot have been measured"),
            ("Infinity", "is inf, which cannot have been measured"),
            ("-1e-9", "is -1e-09, which cannot have been measured"),
            ("-5", "is -5, which cannot have been measured"),
            ("1e999", "is inf, which cannot have been measured"),
            ("1e300", "is 1e+300, which cannot have been measured"),
            ("1" * 5000, "is inf, which cannot have been measured"),
            ("1" + "0" * 350, "which cannot have been measured"),
            ("true", "is True and must be a number"),
            ('"1"', "is '1' and must be a number"),
            ("[1]", "is a list and must be a number"),
        ],
    )
    def test_that_nothing_can_have_measured_are_refused(self, place, original, keys, where, written, why):
        document = edited(original, keys, "HERE")
        document["benchmarks"] = document["benchmarks"][:1]
        place.write_text(json.dumps(document).replace('"HERE"', written))
        message = refused(place)
        assert message.startswith(f"is not a result that can be read: {where} is ")
        assert why in message

    @pytest.mark.parametrize("written", ["0", "3", "1e-12", "5e-324"])
    def test_that_are_small_or_whole_are_read(self, place, original, keys, where, written):
        place.write_text(json.dumps(edited(original, keys, "HERE")).replace('"HERE"', written))
        assert read_foreign(place).cases


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "is empty"),
            (b" \n", "is empty"),
            (b"[]", "is a list, and results are a table"),
            (b"[" * 100 + b"]" * 100, "is a list, and results are a table"),
            (b"5", "is a number, and results are a table"),
            (b"null", "is null, and results are a table"),
            (b"{}", "is JSON of neither pytest-benchmark nor pyperf: it has nothing in it"),
            (
                b'{"results": [{"command": "sleep 1", "mean": 1.0}]}',  # hyperfine
                "is JSON of neither pytest-benchmark nor pyperf: it has 'results'",
            ),
            (
                b'{"context": {}, "benchmarks": [{"name": "BM", "real_time": 1}]}',  # Google Benchmark
                "is JSON of neither pytest-benchmark nor pyperf: it has 'context', 'benchmarks'",
            ),
            (
                b'{"benchmarks": {"a": 1}, "machine_info": {}}',
                "is JSON of neither pytest-benchmark nor pyperf: it has 'benchmarks', 'machine_info'",
            ),
            (b"metric,value\n", "is not JSON, or cut short: Expecting value at line 1, column 1"),
            ('{"größe": 1}'.encode("latin-1"), "is not UTF-8 text, from byte 4 on"),
            (b'{"a": ' * 40 + b"1" + b"}" * 40, "is nested deeper than 32 levels: no such result is so deep"),
            (b'{"a": ' + b"[" * 10**5, "is nested deeper than 32 levels: no such result is so deep"),
            (
                b"\x1f\x8b",
                "is damaged gzip: Compressed file ended before the end-of-stream marker was reached",
            ),
            (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "is not UTF-8 text, from byte 0 on"),  # a pickle
        ],
    )
    def test_that_are_no_results_are_refused(self, place, content, why):
        place.write_bytes(content)
        assert refused(place) == f"{why}{READABLE}"

    @pytest.mark.parametrize("levels", [40, 100])
    def test_a_result_with_a_tower_in_it_is_refused(self, place, levels):
        tower: list = []
        for _ in range(levels):
            tower = [tower]
        document = edited(PYTEST, ("benchmarks", 0, "extra_info"), {"tower": tower})
        assert refused(save(place, document)).startswith("is nested deeper than 32 levels")

    @pytest.mark.parametrize("original", [PYTEST, TIMEIT])
    def test_a_file_that_was_cut_short_is_refused(self, place, original):
        whole = original.read_bytes()
        for length in range(1, len(whole), len(whole) // 50):
            place.write_bytes(whole[:length])
            assert refused(place).startswith("is not JSON, or cut short: ")

    def test_a_packed_file_that_was_cut_short_or_changed_is_refused(self, place):
        whole = MEMORY.read_bytes()
        for place_of_cut in range(2, len(whole), 37):
            place.write_bytes(whole[:place_of_cut])
            assert refused(place).startswith("is damaged gzip: ")
        place.write_bytes(whole[:-5] + b"\0" + whole[-4:])
        assert refused(place).startswith("is damaged gzip: CRC check failed")

    @pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
    def test_more_than_the_bound_is_not_read(self, place, monkeypatch, pack):
        monkeypatch.setattr(json_document, "_MOST_BYTES", 2**20)
        place.write_bytes(pack(b" " * (2**20 + 1)))
        assert refused(place) == f"holds more than 1 MiB: no such result is so large{READABLE}"

    def test_the_name_of_a_file_says_nothing(self, tmp_path):
        for number, original in enumerate((PYTEST, MEMORY)):
            place = tmp_path / f"{number}.csv"
            place.write_bytes(original.read_bytes())
            assert read_foreign(place) == read_foreign(original)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
    def test_what_windows_saves_is_read(self, place, encoding):
        text = PYTEST.read_text()
        place.write_bytes((text if encoding != "utf-16-le" else f"\ufeff{text}").encode(encoding))
        assert read_foreign(place) == read_foreign(PYTEST)

    def test_utf_16_that_was_cut_short_is_refused(self, place):
        place.write_bytes(PYTEST.read_text().encode("utf-16")[:-1])
        assert refused(place).startswith("is not UTF-16 text, from byte ")

    def test_packed_or_with_a_mark_in_front_it_is_the_same(self, place):
        place.write_bytes(gzip.compress(b"\xef\xbb\xbf" + PYTEST.read_bytes()))
        assert read_foreign(place) == read_foreign(PYTEST)

    def gone(self, place):
        return "cannot be read: No such file or directory"

    def a_folder(self, place):
        place.mkdir()
        return "is not a file"

    def a_pipe(self, place):
        os.mkfifo(place)
        return "is not a file"

    @pytest.mark.parametrize("make", [gone, a_folder, a_pipe])
    def test_what_is_no_file_is_refused_at_once(self, place, make):
        why = make(self, place)
        assert refused(place) == f"{why}{READABLE}"

    def test_a_path_that_no_file_can_have_is_refused(self, tmp_path):
        assert refused(tmp_path / "a\0b") == f"cannot be read: embedded null byte{READABLE}"
