"""What is imported by a fresh interpreter: a command starts fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What takes too long to import for `bench --help`: it is imported where it is used.
LATE = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "sklearn", "rich")

LIGHT = (
    *("bench", "epochbench", "bench.cli", "bench.running.rounds", "bench.tasks"),
    *("bench.results.tables", "bench.results.sides", "bench.pytest_plugin"),
)

# Of each verb that reads or makes tables, a command that ends with a usage error.
MISTAKES = (
    "run nosuch.py",
    "profile nosuch.py",
    "ab nosuch.py",
    "selftest nosuch.py",
    "compare nosuch nosuch",
    "show nosuch",
    "show nosuch.csv",
    "tables nosuch",
    "plot nosuch",
    "baseline save main nosuch",
)

DRAWS_THE_COMMAND_LINE = ["rich"]


def loaded_by(statement: str, *, cwd: Path | None = None) -> list[str]:
    """Which of the slow modules a fresh interpreter has loaded after this statement."""
    code = (
        f"{statement}\nimport sys, json; print(json.dumps([name for name in {LATE} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def test_a_command_starts_without_what_is_slow_to_import():
    assert loaded_by(f"import {', '.join(LIGHT)}") == []


def test_the_help_imports_no_verb():
    quiet = "with contextlib.redirect_stdout(io.StringIO()): cli.exit_code(['--help'])"
    assert loaded_by(f"import contextlib, io\nfrom bench import cli\n{quiet}") == DRAWS_THE_COMMAND_LINE


def test_a_usage_error_is_told_without_what_is_slow_to_import(tmp_path):
    told = f"from bench import cli\nfor line in {MISTAKES}: assert cli.exit_code(line.split()) == 2, line"
    assert loaded_by(told, cwd=tmp_path) == DRAWS_THE_COMMAND_LINE


def test_a_verb_imports_what_is_slow_when_it_needs_it():
    verbs = sorted(path.stem for path in (ROOT / "bench" / "cli" / "verbs").glob("[!_]*.py"))
    assert (
        loaded_by("import " + ", ".join(f"bench.cli.verbs.{verb}" for verb in verbs))
        == DRAWS_THE_COMMAND_LINE
    )


def test_analysis_runs_on_the_standard_library_alone():
    files = sorted((ROOT / "bench" / "analysis").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    assert loaded_by("\n".join(f"import {name.removesuffix('.__init__')}" for name in names)) == []


def test_a_slow_import_is_seen():
    assert "pandas" in loaded_by("import bench.results.frames")
