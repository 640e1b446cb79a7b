"""What a module of the installed torch exports, read from its source: importing it takes two seconds."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

from ..errors import UsageError


@cache
def exported(module: str) -> tuple[str, ...]:
    """The names in `__all__` of a module of torch, such as "optim", in its order.

    Raises UsageError where no torch is installed, and where the module lists no names as text.
    """
    found = importlib.util.find_spec("torch")  # finds the package, and imports nothing of it
    if found is None or not found.submodule_search_locations:
        raise UsageError("torch is not installed; install it and torchvision")
    place = Path(found.submodule_search_locations[0], *module.split("."))
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    raise UsageError(f"this version of torch does not say what torch.{module} exports; use another one")
