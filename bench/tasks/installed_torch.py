"""Facts about the installed torch: the names that a module exports, and what it says of an operation that fails."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..errors import UsageError


@cache
def exported_names(module: str) -> tuple[str, ...]:
    """The names in `__all__` of a module of torch, such as "optim", in its order.

    They are read from its source: importing torch takes two seconds. Raises UsageError without torch, or where
    `__all__` is not a list of literals.
    """
    torch = importlib.util.find_spec("torch")  # finds the package without importing it
    if torch is None or not torch.submodule_search_locations:
        raise UsageError("torch is not installed; install it and torchvision")
    path = Path(torch.submodule_search_locations[0], *module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    raise UsageError(f"this version of torch does not say what torch.{module} exports; use another one")


def error_of(attempt: Callable[[], object]) -> str | None:
    """The first line of the error that an attempt raises, or its type if it has no text; None on success."""
    try:
        attempt()
    except Exception as problem:
        return (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")
    return None
