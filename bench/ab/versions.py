"""The versions that an A/B compares, as the user types them.

ref=REV            the code of a commit, a branch or a tag
worktree           the files as they are now
python=PATH        another interpreter, with its own packages
env:NAME=VALUE     an environment variable of every launch
set:AXIS=VALUE     a value of an axis instead of the suite's
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..suite.case import AxisValue, check_value
from ..suite.matrix import column, parse_value

NOW = "worktree"
_KIND = re.compile(r"(ref|python)=(.*)|(env|set):([^=]*)=(.*)", re.DOTALL)
_WRITTEN = {"ref": "ref=REV", "python": "python=PATH", "set": "set:AXIS=VALUE"}
_LOOKS_LIKE_A_SIDE = re.compile(r"[a-z]+(:[^=/]+)?=")
_AXIS = re.compile(r"(env:|arg:)?-*[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Version:
    """One side. `text` is what the user typed; `ref` is empty for the files as they are, `python` for this interpreter.

    `variables` and `axes` are set on top of what both sides share, the axes under their names for --axis.
    """

    text: str
    ref: str = ""
    python: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    axes: Mapping[str, AxisValue] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, AxisValue]:
        """The axes under their names in suites and tables."""
        return {column(name): value for name, value in self.axes.items()}


def sides_and_suites(arguments: Sequence[str]) -> tuple[list[Version], list[Path]]:
    """The sides and suites among the arguments. Raises UsageError for anything else, and for more than two sides."""
    sides: list[Version] = []
    suites: list[Path] = []
    for text in arguments:
        version = parse(text)
        if version is not None:
            sides.append(version)
        elif _LOOKS_LIKE_A_SIDE.match(text) and not os.path.exists(text):
            raise UsageError(
                f"{text!r} is neither a side nor a suite; a side is ref=REV, worktree, python=PATH, env:NAME=VALUE "
                f"or set:AXIS=VALUE"
            )
        else:
            suites.append(Path(text))
    if len(sides) > 2:
        raise UsageError(
            f"two sides can be compared, not {len(sides)}: {', '.join(side.text for side in sides)}"
        )
    if len(sides) == 2 and sides[0] == sides[1] and sides[0].text != NOW:
        raise UsageError(
            f"both sides are {sides[0].text}; name two that differ (worktree worktree measures the noise)"
        )
    return sides, suites


def parse(text: str) -> Version | None:
    """The side that a text names; None if it is not a side. Raises UsageError for an invalid side."""
    if text == NOW:
        return Version(text)
    match = _KIND.fullmatch(text)
    if match is None:
        return None
    kind, value = match[1] or match[3], match[2] if match[1] else match[5]
    if not value and kind != "env":
        raise UsageError(f"{text!r} has no value; write {_WRITTEN[kind]}")
    if kind == "ref":
        return Version(text, ref=value)
    if kind == "python":
        return Version(text, python=interpreter(value))
    name = match[4]
    if kind == "env":
        if not name or "\0" in text:
            raise UsageError(f"{text!r}: an environment variable needs a name; write env:NAME=VALUE")
        return Version(text, variables={name: value})
    if not _AXIS.fullmatch(name):
        raise UsageError(f"{text!r}: {name!r} is not a name for an axis; write set:AXIS=VALUE")
    parsed = parse_value(value)
    check_value(column(name), parsed)
    return Version(text, axes={name: parsed})


def interpreter(text: str) -> str:
    """The program that python= names. Raises UsageError where it does not exist."""
    program = shutil.which(os.path.expanduser(text))
    if program is None:
        raise UsageError(
            f"python={text}: there is no such program; name an interpreter, such as old/bin/python"
        )
    # Not resolved: Python finds a virtual environment by the path of its link.
    return os.path.abspath(program)
