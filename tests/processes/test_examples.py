"""The examples as their users start them: plainly, and measured by `bench run`."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiers import takes_long

import bench
from bench.measurement import COUNTED, PROFILED, TIMED
from bench.results.journal import read_journal

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ONCE = ["--launches", "1", "--repeats", "0", "--quiet"]
# What of a script's own arguments makes it short, an axis with the values to try, and what must be installed.
SCRIPTS = {
    "minimal": (["--epochs=2"], ("lr", "0.1,0.01"), []),
    "nanogpt": (["--max_iters=40"], ("n_embd", "32,64"), []),
    "lightning_module": (["--epochs=2"], ("width", "32,64"), ["lightning"]),
    "huggingface_trainer": (
        ["--epochs=2"],
        ("optim", "adamw_torch,adafactor"),
        ["transformers", "accelerate"],
    ),
}


# Suites, with an axis of their own and its values.
SUITES = {"own_suite": ("rank", {4, 64}), "dict_batches": ("accumulation_steps", {1, 4})}


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A process of this interpreter that finds `bench` in this checkout, and has no network to look for models in."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True)


def needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def test_all_are_told_of_and_tried():
    written = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    told = set(re.findall(r"\[`([\w.]+)`\]", (EXAMPLES / "README.md").read_text()))
    assert (
        written
        == told
        == {
            *(f"{name}.py" for name in (*SCRIPTS, *SUITES)),
            "notebook.ipynb",
        }
    )


@takes_long("runs an example")
@pytest.mark.parametrize("name", SCRIPTS)
class TestScripts:
    def test_it_runs_plainly(self, name, tmp_path):
        arguments, _, packages = SCRIPTS[name]
        needs(*packages)
        done = python(str(EXAMPLES / f"{name}.py"), *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    def test_it_is_measured_counted_and_profiled(self, name, tmp_path):
        arguments, (axis, values), packages = SCRIPTS[name]
        needs(*packages)
        script = ["--script", str(EXAMPLES / f"{name}.py"), "--axis", f"{axis}={values}", "--", *arguments]
        done = python("-m", "bench", "run", *ONCE, "--out", "out", *script, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        tables = bench.read(tmp_path / "out")
        assert set(tables.summary[axis].astype(str)) == set(values.split(","))
        assert set(tables.phases["stage"]) == {"train", "validate"}
        assert {"data", "forward", "loss", "zero_grad", "backward", "optimizer", "other"} <= set(
            tables.phases["phase"]
        )
        records = read_journal(tmp_path / "out" / "journal.jsonl")
        assert records.failures == []
        assert {record.kind for record in records.measurements} == {COUNTED, PROFILED, TIMED}
        for record in records.measurements:
            assert all(record.checks.values())
            if record.kind == COUNTED:
                assert set(record.counts.steps) == {"train", "validate"}
                assert sum(one.flops for one in record.counts.operators) > 0
            if record.kind == PROFILED:
                assert record.profile.steps["train"] >= 5
        caveats = set().union(*(str(told).split(";") for told in tables.summary["caveats"].dropna()))
        assert "work_differs" not in {caveat.strip() for caveat in caveats}


def test_two_lines_are_all_that_the_script_of_an_endless_loop_was_given():
    """And the import: without them it is a script that knows nothing of bench."""
    given = (EXAMPLES / "nanogpt.py").read_text().splitlines()
    plain = [
        re.sub(
            r"epochbench\.watch\((.*?), (\"validate\"|steps_per_epoch=\d+), samples=[\w.]+\)", r"\1", line
        ).removesuffix("  # bench")
        for line in given
        if line != "import epochbench  # bench"
    ]
    code = "\n".join(plain).partition('"""\n\nimport')[2]
    assert "bench" not in code
    changed = [line for line in difflib.ndiff(plain, given) if line.startswith("+ ")]
    assert len(changed) == 3
    assert all(line.endswith("# bench") for line in changed)


@takes_long("runs an example")
@pytest.mark.parametrize("name", SUITES)
def test_the_suite_is_measured(name, tmp_path):
    axis, values = SUITES[name]
    suite = str(EXAMPLES / f"{name}.py")
    done = python("-m", "bench", "run", suite, *ONCE, "--axis", "epochs=2", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tables = bench.read(tmp_path / "out")
    assert set(tables.summary[axis].dropna()) == values
    records = read_journal(tmp_path / "out" / "journal.jsonl")
    assert records.failures == []
    assert {record.kind for record in records.measurements} == {COUNTED, PROFILED, TIMED}
    assert all(all(record.checks.values()) for record in records.measurements)
    done = python("-m", "bench", "compare", "out", "--by", axis, cwd=tmp_path)
    assert done.returncode in (0, 1, 3), done.stderr
    assert axis.replace("_", " ") in done.stdout.replace("_", " ")


@takes_long("runs a notebook")
def test_the_notebook_shows_a_table_and_a_picture(tmp_path, monkeypatch):
    needs("nbclient", "ipykernel")
    import nbclient
    import nbformat

    # Its `bench` is that of this checkout, and its kernel writes nothing at home.
    (tmp_path / "bench").write_text(f"#!/bin/sh\nexec '{sys.executable}' -m bench \"$@\"\n")
    (tmp_path / "bench").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for place in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(place, str(tmp_path / place))
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    *_, table, picture = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (shown,) = [output["data"] for output in table["outputs"] if output["output_type"] == "execute_result"]
    assert "ci_high" in shown["text/html"]
    assert any("image/png" in output.get("data", {}) for output in picture["outputs"])
    assert json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"][1]["outputs"] == []
