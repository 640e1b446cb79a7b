"""A batch taken apart: its inputs and targets, how many samples it has, and the same batch on another device.

A batch is a pair (inputs, targets). Where its parts have names, as in a dict, the one of TARGETS that there is holds
the targets. This file imports torch and nothing of Epochbench, as the loop does that it serves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

TARGETS = ("labels", "label", "targets", "target", "y")  # names by which a part of a batch is its targets

# The least share of the samples of a pass that a collate function keeps: one that drops broken files drops few.
_KEPT = 0.9


def samples_in(batch: Any, sizes: Collection[int] = ()) -> int | None:
    """How many samples a batch has, by all of its parts; None where they do not tell.

    A tensor or an array tells by the length of its first dimension, a list by its own length or by what all in it
    tell, what has names (a mapping, a named tuple, an object with tensors) by all that it holds; a text or a number
    tells nothing. What all parts agree in is the number; `sizes_of` the loader that the batch is from decide where
    they agree in several numbers or in none, and where some part tells one of these sizes.
    """
    if type(batch) in (list, tuple) and len(batch) == 2:  # the most common, in every step of the loop
        inputs, targets = batch
        if isinstance(inputs, Tensor) and isinstance(targets, Tensor) and inputs.dim() and targets.dim():
            found = inputs.size(0)
            if found == targets.size(0):
                return found
    parts = batch if _has_parts(batch) else (batch,)
    told = [one for part in parts for one in _told_by(part)]
    agreed = set[int].intersection(*told) if told else set[int]()
    possible = set[int]().union(*told)
    if len(parts) > 2 and not any(isinstance(part, Tensor) for part in parts):
        possible.add(len(parts))  # samples that nobody put together
    for candidates in (agreed, possible):
        for size in sizes:
            if size in candidates:
                return size
    return agreed.pop() if len(agreed) == 1 else None


def _has_parts(batch: Any) -> bool:
    """Whether a batch is a tuple or list of parts: its length is then no number of samples, as that of texts is."""
    if not isinstance(batch, tuple | list) or hasattr(batch, "_fields"):
        return False
    return not all(isinstance(part, str | bytes) for part in batch)


def _told_by(part: Any) -> Iterator[set[int]]:
    """What a part of a batch tells of its samples: sets of numbers, of each of which one is right."""
    if isinstance(part, Tensor):
        if part.dim():
            yield {part.size(0)}  # a nested one has no len
    elif isinstance(part, PackedSequence | str | bytes):
        return
    elif (named := names_in(part)) is not None:
        for one in named.values():
            yield from _told_by(one)
    elif isinstance(part, tuple | list):
        if part:
            inside = [one for element in part for one in _told_by(element)]
            yield {len(part)} | (set[int].intersection(*inside) if inside else set())
    elif isinstance(shape := getattr(part, "shape", None), tuple):  # an array of NumPy, say
        if shape:
            yield {int(shape[0])}
    else:
        for one in vars(part).values() if hasattr(part, "__dict__") else ():
            if isinstance(one, Tensor | Mapping):  # all else of an object may be anything, itself included
                yield from _told_by(one)


def names_in(batch: Any) -> Mapping[str, Any] | None:
    """What a mapping, a named tuple or a dataclass holds, by name; None for anything else."""
    if isinstance(batch, Mapping):
        return batch
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return dict(zip(batch._fields, batch, strict=True))
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return {one.name: getattr(batch, one.name) for one in dataclasses.fields(batch)}
    return None


def sizes_of(loader: Any) -> tuple[int, ...]:
    """How many samples its batches have, as far as a loader tells: a full one, then a last one that is not full."""
    size = getattr(loader, "batch_size", None)
    if not isinstance(size, int) or size < 1:
        return ()
    samples = _length(getattr(loader, "sampler", None))
    rest = 0 if samples is None or getattr(loader, "drop_last", False) else samples % size
    return (size, rest) if rest else (size,)


def samples_of_pass(loader: Any) -> int | None:
    """How many samples one pass over a loader has, where that is certain; None elsewhere.

    It is for a DataLoader of torch that puts the samples of a data set with a length together by a batch size.
    """
    if not isinstance(loader, DataLoader) or type(loader).__iter__ is not DataLoader.__iter__:
        return None
    if loader.batch_size is None or isinstance(loader.dataset, IterableDataset):
        return None
    if type(loader.batch_sampler) is not BatchSampler:
        return None
    samples = _length(loader.sampler)
    if samples is None or not loader.drop_last:
        return samples
    return samples - samples % loader.batch_size


def agrees(loader: Any, samples: Sequence[int]) -> bool | None:
    """Whether a whole pass with so many samples, batch by batch, is one that its loader can have given.

    None where nothing is certain: of a data set without a length only the first of several batches is, a full one.
    """
    expected, found = samples_of_pass(loader), sum(samples)
    if expected is None:
        is_full = isinstance(loader, DataLoader) and isinstance(loader.dataset, IterableDataset)
        if not is_full or loader.batch_size is None or loader.num_workers > 1 or len(samples) < 2:
            return None
        expected, found = loader.batch_size, samples[0]
    return expected * _KEPT <= found <= expected


def _length(what: Any) -> int | None:
    """Its length, where it has one: user code, which may raise anything."""
    try:
        return len(what)
    except Exception:
        return None
