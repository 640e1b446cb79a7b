"""Answers a request with the user's code in one tree, and checks afterwards where its modules were loaded from."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from ..errors import UsageError
from ..measurement.messages import CodeTree
from ..system.paths import FOREIGN, HARNESS, is_in
from .suites import file_of

_HARNESS = os.path.realpath(HARNESS)
_INSTALLED = tuple(os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
_NOT_OWN = (*(os.path.realpath(path) for path in FOREIGN), *_INSTALLED, _HARNESS)
_PLAINLY_NOT_OWN = tuple(path.rstrip(os.sep) + os.sep for path in FOREIGN)

_REMEDY = "let the package be found by its path: PYTHONPATH, or pip install --config-settings editable_mode=compat -e ."


def enter(tree: CodeTree) -> None:
    """Enters a tree: the working directory, and the entries of the search path that lie in the user's own tree."""
    os.chdir(os.path.join(tree.root, tree.place))
    sys.path[:] = [_moved(entry, tree) for entry in sys.path]
    if "PYTHONPATH" in os.environ:  # for programs that the user's code starts
        entries = os.environ["PYTHONPATH"].split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(_moved(entry, tree) for entry in entries)


def _moved(entry: str, tree: CodeTree) -> str:
    """The path in the tree for an entry of the search path; installed packages and Epochbench keep theirs."""
    real = os.path.realpath(entry) if entry else entry
    is_foreign = not real or is_in(real, _NOT_OWN) or is_in(_HARNESS, [real])
    if is_foreign or not is_in(real, [str(tree.home)]):
        return entry
    return os.path.normpath(os.path.join(tree.root, os.path.relpath(real, tree.home)))


def check_modules(tree: CodeTree) -> None:
    """Raises UsageError where a module of the tree was loaded from another tree, or from an installed copy.

    Then the wrong code would be measured.
    """
    own = provided(tree.root)
    for name in list(sys.modules):
        file = file_of(name)
        if not file:
            continue
        # Resolving the paths of all of torch's modules would take a quarter of a second.
        if file.startswith(_PLAINLY_NOT_OWN) and name.partition(".")[0] not in own:
            continue
        real = os.path.realpath(file)
        if is_in(real, [_HARNESS]):
            continue
        installed_copy = is_in(real, _INSTALLED) and name.partition(".")[0] in own
        elsewhere = (
            not is_in(real, _NOT_OWN)
            and not is_in(real, [str(tree.root)])
            and is_in(real, map(str, tree.others))
        )
        if installed_copy or elsewhere:
            raise UsageError(
                f"module {name!r} was loaded from {real}, not from {tree.root}: the wrong code would be "
                f"measured; {_REMEDY}"
            )


def provided(root: Path) -> set[str]:
    """The packages and modules that can be imported from a tree, at its top and in `src`."""
    places = [place for place in (root, root / "src") if place.is_dir()]
    modules = {file.stem for place in places for file in place.glob("*.py")}
    return modules | {file.parent.name for place in places for file in place.glob("*/__init__.py")}
