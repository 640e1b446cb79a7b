"""The user's project as `bench init` needs it: its files, its model, and what git ignores.

Source files are parsed and never imported, so that nothing runs.
"""

from __future__ import annotations

import ast
import importlib.util
import keyword
import os
import re
import subprocess
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from ..errors import UsageError

_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")  # in the order in which make looks for them
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Project:
    """The folder of a project. Raises UsageError if it cannot be read."""

    folder: Path

    def __post_init__(self) -> None:
        try:
            os.listdir(self.folder)
        except FileNotFoundError:
            raise UsageError(
                f"folder {self.folder} does not exist; create it first: mkdir -p {self.folder}"
            ) from None
        except NotADirectoryError:
            raise UsageError(f"{self.folder} is not a folder; name that of your project") from None
        except OSError as problem:
            raise UsageError(
                f"folder {self.folder} cannot be read: {problem.strerror}; name another"
            ) from None

    def text(self, path: str | Path) -> str:
        """The text of a file; empty if it cannot be read."""
        try:
            file = self.folder / path
            return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        except OSError:
            return ""

    @cached_property
    def pyproject(self) -> Mapping[str, Any]:
        """pyproject.toml; empty where it is missing or cannot be read."""
        try:
            return tomllib.loads(self.text("pyproject.toml"))
        except (ValueError, RecursionError):
            return {}

    @property
    def suite_name(self) -> str:
        """The name of a suite and of its file: the name of the project or folder, but never that of a module.

        The folder of a suite comes first where Python looks for modules, so that its file would hide the module.
        """
        called = self._table("project").get("name", self._table("tool", "poetry").get("name"))
        text = called if isinstance(called, str) else self.folder.resolve().name
        name = re.sub(r"[^a-z0-9]+", "_", text.lower())[:_LONGEST_NAME].strip("_") or "mine"
        is_module = importlib.util.find_spec(name) is not None or any(
            (place / name).is_dir() or (place / f"{name}.py").exists()
            for place in (self.folder, self.folder / "src")
        )
        return f"{name}_loop" if is_module else name

    @property
    def requirements(self) -> str:
        """The arguments of pip that install the project if possible, else its requirements."""
        if self._is_distribution:
            # With this, `bench ab` finds the code of each side by its path.
            return " --config-settings editable_mode=compat -e ." if self._by_setuptools else " -e ."
        return " -r requirements.txt" if (self.folder / "requirements.txt").is_file() else ""

    @property
    def packages_are_searched(self) -> bool:
        """Whether setuptools treats each top-level folder as a package, as it does if packages are not listed."""
        named = self._table("tool", "setuptools").keys() & {"packages", "py-modules"}
        elsewhere = any((self.folder / name).exists() for name in ("setup.py", "setup.cfg", "src"))
        return self._is_distribution and self._by_setuptools and not named and not elsewhere

    @property
    def _is_distribution(self) -> bool:
        return (
            bool(self.pyproject.keys() & {"project", "build-system"}) or (self.folder / "setup.py").is_file()
        )

    @property
    def _by_setuptools(self) -> bool:
        backend = self._table("build-system").get("build-backend", "setuptools.build_meta")
        return str(backend).startswith("setuptools")

    @property
    def makefile(self) -> str:
        """The name of its Makefile; empty where it has none."""
        there = set(os.listdir(self.folder))
        return next((name for name in _MAKEFILES if name in there), "")

    @property
    def repository(self) -> Path | None:
        """The top of the repository around it; None where there is none."""
        here = self.folder.resolve()
        return next((one for one in (here, *here.parents) if (one / ".git").exists()), None)

    def _table(self, *names: str) -> Mapping[str, Any]:
        """A table of pyproject.toml; empty where it has none."""
        table: Any = self.pyproject
        for name in names:
            table = table.get(name) if isinstance(table, Mapping) else None
        return table if isinstance(table, Mapping) else {}


# Limits of the search: a repository may hold anything.
_MOST_FOLDERS = 1000
_MOST_FILES = 1000
_MOST_BYTES = 256 * 1024  # of a file; larger ones are generated

_SKIPPED_FOLDERS = frozenset(
    "tests test testing docs doc build dist data results suites venv env node_modules site-packages".split()
)
_SKIPPED_FILES = re.compile(r"test_.*|.*_test|conftest|setup|noxfile")
_MODEL_NAME = re.compile("model|net", re.IGNORECASE)


@dataclass(frozen=True)
class OwnModel:
    """A user-defined model class: `needs` are the required arguments of its constructor."""

    module: str
    name: str
    needs: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, str]:
        """How a suite creates the model: the import, and the call."""
        return f"from {self.module} import {self.name}", f"model = {self.name}({', '.join(self.needs)})"


def find_model(top: Path) -> OwnModel | None:
    """The most plausible model below a folder: by its name, and without required arguments."""
    sources = islice(_sources(top), _MOST_FILES)
    models = [model for path in sources for model in _models(path, _module(path.relative_to(top)))]
    return min(models, key=_doubt, default=None)


def _doubt(model: OwnModel) -> tuple[bool, bool, int]:
    """The smallest is the most plausible; a model is nested less deeply than its parts."""
    return not _MODEL_NAME.search(model.name), bool(model.needs), model.module.count(".")


def _sources(top: Path) -> Iterator[Path]:
    """The Python files from which a model may be imported, in a fixed order."""
    for folder, inner, files in islice(os.walk(top), _MOST_FOLDERS):
        # Names that cannot be imported are skipped, and so are hidden folders.
        inner[:] = sorted(
            name
            for name in inner
            if _can_be_imported(name)
            and name not in _SKIPPED_FOLDERS
            and not name.startswith("__")
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        )
        for name in sorted(files):
            stem, ending = os.path.splitext(name)
            if ending == ".py" and _can_be_imported(stem) and not _SKIPPED_FILES.fullmatch(stem):
                yield Path(folder, name)


def _can_be_imported(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _module(path: PurePath) -> str:
    """The module of a file: `src` holds packages and is not one of them."""
    parts = path.with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" and len(parts) > 1 else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _models(path: Path, module: str) -> Iterator[OwnModel]:
    """The models at the top level of a file; none where it cannot be read."""
    tree = _parsed(path)
    if tree is None or not module:
        return
    known = _imported(tree)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        if any(_is_module(_dotted(base, known)) for base in node.bases):
            yield OwnModel(module, node.name, _needs(node))


def _parsed(path: Path) -> ast.Module | None:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        text = path.read_bytes()
        if b"Module" not in text:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those about the user's code
            return ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _imported(tree: ast.Module) -> dict[str, str]:
    """The full names of what a file imports, by its names there."""
    known: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            known |= {one.asname: one.name for one in node.names if one.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return known


def _dotted(node: ast.expr, known: dict[str, str]) -> str:
    """The full name of a base class; empty where it is another expression."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, known)
        return before and f"{before}.{node.attr}"
    return ""


def _is_module(base: str) -> bool:
    return base in ("torch.nn.Module", "torch.nn.modules.Module") or base.endswith(".LightningModule")


def _needs(node: ast.ClassDef) -> tuple[str, ...]:
    """The required arguments of a class's own constructor."""
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            given = inner.args
            plain = [*given.posonlyargs, *given.args]
            plain = plain[1 : len(plain) - len(given.defaults)]
            named = [
                one for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is None
            ]
            return (*(one.arg for one in plain), *(f"{one.arg}={one.arg}" for one in named))
    return ()


IGNORE_LINES = "/results/* and !/results/baselines/"
_RUN = "results/run/journal.jsonl"


def ignores_runs(folder: Path) -> bool:
    """Whether git ignores the runs of a project."""
    return bool(_ignored(folder, _RUN))


def about_baseline(folder: Path, name: str = "main") -> str:
    """The line that keeps git from adding a baseline, with the remedy; empty if there is none, or no git."""
    why = _ignored(folder, f"results/baselines/{name}/summary.csv")
    if not why:
        return ""
    remedy = (
        "in place of that line write: " + IGNORE_LINES if "results" in why else "add: !/results/baselines/**"
    )
    return f"git would not add baselines ({why}): {remedy}"


def _ignored(folder: Path, path: str) -> str:
    """The line that makes git ignore a file of this folder, such as `.gitignore:3: results/`; empty where none does.

    Git itself is called, since such lines are in several files; empty too if it is not installed.
    """
    command = ["git", "check-ignore", "--verbose", "--no-index", path]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return ""
    place, line, pattern = (*done.stdout.partition("\t")[0].split(":", 2), "", "")[:3]
    # Git reports a line with an exception (!) as well.
    return "" if done.returncode or pattern.startswith("!") else f"{place}:{line}: {pattern}"
