"""Stops a script before it writes files that other launches, or the user, would find.

Each launch of a script must begin from the same files. It may write to its folders if they are isolated
(`isolation.py`), and to temporary files and caches, but nowhere else.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.serialization

from ...system.paths import is_in
from .isolation import caches

Handler = Callable[[tuple[Any, ...]], None]


@contextmanager
def audited(handlers: Mapping[str, Handler]) -> Iterator[None]:
    """A context in which the handler of each audit event (library/audit_events) is called; what it raises prevents the
    event.

    An audit hook cannot be removed, and is called for every event of the process, hundreds per step: it must be quick,
    and does nothing after the context.
    """
    at_work = dict(handlers)
    find = at_work.get

    def hook(event: str, details: tuple[Any, ...]) -> None:
        if (handler := find(event)) is not None:
            handler(details)

    sys.addaudithook(hook)
    try:
        yield
    finally:
        at_work.clear()


_WRITES = os.O_WRONLY | os.O_RDWR
_SYSTEM = ("/dev", "/proc", "/sys", "/run")
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
_MOST_FILES = 20_000  # of a folder that is searched: larger ones hold a data set, which is not written to


class Stopped(BaseException):
    """Ends a script before a forbidden action; the script's own `except Exception` does not catch it."""


REMEDY = (
    "run it once by itself if that is a cache, or let launches overwrite what those before them have written: "
    "--in-place"
)


class Writes:
    """Stops the script at its first write outside of its `folders`; `problem` is the message.

    If these are not isolated, `why` is the reason, and only writes to `shared` places, such as the results, are allowed
    in them.
    """

    def __init__(self, folders: Sequence[str], shared: Sequence[str] = (), why: str = "") -> None:
        self.problem = ""
        self._folders, self._why = folders, why
        self._free = [*shared, *caches(), *_SYSTEM, os.path.realpath(tempfile.gettempdir())]
        self._checking = threading.local()  # resolving a path causes audit events too

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A context that checks writes by Python and, in C++, by `torch.save`.

        If the folders are not isolated, raises Stopped at the end for files that other programs have written there.
        """
        plain = torch.serialization._open_zipfile_writer

        def told(name_or_buffer: Any) -> Any:
            if isinstance(name_or_buffer, str | os.PathLike):
                self._check(name_or_buffer)
            return plain(name_or_buffer)

        before = self._listing()
        torch.serialization._open_zipfile_writer = told
        try:
            with audited(self._handlers()):
                yield
        finally:
            torch.serialization._open_zipfile_writer = plain
        if changed := sorted(path for path, _ in before ^ self._listing()):
            raise Stopped(self._said(changed[0]))

    def _handlers(self) -> dict[str, Handler]:
        def opened(details: tuple[Any, ...]) -> None:
            path, _, flags = details
            if flags and flags & _WRITES:
                self._check(path)

        def made(details: tuple[Any, ...]) -> None:
            self._check(details[1], *details[3:4])

        def removed(details: tuple[Any, ...]) -> None:
            self._check(*details[:2])

        return {
            "open": opened,
            **dict.fromkeys(("os.rename", "os.link", "os.symlink"), made),
            **dict.fromkeys(("os.remove", "os.rmdir"), removed),
            "os.truncate": lambda details: self._check(details[0]),
        }

    def _check(self, path: Any, folder: int = -1) -> None:
        """Raises Stopped for a path, relative to an open folder if one is given, that must not be written."""
        if isinstance(path, int) or getattr(self._checking, "on", False):
            return
        self._checking.on = True
        try:
            where = f"/proc/self/fd/{folder}" if folder >= 0 else ""
            real = os.path.realpath(os.path.join(where, os.fsdecode(path)))
            if self.is_free(real):
                return
            self.problem = self.problem or self._said(real)
        finally:
            self._checking.on = False
        raise Stopped(self.problem)

    def is_free(self, path: str) -> bool:
        """Whether a real path may be written to: it is in an isolated folder, a cache or a temporary folder."""
        *around, _ = Path(path).parts
        if "__pycache__" in around or is_in(path, self._free):
            return True
        if is_in(path, self._folders):
            return not self._why
        return any(part.startswith(".") for part in around) or any(
            is_in(path, [os.path.realpath(folder)]) for folder in _TEMPORARY
        )

    def _said(self, path: str) -> str:
        if self._why:
            where = f"and this system gives a launch no folder of its own ({self._why})"
        else:
            where = (
                f"which is not in {' or '.join(self._folders)}, the folder that each launch has for itself"
            )
        return f"the script writes {path}, {where}; {REMEDY}"

    def _listing(self) -> set[tuple[str, tuple[int, int, int]]]:
        """The files of folders that are not isolated; empty if there are very many."""
        found: set[tuple[str, tuple[int, int, int]]] = set()
        for folder in self._folders if self._why else ():
            for place, below, files in os.walk(folder):
                below[:] = [
                    name
                    for name in below
                    if not name.startswith(".") and not self.is_free(os.path.join(place, name, "file"))
                ]
                if len(found) + len(files) > _MOST_FILES:
                    return set()
                for name in files:
                    path = os.path.join(place, name)
                    if not os.path.islink(path):
                        about = os.stat(path)
                        found.add((path, (about.st_size, about.st_mtime_ns, about.st_ino)))
        return found
