"""What a script writes where other launches, or its user, would find it: stopped before anything is overwritten.

Each launch of a script is to begin from the same files. Where it has its folders for itself (`isolation.py`) these may
be written to; what lies elsewhere may not, unless it is meant to be found again: temporary files, caches.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.serialization

from ...system.paths import is_in
from .audit import Handler, heard
from .isolation import caches

_WRITES = os.O_WRONLY | os.O_RDWR
_SYSTEM = ("/dev", "/proc", "/sys", "/run")
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
_MOST_FILES = 20_000  # of a folder that is looked through: a data set of images is no place to write to


class Stopped(BaseException):
    """Ends a script before it does what it must not; no `except Exception` of its own stops that."""


REMEDY = (
    "run it once by itself if that is a cache, or let launches overwrite what those before them have written: "
    "--in-place"
)


class Writes:
    """Stops the script at its first write outside of its folders; `problem` is what it is then told.

    `folders` are its own; where it does not have them for itself, `why` says why, and no write to them is let through
    but to what is `shared` on purpose, such as the results.
    """

    def __init__(self, folders: Sequence[str], shared: Sequence[str] = (), why: str = "") -> None:
        self.problem = ""
        self._folders, self._why = folders, why
        self._free = [*shared, *caches(), *_SYSTEM, os.path.realpath(tempfile.gettempdir())]
        self._checking = threading.local()  # to look at a path is heard of, too

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, writes are heard of: Python's own, and those of `torch.save`, which are C++.

        Where the script does not have its folders for itself, what others have written there is found at the end.
        Raises Stopped for it.
        """
        plain = torch.serialization._open_zipfile_writer

        def told(name_or_buffer: Any) -> Any:
            if isinstance(name_or_buffer, str | os.PathLike):
                self._check(name_or_buffer)
            return plain(name_or_buffer)

        before = self._listing()
        torch.serialization._open_zipfile_writer = told
        try:
            with heard(self._handlers()):
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
        """Whether a real path may be written to: it is the script's own, or kept for the next program on purpose."""
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
        """The files of folders that the script does not have for itself; nothing where they are very many."""
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
