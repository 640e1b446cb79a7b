"""What crosses the border between the parent and a worker process: requests down, reports of what was prepared up.

Every message is frozen, goes through JSON both ways, and is checked when it is read.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..suite.case import Case, Conditions
from ..suite.script import Script
from .reading import checked, listed, named
from .record import COUNTED, PHASED, PROFILED, SEARCHED, STACKED, TIMED


@dataclass(frozen=True)
class PreloadRequest:
    """Import these modules in the fork server itself; the answer is a `PreloadReport`."""

    modules: tuple[str, ...]


@dataclass(frozen=True)
class PreloadReport:
    """The modules that started a thread, and those that could not be imported."""

    started_threads: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class DescribeRequest:
    """Read suite files and expand their suites for this machine.

    Each of the `overrides` is the name of an axis and its values; the suites check them and word what is wrong.
    """

    files: tuple[Path, ...]
    overrides: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True)
class EnvironmentRequest:
    """Describe the machine and software under these conditions."""

    conditions: Conditions
    seed: int


@dataclass(frozen=True)
class ProbeRequest:
    """Build each of the `cases` of one suite, or run its script briefly; the answer is a `ProbeReport`.

    `requested_axes` are those that the command names; where there are any, `all_cases` are all cases of the suite.
    """

    suite_file: Path
    cases: tuple[Case, ...]
    conditions: Conditions
    requested_axes: tuple[str, ...] = ()
    all_cases: tuple[Case, ...] = ()
    download: bool = False
    script: Script | None = None


@dataclass(frozen=True)
class ProbeReport:
    """What building the cases of a suite showed.

    `modules` are the installed modules that were imported, `sources` the files of the user's own code, `idle` the axes
    that are read and change nothing, `written` the files that a script wrote to its folders.
    """

    modules: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    idle: tuple[str, ...] = ()
    written: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ProfileOptions:
    """What to profile: `steps` of each stage, with Python's `stacks` if wanted.

    Files go to `folder` and begin with `name`; a trace larger than `cap` bytes is not kept.
    """

    folder: Path
    name: str
    steps: int = 5
    stacks: bool = False
    cap: int = 50_000_000


@dataclass(frozen=True)
class Slowdown:
    """Work that a launch adds to its task, to see whether the gate finds it.

    `kind` is "wait", of so many `seconds` before every `every`-th batch of a stage, or "layer", behind the model.
    """

    kind: str
    stage: str = "train"
    every: int = 1
    seconds: float = 0.0


@dataclass(frozen=True)
class LaunchRequest:
    """All that one launch is told.

    `idle` are axes that change nothing in the suite. `memory_limit` (bytes) is for a launch that tries a batch size on
    the CPU, `graph` says whether a counts launch keeps the autograd graph; `profile` is there where `kind` profiles.
    """

    case: Case
    kind: str
    round: int
    position: int
    suite_file: Path
    conditions: Conditions
    seed: int
    idle: tuple[str, ...] = ()
    script: Script | None = None
    slowdown: Slowdown | None = None
    memory_limit: int | None = None
    graph: bool = False
    profile: ProfileOptions | None = None

    def __post_init__(self) -> None:
        if self.kind not in (TIMED, PHASED, COUNTED, PROFILED, STACKED, SEARCHED):
            raise ValueError(f"unknown kind of launch {self.kind!r}")
        if (self.profile is not None) != (self.kind in (PROFILED, STACKED)):
            raise ValueError(f"a launch of kind {self.kind!r} with profile options {self.profile}")


Request = PreloadRequest | DescribeRequest | EnvironmentRequest | ProbeRequest | LaunchRequest
Message = TypeVar("Message")
_REQUESTS = {kind.__name__: kind for kind in typing.get_args(Request)}


@dataclass(frozen=True)
class CodeTree:
    """Where the user's code lies that a request is answered with.

    `home` is the top of the user's own tree, `root` that of the one to use, `place` the working directory below it;
    no module may be loaded from the `others`.
    """

    root: Path
    home: Path
    place: Path
    others: tuple[Path, ...]


@dataclass(frozen=True)
class Envelope:
    """A request as it is sent.

    Its process writes to `log`. One that is spawned imports `modules` first; `tree` has the code to answer with, None
    stands for the code as it lies here.
    """

    id: int
    request: Request
    log: Path | None = None
    modules: tuple[str, ...] | None = None
    tree: CodeTree | None = None

    def to_json(self) -> dict[str, Any]:
        return {**to_json(self), "do": type(self.request).__name__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Envelope:
        """Raises ValueError, TypeError or KeyError for anything else than an envelope."""
        request = read(_REQUESTS[data["do"]], data["request"])
        rest = {name: value for name, value in data.items() if name not in ("do", "request")}
        return cls(request=request, **_fields(cls, rest))


def to_json(message: Any) -> dict[str, Any]:
    """The fields of a message as JSON."""
    return {field.name: _plain(getattr(message, field.name)) for field in dataclasses.fields(message)}


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def read(kind: type[Message], data: Any) -> Message:
    """The message of this kind that JSON holds. Raises ValueError or TypeError for anything else."""
    return kind(**_fields(kind, data))


def _fields(kind: type, data: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return dict(checked(kind, {name: _typed(hints.get(name), value) for name, value in named(data).items()}))


def _typed(kind: Any, value: Any) -> Any:
    """A JSON value as this type; one that cannot be is left for `checked` to refuse."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _typed(arguments[0], value)
    if origin is tuple:
        return tuple(_typed(arguments[0], item) for item in listed(value))
    if origin is Mapping:
        return {name: _typed(arguments[1], item) for name, item in named(value).items()}
    if kind is Path:
        return Path(value)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return kind.from_json(value) if hasattr(kind, "from_json") else read(kind, value)
    return value
