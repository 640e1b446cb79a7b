"""How many samples a batch has: said by the script, told by its loader, or read from the batch itself.

A sample is a row of the data. Where nothing says how many there are, or two sources disagree, the number is a guess:
a stage with one has no throughput.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from ..errors import BenchError
from .hooks import is_traced

LOOKED_AT = 2  # batches of a pass that are held against what their loader says
_DEEP = 4  # levels of a batch that are looked into

Said = int | Callable[[Any], Any] | None


class SamplesError(BenchError):
    """What `bench.watch(loader, samples=...)` gives is no number of samples."""


class Samples(NamedTuple):
    """The samples of a batch; 0 where it does not tell any. `is_known` is False for a guess."""

    number: int
    is_known: bool


UNTOLD = Samples(0, False)


class Part(NamedTuple):
    """How many rows a part of a batch may have: as an array or a list of values says, or only as a list's length."""

    certain: frozenset[int]
    possible: frozenset[int] = frozenset()


class Counted:
    """The batches of a loader, each with its samples. Raises SamplesError for a `said` that is no number of them."""

    def __init__(self, loader: Iterable[Any], said: Said = None) -> None:
        self._loader, self._said = loader, said

    def __iter__(self) -> Iterator[tuple[Any, Samples]]:
        drawn = None if self._said is not None else drawn_by(self._loader)
        for number, batch in enumerate(self._loader):
            if self._said is not None:
                yield batch, said_of(self._said, batch)
            elif drawn is None:
                yield batch, samples_of(batch, size_of(self._loader))
            else:
                rows = drawn(number)
                yield batch, (checked(batch, rows) if number < LOOKED_AT else Samples(rows, True))


def said_of(said: int | Callable[[Any], Any], batch: Any) -> Samples:
    """What `bench.watch(loader, samples=...)` says of this batch. Raises SamplesError where that is no such number."""
    number = said(batch) if callable(said) else said
    try:
        whole = int(number)
    except (TypeError, ValueError, RuntimeError):
        whole = -1
    if whole < 1 or whole != number:
        raise SamplesError(f"its samples= gives {number!r} for a batch: give a whole number of at least 1")
    return Samples(whole, True)


def behind(loader: Any) -> Any:
    """The DataLoader that a progress bar shows, or the loader itself."""
    inner = getattr(loader, "iterable", None)
    return inner if isinstance(inner, DataLoader) else loader


def drawn_by(loader: Any) -> Callable[[int], int] | None:
    """The rows that a DataLoader draws for its batch of a number; None where that is not known beforehand."""
    loader = behind(loader)
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    sampler = loader.batch_sampler
    if type(sampler) is not BatchSampler:
        return None
    try:
        rows, size = len(sampler.sampler), int(sampler.batch_size)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None
    return lambda number: max(1, min(size, rows - number * size))


def size_of(loader: Any) -> int | None:
    """The batch size that a loader says it has."""
    loader = behind(loader)
    for one in (loader, getattr(loader, "batch_sampler", None)):
        size = getattr(one, "batch_size", None)
        if isinstance(size, int) and size > 0:
            return size
    return None


def checked(batch: Any, rows: int) -> Samples:
    """The rows that were drawn for a batch, unless all of its parts have another number of them."""
    found = samples_of(batch, rows)
    if not found.number or not found.is_known or found.number == rows:
        return Samples(rows, True)
    if any(rows in shape for shape in shapes_in(batch)):
        return Samples(rows, True)  # they need not come first, as in text whose first dimension is time
    return Samples(found.number, False)


def samples_of(batch: Any, size: int | None = None) -> Samples:
    """The rows that all parts of a batch agree on; a guess where they do not. `size` is the most that there can be."""
    shape = getattr(batch, "shape", None)
    if shape is not None:
        parts = [part_of(batch)]
    elif isinstance(batch, Mapping):
        parts = [part_of(one) for one in batch.values()]
    elif isinstance(batch, tuple | list):
        parts = [part_of(one) for one in batch]
        if not any(part.certain for part in parts):
            parts = [part_of(batch)]
    elif isinstance(batch, Sized) and not isinstance(batch, str | bytes):
        parts = [part_of(batch)]
    else:
        parts = [part_of(one) for one in getattr(batch, "__dict__", {}).values()]
    parts = [part for part in parts if part.certain or part.possible]
    if not parts:
        return UNTOLD
    certain = frozenset().union(*(part.certain for part in parts))
    agreed = {rows for rows in certain if all(rows in part.certain | part.possible for part in parts)}
    if size in agreed:
        return Samples(size, True)  # type: ignore[arg-type]
    if len(agreed) != 1:
        return Samples(max(certain | frozenset().union(*(part.possible for part in parts))), False)
    (rows,) = agreed
    return Samples(rows, rows > 0 and (size is None or rows < size) and not _may_be_time(batch))


def part_of(part: Any, deep: int = _DEEP) -> Part:
    """How many rows one part of a batch may have."""
    shape = getattr(part, "shape", None)
    if shape is not None:
        return Part(frozenset(list(shape)[:1]))
    if isinstance(part, str | bytes) or not deep:
        return Part(frozenset())
    if isinstance(part, Mapping):
        inner = [part_of(one, deep - 1) for one in part.values()]
        return Part(_common(inner))
    if not isinstance(part, tuple | list):
        return Part(frozenset([len(part)]) if isinstance(part, Sized) else frozenset())
    whole = frozenset([len(part)]) - {0}
    if not any(hasattr(one, "shape") or isinstance(one, tuple | list) for one in part):
        return Part(whole)  # values, names or records
    return Part(_common([part_of(one, deep - 1) for one in part]), whole)


def _common(parts: Iterable[Part]) -> frozenset[int]:
    """The rows that all parts have which are certain of any."""
    known = [part.certain for part in parts if part.certain]
    return frozenset.intersection(*known) if known else frozenset()


def shapes_in(batch: Any, deep: int = _DEEP) -> Iterator[tuple[int, ...]]:
    """The shapes of all arrays in a batch, and the lengths of its lists."""
    shape = getattr(batch, "shape", None)
    if shape is not None:
        yield tuple(shape)
    elif deep and isinstance(batch, Mapping | tuple | list):
        if not isinstance(batch, Mapping):
            yield (len(batch),)
        for one in batch.values() if isinstance(batch, Mapping) else batch:
            yield from shapes_in(one, deep - 1)


def _may_be_time(batch: Any) -> bool:
    """Whether all parts share two dimensions and hold integers: text, whose first one may be time or sentences."""
    parts = [batch] if isinstance(batch, Tensor) else list(batch) if isinstance(batch, tuple | list) else []
    tensors = [one for one in parts if isinstance(one, Tensor)]
    if not tensors or any(one.dim() < 2 for one in tensors):
        return False
    is_whole = [not one.is_floating_point() and not one.is_complex() for one in tensors]
    return all(is_whole) and len({one.shape[:2] for one in tensors}) == 1 and tensors[0].shape[1] > 1


def rows_given(inputs: Iterable[Any]) -> Samples:
    """The rows of the first tensor that a module is called with; a guess where they may be something else.

    Of text and sequences the first dimension may be time, of a single state of an environment its features.
    """
    first = next((one for one in inputs if isinstance(one, Tensor) and one.dim()), None)
    if first is None:
        return UNTOLD
    is_sure = first.is_floating_point() and first.dim() in (2, 4) and len(first) > 1 and not is_traced(first)
    return Samples(len(first), is_sure)


