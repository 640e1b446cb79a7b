"""The user's own model, found in the source alone: nothing is imported, so nothing runs."""

from __future__ import annotations

import ast
import keyword
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath

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
    """A class of the user's that is a model: `needs` are the required arguments of its constructor."""

    module: str
    name: str
    needs: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, str]:
        """How a suite creates one: the import, and the call."""
        return f"from {self.module} import {self.name}", f"model = {self.name}({', '.join(self.needs)})"


def find_model(top: Path) -> OwnModel | None:
    """The most plausible model below a folder: by its name, and without required arguments."""
    models = [model for path in _sources(top) for model in _models(path, _module(path.relative_to(top)))]
    return min(models, key=_doubt, default=None)


def _doubt(model: OwnModel) -> tuple[bool, bool, int]:
    """The smallest is the most plausible; a model is nested less deeply than its parts."""
    return not _MODEL_NAME.search(model.name), bool(model.needs), model.module.count(".")


def _sources(top: Path) -> Iterator[Path]:
    """The Python files that a model may be imported from, in the same order each time."""
    return islice(_all_sources(top), _MOST_FILES)


def _all_sources(top: Path) -> Iterator[Path]:
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
