"""Which axes of a case the user's code reads. An axis that nothing reads measures the same under another name."""

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

_PATIENCE = 60.0  # seconds of building further cases, which might read an axis that none has read so far

Build = Callable[[Case], Any]


class _Noting(dict[str, AxisValue]):
    """The axes of a case; records each one that is read. Iterating over them reads all."""

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
    """A method of a mapping that iterates over all of it."""

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
    """The axes of one case that are read, in this process and in those that it forks, such as loader workers."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._places = {name: place for place, name in enumerate(case.axes)}
        self._marks = mmap.mmap(-1, max(1, len(self._places)))  # shared with forked processes
        self._given: Callable[[], object] = lambda: None

    def case(self) -> Case:
        """The case for the user's code; nothing else keeps it."""
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
        """The axes that distinguish the case and that neither the framework nor the user's code has read so far."""
        return tuple(
            name
            for name in self._case.used
            if name not in FRAMEWORK_AXES and not self._marks[self._places[name]]
        )

    @property
    def never_read(self) -> tuple[str, ...]:
        """The unread axes that will not be read later either, since the user's code has not kept the case.

        A closure, a model or a data set that holds the case may read an axis at any time.
        """
        if self.unread and self._given() is not None:
            gc.collect()  # the case may be part of a reference cycle
        return self.unread if self._given() is None else ()


class BuildProbe:
    """The builds of the cases of one suite.

    `read` are the axes that some build has read, may read later, or may have read had it not failed.
    """

    def __init__(self, suite: str, build: Build) -> None:
        self._suite = suite
        self._build = build
        self.read: set[str] = set()

    def build(self, case: Case) -> Any:
        """Builds a case. Raises what the suite raises."""
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
        """Raises UsageError for requested axes that no case of the suite reads.

        All `cases` are built that differ from the `built` ones in another axis, since an axis may be read only under
        one value of another. Nothing is refused if a build fails or all builds take too long.
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
            except BaseException:  # whatever user code raises: the launch of the case will report it
                return
            if not (left := self._left(left, cases)):
                return
        axes = f"axis {left[0]!r}" if len(left) == 1 else f"axes {', '.join(map(repr, left))}"
        raise UsageError(
            f"suite {self._suite!r} does not read {axes}, so that each value would measure the same thing under "
            f"another name; let its build ask for case[{left[0]!r}], or leave the axis out of the command"
        )

    def _left(self, asked: Collection[str], cases: Sequence[Case]) -> list[str]:
        unread = {name for case in cases for name in case.used} - FRAMEWORK_AXES - self.read
        return [name for name in asked if name in unread]


def _without(axes: Collection[str], case: Case) -> tuple[tuple[str, AxisValue], ...]:
    return tuple((name, value) for name, value in case.axes.items() if name not in axes)


def follows_batch_size(build: Build, case: Case, task: Task) -> bool:
    """False where a task makes the same batches under another batch size.

    Batches whose first dimension is the batch size follow it; otherwise the case is built again with another size. A
    custom step may divide the loader's batches: then the answer is True.
    """
    if task.step is not forward_and_loss or _first_dimensions_are(case.batch_size, task, case):
        return True
    other = case.sized(case.batch_size // 2 or 2)
    try:
        made = build(other)
        if not isinstance(made, Task) or made.accumulation_steps != task.accumulation_steps:
            return True
        first, second = shapes(loader_of(task, case)), shapes(loader_of(made, case))
    except BaseException:  # whatever user code raises: the launches will report it
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
    """The loader of the case's main stage."""
    return task.train_loader if case.mode == "train" else task.test_loader


def shapes(loader: Any) -> list[tuple[int, ...]]:
    """The shapes of all parts of the first batch; empty where there is no batch, or only parts without a shape."""
    return _shapes(next(iter(loader), None))


def _shapes(part: Any) -> list[tuple[int, ...]]:
    if isinstance(part, Mapping):
        part = list(part.values())
    if isinstance(part, tuple | list):
        return [shape for inner in part for shape in _shapes(inner)]
    shape = getattr(part, "shape", None)
    return [] if shape is None else [tuple(shape)]
