"""The finding of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check: `found` describes the state of the machine, `remedy` what to do about it.

    `state` is "ok" (no disturbance, or one that is handled), "notice" (may disturb, or results hold for this setting
    only), "warning" (disturbs) or "unknown" (this system does not say). The remedy is empty for ok and unknown; a
    command in it stands between backticks, ready to run.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


# Findings without a name: `examine` adds that of the check.


def ok(found: str) -> Finding:
    return Finding("", "ok", found)


def notice(found: str, remedy: str) -> Finding:
    return Finding("", "notice", found, remedy)


def warning(found: str, remedy: str) -> Finding:
    return Finding("", "warning", found, remedy)


def unknown(found: str = "the kernel does not say") -> Finding:
    return Finding("", "unknown", found)
