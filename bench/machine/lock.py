"""One run at a time on the processors and cards of a machine: two on the same ones would contaminate each other.

It is a lock of the operating system on one file for all users of the machine, which is released however its holder
dies. Each processor and each card is a byte of that file, so that only runs with common processors or cards exclude
each other. A second file records the holders, only for messages.
"""

from __future__ import annotations

import contextlib
import errno
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
from ..system.gpu import VISIBLE, open_gpus
from ..system.json_data import json_line, json_object
from ..system.signals import interruptible
from .processors import shared_processors

with contextlib.suppress(ModuleNotFoundError):  # Windows, which the command line refuses
    import fcntl

VARIABLE = "EPOCHBENCH_LOCK"  # another path for the lock file
_ASK_EVERY = 0.5  # seconds: a waiting run must not contaminate the one it waits for

Span = tuple[int, int]  # bytes of the lock file: the first, and the one after the last
_CARDS = 1 << 32  # the first byte for a card: above any number of processors
_END = _CARDS + (1 << 32)
_ALL_CARDS = (_CARDS, _END)
_MOST_CARDS = 64
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd")


class Held(UsageError):
    """Another run holds the lock, and --no-wait was given."""


def lock_path() -> Path:
    """The lock file: one per machine, unless the environment names another."""
    shared = Path("/tmp")  # TMPDIR may be the user's own, or the session's
    folder = shared if shared.is_dir() else Path(tempfile.gettempdir())
    return Path(os.environ.get(VARIABLE) or folder / "epochbench.lock")


def own_spans(environs: Iterable[Mapping[str, str]] = (os.environ,)) -> list[Span]:
    """The bytes for what this process and its children may use: processors (affinity, cpuset), and the cards that
    processes with these variables see.
    """
    cards: list[str] = []
    for seen in map(own_cards, environs):
        if seen is None:
            return spans(shared_processors(), None)
        cards += seen
    return spans(shared_processors(), cards)


def spans(processors: Iterable[int], cards: Iterable[str] | None = ()) -> list[Span]:
    """The bytes for these processors and cards, adjacent ones merged; None stands for all possible cards."""
    merged: list[Span] = []
    numbers = [_CARDS + zlib.crc32(card.encode()) for card in cards or ()]
    for number in sorted({*processors, *numbers}):
        if merged and merged[-1][1] == number:
            merged[-1] = (merged[-1][0], number + 1)
        else:
            merged.append((number, number + 1))
    return [*merged, _ALL_CARDS] if cards is None else merged


def own_cards(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """Identifiers of the cards that CUDA shows to this process; None if they are unknown."""
    if not any(map(os.path.exists, _DRIVERS)):
        return []
    visible = environ.get(VISIBLE)
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
    """Holds the lock of what a run `uses`, by default all that it may use; `what` names this run for messages.

    If another run holds part of it, `waiting` is called once with its name, and this waits until all of it is free at
    the same time: nothing is held while waiting, so that no two runs wait for each other. With `wait` False it raises
    Held instead. Raises UsageError if the file cannot be used.
    """
    path = path or lock_path()
    wanted = own_spans() if uses is None else list(uses)
    with _usable(path):
        lock = _open_shared(path)
    try:
        announced = False
        while not _try_lock(lock, path, wanted):
            if not wait:
                raise Held(
                    f"another run is measuring on processors or cards of this one: {holder(path, wanted)}; wait for it "
                    f"by leaving out --no-wait, or give each its own, with taskset and CUDA_VISIBLE_DEVICES"
                )
            if not announced:
                waiting(holder(path, wanted))
                announced = True
            with interruptible():
                sleep(_ASK_EVERY)
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        own_note = {"pid": os.getpid(), "what": what, "since": now, "uses": wanted}
        _write_note(path, wanted, own_note)
        try:
            yield
        finally:
            _write_note(path, wanted)
    finally:
        os.close(lock)  # releases it: it is open nowhere else


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


def _try_lock(lock: int, path: Path, wanted: Sequence[Span]) -> bool:
    """Locks all spans or nothing. Returns whether it did."""
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
    """Locks or releases `length` bytes (0: all) from `first`; the whole file on systems without byte locks."""
    if hasattr(fcntl, "F_OFD_SETLK"):
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, first, length, 0))
    else:
        fcntl.flock(file, fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _open_shared(path: Path) -> int:
    """Opens a file that every user of the machine may open, independent of its creator.

    An existing file is never opened with O_CREAT: Linux forbids that for another user's file in a folder such as /tmp
    (Documentation/admin-guide/sysctl/fs.rst, protected_regular). Nor is it ever removed: a process that has it open
    would lock a file that no other process finds.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW  # a link in /tmp may be a trap
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, flags)  # another process was faster
    os.fchmod(file, 0o666)  # whatever the umask is
    return file


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _write_note(path: Path, wanted: Sequence[Span], own_note: Mapping[str, Any] | None = None) -> None:
    """Replaces all notes about what this process now holds by its own: their processes have died.

    Without `own_note` they are only removed.
    """
    with contextlib.suppress(OSError):  # other runs can wait without knowing for whom
        file = _open_shared(_note(path))
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # briefly: holders of other processors also write here
            others = [note for note in _notes(path) if not _overlap(note["uses"], wanted)]
            lines = [json_line(note) for note in (*others, *([own_note] if own_note else ()))]
            os.ftruncate(file, 0)
            os.write(file, "".join(f"{line}\n" for line in lines).encode())
        finally:
            os.close(file)


def _notes(path: Path) -> list[dict[str, Any]]:
    """The notes that can be read, each with the `text` that names its run."""
    notes = []
    with contextlib.suppress(OSError):
        for line in _note(path).read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                note = json_object(line)
                text = " ".join(f"{note['what']} (process {note['pid']}, since {note['since']})".split())
                uses = [(int(first), int(end)) for first, end in note["uses"]]
                notes.append({**note, "text": text, "uses": uses})
    return notes


def _overlap(some: Iterable[Span], others: Sequence[Span]) -> bool:
    return any(first < end and begin < stop for first, stop in some for begin, end in others)


def holder(path: Path, wanted: Sequence[Span] | None = None) -> str:
    """The run that holds part of what is wanted, from the notes: the last of several."""
    wanted = own_spans() if wanted is None else wanted
    texts = [note["text"] for note in _notes(path) if _overlap(note["uses"], wanted)]
    return str(texts[-1]) if texts else "unknown which"
