"""What ends a script that is measured."""

from __future__ import annotations

from ...errors import BenchError


class ScriptError(BenchError):
    """What a script does that cannot be measured; the message names the line to add or to fix."""


class Enough(BaseException):
    """Ends a script of which all that was wanted has been seen; no `except Exception` of its own stops it."""
