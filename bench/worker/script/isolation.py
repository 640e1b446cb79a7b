"""Isolates the folders of a script: in each launch, files written there go to a scratch folder, deleted with it.

The launch enters a mount namespace, where an overlay lies over each of its folders (Documentation/filesystems/
overlayfs.rst). The kernel does this, so it applies to every writer: Python, torch's C++, a program that the script
starts. Paths stay the same. So every launch begins with the same files, and no file of the user is overwritten.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...system.paths import is_in

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000  # sched.h
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000  # sys/mount.h
_DETACH = 2


@dataclass(frozen=True)
class Folders:
    """The folders of a script in one launch.

    Files written to them are found in the folders `written`. If isolation failed, `why` is the reason, and nothing may
    be written to them. `shared` are paths inside of them that are not isolated.
    """

    folders: Sequence[str] = ()
    shared: Sequence[str] = ()
    written: Sequence[str] = ()
    why: str = ""

    def new_files(self) -> list[str]:
        """The files written so far, relative to their folder, without Python's cached bytecode."""
        return sorted(
            str(path)
            for place in self.written
            for path in (one.relative_to(place) for one in Path(place).rglob("*") if one.is_file())
            if "__pycache__" not in path.parts
        )


def folders_of(here: str, file: str) -> list[str]:
    """The folders that belong to a script: the working directory and that of its file, none inside another.

    Inside a repository that is the whole repository.
    """
    found: list[str] = []
    for folder in sorted({_top(os.path.realpath(here)), _top(os.path.dirname(os.path.realpath(file)))}):
        if not is_in(folder, found):
            found.append(folder)
    return found


def _top(folder: str) -> str:
    """The top of the repository that contains a folder, else the folder; never a home folder, and never on another
    disk.
    """
    device = os.stat(folder).st_dev
    for above in [Path(folder), *Path(folder).parents]:
        if above in (Path.home(), Path(above.anchor)) or os.stat(above).st_dev != device:
            break
        if (above / ".git").exists():
            return str(above)
    return folder


def caches() -> list[str]:
    """Folders in which programs cache downloads and builds."""
    named = [
        os.environ.get(name)
        for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "TORCHINDUCTOR_CACHE_DIR")
    ]
    return [os.path.realpath(path) for path in (*named, os.path.expanduser("~/.cache")) if path]


def isolate(folders: Sequence[str], shared: Iterable[str], scratch: str) -> list[str]:
    """Mounts an overlay over each of the folders, for this process and all that it starts.

    Paths that are `shared`, and other disks mounted inside, stay as they are. Returns for each folder the place in
    `scratch`, a new folder, where files written to it can be found. Raises OSError where this system does not allow it.
    The process must be a single thread.
    """
    if sys.platform != "linux":
        raise OSError(f"{sys.platform} has no overlays")
    home = os.path.realpath(scratch)
    if any(is_in(home, [folder]) for folder in folders):
        raise OSError("temporary files lie in it: set TMPDIR to another place")
    here = os.getcwd()
    options = _enter_namespaces()
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    mounts = _mount_points()
    os.mkdir(home)
    written = []
    for number, folder in enumerate(folders):
        below, upper, work = (os.path.join(home, f"{name}-{number}") for name in ("below", "upper", "work"))
        for place in (below, upper, work):
            os.mkdir(place)
        _mount(folder, below, "", _BIND | _RECURSIVE)
        _mount("overlay", folder, "overlay", 0, f"lowerdir={below},upperdir={upper},workdir={work}{options}")
        kept = {path for path in (*mounts, *shared) if is_in(path, [folder]) and path != folder}
        for path in sorted(kept):
            if os.path.exists(path):
                _mount(os.path.join(below, os.path.relpath(path, folder)), path, "", _BIND | _RECURSIVE)
        # The user's files must have no second path, through which a cleaner of temporary files could delete them.
        if ctypes.CDLL(None, use_errno=True).umount2(below.encode(), _DETACH) != 0:
            raise _error(below)
        written.append(upper)
    os.chdir(here)  # which was the folder below
    return written


def _enter_namespaces() -> str:
    """Gives this process its own mounts; returns the additional options that an overlay needs then."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS) == 0:
        return ""
    if (
        libc.unshare(_NEW_USER | _NEW_MOUNTS) != 0
    ):  # user_namespaces(7): a user may mount in their own namespace
        raise _error("a mount namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return ",userxattr"


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    texts = source.encode(), target.encode(), kind.encode()
    if libc.mount(*texts, ctypes.c_ulong(flags), options.encode()) != 0:
        raise _error(f"an overlay over {target}" if kind else target)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _mount_points() -> list[str]:
    """The mount points from proc_pid_mountinfo(5), which writes spaces of a path in octal."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def clear(scratch: str) -> None:
    """Makes the overlays in a launch's scratch folder removable: the kernel creates a folder without rights there."""
    for work in Path(scratch).glob("work-*/work"):
        with suppress(OSError):  # it then stays among the temporary files
            work.chmod(0o700)
