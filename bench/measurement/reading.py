"""Records as they are read from JSON: every field must be known, and of its type."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from ..suite.case import is_text


def checked(cls: type, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a record as they were read. Raises ValueError for an unknown one, or one of another type."""
    hints = _hints(cls)
    for name, value in named(data).items():
        if name not in hints:
            raise ValueError(f"{name!r} is not a field of a {cls.__name__}")
        if not _fits(value, hints[name]):
            raise ValueError(f"{name!r} of a {cls.__name__} is not of its type")
    return data


def named(value: Any) -> Mapping[str, Any]:
    """What JSON has as an object. Raises TypeError for anything else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} in place of an object")
    return value


def listed(value: Any) -> tuple[Any, ...]:
    """What JSON has as an array. Raises TypeError for anything else: text is not a list of its letters."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{type(value).__name__} in place of an array")
    return tuple(value)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


_LIMIT = 2**63  # whole numbers below it have a column of numbers


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(name, str) and _fits(item, arguments[1]) for name, item in value.items()
        )
    if kind in (int, float):
        if isinstance(value, int):
            return not isinstance(value, bool) and abs(value) < _LIMIT
        return kind is float and isinstance(value, float)
    if kind is Any:
        return _is_shallow(value)
    return isinstance(value, kind) and not (isinstance(value, str) and not is_text(value))


def _is_shallow(value: Any, levels: int = 8) -> bool:
    """Whether JSON can be written of it again, which is read with more levels than it is written with."""
    inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)


def shallow(record: Any) -> dict[str, Any]:
    """The fields of a record by name, mappings as dicts; what they hold is as it is."""
    return {
        item.name: dict(value) if isinstance(value, Mapping) else value
        for item in dataclasses.fields(record)
        for value in [getattr(record, item.name)]
    }
