"""How many samples a step of a script has: from the script, its loader, or the batch itself.

A sample is a row of the data. If no source has the number, or two disagree, it is a guess; a stage with a guess has no
throughput.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader

from ...batches import samples_in, samples_of_pass, sizes_of
from ...errors import BenchError
from .loss_values import is_traced

_LOOKED_AT = 2  # batches of a pass that are compared with what their loader draws
_DEEP = 4  # levels of a batch that are searched

Said = int | Callable[[Any], Any] | None


class SamplesError(BenchError):
    """The argument `samples` of `epochbench.watch` did not give a number of samples."""


class Samples(NamedTuple):
    """The samples of a batch, 0 if unknown. `is_known` is False for a guess."""

    number: int
    is_known: bool


UNTOLD = Samples(0, False)


class Counted:
    """The batches of a loader, each with its samples. Raises SamplesError for a `said` that is not a number."""

    def __init__(self, loader: Iterable[Any], said: Said = None) -> None:
        self._loader, self._said = loader, said

    def __iter__(self) -> Iterator[tuple[Any, Samples]]:
        if self._said is not None:
            for batch in self._loader:
                yield batch, said_of(self._said, batch)
            return
        behind = loader_behind(self._loader)
        left = samples_of_pass(behind)
        sizes = sizes_of(behind) or sizes_of(getattr(behind, "batch_sampler", None))
        for number, batch in enumerate(self._loader):
            if left is None:
                yield batch, read(batch, sizes)
                continue
            drawn = max(1, min(sizes[0], left))
            left -= drawn
            yield batch, (checked(batch, drawn) if number < _LOOKED_AT else Samples(drawn, True))


def said_of(said: int | Callable[[Any], Any], batch: Any) -> Samples:
    """The samples of this batch from `watch(loader, samples=...)`. Raises SamplesError unless it is a whole number."""
    number = said(batch) if callable(said) else said
    try:
        whole = int(number)
    except (TypeError, ValueError, RuntimeError):
        whole = -1
    if whole < 1 or whole != number:
        shape = getattr(number, "shape", None)
        told = reprlib.repr(number) if shape is None else f"a {type(number).__name__} of shape {tuple(shape)}"
        raise SamplesError(f"its samples= gives {told} for a batch: give a whole number of at least 1")
    return Samples(whole, True)


def loader_behind(loader: Any) -> Any:
    """The DataLoader that a progress bar wraps, or the loader itself."""
    inner = getattr(loader, "iterable", None)
    return inner if isinstance(inner, DataLoader) else loader


def checked(batch: Any, drawn: int) -> Samples:
    """The rows that were drawn for a batch, unless none of its parts has that many."""
    found = samples_in(batch)
    is_list = isinstance(batch, list | tuple) and len(batch) == drawn
    if found in (None, drawn) or is_list or any(drawn in shape for shape in shapes_in(batch)):
        # They need not be the first dimension, as in text whose first dimension is time.
        return Samples(drawn, True)
    return Samples(found, False)


def read(batch: Any, sizes: tuple[int, ...] = ()) -> Samples:
    """The rows on which all parts of a batch agree; a guess if they disagree, or have more than a loader's `sizes`.

    The length of a list of pairs is not the number of rows if none of its arrays has that many.
    """
    found = samples_in(batch, sizes)
    rows = [shape[0] for shape in shapes_in(batch) if shape]
    if found is None and len(set(rows)) == 1:
        (found,) = set(rows)
    if not found or (rows and found not in (*rows, *sizes)):
        return Samples(max(rows), False) if rows else UNTOLD
    return Samples(found, found in sizes or not (_may_be_time(batch) or (sizes and found > sizes[0])))


def shapes_in(batch: Any, deep: int = _DEEP) -> Iterator[tuple[int, ...]]:
    """The shapes of all arrays in a batch."""
    shape = getattr(batch, "shape", None)
    if shape is not None:
        yield tuple(shape)
    elif deep and isinstance(batch, Mapping | tuple | list):
        for one in batch.values() if isinstance(batch, Mapping) else batch:
            yield from shapes_in(one, deep - 1)


def _may_be_time(batch: Any) -> bool:
    """Whether all parts share two dimensions and hold integers: text, whose first one may be time or sentences."""
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    parts = batch if isinstance(batch, tuple | list) else [batch]
    tensors = [one for one in parts if isinstance(one, Tensor)]
    if not tensors or any(one.dim() < 2 or one.is_floating_point() for one in tensors):
        return False
    return len({one.shape[:2] for one in tensors}) == 1 and tensors[0].shape[1] > 1


def rows_given(inputs: Iterable[Any]) -> Samples:
    """The rows of the first tensor that a module is called with; a guess if they may be something else.

    The first dimension may be time in text and sequences, and the features in a single state of an environment.
    """
    first = next((one for one in inputs if isinstance(one, Tensor) and one.dim()), None)
    if first is None:
        return UNTOLD
    is_sure = first.is_floating_point() and first.dim() in (2, 4) and len(first) > 1 and not is_traced(first)
    return Samples(len(first), is_sure)
