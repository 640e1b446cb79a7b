"""One run at a time on a machine: two would disturb each other's launches.

The lock is the operating system's, on one file for all users of the machine, so that it is free again
however its holder dies. Beside it lies a note of who holds it; the note alone means nothing.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import UsageError
from bench.signals import interruptible

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
    lock = FileLock(path, timeout=0, mode=0o666)  # every user of the machine locks the same file
    told = False
    while True:
        try:
            lock.acquire()
            break
        except Timeout:
            if not wait:
                raise Held(
                    f"another run is measuring on this machine: {holder(path)}; wait for it by leaving out --no-wait"
                ) from None
            if not told:
                waiting(holder(path))
                told = True
            with interruptible():
                sleep(_ASK_EVERY)
        except OSError as problem:
            raise UsageError(
                f"the lock {path} cannot be used: {problem.strerror}; name another file with {VARIABLE}"
            ) from None
    note = _note(path)
    try:
        _write(note, what)
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _write(note: Path, what: str) -> None:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        note.unlink(missing_ok=True)  # another user's may not be written to
        note.write_text(json.dumps({"pid": os.getpid(), "what": what, "since": now}))
    except OSError:
        pass  # the others wait just as well without knowing for whom


def holder(path: Path) -> str:
    """Who holds the lock, as it says itself."""
    try:
        note = json.loads(_note(path).read_text())
        return f"{note['what']} (process {note['pid']}, since {note['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "it does not say which"
