"""Whether git ignores runs, as it should, and baselines, which it should not."""

from __future__ import annotations

import subprocess
from pathlib import Path

LINES = "/results/* and !/results/baselines/"
_RUN = "results/run/journal.jsonl"


def ignores_runs(folder: Path) -> bool:
    """Whether git ignores the runs of a project."""
    return bool(_ignored(folder, _RUN))


def about_baseline(folder: Path, name: str = "main") -> str:
    """The line that keeps git from adding a baseline, with the remedy; empty where none does, or there is no git."""
    why = _ignored(folder, f"results/baselines/{name}/summary.csv")
    if not why:
        return ""
    remedy = "in place of that line write: " + LINES if "results" in why else "add: !/results/baselines/**"
    return f"git would not add baselines ({why}): {remedy}"


def _ignored(folder: Path, path: str) -> str:
    """The line that makes git ignore a file of this folder, such as `.gitignore:3: results/`; empty where none does.

    Git itself is asked, as such lines are in several files; empty too where it is not installed.
    """
    command = ["git", "check-ignore", "--verbose", "--no-index", path]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return ""
    place, line, pattern = (*done.stdout.partition("\t")[0].split(":", 2), "", "")[:3]
    # A line that makes an exception (!) is reported as well.
    return "" if done.returncode or pattern.startswith("!") else f"{place}:{line}: {pattern}"
