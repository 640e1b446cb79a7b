"""The largest batch that fits: which size to try next, when the search is over, and what its tries say.

Up from START by doubling while it fits; then the gap between the largest size that fits and the smallest that
does not is halved until it is a size or SHARE of the larger one. Where the first size does not fit, down by
halving. The next size follows from the tries so far, in whatever order they come: a search that was cut off goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...measurement import SEARCHED, Failure, Measurement, StageRecord
from ...suite.case import MAX, Case

START = 16
MOST = 2**20  # where the data have no length
SHARE = 1 / 32  # of the smallest size that does not fit: a gap that is left

# Why a search ended where it did.
NOTHING, FAILED, DATA = "nothing fits", "failed", "data"
VALIDATE_EVERY, LOADER, ENOUGH = "validate_every", "loader", "enough"


@dataclass(frozen=True)
class Try:
    """One size, as its launch reported it.

    `samples` is the largest batch that there was, `data` how many samples the loop has to go through (None where that
    is not known). `throughput` is samples a second, of the fastest step of the stage that matters; `memory` is bytes.
    `failure` and `message` say why the size does not fit, and are empty where it does.
    """

    size: int
    samples: int = 0
    data: int | None = None
    throughput: float | None = None
    memory: int | None = None
    failure: str = ""
    message: str = ""

    @property
    def fits(self) -> bool:
        return not self.failure


@dataclass(frozen=True)
class Search:
    """The search for the largest batch of a case, whose batch size is MAX, as far as it has come."""

    case: Case
    tries: Sequence[Try] = ()

    @property
    def fitting(self) -> list[Try]:
        """The sizes that fit and that a case may have, in order."""
        return [one for one in self._within if one.fits]

    @property
    def failing(self) -> list[Try]:
        """The sizes that do not fit, in order, of those that a case may have."""
        return [one for one in self._within if not one.fits]

    @property
    def _within(self) -> list[Try]:
        cap = self.cap
        return sorted((one for one in self.tries if one.size <= cap), key=lambda one: one.size)

    @property
    def data(self) -> int | None:
        """How many samples the loop has to go through, as far as it is known: no batch is larger."""
        return min((one.data for one in self.tries if one.data), default=None)

    @property
    def cap(self) -> int:
        """The largest size that makes sense: all of the data, or as much as leaves the steps of `validate_every`."""
        limits = [MOST, *self._most_given]
        if self.data is not None:
            limits.append(self.data // self._every)
        return max(1, min(limits))

    @property
    def _every(self) -> int:
        return (self.case.validate_every or 1) if self.case.mode == "train" else 1

    @property
    def _most_given(self) -> list[int]:
        """The batches of a loader that gave fewer samples than requested, though it knows their number."""
        fitting = [one for one in self.tries if one.fits]
        if not any(one.samples >= one.size for one in fitting):
            return []
        return [one.samples for one in fitting if 0 < one.samples < one.size]

    @property
    def next(self) -> int | None:
        """The size to try next; None where the search is over."""
        cap = self.cap
        largest = max((one.size for one in self.fitting), default=0)
        smallest = min((one.size for one in self.failing), default=None)
        if smallest is None:
            return min(2 * largest or START, cap) if largest < cap else None
        if not largest:
            return smallest // 2 or None
        if smallest - largest <= max(1, smallest * SHARE):
            return None
        return (largest + smallest) // 2

    @property
    def batch_size(self) -> int:
        """The largest size that fits; 1 where none does, since then that is what is reported of."""
        return max((one.size for one in self.fitting), default=1)

    @property
    def why(self) -> str:
        """Why the search ended where it did."""
        if not self.fitting:
            return NOTHING
        if self.failing:
            return FAILED
        if self.batch_size == self.data:
            return DATA
        if self.data is not None and self.batch_size == self.data // self._every:
            return VALIDATE_EVERY
        return LOADER if self._most_given else ENOUGH

    @property
    def fastest(self) -> int | None:
        """The size with the most samples a second, as far as a few steps tell; the smaller of equal ones."""
        known = [(one.throughput, -one.size) for one in self.fitting if one.throughput is not None]
        return -max(known)[1] if known else None


def searches(records: Iterable[Measurement | Failure]) -> list[Search]:
    """The searches that these records are of, in the order of their first tries; other records are left out."""
    found: dict[Case, dict[int, Try]] = {}
    for record in records:
        if record.kind == SEARCHED:
            tries = found.setdefault(record.case.sized(MAX), {})
            tries.setdefault(record.case.batch_size, attempt(record))
    return [Search(case, tuple(tries.values())) for case, tries in found.items()]


def attempt(record: Measurement | Failure) -> Try:
    """What one launch of a search says."""
    size = record.case.batch_size
    if isinstance(record, Failure):
        return Try(size, failure=record.failure, message=record.message)
    trains = record.case.mode == "train"
    matters = [one for one in record.stages if one.stage == ("train" if trains else "test")]
    given = matters if trains else record.stages
    data = record.conditions.get("data_samples")
    return Try(
        size,
        samples=max((number for one in given for number in one.samples), default=0),
        data=data if isinstance(data, int) and data > 0 else None,
        throughput=_throughput(matters),
        memory=record.memory.get("peak_allocated", record.memory.get("peak_rss")),
    )


def _throughput(stages: Sequence[StageRecord]) -> float | None:
    """That of the fastest step: the median of a few steps is not robust against a slow one."""
    steps = (pair for one in stages for pair in zip(one.samples, one.steps, strict=True))
    return max((samples / seconds for samples, seconds in steps if seconds > 0), default=None)


def resolved(cases: Iterable[Case], sizes: Mapping[str, Any]) -> list[Case]:
    """The cases with the size that was found by the id of each, where one was; cases that fall together are one."""
    return list(dict.fromkeys(case.sized(sizes[case.id]) if case.id in sizes else case for case in cases))
