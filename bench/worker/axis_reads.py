"""Which axes of a case user code asks for. One that nobody reads measures the same thing under another name."""

from __future__ import annotations

import gc
import mmap
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..errors import UsageError
from ..suite.case import FRAMEWORK_AXES, AxisValue, Case
from ..training import Task, forward_and_loss

_PATIENCE = (
    60.0  # seconds of building further cases, in which an axis that none has read so far might be read
)

Build = Callable[[Case], Any]


class _Noting(dict[str, AxisValue]):
    """The axes of a case; each that is asked for is told, and all of them where all are gone through."""

    def __init__(self, axes: Mapping[str, AxisValue], note: Callable[[Collection[str]], None]) -> None:
        super().__init__(axes)
        self._note = note

    def __getitem__(self, name: str) -> AxisValue:
        self._note((name,))
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._note((str(name),))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._note((name,))
        return super().get(name, default)


def _whole(name: str) -> Callable[..., Any]:
    """A method of a mapping that goes through all of it."""

    def method(self: _Noting, *given: Any) -> Any:
        self._note(tuple(dict.keys(self)))
        return getattr(dict, name)(self, *given)

    return method


for _name in (
    *("__iter__", "__reversed__", "__or__", "__ror__", "__eq__", "__ne__", "__repr__"),
    *("keys", "values", "items", "copy"),
):
    setattr(_Noting, _name, _whole(_name))


class Reads:
    """What is asked of one case, in this process and in those that it forks: loader workers read axes as well."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._places = {name: place for place, name in enumerate(case.axes)}
        self._marks = mmap.mmap(-1, max(1, len(self._places)))  # shared with what is forked
        self._given: Callable[[], object] = lambda: None

    def case(self) -> Case:
        """The case as user code is to have it; nobody else keeps it."""
        places, marks = self._places, self._marks

        def note(names: Collection[str]) -> None:
            for name in names:
                if name in places:
                    marks[places[name]] = 1

        axes = _Noting(self._case.axes, note)
        self._given = weakref.ref(axes)
        noted = Case(self._case.suite)
        object.__setattr__(noted, "axes", MappingProxyType(axes))  # as the frozen class itself sets it
        return noted

    @property
    def unread(self) -> tuple[str, ...]:
        """The axes that tell the case apart and that neither the framework nor anybody has read so far."""
        return tuple(
            name
            for name in self._case.used
            if name not in FRAMEWORK_AXES and not self._marks[self._places[name]]
        )

    @property
    def never_read(self) -> tuple[str, ...]:
        """Those of them that will not be read later either: user code has not kept the case.

        A closure, a model or a data set that holds the case may ask it for anything at any time.
        """
        if self.unread and self._given() is not None:
            gc.collect()  # it may lie in a circle of what is over
        return self.unread if self._given() is None else ()


class BuildProbe:
    """What the builds of one suite have read, of all its cases that were built.

    `read` are the axes that some build has read, or may read later, or would have read had it not failed.
    """

    def __init__(self, suite: str, build: Build) -> None:
        self._suite = suite
        self._build = build
        self.read: set[str] = set()

    def build(self, case: Case) -> Any:
        """What the suite builds of a case. Raises what that raises."""
        reads = Reads(case)
        try:
            made = self._build(reads.case())
        except BaseException:
            self.read |= case.axes.keys()
            raise
        self.read |= set(case.axes) - set(reads.never_read)
        return made

    def refuse_unread(
        self,
        asked: Collection[str],
        built: Sequence[Case],
        cases: Sequence[Case],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises UsageError for axes that flags ask for and no case of the suite reads.

        Beside those that are `built` every one of the `cases` is built that differs in another axis: an axis may be
        read under one value of that alone. Nothing is refused where a build fails or they take too long.
        """
        left = self._left(asked, cases)
        if not left:
            return
        began, met = clock(), {_without(left, case) for case in built}
        for case in cases:
            if (rest := _without(left, case)) in met:
                continue
            met.add(rest)
            if clock() - began > _PATIENCE:
                return
            try:
                self.build(case)
            except BaseException:  # whatever user code raises: the launch of the case will tell it
                return
            if not (left := self._left(left, cases)):
                return
        axes = f"axis {left[0]!r}" if len(left) == 1 else f"axes {', '.join(map(repr, left))}"
        raise UsageError(
            f"suite {self._suite!r} does not read {axes}, so that each value would measure the same thing under "
            f"another name; let its build ask for case[{left[0]!r}], or leave the axis out of the command"
        )

    def _left(self, asked: Collection[str], cases: Sequence[Case]) -> list[str]:
        apart = {name for case in cases for name in case.used} - FRAMEWORK_AXES - self.read
        return [name for name in asked if name in apart]


def _without(axes: Collection[str], case: Case) -> tuple[tuple[str, AxisValue], ...]:
    return tuple((name, value) for name, value in case.axes.items() if name not in axes)


def follows_batch_size(build: Build, case: Case, task: Task) -> bool:
    """False where a task makes the same batches under another batch size as under this one.

    Batches whose first dimension is the batch size follow it; of others the case is built once more. A step of the
    suite's own may divide what the loader gives, so that nothing is known there.
    """
    if task.step is not forward_and_loss or _first_dimensions_are(case.batch_size, task, case):
        return True
    other = case.sized(case.batch_size // 2 or 2)
    try:
        made = build(other)
        if not isinstance(made, Task) or made.accumulation_steps != task.accumulation_steps:
            return True
        first, second = shapes(loader_of(task, case)), shapes(loader_of(made, case))
    except BaseException:  # whatever user code raises: the launches will tell
        return True
    return not first or first != second


def _first_dimensions_are(size: int, task: Task, case: Case) -> bool:
    try:
        if getattr(loader_of(task, case), "batch_size", None) == size:
            return True
        return any(shape[:1] == (size,) for shape in shapes(loader_of(task, case)))
    except BaseException:
        return True  # nothing is known


def loader_of(task: Task, case: Case) -> Any:
    """The loader that the case is about."""
    return task.train_loader if case.mode == "train" else task.test_loader


def shapes(loader: Any) -> list[tuple[int, ...]]:
    """The shapes of all parts of the first batch; empty where there is none, or it has parts without a shape only."""
    batch = next(iter(loader), None)
    return list(_shapes(batch))


def _shapes(part: Any) -> list[tuple[int, ...]]:
    if isinstance(part, Mapping):
        part = list(part.values())
    if isinstance(part, tuple | list):
        return [shape for inner in part for shape in _shapes(inner)]
    shape = getattr(part, "shape", None)
    return [] if shape is None else [tuple(shape)]
