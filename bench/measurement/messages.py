"""What crosses the border between the parent and a worker process: requests down, reports of what was prepared up.

Every message is frozen, goes through JSON both ways, and is checked when it is read.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..suite.case import Case, Conditions
from ..suite.script import Script
from ..system.json_data import from_json, to_json
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
        return {**to_json(self.__dict__), "do": type(self.request).__name__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Envelope:
        """Raises ValueError, TypeError or KeyError for anything else than an envelope."""
        fields = {name: value for name, value in data.items() if name != "do"}
        return from_json(cls, {**fields, "request": from_json(_REQUESTS[data["do"]], data["request"])})
