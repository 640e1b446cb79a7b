"""Baselines: the parts of a run that are small enough for git: summary, counts and environment."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path

from ..errors import ResultsError
from . import tables
from .folder import RESULTS, RunFolder, find, is_session, runs

BASELINES = RESULTS / "baselines"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def save(name: str, run: str, root: Path = BASELINES) -> Path:
    """Saves a run under a name, in place of any baseline of that name. Returns its folder.

    Raises ResultsError for a bad name, a run that is missing or empty, and if it cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ResultsError(
            f"{name!r} cannot be the name of a baseline; use letters, digits, '-', '_' and '.', beginning with a "
            f"letter or a digit"
        )
    taken = [one for one in runs(root.parent) if one.startswith(name)]
    if name == "latest" or taken:
        means = f"the run {taken[0]}" if taken else "the last run"
        raise ResultsError(f"{name!r} already means {means}; give the baseline another name, such as main")
    folder = find(run)
    run_tables = tables.read(folder.path)
    if run_tables.summary.empty:
        raise ResultsError(f"{run} has measured nothing; save a run that has")
    place, new, old = root / name, root / f".{name}.new", root / f".{name}.old"
    try:
        for left in (new, old):  # from an interrupted save
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        run_tables.summary.to_csv(new / "summary.csv", index=False)
        run_tables.counts.to_csv(new / "counts.csv", index=False)
        if run_tables.environment is not None:
            # A baseline is published with the code: the name of the machine is private.
            anonymous = dataclasses.replace(run_tables.environment, host="")
            RunFolder(new).write_json("environment.json", anonymous.to_json())
        if place.exists():
            place.rename(old)
        new.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as problem:
        shutil.rmtree(new, ignore_errors=True)
        raise ResultsError(
            f"{place} cannot be written: {problem.strerror}; free some space, or fix its permissions"
        ) from None
    return place


def names(root: Path = BASELINES) -> list[str]:
    """The names of all baselines."""
    if not root.is_dir():
        return []
    return sorted(
        path.name
        for path in root.iterdir()
        if _NAME.fullmatch(path.name) and (path / "summary.csv").is_file()
    )


def find_baseline(text: str, root: Path = BASELINES) -> RunFolder | None:
    """The baseline of this name, or in this folder; None if there is none."""
    if text in names(root):
        return RunFolder(root / text)
    path = Path(text)
    if os.path.isfile(path / "summary.csv") and not (
        os.path.isfile(path / "journal.jsonl") or is_session(path)
    ):
        return RunFolder(path)
    return None
