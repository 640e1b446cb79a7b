"""A run that an earlier version wrote reads as it did: every table, what `show` prints, and a comparison.

`data/run_before.tar.gz` has the run of a tiny suite: a case in two modes, one that fails, and a search for the largest
batch, with counts and profiles. Its tables are those that the version wrote which measured it.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from bench.cli import exit_code
from bench.report.safe_text import plain_json
from bench.results.sides import read_side
from bench.results.tables import FILES, as_json, read

ARCHIVE = Path(__file__).parents[1] / "data" / "run_before.tar.gz"
AXES = ["device", "batch_size", "learning_rate", "epochs", "mode", "width", "shuffled"]
CASE = "before/device=cpu/batch_size=8/learning_rate=0.01/epochs=2/mode=train/width=3/shuffled=none"
NEW = {"launches": ["card"]}  # columns that runs of before do not have
ROWS = {
    "summary": 185,
    "steps": 92,
    "phases": 54,
    "epochs": 16,
    "launches": 302,
    "failures": 1,
    "counts": 158,
    "ops": 539,
    "batch_search": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(place, filter="data")
    return place / "before"


@pytest.fixture(scope="module")
def tables(folder):
    return read(folder)


def bench(*arguments: str, capsys) -> tuple[int, str]:
    code = exit_code(list(arguments))
    return code, capsys.readouterr().out


@pytest.mark.parametrize("file", [file for files in FILES.values() for file in files])
def test_every_table_is_what_it_was(folder, tables, file):
    name = next(name for name, files in FILES.items() if file in files)
    table = getattr(tables, name)
    assert len(table) == ROWS[name]
    if file.endswith(".csv"):
        assert table.to_csv(index=False) == (folder / file).read_text()
    else:
        pd.testing.assert_frame_equal(table.drop(columns=NEW.get(name, [])), pd.read_parquet(folder / file))


def test_no_note_and_no_axis_is_added(tables):
    assert tables.notes == []
    assert tables.axes == AXES
    assert tables.unread == ["shuffled"]
    assert [(search.batch_size, len(search.tries)) for search in tables.searches] == [(32, 2)]


def test_values_of_each_kind_are_what_they_were(tables):
    found = tables.summary[tables.summary["case"] == CASE].set_index("metric")["value"]
    assert found["train.step_time"] == 0.0006061035
    assert found["count.flops"] == 384.0
    assert found["quality.test_accuracy"] == 0.5625


def test_json_has_every_row(tables):
    data = json.loads(plain_json(as_json(tables)))
    assert [len(data[name]) for name in ("summary", "failures", "batch_search")] == [185, 1, 2]
    assert data["environment"]["allocator"] == "pinned"


def test_show_prints_its_cases_and_its_failure(folder, capsys):
    code, shown = bench("show", str(folder), capsys=capsys)
    rows = [line.split()[:6] for line in shown.splitlines() if "few launches," in line]
    assert code == 0
    assert rows == [
        ["8", "0.01", "train", "0.606", "8.12", "26.8"],
        ["8", "no_grad", "34.5", "40.0", "1.73", "18.7"],
        ["32", "0.01", "train", "9.47", "13.7", "60.0"],
    ]
    assert "ValueError: a model without a layer" in shown


@pytest.mark.parametrize("file", ["", "summary.csv", "summary.parquet"])
def test_it_has_the_same_values_from_its_tables_alone(folder, file):
    side = read_side(str(folder / file))
    assert side.axes[CASE] == {
        "device": "cpu",
        "batch_size": 8,
        "learning_rate": 0.01,
        "epochs": 2,
        "mode": "train",
        "width": 3,
    }
    assert side.cases[CASE].observed["train.step_time"].value == 0.0006061035
    assert {case.failure for case in side.cases.values()} == (
        {"", "error: ValueError: a model without a layer"} if not file else {""}
    )


def test_compared_with_itself_nothing_has_changed(folder, capsys):
    code, compared = bench("compare", str(folder), str(folder), "--format", "json", capsys=capsys)
    rows = json.loads(compared)["rows"]
    assert code == 0
    assert {row["verdict"] for row in rows} == {"equivalent", "inconclusive"}
    assert [row["verdict"] for row in rows].count("equivalent") == 97
