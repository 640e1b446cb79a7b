"""The front door: a dozen sorted names, that open fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import measurement

import bench
from bench.errors import ResultsError
from bench.results import tables
from bench.results.journal import Journal

ROOT = Path(__file__).parents[2]


def run_python(code: str, cwd: Path = ROOT) -> str:
    """What a fresh interpreter prints that runs this code."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_names_are_sorted_and_each_comes_once():
    assert bench.__all__ == sorted(set(bench.__all__))


@pytest.mark.parametrize("name", bench.__all__)
def test_each_name_is_there_and_is_of_the_house(name):
    assert getattr(bench, name).__module__.startswith("epochbench.")
    assert getattr(bench, name).__name__ == name


def test_all_of_them_come_with_a_star():
    given: dict[str, object] = {}
    exec("from bench import *", given)
    assert set(bench.__all__) <= set(given)


def test_there_is_a_version():
    assert bench.__version__[0].isdigit()


@pytest.mark.parametrize("name", ["nothing", "torch", "Read", "__wrapped__"])
def test_a_name_that_is_not_there_is_an_attribute_error_with_the_name(name):
    with pytest.raises(AttributeError, match=f"^module 'epochbench' has no attribute '{name}'$"):
        getattr(bench, name)


def test_what_is_not_there_cannot_be_imported():
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'epochbench'"):
        from bench import nothing  # noqa: F401


def test_opening_it_imports_none_of_the_slow_modules():
    slow = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "typer", "rich")
    code = f"import bench, sys, json; print(json.dumps([name for name in {slow} if name in sys.modules]))"
    assert json.loads(run_python(code)) == []


def test_a_suite_is_declared_without_torch(tmp_path):
    code = """
import sys
from bench import Suite, tasks
suite = Suite(name="mine", build=tasks.build, choices=tasks.CHOICES, axes={"device": ["cpu"], "epochs": [2]})
print([case.id for case in suite.expand().cases], "torch" in sys.modules)
"""
    assert run_python(code, tmp_path) == "['mine/device=cpu/epochs=2'] False\n"


def test_tables_are_read_without_torch(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(measurement())
    journal.close()
    code = "import bench, sys; print(len(bench.read('.').steps), 'torch' in sys.modules)"
    assert run_python(code, tmp_path) == "12 False\n"


class TestRead:
    def test_it_reads_a_run_given_as_text_or_path(self, tmp_path):
        journal = Journal(tmp_path / "journal.jsonl")
        journal.append(measurement())
        journal.close()
        for run in (tmp_path, str(tmp_path)):
            made = bench.read(run)
            assert isinstance(made, bench.Tables)
            assert "epoch.time" in set(made.summary["metric"])

    def test_it_is_the_one_of_the_results(self):
        assert bench.read is tables.read
        assert bench.Tables is tables.Tables

    def test_a_run_that_is_not_there_is_an_error_that_the_front_door_names(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(bench.UsageError, match="results holds no run") as caught:
            bench.read("latest")
        assert isinstance(caught.value, ResultsError)
        assert isinstance(caught.value, bench.BenchError)
