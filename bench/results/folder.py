"""Run folders: the names of their files, creating a folder, and finding one from what a user types."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ResultsError, UsageError
from ..measurement import Environment
from ..suite.case import Case
from ..system import json_data
from ..system.git import git
from ..system.paths import is_in

RESULTS = Path("results")
SIDES = ("base", "candidate")  # the folders of the two sides of an A/B session
SELFTEST = "selftest.json"  # the decisions of a self-test
_GO_WITHOUT = "restore it, or remove it to continue without it"
_TIME = "%Y%m%dT%H%M%S"
_GIT_SECONDS = 20.0
_STAMP = re.compile(r"\d{8}T\d{6}-")
_LATEST = re.compile(r"latest(?:~(\d+))?")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and the files in it."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def traces(self) -> Path:
        return self.path / "traces"

    def table(self, name: str) -> Path:
        return self.path / name

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Writes a file completely or not at all, and to the disk. Raises ResultsError if it cannot be written."""
        try:
            json_data.write_json(self.path / name, data)
        except OSError as problem:
            raise ResultsError(
                f"{self.path / name} cannot be written: {problem.strerror}; free some space, or name another folder "
                f"with --out"
            ) from None

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run, empty if it is missing. Raises ResultsError if it is damaged."""
        path = self.path / name
        try:
            return json_data.json_object(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as problem:
            raise ResultsError(f"{path} cannot be read: {problem}; {_GO_WITHOUT}") from None

    def plan(self) -> dict[str, Any]:
        """The plan of the run, empty if it was not recorded. Raises ResultsError for damaged cases."""
        data = self.read_json("plan.json")
        try:
            for case in data.get("cases", []):
                Case.from_json(case)
        except (UsageError, TypeError, ValueError, KeyError, AttributeError) as problem:
            raise self._damaged("plan.json", problem) from None
        return data

    def environment(self) -> Environment | None:
        """The machine and software of the run; None if they were not recorded."""
        data = self.read_json("environment.json")
        try:
            return Environment.from_json(data) if data else None
        except (TypeError, ValueError, KeyError, AttributeError) as problem:
            raise self._damaged("environment.json", problem) from None

    def _damaged(self, name: str, problem: Exception) -> ResultsError:
        why = " ".join(str(problem).split())  # on one line
        return ResultsError(f"{self.path / name} is damaged: {why}; {_GO_WITHOUT}")


def run_name(now: datetime, commit: str, host: str) -> str:
    """`<UTC time>-<commit>-<host>`, so that sorting by name sorts by time."""
    return "-".join([now.strftime(_TIME), commit or "nogit", re.sub(r"[^A-Za-z0-9.]+", "_", host)])


def create(now: datetime, out: Path | None = None, root: Path = RESULTS) -> RunFolder:
    """A new run folder: `out` itself, which must be new or empty, or one named by `run_name`.

    Raises ResultsError if it cannot be created or written to.
    """
    path = out if out is not None else root / run_name(now, git_commit(), socket.gethostname())
    if not json_data.is_text(str(path)):
        raise ResultsError(f"{str(path)!r} cannot be written to tables; name another folder with --out")
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ResultsError(f"{path} exists and is not an empty folder; name another with --out")
        for folder in (path, path / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        raise ResultsError(
            f"{path} cannot be written: {problem.strerror}; name another folder with --out"
        ) from None
    return RunFolder(path)


def discard(path: Path) -> None:
    """Removes a folder in which nothing was measured."""
    for inner in sorted(path.rglob("*"), reverse=True):
        inner.rmdir() if inner.is_dir() else inner.unlink()
    path.rmdir()


def find(text: str, root: Path = RESULTS, sessions: bool = False) -> RunFolder:
    """The run that a user means: a path, a unique prefix, `latest`, or `latest~N` for N runs before.

    With `sessions`, a session of `bench ab` is one too; without, one of its two sides must be named. Raises a
    ResultsError with the existing runs.
    """
    path = Path(text)
    # For a text that is too long for a path os.path returns False, whereas Path raises.
    if os.path.isfile(path / "journal.jsonl"):
        return RunFolder(path)
    if is_session(path):
        return _session(path, sessions)
    if os.path.isdir(path):
        raise ResultsError(f"{path} is not the folder of a run: {_what_it_is(path)}; {_there_is(root)}")
    names = _in_order(root, [*runs(root), *(sessions_in(root) if sessions else ())])
    if latest := _LATEST.fullmatch(text):
        back = int(latest[1] or 0)
        if back < len(names):
            return RunFolder(root / names[-1 - back])
        raise ResultsError(f"there is no run {text!r}; {_there_is(root)}")
    found = [name for name in names if name.startswith(text)]
    if not found and not sessions:
        found = [name for name in sessions_in(root) if name.startswith(text)]
    if len(found) == 1:
        path = root / found[0]
        return _session(path, sessions) if is_session(path) else RunFolder(path)
    if found:
        raise ResultsError(
            f"{text!r} begins the names of {len(found)} runs: {', '.join(found[:5])}; give more of it"
        )
    raise ResultsError(f"there is no run {text!r}; {_there_is(root)}")


def is_session(path: Path) -> bool:
    """Whether a folder is a session of `bench ab`, which has a run folder for each side.

    A self-test has such folders too, but stores only its decisions.
    """
    sides = all(os.path.isfile(path / side / "plan.json") for side in SIDES)
    return sides and not os.path.isfile(path / SELFTEST)


def _session(path: Path, wanted: bool) -> RunFolder:
    if wanted:
        return RunFolder(path)
    raise ResultsError(
        f"{path} has two sides, as bench ab stores them; name one of them: {path / SIDES[0]} or {path / SIDES[1]}"
    )


def _what_it_is(path: Path) -> str:
    """A description of a folder without a journal, from its files."""
    if os.path.isfile(path / SELFTEST):
        return "bench selftest stores its decisions there, which bench show shows"
    if os.path.isfile(path / "plan.json"):
        return "it ended before its first launch and holds no journal.jsonl"
    return "it holds no journal.jsonl"


def runs(root: Path = RESULTS) -> list[str]:
    """The names of the runs in a results folder, oldest first."""
    return _in_order(root, (path.parent.name for path in root.glob("*/journal.jsonl")))


def sessions_in(root: Path = RESULTS) -> list[str]:
    """The names of the sessions of `bench ab` in a results folder, oldest first."""
    there = (path.parent.parent.name for path in root.glob(f"*/{SIDES[0]}/journal.jsonl"))
    return _in_order(root, (name for name in there if is_session(root / name)))


def _in_order(root: Path, names: Iterable[str]) -> list[str]:
    """Oldest first."""
    return sorted(names, key=lambda name: _began(root / name))


def _began(path: Path) -> tuple[str, str]:
    """When a run began, from its name; for any other name, when its journal was written."""
    if _STAMP.match(path.name):
        return path.name[:15], path.name
    try:
        place = path / SIDES[0] if is_session(path) else path
        written = datetime.fromtimestamp((place / "journal.jsonl").stat().st_mtime, UTC)
    except OSError:
        return "", path.name  # it has just been removed
    return written.strftime(_TIME), path.name


def _there_is(root: Path) -> str:
    names = runs(root)
    if not names:
        return f"{root} holds no run; make one with: bench run"
    return f"{root} holds {len(names)}, the latest is {names[-1]}"


def git_commit() -> str:
    """The commit of the working directory, followed by `+` if the tree has changes; empty without git."""
    here = Path.cwd()
    try:
        commit = git(here, "rev-parse", "--short", "HEAD", timeout=_GIT_SECONDS)
        changed = git(here, "status", "--porcelain", "--untracked-files=no", timeout=_GIT_SECONDS)
    except UsageError:
        return ""
    return commit + ("+" if changed else "")


def shown(path: Path) -> str:
    """A path for messages: relative if it is below the working directory."""
    return os.path.relpath(path) if is_in(os.path.abspath(path), [os.getcwd()]) else str(path)
