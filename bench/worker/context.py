"""Facts about the process that a launch runs in."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .script.isolation import Folders

_NANO = 1e-9


@dataclass(frozen=True)
class LaunchContext:
    """When the process was started (`time.perf_counter_ns`), the log it writes to, and the folders of a script.

    Without `folders` a script may write wherever it likes.
    """

    launched_at: int
    log: str
    folders: Folders | None = None

    def seconds_before(self, began: int) -> float:
        """Seconds from the start of the process to this moment of its clock."""
        return (began - self.launched_at) * _NANO

    def untimed_costs(self, began: int) -> dict[str, float]:
        """The `costs` of an untimed launch whose work began at this moment and ends now."""
        return {"before_build": self.seconds_before(began), "apart": (time.perf_counter_ns() - began) * _NANO}
