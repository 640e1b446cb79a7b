"""The loops of a script that does not mark them, as its first run showed them."""

from __future__ import annotations

from dataclasses import dataclass

from ..system.json_data import JsonRecord

BATCH, OPTIMIZER, BACKWARD = "batch", "optimizer", "backward"  # what ends a step


@dataclass(frozen=True)
class Loop(JsonRecord):
    """A loop of one stage: its steps end with a `BATCH` of a loader, a step of an `OPTIMIZER` or a `BACKWARD` pass.

    `key` identifies it in another run of the same script, `place` is its line (`main.py:41`) for people. `steps` is
    the length of an epoch where it is known. With `is_cut`, an epoch is that number of steps, wherever a pass over the
    loader ends.
    """

    stage: str
    ends: str
    key: str
    place: str
    steps: int | None = None
    is_cut: bool = False
