"""The largest batch that fits: which size to try next, when the search is over, and its result.

Up from START by doubling while it fits; then the gap between the largest size that fits and the smallest that does not
is halved until it is a size or SHARE of the larger one. If the first size does not fit, sizes are halved. The next size
depends only on the tries so far, in any order, so that an interrupted search can continue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...measurement import SEARCHED, Failure, Measurement, StageRecord
from ...suite.case import MAX, Case

START = 16
MOST = 2**20  # if the data have no length
SHARE = 1 / 32  # of the smallest size that does not fit: the gap at which the search ends

# Why a search ended where it did.
NOTHING, FAILED, DATA = "nothing fits", "failed", "data"
VALIDATE_EVERY, LOADER, ENOUGH = "validate_every", "loader", "enough"


@dataclass(frozen=True)
class Try:
    """One size, as its launch reported it.

    `samples` is the largest batch that occurred, `data` the number of samples of the loop's data (None if unknown).
    `throughput` is samples per second in the fastest step of the main stage; `memory` is bytes. `failure` and `message`
    are why the size does not fit, empty if it does.
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
    """The search for the largest batch of a case whose batch size is MAX, so far."""

    case: Case
    tries: Sequence[Try] = ()

    @property
    def fitting(self) -> list[Try]:
        """The possible sizes that fit, in order."""
        return [one for one in self._within if one.fits]

    @property
    def failing(self) -> list[Try]:
        """The possible sizes that do not fit, in order."""
        return [one for one in self._within if not one.fits]

    @property
    def _within(self) -> list[Try]:
        cap = self.cap
        return sorted((one for one in self.tries if one.size <= cap), key=lambda one: one.size)

    @property
    def data(self) -> int | None:
        """How many samples the data have, if known: no batch is larger."""
        return min((one.data for one in self.tries if one.data), default=None)

    @property
    def cap(self) -> int:
        """The largest useful size: all of the data, or the size at which an epoch still has `validate_every` steps."""
        limits = [MOST, *self._most_given]
        if self.data is not None:
            limits.append(self.data // self._every)
        return max(1, min(limits))

    @property
    def _every(self) -> int:
        return (self.case.validate_every or 1) if self.case.mode == "train" else 1

    @property
    def _most_given(self) -> list[int]:
        """The largest batches that the loader gave where it was asked for more, if it gave all for another size."""
        fitting = [one for one in self.tries if one.fits]
        if not any(one.samples >= one.size for one in fitting):
            return []
        return [one.samples for one in fitting if 0 < one.samples < one.size]

    @property
    def next(self) -> int | None:
        """The size to try next; None if the search is over."""
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
        """The largest size that fits; 1 if none does, so that the case is launched and its failure reported."""
        return max((one.size for one in self.fitting), default=1)

    @property
    def why(self) -> str:
        """Why the search ended at this size."""
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
        """The size with the most samples per second in a few steps; the smaller of equal ones."""
        known = [(one.throughput, -one.size) for one in self.fitting if one.throughput is not None]
        return -max(known)[1] if known else None


def searches(records: Iterable[Measurement | Failure]) -> list[Search]:
    """The searches in these records, in the order of their first tries; other records are ignored."""
    found: dict[Case, dict[int, Try]] = {}
    for record in records:
        if record.kind == SEARCHED:
            tries = found.setdefault(record.case.sized(MAX), {})
            tries.setdefault(record.case.batch_size, attempt(record))
    return [Search(case, tuple(tries.values())) for case, tries in found.items()]


def attempt(record: Measurement | Failure) -> Try:
    """The result of one launch of a search."""
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
    """Samples per second of the fastest step: the median of a few steps is not robust against a slow one."""
    steps = (pair for one in stages for pair in zip(one.samples, one.steps, strict=True))
    return max((samples / seconds for samples, seconds in steps if seconds > 0), default=None)


def resolved(cases: Iterable[Case], sizes: Mapping[str, Any]) -> list[Case]:
    """The cases with the size that was found, by id, if any; cases that become equal are one."""
    return list(dict.fromkeys(case.sized(sizes[case.id]) if case.id in sizes else case for case in cases))
