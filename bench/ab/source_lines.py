"""Where in the user's code a verdict belongs: the one file that changed, or else where its suite is declared.

Paths are relative to the top of the repository, with slashes. Source is read, and never run.
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
    """By suite where its verdicts belong; `files` has the file of each. A suite that lies elsewhere has none."""
    found = {}
    for suite, file in files.items():
        inside = below(file, top)
        if changed is not None:
            found[suite] = changed
        elif inside:
            found[suite] = inside, declared(Path(file), suite)
    return found


def below(file: str, top: Path) -> str:
    """The path of a file as the repository has it; empty for one that lies elsewhere."""
    relative = os.path.relpath(os.path.realpath(file), os.path.realpath(top))
    return "" if relative.startswith("..") else Path(relative).as_posix()


def declared(file: Path, suite: str) -> int:
    """The line of a file on which this suite is made, or what builds its tasks, or the first."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return 1
    made = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and _name(one.func) == "Suite"]
    named = [one for one in made if suite in map(_text, [*one.args, *(word.value for word in one.keywords)])]
    builds = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == "build"]
    found: list[ast.Call | ast.FunctionDef] = [*named, *(made if len(made) == 1 else []), *builds]
    return found[0].lineno if found else 1


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(value: ast.expr) -> object:
    return value.value if isinstance(value, ast.Constant) else None


def changed_in(top: Path, base: str, candidate: str, sources: Iterable[str]) -> Place | None:
    """The first changed line of the one of these files that changed from a commit to another (empty: to what lies
    there now); None where none did, or several, and where git does not tell.

    `sources` are paths as the repository has them.
    """
    between = [base, *([candidate] if candidate else [])]
    plain = ("-c", "core.quotePath=false", "diff", "--no-color", "--no-ext-diff", "--no-renames")
    try:
        names = git(top, *plain, "--name-only", "-z", *between, "--").split("\0")
        (file,) = set(names) & set(sources)
        hunk = _HUNK.search(git(top, *plain, "-U0", *between, "--", f":(top,literal){file}"))
    except (UsageError, ValueError):  # the latter where it is not one
        return None
    return None if hunk is None else (file, max(1, int(hunk[1])))
