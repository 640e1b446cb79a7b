"""Reads and writes JSON: frozen records from and to plain data, numbers that JSON lacks, atomic writes of files.

Data that is read is checked: every field of a record must be known and of its type.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

Record = TypeVar("Record")

_LIMIT = 2**63  # whole numbers below it fit into a column of numbers
_SURROGATES = re.compile("[\ud800-\udfff]")
_DEEPEST = 8  # levels of a value of any type: it has more levels in memory than when written


class JsonRecord:
    """A dataclass that goes through JSON both ways."""

    def to_json(self) -> dict[str, Any]:
        return _fields_to_json(self)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises ValueError, TypeError or KeyError for data of anything else."""
        return from_json(cls, data)


class _WrongTypeError(ValueError):
    """A value is not of the type of its field; the record adds the name of the field."""


def to_json(value: Any) -> Any:
    """A record, or a container of records, as JSON data."""
    if isinstance(value, JsonRecord):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        return _fields_to_json(value)
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _fields_to_json(record: Any) -> dict[str, Any]:
    return {field.name: to_json(getattr(record, field.name)) for field in dataclasses.fields(record)}


def from_json(cls: type[Record], data: Any) -> Record:
    """The record of this class. Raises ValueError or TypeError if a field is unknown, missing or of another type."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{type(data).__name__} in place of a {cls.__name__}")
    readers, fields = _field_readers(typing.cast("Any", cls)), {}
    for name, value in data.items():
        if name not in readers:
            raise ValueError(f"{name!r} is not a field of a {cls.__name__}")
        try:
            fields[name] = readers[name](value)
        except _WrongTypeError:
            raise ValueError(f"{name!r} of a {cls.__name__} is not of its type") from None
    return cls(**fields)


@functools.cache
def _field_readers(cls: Any) -> dict[str, Callable[[Any], Any]]:
    return {name: _reader(kind) for name, kind in typing.get_type_hints(cls).items()}


def _reader(kind: Any) -> Callable[[Any], Any]:
    """A function that makes a value of this type from JSON data."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # with None, or of records that were already read
        some = _reader(arguments[0])
        kinds: Any = tuple(filter(dataclasses.is_dataclass, arguments))
        return lambda value: value if value is None or isinstance(value, kinds) else some(value)
    if origin is tuple:
        item = _reader(arguments[0])
        return lambda value: tuple(map(item, _of_type(value, (list, tuple))))
    if origin is Mapping:
        item = _reader(arguments[1])
        return lambda value: {_text(name): item(part) for name, part in _of_type(value, Mapping).items()}
    if dataclasses.is_dataclass(kind):
        return functools.partial(_read_record, kind)
    return _SCALARS[kind]


def _read_record(cls: Any, value: Any) -> Any:
    if isinstance(value, cls):  # one that was already read
        return value
    return cls.from_json(value) if hasattr(cls, "from_json") else from_json(cls, value)


def _of_type(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise _WrongTypeError
    return value


def _text(value: Any) -> str:
    if not is_text(_of_type(value, str)):
        raise _WrongTypeError
    return str(value)


def _number(value: Any) -> float:
    return value if isinstance(value, float) else _whole(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _LIMIT:
        raise _WrongTypeError
    return value


def _anything(value: Any, levels: int = _DEEPEST) -> Any:
    if levels == 0:
        raise _WrongTypeError
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for item in inner:
        _anything(item, levels - 1)
    return value


_SCALARS: Mapping[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: lambda value: _of_type(value, bool),
    Path: lambda value: Path(_of_type(value, str)),  # a file's name need not be text
    Any: _anything,
}


def is_text(value: str) -> bool:
    """False for text with lone surrogates, which can be neither printed nor written to a file."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def finite(value: Any) -> Any:
    """JSON data as programs of other languages read it: null for what is not a finite number, no lone surrogates."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, str):
        return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_line(value: Any) -> str:
    """One line, in ASCII."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def json_text(value: Any) -> str:
    """Indented JSON, readable by people as well."""
    return json.dumps(value, default=_plain, indent=2)


def _plain(value: Any) -> Any:
    """A value that JSON lacks as one that it has: only these are converted, as a launch holds thousands of numbers."""
    data = to_json(value)
    if data is value:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return data


def json_object(text: str | bytes) -> dict[str, Any]:
    """The object that a line or file of our own holds. Raises ValueError for anything else."""
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    return data


def quoted(text: str) -> str:
    """A text in quotes, as JSON and TOML have it."""
    return json.dumps(text, ensure_ascii=False)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file completely or not at all, and to the disk. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w") as file:
            file.write(json_text(value) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # it was not created
            new.unlink()
        raise
