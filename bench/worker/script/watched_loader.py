"""A loader whose passes are followed, and that otherwise behaves like the original.

A watched DataLoader is an instance of a subclass of the loader's class and shares all attributes with it, so that
libraries can read, set and recreate them as usual. Any other loader gets a stand-in that delegates everything to it.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, Protocol

from torch.utils.data import DataLoader, IterableDataset

from .samples import Said


class LoaderListener(Protocol):
    """Provides the batches of a watched loader and their number."""

    def batches(self, loader: Iterable[Any], watching: Watching, known_by: Any) -> Iterator[Any]: ...
    def length(self, whole: int, stage: str | None) -> int: ...


@dataclass(frozen=True)
class Watching:
    """How a loader is watched: by which recorder, at which line, with which arguments of `watch`.

    `is_stepwise` if there is no loader: a batch stands for a step, which the script ends in another way.
    """

    by: LoaderListener
    site: str
    stage: str | None = None
    steps_per_epoch: int | None = None
    samples: Said = None
    is_stepwise: bool = False


def watched(loader: Any, watching: Watching) -> Any:
    """The loader, watched with these arguments."""
    if issubclass(type(loader), DataLoader) and not _has_slots(type(loader)):
        return _sharing(loader, loader_class(type(loader), watching, weakref.ref(loader)))
    return stand_in_class(type(loader))(loader, watching)  # type: ignore[arg-type] # classes can be hashed


def is_watched(loader: Any) -> bool:
    """Whether this is a watched loader."""
    return issubclass(type(loader), StandIn) or "_watching" in vars(type(loader))


def watching_of(loader: Any) -> Watching | None:
    """How a loader is watched; None if it is not."""
    return getattr(type(loader), "_watching", None) if is_watched(loader) else None


def original(loader: Any) -> Any:
    """The original of a watched loader; the loader itself if the original is gone, or if it is not watched."""
    if issubclass(type(loader), StandIn):
        return object.__getattribute__(loader, "_watched_loader")
    before = type(loader)._watched_loader() if is_watched(loader) else None
    return loader if before is None else before


def unwatched(loader: Any) -> Any:
    """A watched loader without the watching."""
    before = original(loader)
    if issubclass(type(loader), StandIn) or (before is not loader and vars(before) is vars(loader)):
        return before
    return _sharing(loader, type(loader).__bases__[0])  # it was recreated


# DataLoaders.


def loader_class(
    kind: type[DataLoader[Any]], watching: Watching, of: Callable[[], Any] = lambda: None
) -> type[DataLoader[Any]]:
    """The subclass of `kind` for watched loaders: one that is recreated from its type is watched as well."""

    def __iter__(self: Any) -> Iterator[Any]:
        return watching.by.batches(_sharing(self, kind), watching, original(self))

    def __len__(self: Any) -> int:
        return watching.by.length(kind.__len__(self), watching.stage)

    def __copy__(self: Any) -> Any:
        return _with(type(self), dict(vars(self)))

    def __reduce__(self: Any) -> Any:
        return _with, (kind, vars(self))  # not watched in another process

    told: tuple[Callable[..., Any], ...] = (__iter__, __len__, __copy__, __reduce__)
    known = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    members = {one.__name__: one for one in told}
    return type(kind.__name__, (kind,), {**known, **members, "_watching": watching, "_watched_loader": of})


def _sharing(loader: Any, kind: type) -> Any:
    """An instance of a class that shares its attributes with a loader."""
    return _with(kind, vars(loader))


def _with(kind: type, attributes: dict[str, Any]) -> Any:
    made: Any = object.__new__(kind)
    object.__setattr__(made, "__dict__", attributes)
    return made


def _has_slots(kind: type) -> bool:
    return any("__slots__" in vars(base) for base in kind.__mro__ if issubclass(base, DataLoader))


def watch_also(made: DataLoader[Any], loader: DataLoader[Any]) -> None:
    """Watches a loader that was created from parts of a watched one, as accelerate does, in the same way."""
    watch_in_place(made, type(loader)._watching)  # type: ignore[attr-defined]


def watch_in_place(loader: DataLoader[Any], watching: Watching) -> None:
    """Watches this very loader, which its creator already holds."""
    if not _has_slots(type(loader)):
        object.__setattr__(loader, "__class__", loader_class(type(loader), watching))


def is_made_from(made: DataLoader[Any], loader: DataLoader[Any], by_library: bool) -> bool:
    """Whether a loader draws its batches from the same sampler as another.

    A stream has no sampler: then its data set decides, if a library created the loader.
    """
    if isinstance(made.dataset, IterableDataset):
        return by_library and made.dataset is loader.dataset
    sampler = made.batch_sampler
    return sampler is not None and sampler is loader.batch_sampler


# All else.


class StandIn:
    """A stand-in for a loader that is not a DataLoader."""

    __slots__ = ("__weakref__", "_pass", "_watched_loader", "_watching")

    def __init__(self, loader: Any, watching: Watching) -> None:
        keep = functools.partial(object.__setattr__, self)
        keep("_watched_loader", loader)
        keep("_watching", watching)
        if isinstance(loader, Iterator):  # an iterator continues where it was
            keep("_pass", watching.by.batches(loader, watching, loader))

    def __iter__(self) -> Iterator[Any]:
        loader, watching = self._watched_loader, self._watching
        batches: Iterator[Any] = watching.by.batches(loader, watching, loader)
        return batches

    def __bool__(self) -> bool:
        return bool(self._watched_loader)  # the loader may have no length

    def __getattr__(self, name: str) -> Any:
        if name in StandIn.__slots__:
            raise AttributeError(name)  # it is being copied, and has no attributes yet
        return getattr(self._watched_loader, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._watched_loader, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._watched_loader, name)

    def __copy__(self) -> Any:
        return type(self)(self._watched_loader, self._watching)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._watched_loader.__reduce_ex__(protocol)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self._watched_loader.__class__  # type: ignore[no-any-return]


# Attributes that belong to the stand-in class itself, and those defined above.
_NOT_PASSED_ON = {
    *vars(StandIn),
    *"""__new__ __init__ __init_subclass__ __subclasshook__ __class_getitem__ __getattribute__ __getattr__ __del__
    __dict__ __weakref__ __reduce__ __getstate__ __setstate__ __deepcopy__ __next__ __len__ __sizeof__
    __post_init__ __set_name__ __orig_bases__ __orig_class__ __mro_entries__ __prepare__""".split(),
} - {"__doc__", "__module__"}


@functools.cache
def stand_in_class(kind: type) -> type[StandIn]:
    """The stand-in class for loaders of `kind`, with the operators that these have and no others."""
    members: dict[str, Any] = {"__slots__": (), "__doc__": kind.__doc__}
    for base in reversed(kind.__mro__[:-1]):
        for name, value in vars(base).items():
            is_operator = name.startswith("__") and name.endswith("__") and name not in _NOT_PASSED_ON
            if is_operator and (callable(value) or value is None):
                members[name] = _passing(name) if value is not None else None
    if issubclass(kind, Sized):
        members["__len__"] = lambda self: self._watching.by.length(
            len(self._watched_loader), self._watching.stage
        )
    if issubclass(kind, Iterator):
        members["__iter__"] = lambda self: self
        members["__next__"] = lambda self: next(self._pass)
    return type(kind.__name__, (StandIn,), members)


def _passing(name: str) -> Callable[..., Any]:
    """An operator of the loader; if it returns the loader, as `with` does, the result is still watched."""

    def passed(self: Any, *arguments: Any, **named: Any) -> Any:
        loader = self._watched_loader
        made = getattr(type(loader), name)(loader, *arguments, **named)
        return self if made is loader else made

    return passed
