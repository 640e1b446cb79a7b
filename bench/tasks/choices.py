"""What an axis may have where that is no plain list of names."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..suite.case import AxisValue


class Numbers(Collection[AxisValue]):
    """None, which leaves it to torch, and every number, or whole number, of at least `least`.

    It iterates over its own description, which is what a message lists of it.
    """

    def __init__(self, least: float, whole: bool = True, above: bool = False) -> None:
        """With `above` the least number itself is none of them."""
        self._least = least
        self._whole = whole
        self._above = above

    def __contains__(self, value: object) -> bool:
        if value is None:
            return True
        if isinstance(value, bool) or not isinstance(value, int if self._whole else int | float):
            return False
        return value > self._least or (value == self._least and not self._above)

    def __iter__(self) -> Iterator[AxisValue]:
        kind = "a whole number" if self._whole else "a number"
        return iter((None, f"{kind} {'above' if self._above else 'of at least'} {self._least:g}"))

    def __len__(self) -> int:
        return 2


class Shares(Collection[AxisValue]):
    """None, which leaves it to torch, and every number from 0 to below 1; it iterates over that description."""

    def __contains__(self, value: object) -> bool:
        if value is None:
            return True
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1

    def __iter__(self) -> Iterator[AxisValue]:
        return iter((None, "a number from 0 to below 1"))

    def __len__(self) -> int:
        return 2


class Names(Collection[AxisValue]):
    """These names, and any dotted one: a class of another package."""

    def __init__(self, names: Collection[AxisValue]) -> None:
        self._names = tuple(names)

    def __contains__(self, value: object) -> bool:
        return value in self._names or (isinstance(value, str) and is_dotted(value))

    def __iter__(self) -> Iterator[AxisValue]:
        return iter((*self._names, "any other by its dotted name (package.Class)"))

    def __len__(self) -> int:
        return len(self._names) + 1


def is_dotted(name: str) -> bool:
    """Whether a name is that of a class in some package: `package.module.Class`."""
    parts = name.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


SWITCH = (None, True, False)  # of an option that is on, off, or torch's to choose
