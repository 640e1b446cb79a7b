"""Calls git in the repository of a folder, without the user's hooks and without prompts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..errors import UsageError

# Variables that git sets for its hooks (`git rev-parse --local-env-vars`, without configuration). They are removed, so
# that the repository is that of the folder.
_OF_HOOKS = frozenset(
    "GIT_DIR GIT_WORK_TREE GIT_IMPLICIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_OBJECT_DIRECTORY GIT_COMMON_DIR "
    "GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_QUARANTINE_PATH GIT_SHALLOW_FILE GIT_GRAFT_FILE GIT_REPLACE_REF_BASE "
    "GIT_NO_REPLACE_OBJECTS GIT_INTERNAL_SUPER_PREFIX".split()
)
# Hooks are for the user's actions: a hook that fails must not stop a checkout by Epochbench.
_WITHOUT_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
_DUBIOUS = "dubious ownership"
_NO_TREE = "must be run in a work tree"


class Untrusted(UsageError):
    """The repository belongs to another user, and git was not configured to trust it."""


def environment() -> dict[str, str]:
    """The environment of a command in a tree, without git's variables for hooks."""
    return {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}


def run_git(place: Path, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a git command in a folder; any exit code is returned. Raises UsageError without git, and after `timeout`.

    Messages are in English, git never asks for a password, and the index is not refreshed on disk.
    """
    variables = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            ["git", *_WITHOUT_HOOKS, *arguments],
            cwd=place,
            env=environment() | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",  # names of files need not be UTF-8
            timeout=timeout,
        )
    except OSError as problem:
        raise UsageError(
            f"git cannot be run: {problem.strerror}; install it, or name sides without ref="
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"git {arguments[0]} gave no answer within {timeout:g} s in {place}") from None


def git(place: Path, *arguments: str, timeout: float | None = None) -> str:
    """The output of a git command, without the last line feed.

    Raises UsageError with git's message, or with the remedy if known.
    """
    done = run_git(place, *arguments, timeout=timeout)
    if done.returncode:
        raise _refused(place, arguments[0], done)
    return done.stdout.removesuffix("\n")


def _refused(place: Path, command: str, done: subprocess.CompletedProcess[str]) -> UsageError:
    if _DUBIOUS in done.stderr:
        commands = [
            line.strip() for line in done.stderr.splitlines() if line.strip().startswith("git config")
        ]
        remedy = (commands or [f"git config --global --add safe.directory {place}"])[
            0
        ]  # git's own, if it names one
        return Untrusted(
            f"git does not read the repository of {place}, which belongs to another user; if you trust it: "
            f"{remedy}",
            done.stderr,
        )
    if _NO_TREE in done.stderr:
        return UsageError(
            f"{place} is in a repository without files (a bare one, or its .git folder); run bench in a checkout of "
            f"it, such as one made by: git worktree add",
            done.stderr,
        )
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    return UsageError(f"git {command}: {lines[-1] if lines else f'exit code {done.returncode}'}", done.stderr)


def distrust(place: Path) -> str:
    """Why git refuses to read the repository of a folder; empty if it can, or if there is no repository."""
    try:
        git(place, "rev-parse", "--git-dir", timeout=20)
    except Untrusted as problem:
        return str(problem)
    except UsageError:
        pass
    return ""
