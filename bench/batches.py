"""The parts of a batch: its inputs and targets, its number of samples, and a copy on another device.

A batch is a pair (inputs, targets). If its parts have names, as in a dict, the one in TARGETS is the targets, and the
others are the inputs. This file imports torch and nothing of Epochbench: measured code does not know what measures it.
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

TARGETS = ("labels", "label", "targets", "target", "y")  # names of the targets in a batch with named parts

# The smallest share of the samples of a pass that a collate function keeps: one that drops broken files drops few.
_KEPT = 0.9


class Keywords(dict[str, Any]):
    """Named inputs, given to the model as `model(**inputs)`."""


def parts_of(batch: Any) -> tuple[Any, Any] | None:
    """The inputs and the targets of a batch; None where they cannot be identified.

    They are the parts of a tuple or list of two. Of named parts, the one in TARGETS is the targets, the others are the
    inputs, several of them as Keywords. An object that is not a container (such as a batch of PyTorch Geometric) is its
    own inputs, with one of TARGETS as an attribute.
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
        return None  # rows of data are not parts
    targets_found = [value for name in TARGETS if (value := _attribute(batch, name)) is not None]
    return (batch, targets_found[0]) if len(targets_found) == 1 else None


def description(batch: Any) -> str:
    """A batch in words, for an error: its type, and its parts with their names and shapes."""
    named = names_in(batch)
    if named is not None:
        parts = _listed(f"{name}: {_shape(value)}" for name, value in named.items())
        return f"{_a(type(batch).__name__)} with {parts}" if parts else f"an empty {type(batch).__name__}"
    if isinstance(batch, tuple | list) and _has_parts(batch):
        return f"{_a(type(batch).__name__)} of {len(batch)}: {_listed(map(_shape, batch))}"
    return _a(_shape(batch))


_MOST_LISTED = 6  # parts of a batch in an error


def _listed(parts: Iterable[str]) -> str:
    listed = list(parts)
    return ", ".join(listed[:_MOST_LISTED]) + (", ..." if len(listed) > _MOST_LISTED else "")


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
    """A batch on the device, of the same type: by its own `.to`, or else by moving each of its parts.

    Parts without `.to` stay unchanged. A `.to` that returns None has moved its batch in place. The host does not wait
    for the copy of a tensor, except on MPS, which may read the memory after torch has given it to the next batch
    (github.com/pytorch/pytorch/issues/189690).
    """
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=device.type != "mps")
    if callable(getattr(type(batch), "to", None)):  # not of the instance: some mappings have every name
        moved = batch.to(device)
        return batch if moved is None else moved
    return _map_parts(batch, lambda value: to_device(value, device))


def detached(outputs: Any) -> Any:
    """The outputs of a model, detached from the autograd graph, of the same type."""
    if isinstance(outputs, Tensor) or callable(getattr(type(outputs), "detach", None)):
        return outputs.detach()
    return _map_parts(outputs, detached)


def _map_parts(value: Any, change: Callable[[Any], Any]) -> Any:
    """A tuple, list, mapping or dataclass with `change` applied to its parts; any other value is returned unchanged."""
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
        copied = copy.copy(value)
        for name, new in differing.items():
            object.__setattr__(copied, name, new)  # works for frozen ones too
        return copied
    if not isinstance(value, MutableMapping):
        return {**value, **differing}
    copied = copy.copy(value)  # keeps attributes that its class adds
    for name, new in differing.items():
        copied[name] = new
    return copied


def samples_in(batch: Any, sizes: Collection[int] = ()) -> int | None:
    """The number of samples of a batch, from the shapes of its parts; None where these do not determine it.

    A tensor or array suggests the length of its first dimension, a list its own length or what all its elements
    suggest; a mapping, named tuple or object with tensors what its parts suggest; texts and numbers suggest nothing.
    The number on which all parts agree is taken. Where they agree on several or none, the `sizes` of the loader's
    batches (`sizes_of`) decide, if a part suggests one of them.
    """
    if type(batch) in (list, tuple) and len(batch) == 2:  # the most common, in every step of the loop
        inputs, targets = batch
        if isinstance(inputs, Tensor) and isinstance(targets, Tensor) and inputs.dim() and targets.dim():
            samples = inputs.size(0)
            if samples == targets.size(0):
                return samples
    parts = batch if _has_parts(batch) else (batch,)
    suggested = [numbers for part in parts for numbers in _suggested_by(part)]
    agreed = set[int].intersection(*suggested) if suggested else set[int]()
    possible = set[int]().union(*suggested)
    if len(parts) > 2 and not any(isinstance(part, Tensor) for part in parts):
        possible.add(len(parts))  # a list of samples that were not collated
    for candidates in (agreed, possible):
        for size in sizes:
            if size in candidates:
                return size
    return agreed.pop() if len(agreed) == 1 else None


def _has_parts(batch: Any) -> bool:
    """Whether a batch is a tuple or list of parts, whose length is not a number of samples as that of texts is."""
    if not isinstance(batch, tuple | list) or hasattr(batch, "_fields"):
        return False
    return not all(isinstance(part, str | bytes) for part in batch)


def _suggested_by(part: Any) -> Iterator[set[int]]:
    """What a part of a batch suggests as its number of samples: sets of numbers, one of each being right."""
    if isinstance(part, Tensor):
        if part.dim():
            yield {part.size(0)}  # nested tensors have no len
    elif isinstance(part, PackedSequence | str | bytes):
        return
    elif (named := names_in(part)) is not None:
        for value in named.values():
            yield from _suggested_by(value)
    elif isinstance(part, tuple | list):
        if part:
            inside = [numbers for element in part for numbers in _suggested_by(element)]
            yield {len(part)} | (set[int].intersection(*inside) if inside else set())
    elif isinstance(shape := _attribute(part, "shape"), tuple):  # such as an array of NumPy
        if shape:
            yield {int(shape[0])}
    else:
        for value in vars(part).values() if hasattr(part, "__dict__") else ():
            if isinstance(value, Tensor | Mapping):  # other values may be anything, even the object itself
                yield from _suggested_by(value)


def names_in(batch: Any) -> Mapping[str, Any] | None:
    """The parts of a mapping, named tuple or dataclass by name; None for anything else."""
    if isinstance(batch, Mapping):
        return batch
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return dict(zip(batch._fields, batch, strict=True))
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return None


def sizes_of(loader: Any) -> tuple[int, ...]:
    """The numbers of samples of a loader's batches, as far as known: of a full one, then of a smaller last one."""
    size = _attribute(loader, "batch_size")
    if not isinstance(size, int) or size < 1:
        return ()
    samples = size_of(_attribute(loader, "sampler"))
    rest = 0 if samples is None or _attribute(loader, "drop_last") else samples % size
    return (size, rest) if rest else (size,)


def samples_of_pass(loader: Any) -> int | None:
    """The number of samples of one pass over a loader, if it is certain; else None.

    It is certain for a DataLoader of torch that batches a data set with a length by a batch size.
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
    """Whether a loader can have given a whole pass with these numbers of samples, batch by batch.

    None where it cannot be determined. For a data set without a length, only the first of several batches is known to
    be full.
    """
    expected, actual = samples_of_pass(loader), sum(samples)
    if expected is None:
        is_full = isinstance(loader, DataLoader) and isinstance(loader.dataset, IterableDataset)
        if not is_full or loader.batch_size is None or loader.num_workers > 1 or len(samples) < 2:
            return None
        expected, actual = loader.batch_size, samples[0]
    return expected * _KEPT <= actual <= expected


def _attribute(value: Any, name: str) -> Any:
    """An attribute; None without it, or where user code raises another error, such as a KeyError."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None


def size_of(thing: Any) -> int | None:
    """Its length; None where `len` raises, as for a chain of iterable data sets."""
    try:
        return len(thing)
    except Exception:
        return None
