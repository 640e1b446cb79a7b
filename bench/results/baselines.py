"""Baselines: the part of a run that is kept, small enough for git: summary, counts, environment; no steps."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path

from ..errors import ResultsError
from .folder import RESULTS, RunFolder, find, is_session, runs

BASELINES = RESULTS / "baselines"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def save(name: str, run: str, root: Path = BASELINES) -> Path:
    """Keeps a run under a name; a baseline of that name is replaced. Returns its folder.

    Raises ResultsError for a bad name, a run that is not there or has nothing, and where nothing can be written.
    """
    if not _NAME.fullmatch(name):
        raise ResultsError(
            f"{name!r} is no name for a baseline; use letters, digits, '-', '_' and '.', beginning with one of the "
            f"first two"
        )
    taken = [one for one in runs(root.parent) if one.startswith(name)]
    if name == "latest" or taken:
        means = f"the run {taken[0]}" if taken else "the last run"
        raise ResultsError(f"{name!r} already means {means}; give the baseline another name, such as main")
    folder = find(run)
    from . import tables  # pandas: not needed to list baselines

    made = tables.read(folder.path)
    if made.summary.empty:
        raise ResultsError(f"{run} has measured nothing; keep a run that has")
    place, new, old = root / name, root / f".{name}.new", root / f".{name}.old"
    try:
        for left in (new, old):  # by a save that was cut off
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        made.summary.to_csv(new / "summary.csv", index=False)
        made.counts.to_csv(new / "counts.csv", index=False)
        if made.environment is not None:
            # A baseline is kept in git: the name of the machine is nobody's business there.
            kept = dataclasses.replace(made.environment, host="")
            RunFolder(new).write_json("environment.json", kept.to_json())
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
    """What baselines there are."""
    if not root.is_dir():
        return []
    return sorted(
        path.name
        for path in root.iterdir()
        if _NAME.fullmatch(path.name) and (path / "summary.csv").is_file()
    )


def find_baseline(text: str, root: Path = BASELINES) -> RunFolder | None:
    """The baseline of this name, or in this folder; None where that is none.

    Raises ResultsError for a folder below the baselines that holds none.
    """
    if text in names(root):
        return RunFolder(root / text)
    path = Path(text)
    if os.path.isfile(path / "summary.csv") and not (
        os.path.isfile(path / "journal.jsonl") or is_session(path)
    ):
        return RunFolder(path)
    return None
