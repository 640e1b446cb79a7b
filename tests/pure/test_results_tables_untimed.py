"""Tables of a run with launches apart from timing: what they add, and what they leave as it is."""

from __future__ import annotations

import pandas as pd
import pytest
from fakes import (
    CASE,
    CONTAMINATED,
    counts,
    environment,
    measurement,
    operator_count,
    operator_time,
    profile,
    stage,
)

from bench.analysis.launch.derived_counts import count_values
from bench.measurement import COUNTED, PHASED, PROFILED, STACKED, Bandwidth, Measurement, Peak
from bench.report.safe_text import plain_json
from bench.results.folder import RunFolder
from bench.results.journal import Journal, Records
from bench.results.table_rows import TABLES
from bench.results.tables import Tables, as_json, build, read, write
from bench.suite.case import Case

COUNT_COLUMNS, OPERATOR_COLUMNS = (list(TABLES[name].columns) for name in ("counts", "ops"))
OTHER = Case("fake", {**CASE.axes, "mode": "eval"})
PEAK = Peak("cpu", "float32", 200.0, "made up")

TIMED = tuple(
    measurement(
        round=number,
        stages=tuple(
            stage(name, epoch, (step, step), phases={"data": step / 2, "other": step * 3 / 2})
            for epoch in (0, 1)
            for name in ("train", "test")
        ),
    )
    for number, step in enumerate((0.5, 0.5, 0.625, 0.5, 0.25, 0.5, 0.5), start=1)
)
COUNTS = measurement(kind=COUNTED, round=0, stages=(), memory={}, counts=counts())
PROFILE = measurement(kind=PROFILED, round=0, stages=(), memory={}, profile=profile())
STACKS = measurement(
    kind=STACKED, round=0, stages=(), memory={}, profile=profile(operators=(), stacks="traces/s.txt")
)

AXES = ["suite", "case", "device", "batch_size", "optimizer", "mode"]


def tables_of(*records: Measurement, peaks=None) -> Tables:
    gathered = Records()
    for record in records:
        gathered.add(record)
    return build(gathered, {}, environment(peaks=tuple([PEAK] if peaks is None else peaks)))


def rows(tables: Tables, prefix: str = "", case: Case = CASE) -> pd.DataFrame:
    found = tables.summary[
        (tables.summary["case"] == case.id) & tables.summary["metric"].str.startswith(prefix)
    ]
    return found.set_index("metric")


@pytest.fixture(scope="module")
def tables() -> Tables:
    return tables_of(*TIMED, COUNTS, PROFILE, STACKS, peaks=[PEAK])


class TestTheSummary:
    def test_has_every_count_once_and_without_an_interval(self, tables):
        found = rows(tables, "count.")
        assert found["value"].to_dict() == {
            "count.ops": 2,
            "count.flops": 50,
            "count.saved_bytes": 2432,
            "count.validate.ops": 0,
            "count.validate.flops": 0,
            "count.validate.saved_bytes": 0,
            "count.test.ops": 1,
            "count.test.flops": 50,
            "count.test.saved_bytes": 0,
            "count.peak_live_bytes": 184_320,
        }
        assert set(found["launches"]) == {1}
        assert found[["ci_low", "ci_high", "smallest_change", "steps", "warmup_steps"]].isna().all(axis=None)

    def test_has_rates_of_the_timed_launches_with_an_interval(self, tables):
        found = rows(tables, "compute.")
        assert found["value"].to_dict() == {
            "compute.step_flops": 50,
            "compute.intensity": 1.25,
            "compute.flops_rate": 100,  # 50 FLOPs in 0.5 s
            "compute.mfu": 0.5,
        }
        assert found["launches"].to_dict() == {
            "compute.step_flops": 1,
            "compute.intensity": 1,
            "compute.flops_rate": 7,
            "compute.mfu": 7,
        }
        assert found.loc["compute.flops_rate", ["ci_low", "ci_high"]].tolist() == [80, 200]
        assert found["unit"].tolist() == ["FLOP", "FLOP/B", "FLOP/s", "1"]

    def test_has_the_ridge_point_where_the_bandwidth_was_measured(self):
        gathered = Records()
        for record in (*TIMED, COUNTS):
            gathered.add(record)
        of_machine = environment(peaks=(PEAK,), bandwidths=(Bandwidth("cpu", 50.0, "triad"),))
        found = rows(build(gathered, {}, of_machine), "compute.ridge_point")
        assert found["value"].tolist() == [PEAK.flops / 50]
        assert found["unit"].tolist() == ["FLOP/B"]

    def test_has_the_share_of_a_step_that_waits_for_data(self, tables):
        found = rows(tables, "train.data_share")
        assert found["value"].tolist() == [0.25]
        assert found["launches"].tolist() == [7]

    def test_stands_in_the_order_of_the_metrics(self, tables):
        names = list(rows(tables).index)
        assert names.index("work.train.batches") < names.index("count.ops") < names.index("memory.peak_rss")
        assert names.index("count.flops") < names.index("compute.step_flops") < names.index("compute.mfu")

    def test_of_a_case_that_was_only_counted_has_its_counts(self):
        assert rows(tables_of(COUNTS))["value"].to_dict() == count_values(counts())

    def test_of_a_case_that_was_only_profiled_has_nothing(self):
        assert tables_of(PROFILE).summary.empty

    def test_gives_each_case_the_counts_of_its_own(self):
        evaluation = tuple(
            measurement(case=OTHER, stages=tuple(stage("test", epoch, (0.5, 0.5)) for epoch in (0, 1)))
            for _ in range(2)
        )
        found = counts(steps={"test": 2}, operators=(operator_count(stage="test", flops=200),))
        both = tables_of(
            *TIMED,
            COUNTS,
            *evaluation,
            measurement(case=OTHER, kind=COUNTED, stages=(), counts=found),
            peaks=(),
        )
        assert rows(both).loc["compute.flops_rate", "value"] == 100
        assert rows(both, case=OTHER).loc["compute.flops_rate", "value"] == 200
        assert "compute.mfu" not in both.summary["metric"].tolist()


APART = {
    "counts": COUNTS,
    "a profile": PROFILE,
    "stacks": STACKS,
    "contaminated counts": measurement(kind=COUNTED, stages=(), counts=counts(), guards=CONTAMINATED),
    "a profile of another allocator": measurement(
        kind=PROFILED,
        stages=(),
        profile=profile(),
        checks={"graph_as_the_mode_says": False},
        conditions={"allocator": "unpinned", "start_method": "spawn"},
    ),
}


class TestTimedRows:
    @pytest.mark.parametrize("apart", APART.values(), ids=APART)
    @pytest.mark.parametrize("launches", [1, 4, 7])
    @pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
    def test_are_the_same_with_launches_apart(self, apart, launches, first):
        timed = TIMED[:launches]
        alone = tables_of(*timed, peaks=[PEAK])
        both = tables_of(*((apart, *timed) if first else (*timed, apart)), peaks=[PEAK])
        pd.testing.assert_frame_equal(rows(both).loc[rows(alone).index], rows(alone), check_dtype=False)
        for name in ("steps", "phases", "failures"):
            pd.testing.assert_frame_equal(getattr(both, name), getattr(alone, name))

    @pytest.mark.parametrize(
        ("apart", "caveat"),
        [
            (measurement(kind=COUNTED, stages=(), counts=counts(unknown=("mylib.f",))), "flops_lower_bound"),
            (measurement(kind=PROFILED, stages=(), profile=profile(omitted="no room")), "trace_omitted"),
            (
                measurement(kind=PROFILED, stages=(), profile=profile(limits=("device_not_profiled",))),
                "device_not_profiled",
            ),
        ],
        ids=["counts", "trace", "device"],
    )
    def test_have_the_caveats_of_launches_apart_and_no_other(self, apart, caveat):
        plain = set(tables_of(*TIMED, COUNTS).summary["caveats"])
        assert plain == {""}
        assert set(tables_of(*TIMED, COUNTS, apart).summary["caveats"]) == {caveat}

    def test_of_a_phase_launch_stay_apart_from_counts(self):
        phased = measurement(kind=PHASED, stages=TIMED[0].stages)
        found = rows(tables_of(phased, COUNTS))
        assert "compute.flops_rate" not in found.index
        assert found.loc["train.phase.data", "launches"] == 1


class TestTheTablesOfLaunchesApart:
    def test_counts_have_a_row_for_each_operator_of_each_phase(self, tables):
        assert list(tables.counts.columns) == [*AXES, *COUNT_COLUMNS]
        assert tables.counts[
            ["stage", "operator", "family", "number_format", "calls", "flops", "bytes"]
        ].values.tolist() == [
            ["train", "aten.addmm", "matrix product", "float32", 2, 100, 50],
            ["train", "aten.relu", "other", "float32", 2, 0, 30],
            ["test", "aten.addmm", "matrix product", "float32", 1, 50, 25],
        ]
        assert tables.counts["formula"].tolist() == [True] * 3

    def test_counts_say_which_operators_have_no_formula(self):
        found = counts(unknown=("aten.relu",))
        assert tables_of(measurement(kind=COUNTED, stages=(), counts=found)).counts["formula"].tolist() == [
            True,
            False,
            True,
        ]

    def test_operators_are_those_of_the_profile(self, tables):
        assert list(tables.ops.columns) == [*AXES, *OPERATOR_COLUMNS]
        assert tables.ops["host_self"].tolist() == [4.0, 2.0, 2.0]
        assert tables.ops["kind"].tolist() == ["operator", "operator", "remainder"]

    @pytest.mark.parametrize("records", [(), TIMED, (COUNTS, PROFILE)], ids=["none", "timed", "apart"])
    def test_have_the_documented_columns_and_can_be_written(self, records, tmp_path):
        found = tables_of(*records)
        assert list(found.counts.columns[-len(COUNT_COLUMNS) :]) == COUNT_COLUMNS
        assert list(found.ops.columns[-len(OPERATOR_COLUMNS) :]) == OPERATOR_COLUMNS
        folder = RunFolder(tmp_path)
        write(folder, found)
        assert list(pd.read_csv(tmp_path / "counts.csv").columns) == list(found.counts.columns)
        assert list(pd.read_parquet(tmp_path / "ops.parquet").columns) == list(found.ops.columns)

    def test_come_back_from_their_files_as_they_were(self, tables, tmp_path):
        write(RunFolder(tmp_path), tables)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "ops.parquet"), tables.ops)
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "counts.csv"), tables.counts, check_dtype=False)

    def test_come_back_from_the_journal_as_they_were(self, tables, tmp_path):
        journal = Journal(tmp_path / "journal.jsonl")
        for record in (*TIMED, COUNTS, PROFILE, STACKS):
            journal.append(record)
        journal.close()
        again = read(tmp_path)
        pd.testing.assert_frame_equal(again.counts, tables.counts)
        pd.testing.assert_frame_equal(again.ops, tables.ops)
        assert again.untimed == tables.untimed

    def test_what_is_no_table_is_kept_by_case(self, tables):
        untimed = tables.untimed[CASE.id]
        assert untimed.counts == counts()
        assert untimed.profile == profile()
        assert untimed.stacks.stacks == "traces/s.txt"
        assert tables_of(*TIMED).untimed[CASE.id].counts is None

    def test_strange_names_of_operators_are_kept(self, tmp_path):
        name = 'a,"b"\n\u2028[red]'
        found = tables_of(
            measurement(kind=COUNTED, stages=(), counts=counts(operators=(operator_count(name),))),
            measurement(kind=PROFILED, stages=(), profile=profile(operators=(operator_time(name),))),
        )
        write(RunFolder(tmp_path), found)
        assert pd.read_csv(tmp_path / "counts.csv")["operator"].tolist() == [name]
        assert pd.read_parquet(tmp_path / "ops.parquet")["operator"].tolist() == [name]

    def test_as_json_has_the_counts_as_numbers(self, tables):
        assert '"metric": "count.flops"' in plain_json(as_json(tables))
