"""What a check answers with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What one check found: `found` says what is the case, `remedy` what to do about it.

    `state` is "ok" (it disturbs nothing, or is taken care of), "notice" (it may disturb, or binds the results
    to this setting), "warning" (it does disturb) or "unknown" (this system does not tell). The
    remedy is empty where it is ok or unknown; a command in it stands between backticks, to be run as it is.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


# Findings of a check, whose name is known where it is asked.


def ok(found: str) -> Finding:
    return Finding("", "ok", found)


def notice(found: str, remedy: str) -> Finding:
    return Finding("", "notice", found, remedy)


def warning(found: str, remedy: str) -> Finding:
    return Finding("", "warning", found, remedy)


def unknown(found: str = "the kernel does not tell") -> Finding:
    return Finding("", "unknown", found)
