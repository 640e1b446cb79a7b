"""Tables of a run: tidy, in SI units, and built from whatever its journal holds."""

from __future__ import annotations

import fnmatch
import json
import math
import re
from pathlib import Path
from statistics import fmean, median

import pandas as pd
import pytest
from fakes import CONTAMINATED, environment, failure, fill, guards, measurement, stage, stages

from bench.analysis.run.estimate import estimate
from bench.errors import ResultsError
from bench.measurement import METRICS, PHASED, SEARCHED, STAGES
from bench.report.safe_text import plain_json
from bench.results.folder import RunFolder
from bench.results.journal import Journal, Records
from bench.results.table_rows import TABLES
from bench.results.tables import FILES, SEARCH_COLUMNS, as_json, build, choose, read, write
from bench.suite.case import RESERVED, Case, axis_of

SUMMARY_COLUMNS = list(TABLES["summary"].columns)

TRAIN = Case("main", {"device": "cpu", "batch_size": 64, "optimizer": "adam", "mode": "train", "width": 8})
EVALUATION = Case(
    "main", {"device": "cpu", "batch_size": 64, "optimizer": "adam", "mode": "eval", "width": 8}
)
CUDA = Case("main", {"device": "cuda:0", "batch_size": 64, "optimizer": "adam", "mode": "train", "width": 8})

CLASHING = Case(
    "main",
    {"device": "cpu", "stage": "deep", "step": "linear", "phase": 0.5, "share": True, "launches": 3},
)

PHASE_SHARES = {"data": 0.5, "forward": 0.25, "backward": 0.125, "other": 0.125}


def with_phases(wall: float) -> dict[str, float]:
    return {phase: wall * share for phase, share in PHASE_SHARES.items()}


def launch(case: Case = TRAIN, round: int = 1, step: float = 0.5, phases: bool = True, **changes):
    """A launch of two epochs whose full steps take `step`, with a partial batch at the end of each stage."""
    names = STAGES if case.mode == "train" else STAGES[1:]
    steps, samples = (step, step, step / 3), (4, 4, 1)
    taken = with_phases(sum(steps)) if phases else {}
    records = tuple(
        stage(name, epoch, steps, samples=samples, phases=taken) for epoch in (0, 1) for name in names
    )
    return measurement(**{"case": case, "round": round, "stages": records, **changes})


def tables_of(*records, plan=None, environment=None):
    gathered = Records()
    for record in records:
        gathered.add(record)
    return build(gathered, plan, environment)


def tables_over(axis: str, values):
    """The tables of a run with a case for each of these values."""
    return tables_of(*(launch(Case("main", {axis: value, "mode": "train"})) for value in values))


@pytest.fixture
def tables():
    """Seven launches of a training case, six of an evaluation, and one that failed."""
    steps = [0.5, 0.75, 0.625, 1 / 3, 0.1, 0.7, 0.6]
    return tables_of(
        *(launch(TRAIN, number, step) for number, step in enumerate(steps, start=1)),
        *(launch(EVALUATION, number, step) for number, step in enumerate(steps[:6], start=1)),
        failure(case=EVALUATION, round=7),
        environment=environment(),
    )


def row(frame: pd.DataFrame, case: Case, metric: str) -> pd.Series:
    """The only row of this case and metric."""
    found = frame[(frame["case"] == case.id) & (frame["metric"] == metric)]
    assert len(found) == 1, f"{len(found)} rows of {metric}"
    return found.iloc[0]


class TestSummary:
    def test_the_columns_are_suite_case_axes_in_order_then_the_number(self, tables):
        assert list(tables.summary.columns) == [
            *("suite", "case", "device", "batch_size", "optimizer", "mode", "width"),
            *("metric", "unit", "value", "ci_low", "ci_high", "smallest_change"),
            *("launches", "contaminated", "steps", "warmup_steps", "caveats"),
        ]
        assert tables.axes == list(TRAIN.axes)

    def test_there_is_one_row_for_each_case_and_metric(self, tables):
        assert not tables.summary.duplicated(["case", "metric"]).any()
        assert set(tables.summary["case"]) == {TRAIN.id, EVALUATION.id}
        assert "train.step_time" in set(tables.summary["metric"])

    def test_the_value_is_the_median_over_launches_with_its_interval(self, tables):
        found = row(tables.summary, TRAIN, "train.step_time")
        values = sorted([0.5, 0.75, 0.625, 1 / 3, 0.1, 0.7, 0.6])
        assert (found["value"], found["unit"], found["launches"]) == (median(values), "s", 7)
        assert (found["ci_low"], found["ci_high"]) == (values[0], values[-1])

    def test_too_few_launches_give_no_interval_and_say_so(self):
        found = row(tables_of(*(launch(round=n) for n in range(5))).summary, TRAIN, "train.step_time")
        assert pd.isna(found["ci_low"])
        assert pd.isna(found["ci_high"])
        assert pd.isna(found["smallest_change"])
        assert found["caveats"] == "few_launches"

    def test_the_smallest_change_is_that_of_the_estimate(self, tables):
        found = row(tables.summary, TRAIN, "train.step_time")
        values = [0.5, 0.75, 0.625, 1 / 3, 0.1, 0.7, 0.6]
        assert found["smallest_change"] == estimate(values).smallest_change > 0

    @pytest.mark.parametrize("launches", [1, 6])
    def test_columns_have_the_same_types_whether_there_are_intervals_or_not(self, launches):
        kinds = tables_of(*(launch(round=n) for n in range(launches))).summary.dtypes
        numbers = ("value", "ci_low", "ci_high", "smallest_change")
        assert [kinds[name] for name in numbers] == ["float64"] * 4
        assert (kinds["launches"], kinds["contaminated"], kinds["batch_size"]) == ("int64", "int64", "Int64")
        assert (kinds["steps"], kinds["warmup_steps"]) == ("Int64", "Int64")

    def test_the_steps_behind_a_time_are_those_that_were_counted(self, tables):
        steps = {name: row(tables.summary, TRAIN, name)["steps"] for name in METRICS if name in KNOWN}
        assert steps["train.step_time"] == 7 * 2, "full batches of the counted epoch"
        assert steps["train.step_mean"] == steps["train.throughput"] == 7 * 3
        assert steps["train.phase.data"] == steps["test.phase.data"] == 7 * 3
        assert steps["epoch.time"] == 7 * 9
        assert pd.isna(steps["work.train.samples"])
        assert pd.isna(steps["memory.peak_rss"])
        assert pd.isna(steps["quality.test_loss"])

    def test_the_steps_that_warm_up_took_from_a_time_are_counted_too(self, tables):
        taken = {name: row(tables.summary, TRAIN, name)["warmup_steps"] for name in KNOWN}
        assert taken["train.step_time"] == 7 * 2, "full batches of the first epoch"
        assert taken["train.step_mean"] == taken["train.throughput"] == taken["train.phase.data"] == 7 * 3
        assert taken["epoch.time"] == 7 * 9
        assert pd.isna(taken["work.train.samples"])
        assert pd.isna(taken["memory.peak_rss"])

    def test_longer_warm_up_takes_steps_from_step_times_and_epochs_from_the_rest(self):
        slow = (5.0,) * 10 + (1.0,) * 20
        epochs = [(1.0,) * 30, slow, (1.0,) * 30, (1.0,) * 30]
        records = tuple(stage("train", number, steps) for number, steps in enumerate(epochs))
        made = tables_of(*(measurement(round=n, stages=records) for n in range(6)))
        step, epoch = (
            row(made.summary, measurement().case, name) for name in ("train.step_time", "epoch.time")
        )
        assert (step["steps"], step["warmup_steps"]) == (6 * 80, 6 * 40)
        assert (epoch["steps"], epoch["warmup_steps"]) == (6 * 60, 6 * 60)
        assert (step["value"], epoch["value"]) == (1.0, 30.0)
        assert step["caveats"] == "", "half of its epochs are counted"

    def test_contaminated_launches_are_counted_and_do_not_count(self):
        calm = [launch(round=n, step=0.5, guards=guards()) for n in range(6)]
        slow = [launch(round=n, step=9.0, guards=CONTAMINATED) for n in (6, 7)]
        found = row(tables_of(*calm, *slow).summary, TRAIN, "train.step_time")
        assert (found["value"], found["ci_high"]) == (0.5, 0.5)
        assert (found["launches"], found["contaminated"], found["steps"]) == (6, 2, 12)
        assert found["caveats"] == ""

    def test_where_most_are_contaminated_all_count_and_the_row_says_so(self):
        calm = [launch(round=n, step=0.5, guards=guards()) for n in range(3)]
        slow = [launch(round=n, step=9.0, guards=CONTAMINATED) for n in range(3, 7)]
        found = row(tables_of(*calm, *slow).summary, TRAIN, "train.step_time")
        assert (found["value"], found["launches"], found["contaminated"]) == (9.0, 7, 4)
        assert found["caveats"] == "contaminated"

    def test_phases_are_those_of_the_launches_that_count(self):
        calm = [launch(round=n, step=0.5, guards=guards()) for n in range(6)]
        made = tables_of(*calm, launch(round=6, step=9.0, guards=CONTAMINATED)).phases
        assert set(made["launches"]) == {6}
        assert made[made["stage"] == "train"]["seconds_per_step"].sum() == pytest.approx(3.5 / 9)

    @pytest.mark.parametrize(("tolerance", "found"), [(0.25, ""), (0.2, "unsettled"), (None, ""), ("2%", "")])
    def test_a_case_is_held_to_the_tolerance_that_the_plan_asked_for(self, tolerance, found):
        steps = (0.775, 1.0, 1.0, 1.0, 1.0, 1.225)
        plan = {"schedule": {"launches": 6, "tolerance": tolerance}}
        made = tables_of(*(launch(round=n, step=step) for n, step in enumerate(steps)), plan=plan)
        assert set(made.summary["caveats"]) == {found}

    def test_a_plan_without_a_schedule_asks_for_nothing(self):
        steps = (0.5, 1.0, 1.0, 1.0, 1.0, 1.5)
        for plan in ({}, {"schedule": None}, {"schedule": []}):
            made = tables_of(*(launch(round=n, step=step) for n, step in enumerate(steps)), plan=plan)
            assert set(made.summary["caveats"]) == {""}

    def test_metrics_stand_in_the_order_of_their_table_and_the_users_own_behind(self):
        records = stages(metrics={"zeal": 1.0, "accuracy": 0.5})
        made = tables_of(measurement(stages=records))
        metrics = list(made.summary["metric"])
        known = [name for name in METRICS if name in metrics]
        assert metrics[: len(known)] == known
        assert set(metrics[len(known) :]) == {
            *(f"quality.{name}_zeal" for name in STAGES),
            *(f"quality.{name}_accuracy" for name in STAGES if name != "test"),
        }

    def test_caveats_are_names_joined_by_semicolons_on_every_row_of_their_case(self):
        spawned = launch(TRAIN, conditions={"start_method": "spawn"})
        made = tables_of(spawned, failure(case=TRAIN), *(launch(EVALUATION, n) for n in range(6)))
        caveats = made.summary.groupby("case", sort=False)["caveats"].unique()
        assert list(caveats[TRAIN.id]) == ["few_launches;launches_failed;spawned"]
        assert list(caveats[EVALUATION.id]) == [""]

    def test_cases_stand_in_the_order_of_the_plan_however_the_rounds_were_shuffled(self):
        plan = {"cases": [case.to_json() for case in (EVALUATION, CUDA, TRAIN)]}
        made = tables_of(launch(TRAIN), launch(CUDA), launch(EVALUATION), plan=plan)
        assert list(dict.fromkeys(made.summary["case"])) == [EVALUATION.id, CUDA.id, TRAIN.id]
        assert made.plan == plan

    def test_a_case_without_a_plan_stands_where_it_came_first(self):
        made = tables_of(launch(TRAIN), launch(EVALUATION), launch(TRAIN, 2))
        assert list(dict.fromkeys(made.summary["case"])) == [TRAIN.id, EVALUATION.id]


KNOWN = {
    *("train.step_time", "train.step_mean", "train.throughput", "epoch.time", "train.phase.data"),
    *("test.phase.data", "work.train.samples", "memory.peak_rss", "quality.test_loss"),
}


class TestAxes:
    def test_an_axis_that_a_mode_does_not_use_is_empty(self, tables):
        for frame in (tables.summary, tables.steps, tables.phases, tables.launches, tables.failures):
            evaluation = frame[frame["case"] == EVALUATION.id]
            assert len(evaluation) > 0
            assert evaluation["optimizer"].isna().all()
            assert (evaluation["batch_size"] == 64).all()
        assert (tables.summary[tables.summary["case"] == TRAIN.id]["optimizer"] == "adam").all()

    @pytest.mark.parametrize(
        ("values", "kind", "shown"),
        [
            ([64, 256], "Int64", [64, 256]),
            ([None, 256], "Int64", [None, 256]),
            ([2**62, None], "Int64", [2**62, None]),
            ([2.0, 4.0], "Int64", [2, 4]),
            ([0.1, 0.2], "float64", [0.1, 0.2]),
            ([1, 0.1], "float64", [1.0, 0.1]),
            ([None, 1, 0.1], "float64", [None, 1.0, 0.1]),
            ([1e20, 1e300], "float64", [1e20, 1e300]),
            ([True, False], "bool", [True, False]),
            ([True, None], "object", [True, None]),
            (["a", "b"], "str", ["a", "b"]),
            (["a", None], "str", ["a", "none"]),
            (["auto", 64, 0.5, True, None], "str", ["auto", "64", "0.5", "true", "none"]),
            ([True, 2], "str", ["true", "2"]),
            ([2**70, 1], "str", [str(2**70), "1"]),
        ],
        ids=str,
    )
    def test_values_of_one_kind_keep_it_and_mixed_ones_become_text(self, tmp_path, values, kind, shown):
        made = tables_over("mine", values)
        column = made.summary.drop_duplicates("case")["mine"]
        assert str(column.dtype) == kind or (kind == "str" and column.dtype == object)
        assert [None if pd.isna(value) else value for value in column] == shown
        write(RunFolder(tmp_path), made)
        kept = pd.read_parquet(tmp_path / "summary.parquet").drop_duplicates("case")["mine"]
        assert [None if pd.isna(value) else value for value in kept] == shown

    def test_whole_numbers_stay_whole_where_some_cases_do_not_use_them(self):
        both = [Case("main", {"validate_every": 10, "mode": mode}) for mode in ("train", "eval")]
        column = tables_of(*map(launch, both)).summary.drop_duplicates("case")["validate_every"]
        assert column.dtype == "Int64"
        assert column.tolist() == [10, pd.NA]

    def test_suites_with_different_axes_share_a_table(self):
        one = Case("one", {"device": "cpu", "width": 8})
        other = Case("other", {"device": "cpu", "depth": 2})
        made = tables_of(launch(one), launch(other))
        assert made.axes == ["device", "width", "depth"]
        first = made.summary.drop_duplicates("case").set_index("suite")
        assert first["width"].tolist() == [8, pd.NA]
        assert first["depth"].tolist() == [pd.NA, 2]

    def test_an_axis_called_like_a_column_of_a_table_has_a_prefix_in_that_table_alone(self):
        tables = tables_of(launch(CLASHING, 1), launch(CLASHING, 2), failure(case=CLASHING))
        assert tables.axes == ["device", "stage", "step", "phase", "share", "axis.launches"]
        prefixed = {
            name: [column for column in getattr(tables, name).columns if column.startswith("axis.")]
            for name in FILES
        }
        assert prefixed == {
            "summary": ["axis.launches"],
            "steps": ["axis.stage", "axis.step"],
            "phases": ["axis.stage", "axis.phase", "axis.share", "axis.launches"],
            "epochs": [],
            "launches": [],
            "failures": [],
            "counts": ["axis.stage", "axis.phase"],
            "ops": ["axis.stage", "axis.phase"],
            "batch_search": [],
        }
        assert set(tables.summary["axis.launches"]) == {3}
        assert set(tables.summary["launches"]) == {2}
        assert set(tables.steps["axis.step"]) == {"linear"}
        assert tables.steps["step"].max() > 1
        assert set(tables.phases["stage"]) <= set(STAGES)
        for name in FILES:
            assert getattr(tables, name).columns.is_unique

    def test_every_name_but_those_that_identify_a_row_of_the_summary_is_free(self):
        columns = {column for table in TABLES.values() for column in table.columns} | set(SEARCH_COLUMNS)
        free = dict.fromkeys(sorted(columns - set(RESERVED)), 1)
        case = Case.from_json({"suite": "s", "axes": free})
        tables = tables_of(launch(case), failure(case=case))
        for name in FILES:
            assert getattr(tables, name).columns.is_unique
        assert [axis_of(column) for column in tables.axes] == list(free)


class TestSteps:
    def test_every_step_of_a_timed_launch_is_a_row_and_says_whether_it_counts(self):
        steps = tables_of(launch(step=0.75), launch(TRAIN, 2)).steps
        assert list(steps.columns[7:]) == [
            *("round", "contaminated", "epoch", "stage", "step", "samples", "full", "warmup", "seconds")
        ]
        assert len(steps) == 2 * 2 * 3 * 3
        first = steps[(steps["round"] == 1) & (steps["stage"] == "train")]
        assert first[["epoch", "step", "samples", "full", "warmup", "seconds"]].values.tolist() == [
            [epoch, step, samples, full, warmup, seconds]
            for epoch, warmup in ((1, True), (2, False))
            for step, samples, full, seconds in ((1, 4, True, 0.75), (2, 4, True, 0.75), (3, 1, False, 0.25))
        ]

    def test_steps_of_contaminated_launches_are_marked(self):
        steps = tables_of(launch(), launch(TRAIN, 2, guards=CONTAMINATED)).steps
        assert steps.groupby("round")["contaminated"].unique().map(list).to_dict() == {1: [False], 2: [True]}

    def test_steps_that_were_still_starting_up_are_marked(self):
        slow = (5.0,) * 10 + (1.0,) * 20
        epochs = [(1.0,) * 30, slow, (1.0,) * 30, (1.0,) * 30]
        records = tuple(stage("train", number, steps) for number, steps in enumerate(epochs))
        steps = tables_of(measurement(stages=records)).steps
        marked = steps[steps["warmup"]].groupby("epoch")["step"].agg(["min", "max"])
        assert marked.values.tolist() == [[1, 30], [1, 10]]

    def test_steps_of_a_launch_for_phases_are_not_among_them(self):
        steps = tables_of(launch(CUDA, step=1.0, phases=False), launch(CUDA, step=9.0, kind=PHASED)).steps
        assert set(steps["seconds"]) == {1.0, 1.0 / 3}


class TestPhases:
    def test_they_add_up_to_the_mean_step_over_the_launches(self, tables):
        train = tables.phases[(tables.phases["case"] == TRAIN.id) & (tables.phases["stage"] == "train")]
        means = tables.launches[
            (tables.launches["case"] == TRAIN.id) & (tables.launches["metric"] == "train.step_mean")
        ]["value"]
        assert train["seconds_per_step"].sum() == pytest.approx(fmean(means), rel=1e-12)
        assert list(train["phase"]) == ["data", "forward", "backward", "other"]
        assert train["share"].tolist() == pytest.approx(list(PHASE_SHARES.values()), rel=1e-12)
        assert set(train["launches"]) == {7}

    def test_every_stage_that_ran_has_its_own(self, tables):
        stages_of = tables.phases.groupby("case", sort=False)["stage"].unique()
        assert list(stages_of[TRAIN.id]) == ["train", "validate", "test"]
        assert list(stages_of[EVALUATION.id]) == ["validate", "test"]
        shares = tables.phases.groupby(["case", "stage"])["share"].sum()
        assert shares.tolist() == pytest.approx([1.0] * len(shares))

    def test_on_a_device_they_come_from_their_own_launch_and_times_from_the_others(self):
        timed = [launch(CUDA, number, step=1.0, phases=False) for number in range(6)]
        made = tables_of(*timed, launch(CUDA, step=9.0, kind=PHASED))
        train = made.phases[made.phases["stage"] == "train"]
        assert train["seconds_per_step"].sum() == pytest.approx((9 + 9 + 3) / 3)
        assert set(train["launches"]) == {1}
        time = row(made.summary, CUDA, "train.step_time")
        assert (time["value"], time["ci_low"], time["ci_high"], time["launches"]) == (1.0, 1.0, 1.0, 6)
        phase = row(made.summary, CUDA, "train.phase.data")
        assert (phase["value"], phase["launches"]) == (pytest.approx(3.5), 1)
        assert set(made.summary["caveats"]) == {""}, "a launch of its own is no timed launch too few"
        assert set(made.launches["kind"]) == {"timed", "phases"}

    def test_a_launch_that_took_none_has_none(self):
        assert len(tables_of(launch(phases=False)).phases) == 0

    def test_a_phase_that_the_users_own_step_laps_stands_behind_the_others(self):
        made = tables_of(measurement(stages=stages(phases={"attention": 0.5, "other": 0.25, "data": 1.25})))
        train = made.phases[made.phases["stage"] == "train"]
        assert list(train["phase"]) == ["data", "other", "attention"]
        assert train["seconds_per_step"].tolist() == [0.625, 0.125, 0.25]
        assert row(made.summary, measurement().case, "train.phase.attention")["value"] == 0.25


class TestLaunches:
    def test_the_summary_is_the_median_of_them(self, tables):
        medians = tables.launches.groupby(["case", "metric"])["value"].median()
        assert len(medians) == len(tables.summary)
        for found in tables.summary.itertuples():
            assert found.value == medians[found.case, found.metric]

    def test_each_launch_says_what_it_was(self, tables):
        one = tables.launches[tables.launches["metric"] == "train.step_time"]
        assert one[["kind", "round"]].values.tolist() == [["timed", number] for number in range(1, 8)]

    def test_each_launch_says_what_contaminated_it(self):
        both = {**CONTAMINATED, "gpu_others": 1.0}
        made = tables_of(
            launch(), launch(TRAIN, 2, guards=CONTAMINATED), launch(TRAIN, 3, guards=both)
        ).launches
        found = made.groupby("round")["contaminated"].unique().map(list).to_dict()
        assert found == {1: [""], 2: ["waited"], 3: ["waited;gpu_shared"]}


class TestFailures:
    def test_each_is_a_row_with_its_axes_and_the_users_own_line(self):
        lost = failure(case=TRAIN, round=2, failure="crash", message="killed by SIGSEGV", where="mine.py:3")
        made = tables_of(launch(EVALUATION), lost, failure(case=EVALUATION))
        assert list(made.failures.columns[7:]) == ["kind", "round", "failure", "message", "where"]
        first = made.failures.set_index("case").loc[TRAIN.id]
        assert (first["optimizer"], first["width"], first["kind"], first["round"]) == ("adam", 8, "timed", 2)
        assert (first["failure"], first["message"], first["where"]) == (
            *("crash", "killed by SIGSEGV", "mine.py:3"),
        )
        assert set(made.failures["case"]) == {TRAIN.id, EVALUATION.id}

    def test_a_case_that_only_failed_has_no_number(self):
        made = tables_of(launch(EVALUATION), failure(case=TRAIN))
        assert set(made.summary["case"]) == {EVALUATION.id}
        assert list(made.failures["case"]) == [TRAIN.id]

    def test_a_case_that_was_never_launched_has_no_row(self):
        plan = {"cases": [case.to_json() for case in (TRAIN, EVALUATION, CUDA)]}
        made = tables_of(launch(EVALUATION), failure(case=CUDA), plan=plan)
        frames = (made.summary, made.steps, made.phases, made.launches, made.failures)
        assert all(TRAIN.id not in set(frame["case"]) for frame in frames)


@pytest.fixture(params=["nothing", "failures alone", "a plan alone", "phases alone"])
def bare(request):
    """Tables of a run in which nothing was timed."""
    return {
        "nothing": lambda: tables_of(),
        "failures alone": lambda: tables_of(failure(case=TRAIN), failure(case=EVALUATION)),
        "a plan alone": lambda: tables_of(plan={"cases": [TRAIN.to_json()]}),
        "phases alone": lambda: tables_of(launch(CUDA, kind=PHASED)),
    }[request.param]()


class TestBareRuns:
    def test_the_tables_have_their_columns(self, bare):
        assert list(bare.summary.columns[-len(SUMMARY_COLUMNS) :]) == SUMMARY_COLUMNS
        assert list(bare.summary.columns[:2]) == ["suite", "case"]
        assert set(bare.axes) <= set(TRAIN.axes)

    def test_text_columns_take_the_operations_of_text(self, bare):
        assert not bare.summary["metric"].str.startswith("epoch").any()

    def test_they_are_written_and_read_again(self, bare, tmp_path):
        write(RunFolder(tmp_path), bare)
        for name in ("summary.csv", "failures.csv", "phases.csv"):
            frame = getattr(bare, name.removesuffix(".csv"))
            kept = pd.read_csv(tmp_path / name)
            assert (list(kept.columns), len(kept)) == (list(frame.columns), len(frame))
        assert len(pd.read_parquet(tmp_path / "summary.parquet")) == len(bare.summary)

    def test_they_are_json(self, bare):
        assert len(strict(as_json(bare))["failures"]) == len(bare.failures)


class TestFiles:
    def test_summary_opens_in_pandas_with_the_same_columns_and_numbers(self, tables, tmp_path):
        write(RunFolder(tmp_path), tables)
        text = pd.read_csv(tmp_path / "summary.csv")
        kept = pd.read_parquet(tmp_path / "summary.parquet")
        for frame in (text, kept):
            assert list(frame.columns) == list(tables.summary.columns)
            for name in tables.summary.columns:
                made = [None if pd.isna(value) else value for value in tables.summary[name]]
                found = [None if pd.isna(value) else value for value in frame[name]]
                if frame is text and name == "caveats":
                    made = [value or None for value in made]  # CSV has no empty text
                if frame is text and name in ("value", "ci_low", "ci_high", "smallest_change"):
                    found = [value and pytest.approx(value, rel=1e-15) for value in found]
                assert made == found, name
        assert list(kept.dtypes) == list(tables.summary.dtypes)

    def test_the_other_tables_lie_beside_it(self, tables, tmp_path):
        write(RunFolder(tmp_path), tables)
        assert pd.read_parquet(tmp_path / "steps.parquet").equals(tables.steps)
        assert len(pd.read_csv(tmp_path / "phases.csv")) == len(tables.phases)
        assert list(pd.read_csv(tmp_path / "failures.csv")["message"]) == list(tables.failures["message"])

    def test_they_are_made_anew_in_place_of_older_ones(self, tables, tmp_path):
        write(RunFolder(tmp_path), tables_of(launch()))
        write(RunFolder(tmp_path), tables)
        assert len(pd.read_csv(tmp_path / "summary.csv")) == len(tables.summary)

    @pytest.mark.parametrize("name", ["summary.csv", "summary.parquet", "phases.csv", "failures.csv"])
    def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(self, tables, tmp_path, name):
        (tmp_path / name).mkdir()
        with pytest.raises(ResultsError) as caught:
            write(RunFolder(tmp_path), tables)
        assert str(caught.value) == (
            f"the tables cannot be written to {tmp_path}: Is a directory; the journal is complete, free some space "
            f"and run: bench tables {tmp_path}"
        )

    def test_a_folder_that_has_gone_is_named_with_the_reason(self, tables, tmp_path):
        with pytest.raises(ResultsError, match=r"gone: .*directory.*; the journal"):
            write(RunFolder(tmp_path / "gone"), tables)

    @pytest.mark.parametrize("room", [0, 8192])
    def test_a_full_disk_is_named_with_the_remedy_and_the_journal_is_kept(self, tables, disk, room):
        folder = RunFolder(disk)
        journal = Journal(folder.journal)
        journal.append(launch())
        journal.close()
        whole = folder.journal.read_bytes()
        fill(disk, room)
        with pytest.raises(ResultsError) as caught:
            write(folder, tables)
        assert str(caught.value) == (
            f"the tables cannot be written to {disk}: No space left on device; the journal is complete, "
            f"free some space and run: bench tables {disk}"
        )
        assert folder.journal.read_bytes() == whole


class TestRead:
    @pytest.fixture
    def run(self, tmp_path):
        folder = RunFolder(tmp_path / "run")
        folder.path.mkdir()
        journal = Journal(folder.journal)
        for record in (launch(), failure(case=EVALUATION), launch(TRAIN, 2)):
            journal.append(record)
        journal.close()
        folder.write_json("plan.json", {"name": "mine", "cases": [EVALUATION.to_json(), TRAIN.to_json()]})
        folder.write_json("environment.json", environment().to_json())
        return folder

    def test_a_run_is_rebuilt_from_its_journal(self, run):
        made = read(run.path)
        assert row(made.summary, TRAIN, "train.step_time")["launches"] == 2
        assert made.environment == environment()
        assert made.plan["name"] == "mine"
        assert made.notes == []

    def test_a_run_that_was_cut_off_reads_as_far_as_it_went_and_says_so(self, run):
        whole = run.journal.read_bytes()
        run.journal.write_bytes(whole[:-40])
        made = read(str(run.path))
        assert row(made.summary, TRAIN, "train.step_time")["launches"] == 1
        (note,) = made.notes
        assert "line 3 is incomplete" in note

    def test_a_journal_alone_is_enough(self, run):
        (run.path / "plan.json").unlink()
        (run.path / "environment.json").unlink()
        made = read(run.path)
        assert (len(made.failures), made.environment, made.plan) == (1, None, {})

    @pytest.mark.parametrize(
        "cases",
        [
            None,
            17,
            "cases",
            [None],
            [[]],
            [{}],
            [{"suite": "s"}],
            [{"suite": "s", "axes": ["abc"]}],
            [{"suite": "s", "axes": {"mode": "sleep"}}],
            [{"suite": "s", "axes": {"width": [1]}}],
            [{"suite": "s", "axes": {"learning_rate": math.nan}}],
        ],
        ids=str,
    )
    def test_a_damaged_plan_is_named(self, run, cases):
        run.write_json("plan.json", {"cases": cases})
        with pytest.raises(ResultsError, match=r"plan\.json is damaged: "):
            read(run.path)


class TestChoose:
    def metrics_of(self, tables, *patterns):
        return list(dict.fromkeys(choose(tables, patterns).summary["metric"]))

    @pytest.mark.parametrize(
        ("patterns", "metrics"),
        [
            (["epoch.time"], ["epoch.time"]),
            (["train.phase.[df]*"], ["train.phase.data", "train.phase.forward"]),
            (["train.step_*", "epoch.time"], ["epoch.time", "train.step_time", "train.step_mean"]),
            (["epoch.time", "epoch.*"], ["epoch.time"]),
        ],
    )
    def test_names_and_patterns_cut_the_summary_down(self, tables, patterns, metrics):
        assert self.metrics_of(tables, *patterns) == metrics

    def test_every_row_of_a_chosen_metric_and_every_other_table_stays(self, tables):
        chosen = choose(tables, ["epoch.time"])
        assert list(chosen.summary["case"]) == [TRAIN.id, EVALUATION.id]
        assert chosen.failures.equals(tables.failures)
        assert len(tables.summary) > 2, "the tables that were given are as they were"

    def test_a_users_own_metric_is_found_by_its_name_whatever_signs_are_in_it(self):
        made = tables_of(measurement(stages=stages(metrics={"top[5]": 1.0})))
        assert self.metrics_of(made, "quality.test_top[5]") == ["quality.test_top[5]"]

    @pytest.mark.parametrize(
        ("pattern", "remedy"),
        [
            ("epoch", "did you mean 'epoch.time'?"),
            ("Epoch.Time", "did you mean 'epoch.time'?"),
            ("", "it has epoch.time, train.step_time, train.step_mean and "),
        ],
    )
    def test_what_matches_nothing_is_named_beside_what_there_is(self, tables, pattern, remedy):
        with pytest.raises(ResultsError) as caught:
            choose(tables, ["epoch.time", pattern])
        assert str(caught.value).startswith(f"the run has no metric {pattern!r}; {remedy}")
        assert len(str(caught.value)) < 120


def strict(data):
    """JSON as programs of other languages read it: NaN and Infinity are none."""

    def refuse(constant: str):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(plain_json(data), parse_constant=refuse)


class TestJson:
    def test_it_holds_every_row_with_the_failures_and_the_environment(self, tables):
        data = strict(as_json(tables))
        assert len(data["summary"]) == len(tables.summary)
        assert list(data["summary"][0]) == list(tables.summary.columns)
        assert data["failures"][0]["message"] == "ValueError: no such thing"
        assert data["environment"]["cpu"] == "A processor"

    def test_numbers_are_those_of_the_tables_digit_for_digit(self):
        data = strict(as_json(tables_over("mine", [1e-20, 1 / 3])))
        values = {(found["mine"], found["metric"]): found["value"] for found in data["summary"]}
        assert {mine for mine, _ in values} == {1e-20, 1 / 3}
        made = tables_of(launch(step=1.2345678901234567e-7))
        (step,) = (
            found["value"]
            for found in strict(as_json(made))["summary"]
            if found["metric"] == "train.step_time"
        )
        assert step == 1.2345678901234567e-7

    def test_whole_numbers_are_whole_and_what_is_missing_is_null(self, tables):
        found = {line["case"]: line for line in strict(as_json(tables))["summary"]}
        assert (found[TRAIN.id]["batch_size"], type(found[TRAIN.id]["batch_size"])) == (64, int)
        assert found[EVALUATION.id]["optimizer"] is None
        assert found[EVALUATION.id]["steps"] is None, "the last metric is no time"

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_a_number_that_is_none_is_null(self, number):
        made = tables_of(*(measurement(stages=stages(metrics={"mine": number})) for _ in range(6)))
        values = {found["metric"]: found for found in strict(as_json(made))["summary"]}
        assert values["quality.test_mine"]["value"] is None
        assert values["quality.test_mine"]["ci_low"] is None


class TestBatchSearch:
    TRIES = (
        measurement(case=TRAIN.sized(32), kind=SEARCHED),
        failure(case=TRAIN.sized(48), kind=SEARCHED, failure="out_of_memory", message="no"),
        measurement(case=TRAIN.sized(16), kind=SEARCHED, memory={}, stages=()),
    )

    def test_there_is_a_row_for_each_size_in_order(self):
        table = tables_of(*self.TRIES, launch(TRAIN)).batch_search
        assert list(table.columns) == [
            *("suite", "case", *TRAIN.axes),
            *("fits", "throughput", "memory", "failure", "message"),
        ]
        assert set(table["case"]) == {TRAIN.sized("max").id}
        assert table["batch_size"].tolist() == [16, 32, 48]
        assert table["fits"].tolist() == [True, True, False]
        assert table["throughput"].isna().tolist() == [True, False, True]
        assert table["memory"].tolist() == [pd.NA, 2**20, pd.NA]
        assert table["failure"].tolist() == ["", "", "out_of_memory"]

    def test_no_other_table_knows_of_it(self):
        made = tables_of(launch(TRAIN), *self.TRIES)
        alone = tables_of(launch(TRAIN))
        for name in ("summary", "steps", "phases", "launches", "failures", "counts", "ops"):
            pd.testing.assert_frame_equal(getattr(made, name), getattr(alone, name))
        assert made.untimed == alone.untimed

    def test_it_is_a_file_where_there_was_a_search(self, tmp_path):
        write(RunFolder(tmp_path), tables_of(launch(TRAIN)))
        assert not (tmp_path / "batch_search.csv").exists()
        write(RunFolder(tmp_path), tables_of(launch(TRAIN), *self.TRIES))
        assert pd.read_csv(tmp_path / "batch_search.csv")["batch_size"].tolist() == [16, 32, 48]

    def test_programs_are_told_of_it(self):
        rows = strict(as_json(tables_of(*self.TRIES)))["batch_search"]
        assert [(row["batch_size"], row["fits"], row["memory"]) for row in rows] == [
            *[(16, True, None), (32, True, 2**20), (48, False, None)]
        ]


PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    """What the page of the tables says below a heading."""
    _, found, rest = PAGE.partition(f"\n## {name}\n")
    assert found, f"no section {name}"
    return rest.partition("\n## ")[0]


def names_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def documented_metrics() -> list[str]:
    """Patterns of the metrics that the page names: `.validate_loss` goes on from the name before it."""
    found: list[str] = []
    for row in section("Metrics").splitlines():
        if row.startswith("| `"):
            for name in names_in(row.split("|")[1]):
                whole = name if not name.startswith(".") else found[-1].rpartition(".")[0] + name
                found.append(re.sub(r"<\w+>", "*", whole))
    return found


class TestThePageOfTheTables:
    """docs/tables.md, against what a run writes."""

    def test_every_table_and_its_files_are_named_as_they_are(self):
        rows = [row.split("|") for row in PAGE.splitlines() if re.match(r"\| `\w+` \| `", row)]
        assert {names_in(row[1])[0]: tuple(names_in(row[2])) for row in rows if "." in row[2]} == {
            **FILES,
            "batch_search": ("batch_search.csv", "batch_size=max"),
        }

    def test_a_run_writes_these_files_and_no_others(self, tmp_path):
        write(RunFolder(tmp_path), tables_of(launch(TRAIN), *TestBatchSearch.TRIES))
        assert {path.name for path in tmp_path.iterdir()} == {
            file for files in FILES.values() for file in files
        }

    @pytest.mark.parametrize("table", FILES)
    def test_every_column_is_explained(self, tables, table):
        frame = getattr(tables, table)
        columns = set(frame.columns) - {"suite", "case", *tables.axes}
        assert columns <= set(names_in(section(table)))

    def test_every_metric_is_explained(self):
        patterns = [
            *documented_metrics(),
            "*.phase.*",
            "count.cop*.*_to_*",
        ]  # of phases and directions, one each
        missing = [name for name in METRICS if not any(fnmatch.fnmatchcase(name, one) for one in patterns)]
        assert missing == []

    def test_every_name_of_a_metric_there_is_one(self):
        own = ("count.copies.", "train.phase.")  # by direction; of phases, for one
        there = [pattern for pattern in documented_metrics() if not pattern.startswith(own)]
        assert there
        assert [pattern for pattern in there if not fnmatch.filter(METRICS, pattern)] == []
