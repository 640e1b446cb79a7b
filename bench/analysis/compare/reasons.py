"""Why a metric of a case has no number that could be compared. Data only: the words are in `report/reasons.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Cause(Enum):
    """What is wrong; `Reason.detail` and `Reason.values` say with what."""

    BASE_FAILED = auto()  # `detail` is what it reported
    CANDIDATE_FAILED = auto()  # the same
    NO_CASE = auto()  # the candidate does not have the case
    NO_VALUE = auto()  # the candidate does not have the metric
    NO_PAIR = auto()  # measuring ended before the first pair
    NO_DIFFERENCE = auto()  # of these `values`
    NO_RATIO = auto()  # of these `values`
    ADDED_UP = auto()  # the side `detail` is of an earlier version, which added counts up over several steps


@dataclass(frozen=True)
class Reason:
    """The cause with its facts."""

    cause: Cause
    detail: str = ""
    values: tuple[float, float] | None = None
