"""Reading the Linux kernel's files: their text, lists of numbers, and the control groups around this process."""

from __future__ import annotations

import os
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def read_file(path: str | Path) -> str:
    """The text of a file; empty if it does not exist or may not be read."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def expand_ranges(text: str) -> list[int]:
    """The numbers of a list such as `0-2,5`."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first:
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def control_groups(controller: str, mount: Path = MOUNT, own: Path = OWN) -> list[Path]:
    """The folders of the control groups around this process, version 1 or 2, the innermost first.

    In a container, /proc may name groups of the host that are not mounted: then only the mounted root is used.
    """
    groups: list[Path] = []
    for line in read_file(own).splitlines():
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")  # version 2 names no controllers
        parts = [part for part in path.split("/") if part]
        if ".." in parts or (controllers and controller not in controllers.split(",")):
            continue
        top = mount / controller if controllers else mount
        groups += [top.joinpath(*parts[:depth]) for depth in range(len(parts), 0, -1)]
    return [*groups, mount, mount / controller]


def usable_cpus() -> tuple[int, ...]:
    """The logical processors that this process may run on, in order."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))
