"""Messages between the parent and a worker process: requests to it, and reports of what it prepared.

Every message is frozen, goes through JSON both ways, and is checked when it is read.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..suite.case import Case, Conditions
from ..suite.loops import Loop
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

    Each of the `overrides` is the name of an axis and its values; the suites check them and report errors.
    """

    files: tuple[Path, ...]
    overrides: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True)
class EnvironmentRequest:
    """Describe the machine and software under these conditions, with the peaks of the `devices` of the plan."""

    conditions: Conditions
    seed: int
    devices: tuple[str, ...] = ("cpu",)


@dataclass(frozen=True)
class PeaksRequest:
    """Measure the peaks of these pairs of a device and a number format."""

    conditions: Conditions
    seed: int
    formats: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ProbeRequest:
    """Build each of the `cases` of one suite, or run its script briefly; the answer is a `ProbeReport`.

    `requested_axes` are those that the command names; if there are any, `all_cases` are all cases of the suite.
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
    """The result of building the cases of a suite.

    `modules` are the installed modules that were imported, `sources` the files of the user's own code, `idle` the axes
    that are read and change nothing, `written` the files that a script wrote to its folders, `device` that of its
    model; with `has_accelerator` it may be another one for another case. `loops` are those of a script that marks none.
    """

    modules: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    idle: tuple[str, ...] = ()
    written: tuple[Path, ...] = ()
    device: str = ""
    has_accelerator: bool = False
    loops: tuple[Loop, ...] = ()


@dataclass(frozen=True)
class ProfileOptions:
    """What to profile: `steps` of each stage, with Python's `stacks` if requested.

    Files go to `folder` and begin with `name`; a trace larger than `cap` bytes is not kept.
    """

    folder: Path
    name: str
    steps: int = 5
    stacks: bool = False
    cap: int = 50_000_000


@dataclass(frozen=True)
class Slowdown:
    """Work that a launch adds to its task, to measure whether the gate finds it.

    `kind` is "wait", `seconds` before every `every`-th batch of a stage, or "layer", after the model.
    """

    kind: str
    stage: str = "train"
    every: int = 1
    seconds: float = 0.0


@dataclass(frozen=True)
class LaunchRequest:
    """The request of one launch.

    `idle` are axes that change nothing in the suite. `memory_limit` (bytes) is for a launch that tries a batch size on
    the CPU; with `graph` a counts launch keeps the autograd graph; `profile` is set if `kind` is a profile.
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


Request = PreloadRequest | DescribeRequest | EnvironmentRequest | PeaksRequest | ProbeRequest | LaunchRequest
_REQUESTS = {kind.__name__: kind for kind in typing.get_args(Request)}


@dataclass(frozen=True)
class CodeTree:
    """The place of the user's code for a request.

    `home` is the top of the user's own tree, `root` that of the one to use, `place` the working directory below it;
    no module may be loaded from the `others`.
    """

    root: Path
    home: Path
    place: Path
    others: tuple[Path, ...]


@dataclass(frozen=True)
class Envelope:
    """A request with its context, as it is sent.

    Its process writes to `log`. A spawned one imports `modules` first; `tree` has the code to use, None stands for the
    code in the working directory.
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
        """Raises ValueError, TypeError or KeyError for anything but an envelope."""
        fields = {name: value for name, value in data.items() if name != "do"}
        return from_json(cls, {**fields, "request": from_json(_REQUESTS[data["do"]], data["request"])})
