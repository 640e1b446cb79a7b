"""Possible values of an axis that are not a plain list, and what the installed torch offers and refuses.

Iterating over a collection gives a description of it, for error messages.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path

from ..errors import UsageError
from ..suite.case import AxisValue

SWITCH = (None, True, False)  # of an option that is on, off, or torch's default


class Numbers(Collection[AxisValue]):
    """None, for torch's default, and every number from `least` on, only integers if `whole`.

    `above` excludes `least` itself; `below` is the first number that is too large.
    """

    def __init__(
        self, least: float, whole: bool = True, above: bool = False, below: float | None = None
    ) -> None:
        self._least, self._whole, self._above, self._below = least, whole, above, below

    def __contains__(self, value: object) -> bool:
        if value is None:
            return True
        if isinstance(value, bool) or not isinstance(value, int if self._whole else int | float):
            return False
        if self._below is not None and not value < self._below:
            return False
        return value > self._least or (value == self._least and not self._above)

    def __iter__(self) -> Iterator[AxisValue]:
        kind = "a whole number" if self._whole else "a number"
        if self._below is not None:
            return iter((None, f"{kind} from {self._least:g} to below {self._below:g}"))
        return iter((None, f"{kind} {'above' if self._above else 'of at least'} {self._least:g}"))

    def __len__(self) -> int:
        return 2


class Names(Collection[AxisValue]):
    """These names, and any dotted name of a class in another package."""

    def __init__(self, names: Collection[AxisValue]) -> None:
        self._names = tuple(names)

    def __contains__(self, value: object) -> bool:
        return value in self._names or (isinstance(value, str) and is_dotted(value))

    def __iter__(self) -> Iterator[AxisValue]:
        return iter((*self._names, "any other by its dotted name (package.Class)"))

    def __len__(self) -> int:
        return len(self._names) + 1


def is_dotted(name: str) -> bool:
    """Whether a name is that of a class in a package: `package.module.Class`."""
    parts = name.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


@cache
def exported_names(module: str) -> tuple[str, ...]:
    """The names in `__all__` of a module of torch, such as "optim", in its order.

    They are read from its source, since importing torch takes two seconds. Raises UsageError without torch, or if
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
    raise UsageError(f"this version of torch does not list what torch.{module} exports; use another one")


def error_of(attempt: Callable[[], object]) -> str | None:
    """The first line of the error that an attempt raises, or its type if it has no text; None on success."""
    try:
        attempt()
    except Exception as problem:
        return (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")
    return None
