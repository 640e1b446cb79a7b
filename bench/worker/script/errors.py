"""Exceptions that end a script that is measured."""

from __future__ import annotations

from ...errors import BenchError


class ScriptError(BenchError):
    """What a script does that cannot be measured; the message names the line to add or to fix."""


class Enough(BaseException):
    """Ends a script once everything needed was measured; the script's own `except Exception` does not catch it."""
