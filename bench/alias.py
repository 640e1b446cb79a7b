"""`bench`, the other name of Epochbench: used only if no other package or module has that name.

What is imported as `bench.x` is the very module `epochbench.x`, never a second copy with classes of its own. Somebody
else's `bench` comes first, wherever it lies on the search path, since Epochbench has another name. In a folder `bench`
without an `__init__.py` its own modules come first, then those of Epochbench.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from types import CodeType, ModuleType
from typing import Any

OWN, OTHER = "epochbench", "bench"

_OPENING = b'"""Epochbench'  # how each file begins that is Epochbench under the name of `bench`
_CANNOT = re.compile(r"cannot import name '(\w+)'")


class _SameModule(Loader):
    """Gives a module of Epochbench as the module of another name."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._own)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put that of the other name in its place
        # A function may have replaced a module of its name in the package, as `watch` has. An import by the other
        # name would put the module there again.
        for name, inner in list(sys.modules.items()):
            if name.startswith(f"{self._own}."):
                sys.modules.setdefault(OTHER + name.removeprefix(OWN), inner)

    def get_code(self, name: str) -> CodeType | None:
        """What `python -m bench` runs."""
        spec = importlib.util.find_spec(self._own)
        code: CodeType | None = spec.loader.get_code(self._own) if spec and spec.loader else None  # type: ignore[attr-defined]
        return code


class _Beside(Loader):
    """A folder called `bench` that is somebody else's: what it does not hold comes from Epochbench."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        def found(name: str) -> Any:
            own = sys.modules[OWN]
            if name in (*own.__all__, "__all__", "__version__") and not _holds(module, name):
                return getattr(own, name)
            raise AttributeError(f"module {OTHER!r} has no attribute {name!r}", name=name, obj=module)

        module.__getattr__ = found  # type: ignore[method-assign]
        for name, inner in list(sys.modules.items()):
            top, _, rest = name.partition(".")
            if top == OWN and rest and not _holds(module, rest.partition(".")[0]):
                sys.modules.setdefault(f"{OTHER}.{rest}", inner)


def _holds(module: ModuleType, name: str) -> bool:
    return PathFinder.find_spec(f"{OTHER}.{name}", list(module.__path__)) is not None


class _Finder(MetaPathFinder):
    """Finds `bench` and its modules. It is the first finder, since any other would load a second copy."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == OTHER:
            return None if somebody_elses() else _bench_spec()
        parent = sys.modules.get(name.rpartition(".")[0])
        if not name.startswith(f"{OTHER}.") or parent is None:
            return None
        if is_own(parent):
            return _own(name)
        if isinstance(getattr(getattr(parent, "__spec__", None), "loader", None), _Beside):
            return PathFinder.find_spec(name, path) or _own(name)
        return None


_finder = _Finder()


def install() -> None:
    """Makes `bench` importable wherever Epochbench is installed, and forgets the result of an earlier search.

    Thus two suites in one process each get the `bench` of their own folder.
    """
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    for name in [name for name in sys.modules if name == OTHER or name.startswith(f"{OTHER}.")]:
        if is_own(sys.modules[name]):
            del sys.modules[name]


def take_over() -> None:
    """Replaces the file named `bench` that is being imported by the module that `bench` should be."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    spec = somebody_elses() or _bench_spec()
    assert spec is not None
    assert spec.loader is not None
    sys.modules[OTHER] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


def is_own(module: object) -> bool:
    """Whether a module, under any name, belongs to Epochbench; `sys.modules` may hold any object."""
    try:
        name = getattr(module, "__name__", "")
    except Exception:
        return False
    return f"{name}.".startswith(f"{OWN}.")


def somebody_elses(first: Sequence[str] = ()) -> ModuleSpec | None:
    """Another package or module named `bench` on the search path, with these folders first."""
    return next(
        (spec for spec in _candidates(first) if spec.origin and not _is_epochbench(spec.origin)), None
    )


def advice(problem: BaseException) -> str:
    """What to write where code took somebody else's `bench` for Epochbench; empty for any other problem."""
    module = sys.modules.get(OTHER)
    if module is None or is_own(module):
        return ""
    name, line = "", ""
    if isinstance(problem, ModuleNotFoundError) and (problem.name or "").startswith(f"{OTHER}."):
        name = str(problem.name).split(".")[1]
        line = f"from {OWN}.{name} import ..."
    elif (
        isinstance(problem, ImportError)
        and problem.name == OTHER
        and (cannot := _CANNOT.search(str(problem)))
    ):
        name = cannot[1]
        line = f"from {OWN} import {name}"
    elif isinstance(problem, AttributeError) and problem.obj is module:
        name = problem.name or ""
        line = f"import {OWN}, and {OWN}.{name}"
    if not line or not _is_there(name):
        return ""
    place = getattr(module, "__file__", None) or "a folder without __init__.py"
    return f"{OTHER} is not Epochbench there, but {place}; write: {line}"


def _is_there(name: str) -> bool:
    """Whether Epochbench has this name or module."""
    own = importlib.import_module(OWN)
    return name in own.__all__ or importlib.util.find_spec(f"{OWN}.{name}") is not None


def _bench_spec() -> ModuleSpec | None:
    """The module `bench` if no other package or module has that name."""
    folders = [
        place for spec in _candidates() if not spec.origin for place in spec.submodule_search_locations or ()
    ]
    if not folders:
        return _own(OTHER)
    spec = ModuleSpec(OTHER, _Beside(), is_package=True)
    spec.submodule_search_locations = list(dict.fromkeys(folders))
    return spec


def _own(name: str) -> ModuleSpec | None:
    """The module of Epochbench that has this other name; None if there is none."""
    own = OWN + name.removeprefix(OTHER)
    found = importlib.util.find_spec(own)
    if found is None:
        return None
    is_package = found.submodule_search_locations is not None
    spec = ModuleSpec(name, _SameModule(own), origin=found.origin, is_package=is_package)
    spec.has_location = True
    return spec


def _candidates(first: Sequence[str] = ()) -> Iterator[ModuleSpec]:
    """Everything named `bench` that any finder has, at each place of the search path."""
    for entry in (*first, *sys.path):
        if (spec := PathFinder.find_spec(OTHER, [entry])) is not None:
            yield spec
    for finder in sys.meta_path:
        if finder is _finder or finder is PathFinder:
            continue
        if (spec := finder.find_spec(OTHER, None)) is not None:
            yield spec


def _is_epochbench(origin: str) -> bool:
    """Whether a file is Epochbench in any version: another commit of it may be on the search path."""
    try:
        with open(origin, "rb") as file:
            return file.read(len(_OPENING)) == _OPENING
    except OSError:
        return False
