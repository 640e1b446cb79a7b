"""Every error that Epochbench raises on purpose.

BenchError
├── UsageError          the user can fix it: one line that names the thing and the remedy (exit 2)
│   ├── SuiteError      a suite file that is missing, does not import or declares something impossible
│   └── ResultsError    a results folder or file that is missing, damaged or not writable
├── Interrupted         a signal ended the command; measurements stay (exit 130 or 143)
└── HarnessFault        the fault is Epochbench's own, never the user's (exit 70)
"""

from __future__ import annotations


class BenchError(Exception):
    """The base class: catch it to catch every error that Epochbench raises on purpose.

    `detail` holds what only `--debug` shows, such as the traceback of a suite that does not import.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class UsageError(BenchError):
    """Something the user gave cannot be used; the message names it and the remedy."""


class SuiteError(UsageError):
    """A suite file or a value that it declares cannot be used."""


class ResultsError(UsageError):
    """A results folder or file is missing, damaged or not writable."""


class Interrupted(BenchError):
    """A signal ended the command early."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number


class HarnessFault(BenchError):
    """An error in Epochbench itself; `detail` goes into the bug report."""
