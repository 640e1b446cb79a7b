"""The line of the user's code at which a verdict is shown: in the one file that changed, or where its suite is
declared.

Paths are relative to the top of the repository, with slashes. Source is parsed and never run.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import UsageError
from ..system.git import git

Place = tuple[str, int]  # a file and a line of it, from 1

_HUNK = re.compile(r"^@@ -\S+ \+(\d+)", re.MULTILINE)


def places(files: Mapping[str, str], top: Path, changed: Place | None = None) -> dict[str, Place]:
    """For each suite its line; `files` has the file of each. Suites outside of the repository have no entry."""
    lines = {}
    for suite, file in files.items():
        if changed is not None:
            lines[suite] = changed
        elif relative := below(file, top):
            lines[suite] = relative, declared(Path(file), suite)
    return lines


def below(file: str, top: Path) -> str:
    """The path of a file relative to the top of the repository; empty for a file outside of it."""
    relative = os.path.relpath(os.path.realpath(file), os.path.realpath(top))
    return "" if relative.startswith("..") else Path(relative).as_posix()


def declared(file: Path, suite: str) -> int:
    """The line of a file that creates this suite, or else that of its `build` function, or the first."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return 1
    suites = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == "Suite"]
    named = [
        call for call in suites if suite in map(_text, [*call.args, *(word.value for word in call.keywords)])
    ]
    builds = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "build"]
    nodes: list[ast.Call | ast.FunctionDef] = [*named, *(suites if len(suites) == 1 else []), *builds]
    return nodes[0].lineno if nodes else 1


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(value: ast.expr) -> object:
    return value.value if isinstance(value, ast.Constant) else None


def changed_in(top: Path, base: str, candidate: str, sources: Iterable[str]) -> Place | None:
    """The first changed line between two commits (empty: the files as they are), if just one of the sources changed.

    None where none or several changed, and where git fails. `sources` are paths relative to the top.
    """
    between = [base, *([candidate] if candidate else [])]
    plain = ("-c", "core.quotePath=false", "diff", "--no-color", "--no-ext-diff", "--no-renames")
    try:
        names = git(top, *plain, "--name-only", "-z", *between, "--").split("\0")
        (file,) = set(names) & set(sources)
        hunk = _HUNK.search(git(top, *plain, "-U0", *between, "--", f":(top,literal){file}"))
    except (UsageError, ValueError):  # ValueError: not exactly one file
        return None
    return None if hunk is None else (file, max(1, int(hunk[1])))
