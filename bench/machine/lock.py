"""One run at a time on the processors and cards of a machine: two on the same ones would disturb each other.

The lock is the operating system's, on one file for all users of the machine, so that it is free again however its
holder dies. Each processor and each card is a byte of that file: runs whose sets overlap exclude each other, others do
not meet. Beside it lies a note of who holds what; the note alone means nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..system.signals import interruptible
from .gpu import open_gpus
from .processors import shared_processors

with contextlib.suppress(ModuleNotFoundError):  # Windows: the command line says that it is not supported
    import fcntl

VARIABLE = "EPOCHBENCH_LOCK"  # another path for the lock file
_ASK_EVERY = 0.5  # seconds: a waiting run must not disturb the one it waits for

Span = tuple[int, int]  # bytes of the lock file, from the first to before the second
_CARDS = 1 << 32  # the first byte that stands for a card: processors are never so many
_END = _CARDS + (1 << 32)
_ALL_CARDS = (_CARDS, _END)
_MOST_CARDS = 64  # of a machine
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd")


class Held(UsageError):
    """Another run has the lock, and waiting was not wanted."""


def lock_path() -> Path:
    """The file of the lock: one for the machine, unless the environment names another."""
    shared = Path("/tmp")  # TMPDIR may be the user's own, or the session's
    folder = shared if shared.is_dir() else Path(tempfile.gettempdir())
    return Path(os.environ.get(VARIABLE) or folder / "epochbench.lock")


def own_spans() -> list[Span]:
    """What this process and all that it starts may use: its processors (affinity, cpuset), and the cards it sees."""
    return spans(shared_processors(), own_cards())


def spans(processors: Iterable[int], cards: Iterable[str] | None = ()) -> list[Span]:
    """The bytes that stand for these processors and cards, neighbours together; None are all cards there may be."""
    found: list[Span] = []
    numbers = [_CARDS + zlib.crc32(card.encode()) for card in cards or ()]
    for number in sorted({*processors, *numbers}):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return [*found, _ALL_CARDS] if cards is None else found


def own_cards(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """What tells the cards apart that CUDA shows to this process; None where it is not known which they are."""
    if not any(map(os.path.exists, _DRIVERS)):
        return []
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    named = [entry.strip() for entry in (visible or "").split(",")]
    if visible is not None and named[0] in ("", "-1"):
        return []
    known = [gpu.state().uuid for gpu in open_gpus(range(_MOST_CARDS), environ=environ)]
    if known and all(known) and (visible is None or len(known) == len(named)):
        return [uuid for uuid in known if uuid is not None]
    return None if visible is None else named


@contextmanager
def one_at_a_time(
    what: str,
    wait: bool = True,
    path: Path | None = None,
    waiting: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    uses: Sequence[Span] | None = None,
) -> Iterator[None]:
    """Holds the lock of what a run `uses`, by default all that it may; `what` says to others what for.

    Where another holds some of it, `waiting` is told who, once, and this waits until all of it is free at one moment:
    it never holds a part while it waits for another, so that no two wait for each other. Held is raised where `wait` is
    False. Raises UsageError where the file cannot be used.
    """
    path = path or lock_path()
    wanted = own_spans() if uses is None else list(uses)
    with _usable(path):
        lock = _opened(path)
    try:
        told = False
        while not _taken(lock, path, wanted):
            if not wait:
                raise Held(
                    f"another run is measuring on processors or cards of this one: {holder(path, wanted)}; wait for it "
                    f"by leaving out --no-wait, or give each its own, with taskset and CUDA_VISIBLE_DEVICES"
                )
            if not told:
                waiting(holder(path, wanted))
                told = True
            with interruptible():
                sleep(_ASK_EVERY)
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        mine = {"pid": os.getpid(), "what": what, "since": now, "uses": wanted}
        _note_down(path, wanted, mine)
        try:
            yield
        finally:
            _note_down(path, wanted)
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


# `struct flock` of fcntl(2). A lock of an open file, unlike one of a process, excludes others of the same process.
_FLOCK = "hhqqi"


def _taken(lock: int, path: Path, wanted: Sequence[Span]) -> bool:
    """Takes all of it, or nothing."""
    with _usable(path):
        try:
            for first, end in wanted:
                _lock(lock, fcntl.F_WRLCK, first, end - first)
            return True
        except OSError as problem:
            if problem.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            _lock(lock, fcntl.F_UNLCK, 0, 0)
            return False


def _lock(file: int, kind: int, first: int, length: int) -> None:
    """Locks or frees so many bytes from the first on, all for 0. Where a system has no such locks, all of it always."""
    if hasattr(fcntl, "F_OFD_SETLK"):
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, first, length, 0))
    else:
        fcntl.flock(file, fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB)


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


def _note_down(path: Path, wanted: Sequence[Span], mine: Mapping[str, Any] | None = None) -> None:
    """Writes who holds what is wanted, now that it is this process: all other notes of it are of such as have died.

    Nobody, where there is no note of `mine`.
    """
    with contextlib.suppress(OSError):  # the others wait just as well without knowing for whom
        file = _opened(_note(path))
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # for a moment: holders of other processors write here too
            others = [one for one in _notes(path) if not _overlap(one["uses"], wanted)]
            lines = [json.dumps(one) for one in (*others, *([mine] if mine else ()))]
            os.ftruncate(file, 0)
            os.write(file, "".join(f"{line}\n" for line in lines).encode())
        finally:
            os.close(file)


def _notes(path: Path) -> list[dict[str, Any]]:
    """The notes that can be read."""
    found = []
    with contextlib.suppress(OSError):
        for line in _note(path).read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                note = json.loads(line)
                said = " ".join(f"{note['what']} (process {note['pid']}, since {note['since']})".split())
                uses = [(int(first), int(end)) for first, end in note["uses"]]
                found.append({**note, "said": said, "uses": uses})
    return found


def _overlap(some: Iterable[Span], others: Sequence[Span]) -> bool:
    return any(first < end and begin < stop for first, stop in some for begin, end in others)


def holder(path: Path, wanted: Sequence[Span] | None = None) -> str:
    """Who holds some of what is wanted, as it says itself: the last of several."""
    wanted = own_spans() if wanted is None else wanted
    said = [one["said"] for one in _notes(path) if _overlap(one["uses"], wanted)]
    return str(said[-1]) if said else "it does not say which"
