"""What the frames of a call show: which code made it, where in the user's code, and under which names."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from ...system.paths import HARNESS, is_in, is_own

_WORKER = str(Path(__file__).parents[1])
_RUN = str(Path(__file__).with_name("run.py"))  # what calls the script
_GENERIC = frozenset({"self", "loader", "dataloader", "data_loader", "it", "iterator", "_"})


def is_own_code(made: Any = None) -> bool:
    """Whether the caller is the script itself, not a library that it uses; for a loader that is `made`, where it is
    created.
    """
    frame = sys._getframe(1)
    while frame is not None and (
        is_in(frame.f_code.co_filename, [_WORKER])
        or (made is not None and any(value is made for value in frame.f_locals.values()))
    ):
        frame = frame.f_back  # type: ignore[assignment]
    return frame is None or is_own(frame.f_code.co_filename)


def place_of(frame: FrameType | None, loader: Any) -> tuple[str, str, tuple[str, ...]]:
    """What identifies a pass that begins in this frame: a key, its line in the user's code, and the names around it.

    The key has the line of every frame outside of Epochbench: one function may go over two loaders. The names of the
    loader come first, then those of functions around it in the user's code, then in libraries.
    """
    stack: list[str] = []
    loaders: list[str] = []
    own: list[str] = []
    others: list[str] = []
    place = ""
    while frame is not None and frame.f_code.co_filename != _RUN:
        code, line = frame.f_code, frame.f_lineno
        if not _is_harness(code.co_filename):
            stack.append(f"{code.co_filename}:{line}")
            if is_own(code.co_filename):
                place = place or _short(code.co_filename, line)
                known = list(frame.f_locals.items())
                loaders += [name for name, value in known if value is loader and name not in _GENERIC]
                own.append(code.co_name)
            else:
                others += [code.co_name, Path(code.co_filename).stem]
        frame = frame.f_back
    return _digest(stack), place or (stack[0] if stack else ""), (*loaders, *own, *others)


def step_place(frame: FrameType | None) -> tuple[str, str]:
    """The same for a step of an optimizer, or a backward pass: the innermost line of the user's own code is its key.

    Torch calls an optimizer through other frames once a scheduler or a scaler has wrapped it.
    """
    while frame is not None:
        name, line = frame.f_code.co_filename, frame.f_lineno
        if is_own(name):
            return f"{name}:{line}", _short(name, line)
        frame = frame.f_back
    return "", ""


def _is_harness(file: str) -> bool:
    return is_in(file, [HARNESS]) or file.startswith("<frozen")


def _short(file: str, line: int) -> str:
    """A line as people write it: relative to the working directory if it is below."""
    path = Path(file)
    here = Path(os.getcwd())
    return f"{path.relative_to(here) if path.is_relative_to(here) else path.name}:{line}"


def _digest(stack: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(stack).encode()).hexdigest()[:16]
