"""What the Linux kernel tells in files: their text, its lists of numbers, the control groups around us."""

from __future__ import annotations

from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def text_of(path: Path) -> str:
    """The text of a file, empty where there is none or it may not be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def members(text: str) -> list[int]:
    """The numbers of a list such as `0-2,5`."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def control_groups(controller: str, mount: Path = MOUNT, own: Path = OWN) -> list[Path]:
    """The folders of the control groups around this process, version 1 or 2, the innermost first.

    In a container /proc may name groups of the host that are not mounted: then only the mount is left.
    """
    found: list[Path] = []
    for line in text_of(own).splitlines():
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")  # version 2 names none
        parts = [part for part in path.split("/") if part]
        if ".." in parts or (controllers and controller not in controllers.split(",")):
            continue
        top = mount / controller if controllers else mount
        found += [top.joinpath(*parts[:depth]) for depth in range(len(parts), 0, -1)]
    return [*found, mount, mount / controller]
