"""A batch taken apart: its inputs and targets, how many samples it has, and the same batch on another device.

A batch is a pair (inputs, targets). Where its parts have names, as in a dict, the one of TARGETS that it has is its
targets, and the model is called with the others. This file imports torch and nothing of Epochbench, as what is
measured does not know what measures.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

TARGETS = ("labels", "label", "targets", "target", "y")  # names by which a part of a batch is its targets

# The least share of the samples of a pass that a collate function keeps: one that drops broken files drops few.
_KEPT = 0.9


class Keywords(dict[str, Any]):
    """Inputs that have names, with which the model is called: `model(**inputs)`."""


def parts_of(batch: Any) -> tuple[Any, Any] | None:
    """The inputs and the targets of a batch; None where it is not clear which they are.

    Of a tuple or list of two they are its parts. Where parts have names the targets are the one of TARGETS; inputs
    are what is left, several as Keywords. Of an object that is no container (a batch of PyTorch Geometric, say) the
    inputs are the object itself.
    """
    named = names_in(batch)
    if named is not None:
        targets = [name for name in TARGETS if name in named]
        if len(targets) == 1 and len(named) > 1:
            inputs = {name: value for name, value in named.items() if name != targets[0]}
            return next(iter(inputs.values())) if len(inputs) == 1 else Keywords(inputs), named[targets[0]]
        if targets:
            return None
    if isinstance(batch, tuple | list):
        texts = all(isinstance(part, str | bytes) for part in batch)
        return (batch[0], batch[1]) if len(batch) == 2 and not texts else None
    if named is not None or isinstance(batch, Tensor | str | bytes) or hasattr(type(batch), "shape"):
        return None  # rows of data are no parts
    held = [value for name in TARGETS if (value := _attribute(batch, name)) is not None]
    return (batch, held[0]) if len(held) == 1 else None


def description(batch: Any) -> str:
    """What a batch is, in words for an error: its type, and its parts with their names and shapes."""
    named = names_in(batch)
    if named is not None:
        parts = _listed(f"{name}: {_shape(value)}" for name, value in named.items())
        return f"{_a(type(batch).__name__)} with {parts}" if parts else f"an empty {type(batch).__name__}"
    if isinstance(batch, tuple | list) and _has_parts(batch):
        return f"{_a(type(batch).__name__)} of {len(batch)}: {_listed(map(_shape, batch))}"
    return _a(_shape(batch))


_TOLD = 6  # parts of a batch that an error tells of


def _listed(parts: Iterable[str]) -> str:
    told = list(parts)
    return ", ".join(told[:_TOLD]) + (", ..." if len(told) > _TOLD else "")


def _shape(value: Any) -> str:
    """The type of a part of a batch, with its shape or its length."""
    if value is None:
        return "None"
    name = type(value).__name__
    if isinstance(value, Tensor) and value.is_nested:
        return f"nested Tensor of {value.size(0)}"
    if isinstance(shape := _attribute(value, "shape"), tuple):
        return f"{name} of shape {tuple(shape)}"
    return f"{name} of {len(value)}" if isinstance(value, tuple | list | Mapping) else name


def _a(what: str) -> str:
    return what if what == "None" else f"{'an' if what[:1].lower() in 'aeiou' else 'a'} {what}"


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch on the device, of the type that it had: by a `.to` of its own, or else all that it holds.

    What knows no `.to` stays as it is. A `.to` that returns None has moved its batch in place.
    """
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if callable(getattr(type(batch), "to", None)):  # of its class: to some mappings each name is an attribute
        there = batch.to(device)
        return batch if there is None else there
    return _with_each(batch, lambda value: to_device(value, device))


def detached(outputs: Any) -> Any:
    """What a model gave, off the autograd graph, of the type that it had."""
    if isinstance(outputs, Tensor) or callable(getattr(type(outputs), "detach", None)):
        return outputs.detach()
    return _with_each(outputs, detached)


def _with_each(value: Any, change: Callable[[Any], Any]) -> Any:
    """A tuple, list, mapping or dataclass with all that it holds changed; itself where nothing did, or it is none."""
    if isinstance(value, tuple | list):
        changed = list(map(change, value))
        if all(new is old for new, old in zip(changed, value, strict=True)):
            return value
        return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)
    named = names_in(value)
    if named is None:
        return value
    differing = {name: new for name, old in named.items() if (new := change(old)) is not old}
    if not differing:
        return value
    if not isinstance(value, Mapping):
        made = copy.copy(value)
        for name, new in differing.items():
            object.__setattr__(made, name, new)  # also where it is frozen
        return made
    if not isinstance(value, MutableMapping):
        return {**value, **differing}
    made = copy.copy(value)  # with the attributes of its class
    for name, new in differing.items():
        made[name] = new
    return made


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
    elif isinstance(shape := _attribute(part, "shape"), tuple):  # an array of NumPy, say
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
    size = _attribute(loader, "batch_size")
    if not isinstance(size, int) or size < 1:
        return ()
    samples = size_of(_attribute(loader, "sampler"))
    rest = 0 if samples is None or _attribute(loader, "drop_last") else samples % size
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
    samples = size_of(loader.sampler)
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


def _attribute(value: Any, name: str) -> Any:
    """An attribute, None where there is none: user code, some of which raises a KeyError there."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None


def size_of(thing: Any) -> int | None:
    """Its length; None where it has none, or raises: a chain of iterable data sets has a length in name only."""
    try:
        return len(thing)
    except Exception:
        return None
