"""One run at a time on a machine: two would disturb each other's launches.

The lock is the operating system's, on one file for all users of the machine, so that it is free again
however its holder dies. Beside it lies a note of who holds it; the note alone means nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from ..errors import UsageError
from ..signals import interruptible

with contextlib.suppress(ModuleNotFoundError):  # Windows: the command line says that it is not supported
    import fcntl

VARIABLE = "EPOCHBENCH_LOCK"  # another path for the lock file
_ASK_EVERY = 0.5  # seconds: a waiting run must not disturb the one it waits for


class Held(UsageError):
    """Another run has the lock, and waiting was not wanted."""


def lock_path() -> Path:
    """The file of the lock: one for the machine, unless the environment names another."""
    shared = Path("/tmp")  # TMPDIR may be the user's own, or the session's
    folder = shared if shared.is_dir() else Path(tempfile.gettempdir())
    return Path(os.environ.get(VARIABLE) or folder / "epochbench.lock")


@contextmanager
def one_at_a_time(
    what: str,
    wait: bool = True,
    path: Path | None = None,
    waiting: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Holds the lock of the machine; `what` says to others what for.

    Where another holds it, `waiting` is told who, once, and this waits until it is free; Held is raised
    where `wait` is False. Raises UsageError where the file cannot be used.
    """
    path = path or lock_path()
    with _usable(path):
        lock = _opened(path)
    try:
        told = False
        while not _taken(lock, path):
            if not wait:
                raise Held(
                    f"another run is measuring on this machine: {holder(path)}; wait for it by leaving out --no-wait"
                )
            if not told:
                waiting(holder(path))
                told = True
            with interruptible():
                sleep(_ASK_EVERY)
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        _write(_note(path), json.dumps({"pid": os.getpid(), "what": what, "since": now}))
        try:
            yield
        finally:
            _write(_note(path), "")
    finally:
        os.close(lock)  # which frees it: it is open nowhere else


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise UsageError(
            f"the lock {path} cannot be used: {problem.strerror}; name another file with {VARIABLE}"
        ) from None


def _taken(lock: int, path: Path) -> bool:
    with _usable(path):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False


def _opened(path: Path) -> int:
    """A file that every user of the machine may open: the same one for all, whoever made it.

    It is never opened to be made where it is there: Linux forbids that for another's file in a folder such as
    /tmp (Documentation/admin-guide/sysctl/fs.rst, protected_regular). Nor is it ever removed: who has it open
    would lock what nobody else finds.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW  # a link in /tmp may be a trap
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, flags)  # another was quicker
    os.fchmod(file, 0o666)  # whatever the umask says
    return file


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _write(note: Path, text: str) -> None:
    try:
        file = _opened(note)
        try:
            os.ftruncate(file, 0)
            os.write(file, text.encode())
        finally:
            os.close(file)
    except OSError:
        pass  # the others wait just as well without knowing for whom


def holder(path: Path) -> str:
    """Who holds the lock, as it says itself."""
    try:
        note = json.loads(_note(path).read_text())
        return " ".join(f"{note['what']} (process {note['pid']}, since {note['since']})".split())
    except (OSError, ValueError, KeyError, TypeError):
        return "it does not say which"
