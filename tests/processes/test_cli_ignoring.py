"""What git ignores of results/, asked of git itself."""

from __future__ import annotations

import os
import subprocess

import pytest
from fakes import measurement

from bench import cli
from bench.cli.project import IGNORE_LINES, about_baseline, ignores_runs
from bench.results.journal import Journal


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "runs", "said"),
    [
        ("", False, ""),
        ("/results/*\n!/results/baselines/\n", True, ""),
        ("a: b\nresults/\n", True, f"(.gitignore:2: results/): in place of that line write: {IGNORE_LINES}"),
        ("*.csv\n", False, "(.gitignore:1: *.csv): add: !/results/baselines/**"),
    ],
)
def test_what_is_said(here, text, runs, said):
    (here / ".gitignore").write_text(text)
    assert ignores_runs(here) is runs
    assert about_baseline(here) == (f"git would not add baselines {said}" if said else "")


def test_a_baseline_that_git_would_not_add_is_kept_and_said(here, capfd):
    (here / ".gitignore").write_text("results/\n")
    (here / "results/one").mkdir(parents=True)
    journal = Journal(here / "results/one/journal.jsonl")
    journal.append(measurement())
    journal.close()
    for ignored in (True, False):
        assert cli.exit_code(["baseline", "save", "main", "one"]) == 0
        kept, *said = capfd.readouterr().out.splitlines()
        assert kept == "kept: results/baselines/main"
        assert said == ([about_baseline(here, "main")] if ignored else [])
        (here / ".gitignore").write_text("\n".join(IGNORE_LINES.split(" and ")))


def test_nothing_is_said_outside_of_a_repository_or_without_git(tmp_path, monkeypatch):
    assert not ignores_runs(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert about_baseline(tmp_path) == ""
