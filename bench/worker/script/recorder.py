"""Finds stages, steps and phases of a script's loop, from its watched loaders and hooks in torch.

It calls an Observer as `training.fit` does: a pass over a watched loader is a stage of an epoch, the time from batch to
batch is a step.
"""

from __future__ import annotations

import sys
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ...measurement import STAGES
from ...suite.loops import Loop
from .callers import is_own_code
from .discovery import Discovery
from .errors import ScriptError
from .hooks import Hooks
from .loop_stages import decided
from .pass_tracker import PassTracker
from .passes import TRAIN, StageObserver, StepLimits
from .phase_tracker import CalledModules, PhaseTracker
from .planned_loops import PlannedLoops
from .samples import Said
from .threads import ScriptThreads
from .watched_loader import (
    Watching,
    is_made_from,
    is_watched,
    unwatched,
    watch_also,
    watch_in_place,
    watched,
    watching_of,
)


class Stage:
    """The result of `epochbench.stage` under a recorder. It may be entered repeatedly, as without a recorder."""

    def __init__(self, passes: PassTracker, name: str, site: str) -> None:
        self._passes, self._name, self._site = passes, name, site

    def __enter__(self) -> None:
        self._passes.enter(self._name, self._site)

    def __exit__(self, *_: object) -> None:
        self._passes.leave()


class Recorder:
    """Follows a script and reports to `observer`. It keeps no object of the script alive.

    `window` gives the maximum number of steps of a pass by its stage; once the stage and the training have all their
    steps, another pass of the stage raises Enough. A pass ends before its limit once `has_enough` is True for its
    stage. `around` is entered for each outermost pass; `found` is called once for each module with parameters that is
    called from outside of any other; `stepping`, `graded` and `keeps_losses` are those of a `PhaseTracker`.

    Where the script marks no loop itself, the loops that are `unmarked` are followed, or a `Discovery` finds them.
    `most` is the number of training steps after the first epoch with which the script ends.
    """

    def __init__(
        self,
        observer: StageObserver,
        window: Callable[[str], int] | None = None,
        has_enough: Callable[[str], bool] = lambda _: False,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        found: Callable[[nn.Module], None] = lambda _: None,
        stepping: Callable[[Optimizer], None] = lambda _: None,
        graded: Callable[[Tensor], None] = lambda _: None,
        keeps_losses: bool = True,
        unmarked: Sequence[Loop] | Discovery = (),
        most: int | None = None,
    ) -> None:
        self._threads = ScriptThreads()
        self._limits = StepLimits(window, has_enough, most)
        self._passes = PassTracker(observer, self._threads, self._limits, around)
        self._modules = CalledModules(found)
        self._unmarked = (
            unmarked if isinstance(unmarked, Discovery) else PlannedLoops(unmarked, self._passes, self)
        )
        phases = PhaseTracker(
            self._passes, self._modules, stepping, graded, keeps_losses, self._unmarked.listener
        )
        if self._unmarked.listener is not None:
            self._threads.loop = self._threads.main  # the hooks report before the first pass
        self.hooks = Hooks(phases, self._threads, self.loader_made, self.excuses)
        self._watched: list[weakref.ref[Any]] = []  # DataLoaders

    @property
    def device(self) -> torch.device | None:
        """The device of the first parameter that was seen; that of an accelerator comes before the CPU's."""
        return self._modules.device

    @property
    def finds_loops(self) -> bool:
        """Whether this is to find the loops of the script, which has marked none."""
        return isinstance(self._unmarked, Discovery) and self._unmarked.is_on

    @property
    def has_found(self) -> bool:
        """Whether a loop was found in a script that has marked none."""
        return (
            isinstance(self._unmarked, Discovery)
            and self._unmarked.is_on
            and bool(decided(self._unmarked.evidence))
        )

    @property
    def passes(self) -> dict[str, int]:
        """How many passes began, by stage."""
        return self._passes.begun

    @property
    def loop(self) -> tuple[float, float]:
        """When the first pass began and the last one ended, on time.monotonic."""
        return self._passes.began, self._passes.ended

    # What the script calls.

    def watch(
        self, loader: Any, stage: str | None = None, steps_per_epoch: int | None = None, samples: Said = None
    ) -> Any:
        if stage is not None:
            check_stage(stage, f"epochbench.watch(loader, {stage!r})")
        for name, number in (("steps_per_epoch", steps_per_epoch), ("samples", samples)):
            is_function = name == "samples" and callable(number)
            if number is not None and not is_function and (not isinstance(number, int) or number < 1):
                also = ", or a function of a batch that gives one" if name == "samples" else ""
                raise ScriptError(
                    f"epochbench.watch(loader, {name}={number!r}): give a whole number of at least 1{also}"
                )
        self._unmarked.is_on = False
        if is_watched(loader):
            if stage is None and self._is_marked(loader) and steps_per_epoch is None and samples is None:
                return loader
            loader = unwatched(loader)
        made = watched(loader, Watching(self, self._caller(), stage, steps_per_epoch, samples))
        if issubclass(type(made), DataLoader):
            self._watched = [known for known in self._watched if known() is not None]
            self._watched.append(weakref.ref(made))
        return made

    def stage(self, name: str) -> Stage:
        check_stage(name, f"epochbench.stage({name!r})")
        self._unmarked.is_on = False
        return Stage(self._passes, name, self._caller())

    def _caller(self) -> str:
        """The line that called `watch` or `stage`."""
        caller = sys._getframe(3)
        return f"{caller.f_code.co_filename}:{caller.f_lineno}"

    # What watched loaders call.

    def batches(self, loader: Iterable[Any], watching: Watching, known_by: Any) -> Iterator[Any]:
        return self._passes.batches(loader, watching, known_by)

    def length(self, whole: int, stage: str | None) -> int:
        """How many batches the next pass over a loader of this stage gives, of its `whole` number.

        A Trainer that counts them gets the limit of the window. A script that uses the number, such as to decide how
        often it prints, gets the whole number.
        """
        steps = self._limits.next(stage or self._passes.named_stage or TRAIN)
        if steps is None:
            return whole
        return max(whole, steps) if is_own_code() else steps

    def loader_made(self, loader: DataLoader[Any]) -> None:
        """A DataLoader was created: it is watched if it was created from a watched one."""
        if is_watched(loader):
            return
        by_library = not is_own_code(loader)
        for reference in reversed(self._watched):
            before = reference()
            if before is not None and is_made_from(loader, before, by_library):
                watch_also(loader, before)
                return
        if self._unmarked.is_on:
            watch_in_place(loader, Watching(self._unmarked, ""))

    def _is_marked(self, loader: Any) -> bool:
        """Whether the script has marked this watched loader itself."""
        watching = watching_of(loader)
        return watching is None or watching.by is self

    # The end of the script.

    def finish(self) -> None:
        """The script has ended; raises the ScriptError that was not raised yet."""
        self._threads.close()
        self._passes.finish()

    def excuses(self, error: BaseException) -> bool:
        """Whether the script failed because its loader was cut short, as a script that counts its batches may.

        At least a second step of the stage was seen by then; the log has the error.
        """
        if (
            not isinstance(error, Exception)
            or isinstance(error, ScriptError)
            or not self._passes.was_cut_short()
        ):
            return False
        traceback.print_exc()
        return True

    def close(self) -> None:
        """Ignores all that comes from now on."""
        self._passes.close()


def check_stage(name: str, call: str) -> None:
    """Raises ScriptError for a `call` with a stage that does not exist."""
    if name not in STAGES:
        raise ScriptError(f"{call}: there is no such stage, there are {', '.join(STAGES)}")
