"""Looking inside, as a user does it: `bench profile`, and what `bench run` adds to its tables."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from stand_in import standing_in

import bench
from bench import cli
from bench.measurement import COUNTED, PROFILED, STACKED, TIMED

pytestmark = pytest.mark.usefixtures("no_worker")

SUITES = Path(__file__).parents[1] / "suites"
SMALL, BEHAVIOURS = str(SUITES / "small.py"), str(SUITES / "behaviours.py")
QUICK = ("--profile-steps", "2", "-q")
DOUBLES = """
import dataclasses

import torch
from torch.utils.data import default_collate

from bench import Suite, tasks


def collate(rows):
    return [part.double() if part.is_floating_point() else part for part in default_collate(rows)]


def build(case):
    made = tasks.build(case)
    made.model.double()
    for name in ("train_loader", "validate_loader", "test_loader"):
        if (loader := getattr(made, name)) is not None:
            loader.collate_fn = collate
    return made


suite = Suite("doubles", build, {"device": ["cpu"], "batch_size": [256], "epochs": [2], "mode": ["train"]})
"""


def kinds(folder: Path) -> Counter[str]:
    """How many launches of each kind a run has."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return Counter((line.get("measurement") or line["failure"])["kind"] for line in lines)


@pytest.fixture(scope="session")
def profiled(tmp_path_factory):
    """The folder of a profile of two cases of the small suite, and what it printed."""
    folder = tmp_path_factory.mktemp("profiled") / "run"
    said = io.StringIO()
    arguments = ["profile", SMALL, "-k", "mode=train or mode=no_grad", "--graph", "--profile-steps", "2"]
    with standing_in(), contextlib.redirect_stdout(said):
        assert cli.exit_code([*arguments, "--out", str(folder)]) == 0
    return folder, said.getvalue()


class TestProfile:
    def test_each_case_has_counts_a_profile_and_stacks_and_no_timed_launch(self, profiled):
        folder, _ = profiled
        assert kinds(folder) == {COUNTED: 2, PROFILED: 2, STACKED: 2}

    def test_it_prints_the_operators_with_their_share_and_what_profiling_cost(self, profiled):
        _, said = profiled
        assert "aten::addmm" in said
        assert re.search(r"time +share +calls", said)
        assert said.count("profiling makes it") == 2
        assert said.count("autograd graph of one step") == 1, "no_grad has none"

    def test_it_is_shown_again_since_there_is_no_timed_launch_to_show(self, profiled, capsys):
        folder, said = profiled
        assert cli.exit_code(["show", str(folder)]) == 0
        shown = capsys.readouterr().out
        assert "a profile: no launch in it was timed" in shown.splitlines()[0]
        assert re.search(r"a step +[kMG]?FLOP/step", shown)
        assert said[: said.index("tables: ")].strip() in shown

    def test_a_trace_of_each_case_opens_and_shows_stages_and_phases(self, profiled):
        folder, _ = profiled
        traces = list((folder / "traces").glob("*.json.gz"))
        assert len(traces) == 2
        train = next(path for path in traces if "mode=train" in path.name)
        names = {
            event.get("name") for event in json.loads(gzip.decompress(train.read_bytes()))["traceEvents"]
        }
        assert {"train", "validate", "test", "train: forward", "train: backward", "test: data"} <= names

    def test_a_flame_graph_of_each_case_is_a_file_of_speedscope(self, profiled):
        folder, said = profiled
        flames = list((folder / "traces").glob("*.speedscope.json"))
        assert len(flames) == 2
        assert all(json.loads(path.read_text())["profiles"][0]["endValue"] > 0 for path in flames)
        assert "speedscope.json (open them in https://www.speedscope.app)" in said

    def test_each_case_has_a_picture_of_its_memory_and_those_with_one_of_their_graph(self, profiled):
        folder, _ = profiled
        assert len(list((folder / "plots").glob("memory_timeline-*.png"))) == 2
        assert len(list((folder / "plots").glob("autograd_graph-*.png"))) == 1

    def test_the_operators_are_a_table(self, profiled):
        folder, _ = profiled
        ops = pd.read_parquet(folder / "ops.parquet")
        assert {"case", "stage", "phase", "operator", "shapes", "calls", "host_self", "bytes"} <= set(ops)
        counts = pd.read_csv(folder / "counts.csv")
        forward = counts[(counts["phase"] == "forward") & (counts["operator"] == "aten.addmm")]
        assert (forward["flops"] > 0).all()

    def test_a_profile_that_is_whole_has_nothing_to_resume(self, profiled):
        folder, _ = profiled
        before = (folder / "journal.jsonl").read_bytes()
        assert cli.exit_code(["run", "--resume", str(folder), "-q"]) == 0
        assert (folder / "journal.jsonl").read_bytes() == before

    def test_without_stacks_there_is_no_second_profile_and_a_trace_above_the_cap_is_left_out_and_said(
        self, tmp_path, capfd
    ):
        arguments = ["profile", SMALL, "-k", "no_grad", "--no-stacks", "--trace-cap", "0.0001"]
        assert cli.exit_code([*arguments, "--profile-steps", "2", "--out", str(tmp_path / "run")]) == 0
        assert kinds(tmp_path / "run") == {COUNTED: 1, PROFILED: 1}
        assert "above the cap" in capfd.readouterr().err
        assert not list((tmp_path / "run" / "traces").glob("*.gz"))
        assert set(bench.read(tmp_path / "run").summary["caveats"]) == {"trace_omitted"}

    @pytest.mark.parametrize(
        ("flag", "value", "says"),
        [
            ("--profile-steps", "0", "profile-steps must be at least 1"),
            ("--trace-cap", "0", "trace-cap must be above 0"),
            ("--trace-cap", "nan", "trace-cap must be above 0"),
            ("--top", "0", "top must be at least 1"),
        ],
    )
    def test_bad_numbers_are_one_line(self, flag, value, says, capfd):
        assert cli.exit_code(["profile", SMALL, flag, value]) == 2
        assert says in capfd.readouterr().err

    def test_a_case_that_fails_ends_with_5_and_costs_no_other(self, tmp_path, capfd):
        arguments = [
            "profile",
            BEHAVIOURS,
            "--axis",
            "behaviour=raises,nothing",
            "--out",
            str(tmp_path / "run"),
            *QUICK,
        ]
        assert cli.exit_code(arguments) == 5
        made = kinds(tmp_path / "run")
        assert sum(made.values()) == 4, "what fails once is not launched again"
        assert set(made) == {COUNTED, PROFILED, STACKED}


class TestRun:
    def test_without_timed_launches_and_a_profile_there_are_the_counts(self, tmp_path):
        arguments = ["run", SMALL, "-k", "mode=train", "--launches", "0", "--no-profile", "-q"]
        assert cli.exit_code([*arguments, "--out", str(tmp_path / "run")]) == 0
        assert kinds(tmp_path / "run") == {COUNTED: 1}

    def test_without_counts_there_are_times_alone(self, tmp_path):
        arguments = ["run", SMALL, "-k", "mode=train", "--launches", "1", "--repeats", "0", "--no-profile"]
        assert cli.exit_code([*arguments, "--no-counts", "-q", "--out", str(tmp_path / "run")]) == 0
        assert kinds(tmp_path / "run") == {TIMED: 1}

    def test_nothing_at_all_is_no_run(self, capfd):
        arguments = ["run", SMALL, "--launches", "0", "--no-counts", "--no-profile"]
        assert cli.exit_code(arguments) == 2
        assert "leaves nothing to measure" in capfd.readouterr().err

    def test_without_a_profile_it_adds_the_counts_and_rates_follow_from_them_and_times(self, tmp_path):
        arguments = ["run", SMALL, "-k", "mode=train", "--launches", "1", "--repeats", "0", "--no-profile"]
        assert cli.exit_code([*arguments, "-q", "--out", str(tmp_path / "run")]) == 0
        assert kinds(tmp_path / "run") == {TIMED: 1, COUNTED: 1}
        values = bench.read(tmp_path / "run").summary.set_index("metric")["value"]
        step, flops = values["train.step_time"], values["compute.step_flops"]
        assert values["compute.flops_rate"] == pytest.approx(flops / step)
        assert 0 < values["compute.mfu"] < 1
        assert values["compute.ridge_point"] > 0

    def test_a_format_that_no_axis_names_is_found_by_its_counts_and_measured(self, tmp_path):
        suite = tmp_path / "doubles.py"
        suite.write_text(DOUBLES)
        arguments = ["run", str(suite), "--launches", "1", "--repeats", "0", "--no-profile", "-q"]
        assert cli.exit_code([*arguments, "--out", str(tmp_path / "run")]) == 0
        found = bench.read(tmp_path / "run")
        assert {peak.dtype for peak in found.environment.peaks} == {"float32", "float64"}
        assert 0 < found.summary.set_index("metric")["value"]["compute.mfu"] < 1
