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
    *("bench.results.journal", "bench.pytest_plugin"),
)


def loaded_by(statement: str) -> list[str]:
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
    )
    found: list[str] = json.loads(done.stdout)
    return found


def test_a_command_starts_without_what_is_slow_to_import():
    assert loaded_by(f"import {', '.join(LIGHT)}") == []


def test_the_help_imports_no_verb():
    quiet = "with contextlib.redirect_stdout(io.StringIO()): cli.exit_code(['--help'])"
    typer_draws_with = ["rich"]
    assert loaded_by(f"import contextlib, io\nfrom bench import cli\n{quiet}") == typer_draws_with


def test_a_verb_imports_matplotlib_when_it_draws():
    verbs = ("run", "profile", "ab", "compare", "plot")
    assert "matplotlib" not in loaded_by(f"import {', '.join(f'bench.cli.verbs.{verb}' for verb in verbs)}")


def test_analysis_runs_on_the_standard_library_alone():
    files = sorted((ROOT / "bench" / "analysis").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    assert loaded_by("\n".join(f"import {name.removesuffix('.__init__')}" for name in names)) == []


def test_a_slow_import_is_seen():
    assert "pandas" in loaded_by("import bench.results.tables")
