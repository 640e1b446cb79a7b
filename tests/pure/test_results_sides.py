"""Where the sides of a comparison come from: runs whole and torn, baselines, tables, files of other tools."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fakes import environment, failure, measurement, stages

from bench.analysis.compare.comparable import ComparisonOptions
from bench.analysis.compare.rows import compare
from bench.analysis.compare.verdict import Cause, Reason, RunDeviation
from bench.errors import ResultsError
from bench.report.reason_words import reason_said
from bench.results import baselines
from bench.results.folder import RunFolder
from bench.results.journal import Journal, Records
from bench.results.sides import read_side
from bench.results.tables import build, write
from bench.suite.case import Case

DATA = Path(__file__).parents[1] / "data"
FAST = Case("s", {"device": "cpu", "batch_size": 4, "mode": "train", "width": 1})
SLOW = Case("s", {"device": "cpu", "batch_size": 4, "mode": "train", "width": 2})
RUN = "results/20260101T000000-abc-here"


def launch(case, round, seconds):
    """An epoch of it takes six steps of so many seconds."""
    return measurement(case=case, round=round, stages=stages(steps=(seconds, seconds)))


RECORDS = [
    launch(case, round, seconds * round) for round in range(1, 8) for case, seconds in ((FAST, 1), (SLOW, 2))
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made(here):
    """Makes a run of these records, as one that came to its end leaves it."""

    def make(*records, name=RUN, tables=True, where=None):
        folder = RunFolder(Path(name))
        folder.path.mkdir(parents=True)
        journal = Journal(folder.journal)
        gathered = Records()
        for record in records:
            journal.append(record)
            gathered.add(record)
        journal.close()
        folder.write_json("environment.json", (where or environment()).to_json())
        if tables:
            write(folder, build(gathered, {}, where))
        return folder

    return make


@pytest.fixture
def run(made):
    return made(*RECORDS)


def later(path):
    """As if it had been written after everything else."""
    now = path.stat().st_mtime
    os.utime(path, (now + 60, now + 60))


def cases(side):
    return {
        name: {metric: one.value for metric, one in case.observed.items()}
        for name, case in side.cases.items()
    }


class TestARun:
    def test_every_launch_is_there_by_its_round(self, run):
        side = read_side("latest")
        assert (side.name, side.kind, side.folder, side.notes) == ("latest", "run", RUN, [])
        assert list(side.cases) == [FAST.id, SLOW.id]
        assert side.cases[FAST.id].observed["epoch.time"].launches == {
            round: 6.0 * round for round in range(1, 8)
        }
        assert side.cases[FAST.id].observed["epoch.time"].value == 24.0

    def test_it_knows_its_suite_its_device_its_axes_and_its_machine(self, run):
        side = read_side(RUN)
        assert (side.cases[FAST.id].suite, side.cases[FAST.id].device) == ("s", "cpu")
        assert side.axes[SLOW.id] == {"device": "cpu", "batch_size": 4, "mode": "train", "width": 2}
        assert side.environment == environment()

    def test_the_tables_say_what_the_journal_says(self, run):
        written = read_side(RUN)
        shutil.rmtree(run.logs, ignore_errors=True)
        for path in run.path.glob("*.parquet"):
            path.unlink()
        rebuilt = read_side(RUN)
        assert rebuilt.cases == written.cases
        assert rebuilt.axes == written.axes

    def test_a_metric_without_a_number_is_none(self, made):
        made(*[dataclasses.replace(record, memory={}) for record in RECORDS])
        assert "memory.peak_rss" not in read_side(RUN).cases[FAST.id].observed

    def test_the_tables_are_not_read_where_the_journal_has_gone_on(self, run):
        journal = Journal(run.journal)
        journal.append(launch(FAST, 8, 100.0))
        journal.close()
        later(run.journal)
        assert len(read_side(RUN).cases[FAST.id].observed["epoch.time"].launches) == 8

    @pytest.mark.parametrize("name", ["summary.parquet", "launches.parquet", "failures.csv"])
    @pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"PAR1 and more PAR1", "half", None])
    def test_damaged_tables_cost_nothing(self, run, name, damage):
        whole = read_side(RUN)
        path = run.table(name)
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "half" else damage)
            later(path)
        assert read_side(RUN).cases == whole.cases

    @pytest.mark.parametrize("column", ["case", "round", "value"])
    def test_tables_of_other_things_cost_nothing(self, run, column):
        whole = read_side(RUN)
        frame = pd.read_parquet(run.table("launches.parquet"))
        frame.drop(columns=column).to_parquet(run.table("launches.parquet"))
        assert read_side(RUN).cases == whole.cases
        frame.assign(**{column: b"no"}).to_parquet(run.table("launches.parquet"))
        assert set(read_side(RUN).cases) == set(whole.cases)

    def test_one_that_was_cut_off_is_read_as_far_as_it_went(self, made):
        folder = made(*RECORDS, tables=False)
        folder.journal.write_bytes(folder.journal.read_bytes()[:-100])
        side = read_side(RUN)
        assert len(side.cases[FAST.id].observed["epoch.time"].launches) == 7
        assert len(side.cases[SLOW.id].observed["epoch.time"].launches) == 6
        (note,) = side.notes
        assert "incomplete" in note

    def test_a_case_that_failed_has_nothing_but_the_reason(self, made):
        made(*[record for record in RECORDS if record.case == FAST], failure(case=SLOW))
        side = read_side(RUN)
        assert side.cases[SLOW.id].observed == {}
        assert side.cases[SLOW.id].failure == "error: ValueError: no such thing"
        assert (side.cases[SLOW.id].suite, side.cases[SLOW.id].device) == ("s", "cpu")
        assert side.axes[SLOW.id].keys() == side.axes[FAST.id].keys()
        assert str(side.axes[SLOW.id]["width"]) == "2"
        assert side.cases[FAST.id].failure == ""

    def test_where_everything_failed_that_is_what_it_says(self, made):
        made(failure(case=FAST), failure(case=SLOW))
        assert [case.failure for case in read_side(RUN).cases.values()] == [
            "error: ValueError: no such thing"
        ] * 2

    def test_a_case_with_a_launch_that_failed_has_the_others(self, made):
        made(*RECORDS, failure(case=FAST, round=8))
        case = read_side(RUN).cases[FAST.id]
        assert len(case.observed["epoch.time"].launches) == 7
        assert case.failure
        assert "launches_failed" in case.caveats

    def test_without_an_environment_nobody_knows_where_it_comes_from(self, run):
        (run.path / "environment.json").unlink()
        assert read_side(RUN).environment is None

    def test_a_damaged_environment_is_named(self, run):
        (run.path / "environment.json").write_text("{")
        with pytest.raises(ResultsError, match=r"environment\.json cannot be read"):
            read_side(RUN)


class TestATable:
    @pytest.mark.parametrize("name", ["summary.csv", "summary.parquet"])
    def test_alone_it_has_values_with_their_errors_and_no_machine(self, run, name):
        whole, side = read_side(RUN), read_side(f"{RUN}/{name}")
        assert (side.kind, side.environment, side.folder) == ("table", None, "")
        assert cases(side) == cases(whole)
        alone = side.cases[FAST.id].observed["epoch.time"]
        assert alone.launches == {}
        assert alone.error == pytest.approx(whole.cases[FAST.id].observed["epoch.time"].error)

    def test_without_rows_there_is_nothing_to_compare(self, run):
        head = (run.path / "summary.csv").read_text().splitlines()[0]
        Path("empty.csv").write_text(f"{head}\n")
        with pytest.raises(ResultsError, match="holds no row to compare; measure first: bench run"):
            read_side("empty.csv")

    @pytest.mark.parametrize(
        ("low", "high", "known"),
        [("1.0", "4.0", True), ("2.0", "2.0", True), ("0", "4", False), ("-1", "4", False), ("", "", False),
         ("3.0", "1.0", False), ("1.0", "inf", False)],
    )  # fmt: skip
    def test_an_interval_tells_the_error_where_it_has_a_logarithm(self, here, low, high, known):
        Path("mine.csv").write_text(
            f"suite,case,metric,unit,value,ci_low,ci_high\ns,s,epoch.time,s,2.0,{low},{high}\n"
        )
        assert (read_side("mine.csv").cases["s"].observed["epoch.time"].error is not None) is known

    @pytest.mark.parametrize("value", ["", "nan", "inf", "-inf"])
    def test_what_is_no_number_is_no_value(self, here, value):
        Path("mine.csv").write_text(
            f"suite,case,metric,unit,value\ns,s,epoch.time,s,{value}\ns,s,count.ops,1/step,3\n"
        )
        assert cases(read_side("mine.csv")) == {"s": {"count.ops": 3}}

    @pytest.mark.parametrize(
        ("metric", "unit"), [("count.saved_bytes", "B"), ("count.ops", "1"), ("count.flops", "FLOP")]
    )
    def test_a_count_over_several_steps_is_withheld_and_says_why(self, here, metric, unit):
        """Its unit tells it from one of a step, with which it must not be compared."""
        Path("old.csv").write_text(
            f"suite,case,metric,unit,value\ns,s,{metric},{unit},3\ns,s,count.parameter_bytes,B,8\n"
        )
        found = read_side("old.csv").cases["s"]
        assert set(found.observed) == {"count.parameter_bytes"}
        assert found.withheld == {metric: "old.csv"}
        said = reason_said(Reason(Cause.ADDED_UP, "old.csv"))
        assert said.startswith("old.csv is from an earlier version, which added counts up over")
        assert "bench baseline save" in said

    def test_a_case_of_which_the_device_is_not_told_ran_on_the_usual_one(self, here):
        Path("mine.csv").write_text("suite,case,metric,unit,value\ns,s,epoch.time,s,1\n")
        assert read_side("mine.csv").cases["s"].device == "cpu"


class TestABaseline:
    @pytest.mark.parametrize("text", ["main", "results/baselines/main", "elsewhere/kept"])
    def test_by_its_name_and_by_its_folder(self, run, text):
        place = baselines.save("main", RUN)
        shutil.copytree(place, "elsewhere/kept")
        side = read_side(text)
        assert (side.name, side.kind, side.folder) == (text, "baseline", "")
        assert cases(side) == cases(read_side(RUN))
        assert side.environment == environment(host="")

    def test_it_comes_before_a_run_whose_name_begins_so(self, run):
        baselines.save("main", RUN)
        (baselines.BASELINES / "main").rename(baselines.BASELINES / "2026")
        assert read_side("2026").kind == "baseline"


class TestOtherTools:
    @pytest.mark.parametrize(
        ("name", "kind", "metrics"),
        [
            ("pytest_benchmark.json", "pytest-benchmark", {"time"}),
            ("pytest_benchmark_saved.json", "pytest-benchmark", {"time"}),
            ("pyperf_suite.json", "pyperf", {"time", "value"}),
            ("pyperf_timeit.json", "pyperf", {"time"}),
            ("pyperf_memory.json.gz", "pyperf", {"memory"}),
        ],
    )
    def test_their_json_is_a_side_too(self, name, kind, metrics):
        side = read_side(str(DATA / name))
        assert (side.kind, side.environment) == (kind, None)
        assert {metric for case in side.cases.values() for metric in case.observed} == metrics
        for case in side.cases.values():
            assert (case.suite, case.device, len(case.observed)) == (kind, "cpu", 1)
            assert all(one.value > 0 for one in case.observed.values())

    def test_they_are_compared_as_what_they_are(self):
        side = read_side(str(DATA / "pyperf_memory.json.gz"))
        found = compare(side, side, ComparisonOptions(deviation_of=lambda _: RunDeviation(0.001))).rows
        assert {(row.metric.unit, row.metric.kind, row.verdict) for row in found} == {
            ("B", "memory", "inconclusive")
        }
        assert all("environment_unknown" in row.caveats for row in found)

    def test_what_is_no_such_file_is_said(self, here):
        Path("mine.json").write_text("{}")
        with pytest.raises(ResultsError, match="pytest-benchmark or pyperf"):
            read_side("mine.json")


class TestNothingThere:
    def test_what_runs_and_baselines_there_are_is_said(self, run):
        baselines.save("main", RUN)
        baselines.save("other", RUN)
        with pytest.raises(ResultsError) as caught:
            read_side("nowhere")
        message = str(caught.value)
        assert "there is no run 'nowhere'; results holds 1, the latest is 20260101T000000-abc-here" in message
        assert "baselines: main, other (bench baseline save NAME RUN makes one)" in message

    def test_where_there_are_none_it_says_how_they_are_made(self, here):
        with pytest.raises(
            ResultsError, match=r"make one with: bench run; baselines: none \(bench baseline save"
        ):
            read_side("latest")

    @pytest.mark.parametrize(
        "text", ["", ".", "a\0b", "x" * 5000, "missing.csv", "missing.json", "..", "latest~9"]
    )
    def test_whatever_is_typed_it_is_said_in_a_line(self, run, text):
        with pytest.raises(ResultsError) as caught:
            read_side(text)
        assert "\n" not in str(caught.value)
