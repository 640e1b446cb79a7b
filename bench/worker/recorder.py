"""Makes the stages, steps and phases of a loop that is not ours, from its watched loaders and torch's hooks.

It tells an Observer what `training.fit` would tell: a pass over a watched loader is a stage of an epoch, the time
from batch to batch a step.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torch.optim import Optimizer

from ..errors import BenchError
from ..measurement import STAGES
from .hooks import Hooks, loss_of
from .passes import Pass, length_of, parameter_of, reference_to, samples_of
from .window import Window

TRAIN = "train"
_LINE = 'with epochbench.stage("validate"):'


class ScriptError(BenchError):
    """What a script does that cannot be measured; the message names the line to add or to mend."""


class Enough(BaseException):
    """Ends a script of which all has been seen that was wanted; no `except Exception` of its own stops it."""


class Hears(Protocol):
    """An Observer whose stages may be without a loss."""

    def epoch(self, number: int) -> None: ...
    def begin(self, stage: str) -> None: ...
    def lap(self, phase: str) -> None: ...
    def evaluation(self, loss: Tensor) -> None: ...
    def step(self, samples: int, loss: Any) -> None: ...
    def end(self, stage: str, loss: Any, metrics: Mapping[str, float]) -> None: ...


@runtime_checkable
class TakesBack(Protocol):
    """An Observer that can leave out of a stage what turns out to be no part of it, as the Meter does."""

    def mark(self) -> None: ...
    def rewind(self) -> None: ...
    def drop(self) -> None: ...
    def forget(self) -> None: ...


class Watched:
    """A loader that somebody listens to; whatever else is asked of it, the loader answers."""

    def __init__(
        self, recorder: Recorder, loader: Any, site: str, stage: str | None, steps_per_epoch: int | None
    ) -> None:
        self._recorder, self._loader, self._site = recorder, loader, site
        self._stage, self._steps_per_epoch = stage, steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        return self._recorder.batches(self._loader, self._site, self._stage, self._steps_per_epoch)

    def __len__(self) -> int:
        return self._recorder.length(self._loader, self._stage)

    def __bool__(self) -> bool:
        return bool(self._loader)  # which may have no length

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":
            raise AttributeError(name)  # it is being copied, and has none yet
        return getattr(self._loader, name)


class WatchedIterator(Watched):
    """A loader that is an iterator goes on where it was, whoever asks it for a batch."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._pass = super().__iter__()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._pass)


class Stage:
    """What `epochbench.stage` gives under a recorder; it may be entered again, as what it gives elsewhere."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder, self._name = recorder, name
        self._depths: list[int] = []  # of the passes that were open when it was entered

    def __enter__(self) -> None:
        self._depths.append(self._recorder.enter(self._name))

    def __exit__(self, *_: object) -> None:
        self._recorder.leave(self._depths.pop())


class Recorder:
    """Listens to a script and tells `observer` of it. It keeps none of the script's own objects alive.

    `window` gives the most steps of a pass by its stage; then a second pass of a stage raises Enough. A pass of a
    window ends before them once `has_enough` says so of its stage. `around` is entered for each outermost pass; `found`
    is told once of each module with parameters that is called from outside of any other, `stepping` of an optimizer
    before each of its steps, `graded` of the loss of a step before its backward pass. Losses are kept where
    `keeps_losses`.
    """

    def __init__(
        self,
        observer: Hears,
        window: Callable[[str], int] | None = None,
        has_enough: Callable[[str], bool] = lambda _: False,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        found: Callable[[nn.Module], None] = lambda _: None,
        stepping: Callable[[Optimizer], None] = lambda _: None,
        graded: Callable[[Tensor], None] = lambda _: None,
        keeps_losses: bool = True,
    ) -> None:
        self.hooks = Hooks(self)
        self.device: torch.device | None = None  # of the first parameter seen
        self.passes: dict[str, int] = {}  # that began, by stage
        self.problem: ScriptError | None = None
        self.began = self.ended = 0.0  # of the first pass and of the last one, on time.monotonic
        self._observer = observer
        self._takes_back = observer if isinstance(observer, TakesBack) else None
        self._lap: Callable[[str], None] = observer.lap
        self._window = window
        self._has_enough = has_enough
        self._windows: dict[str, int] = {}  # that were told before their pass began
        self._around = around
        self._found = found
        self._stepping = stepping
        self._graded = graded
        self._keeps_losses = keeps_losses
        self._entered = ExitStack()
        self._names: list[str] = []
        self._open: list[Pass] = []
        self._epoch = -1
        self._site = ""  # of passes that no stage surrounds
        self._loaders: list[weakref.ref[Any]] = []  # that those went over, each once
        # By id, since not all modules can be hashed.
        self._kinds: dict[int, tuple[weakref.ref[nn.Module], str]] = {}
        self._called = ""  # what the call of a module that is under way is, as `_kind` says it
        self._backwards = 0  # under way, one within the other
        self._optimizing = False
        self._is_over = False

    # The door.

    def watch(self, loader: Any, stage: str | None = None, steps_per_epoch: int | None = None) -> Watched:
        if stage is not None:
            check_stage(stage, f"epochbench.watch(loader, {stage!r})")
        if steps_per_epoch is not None and (not isinstance(steps_per_epoch, int) or steps_per_epoch < 1):
            raise ScriptError(
                f"epochbench.watch(loader, steps_per_epoch={steps_per_epoch!r}): give a whole number of at least 1"
            )
        if isinstance(loader, Watched):
            if stage is None and steps_per_epoch is None:
                return loader
            loader = loader._loader
        caller = sys._getframe(2)  # who called bench.watch
        site = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        kind = WatchedIterator if isinstance(loader, Iterator) else Watched
        return kind(self, loader, site, stage, steps_per_epoch)

    def stage(self, name: str) -> Stage:
        check_stage(name, f"epochbench.stage({name!r})")
        return Stage(self, name)

    def enter(self, name: str) -> int:
        """A stage begins; how many passes are open."""
        self._names.append(name)
        return len(self._open)

    def leave(self, depth: int) -> None:
        """The stage ends that began inside of so many passes."""
        self._names.pop()
        if not self._is_over:
            self._leave_above(depth)

    def length(self, loader: Any, stage: str | None) -> int:
        """How many batches the next pass over a loader of this stage has, for a Trainer that counts them."""
        whole = len(loader)
        if self._window is None:
            return whole
        stage = stage or (self._names[-1] if self._names else TRAIN)
        if stage not in self._windows:
            self._windows[stage] = self._window(stage)
        return self._windows[stage]

    def finish(self) -> None:
        """The script has come to its end; raises ScriptError for what was not yet said."""
        self._leave_above(0)
        if self.problem is not None:
            raise self.problem

    def close(self) -> None:
        """What still comes is nobody's."""
        self._is_over = True
        self._entered.close()
        self._open.clear()

    # A pass.

    def batches(
        self, loader: Any, site: str, stage: str | None = None, steps_per_epoch: int | None = None
    ) -> Iterator[Any]:
        """What a watched loader gives, while the observer is told."""
        one = self._begin(loader, site, stage)
        source = loader
        if self._window is not None:
            steps = self._windows.pop(one.stage, None) or self._window(one.stage)
            source = Window(loader, steps, samples_of, lambda: self._has_enough(one.stage))
            steps_per_epoch = steps_per_epoch and steps
        one.cut = steps_per_epoch
        try:
            for batch in source:
                if one.ended:
                    raise ScriptError(
                        f"the pass over the loader watched at {site} goes on after another began; two loaders in one "
                        f"loop are watched together: epochbench.watch(zip(a, b))"
                    )
                one.receive(batch)
                self._attend()
                self._lap("data")
                yield batch
                if not self._is_over and not one.ended:
                    if self._open[-1] is not one:
                        self._leave_above(self._open.index(one) + 1)
                    self._count(one)
                    if one.steps == one.cut:
                        self._end(one)
                        before, one = one, self._begin(loader, site, stage)
                        one.cut, one.given = before.cut, before.given
        except GeneratorExit:
            # Its loop was left: a step in which nothing was done is none.
            if not self._is_over and not one.ended:
                self._leave_above(self._open.index(one))
            raise
        if not self._is_over and not one.ended:
            self._observer.lap("data")
            if one.is_remnant:
                self._drop(one)
                return
            if not one.steps:
                raise ScriptError(
                    f"the loader watched at {site} gave no batch; give it data, or check drop_last"
                )
            self._end(one)
            if self.problem is not None:
                raise self.problem

    def _begin(self, loader: Any, site: str, named: str | None) -> Pass:
        if self.problem is not None:
            raise self.problem
        name = named or (self._names[-1] if self._names else "")
        stage = name or TRAIN
        for number, other in enumerate(self._open):
            # Their loop was left, and something still holds them: nobody trains inside of an evaluation.
            if (other.site, other.stage) == (site, stage) or (stage == TRAIN != other.stage):
                self._leave_above(number)
                break
        if not name:
            self._check_alone(loader, site)
        if any(other.stage == stage for other in self._open):
            raise ScriptError(
                f"{site} passes over a watched loader inside a pass of the same stage, {stage}; watch one of them, "
                f"both together (epochbench.watch(zip(a, b))), or put around the inner loop: {_LINE}"
            )
        if self._window is not None and stage in self.passes and not self._open:
            raise Enough
        if stage == TRAIN and TRAIN not in self.passes and self._takes_back is not None:
            self._takes_back.forget()  # a look at the validation before there is anything to validate
        if self._open and self._open[-1].worked:
            self._settle(self._open[-1])
            self._count(self._open[-1])  # what it does behind this pass belongs to its next step
        if not self._open:
            self.hooks.thread = threading.get_ident()
            self._entered.enter_context(self._around())
            self.began = self.began or time.monotonic()
        self.passes[stage] = self.passes.get(stage, 0) + 1
        # Passes belong to the epoch of the training that they are inside or behind of.
        epoch = self.passes.get(TRAIN, self.passes[stage]) - 1
        if epoch != self._epoch:
            self._epoch = epoch
            self._observer.epoch(epoch)
        one = Pass(stage, site, bool(name), epoch, length_of(loader), loader=reference_to(loader))
        self._observer.begin(stage)
        self._open.append(one)
        self._attend()
        return one

    def _check_alone(self, loader: Any, site: str) -> None:
        """Raises ScriptError where a second loader is watched outside of any stage, or one at two lines."""
        seen = [reference() for reference in self._loaders]
        if seen and seen[-1] is loader and self._site != site:
            raise ScriptError(
                f"one loader is watched, at {self._site} and at {site}; watch it once, above both, or say at each what "
                f'it is of: epochbench.watch(loader, "train")'
            )
        again = any(one is loader for one in seen) and seen[-1] is not loader
        if again or (self._site and self._site != site):
            raise ScriptError(
                f"two loaders are watched, at {self._site} and at {site}, and nothing says which stage each is of; "
                f"put around the loop that does not train: {_LINE}"
            )

    def _count(self, one: Pass) -> None:
        """The step that is under way has ended, if it was not counted before."""
        if one.counted:
            return
        one.counted = True
        one.steps += 1
        self._observer.step(one.samples or 1, one.loss)

    def _leave_above(self, depth: int) -> None:
        """Ends passes that did not come to their own end: with the step under way where something was done in it."""
        while len(self._open) > depth:
            one = self._open[-1]
            self._settle(one)
            if one.worked:
                self._count(one)
            if one.steps and not one.is_remnant:
                self._end(one)
            else:
                self._drop(one)  # a look at the first batch, say

    def _settle(self, one: Pass) -> None:
        """Leaves out what its loop does behind the last batch, if it did not ask for another."""
        if one.is_last and self._takes_back is not None:
            self._takes_back.rewind()

    def _end(self, one: Pass) -> None:
        self._observer.end(one.stage, one.mean_loss(), {})
        self._close(one)
        if one.is_named:
            return
        self._site = one.site
        if one.loader is not None and all(one.loader() is not known() for known in self._loaders):
            self._loaders.append(one.loader)
        if not one.backwards:
            self.problem = ScriptError(
                f"the pass over the loader watched at {one.site} made no backward pass, so that it is not known what "
                f"it is; put around its loop: {_LINE}"
            )

    def _drop(self, one: Pass) -> None:
        if self._takes_back is not None:
            self._takes_back.drop()
        else:
            self._observer.end(one.stage, None, {})
        self.passes[one.stage] -= 1
        if not self.passes[one.stage]:
            del self.passes[one.stage]
        self._close(one)

    def _close(self, one: Pass) -> None:
        one.ended = True
        self._open.remove(one)
        self.ended = time.monotonic()
        if self._open:
            self._attend()
        else:
            self._entered.close()

    # What the hooks tell.

    def _attend(self) -> None:
        """Which laps the innermost pass has: most go to the observer straight, since there are ten of them a step."""
        marks = self._open[-1].is_last and self._takes_back is not None
        self._lap = self._lap_and_mark if marks else self._observer.lap

    def _lap_and_mark(self, phase: str) -> None:
        assert self._takes_back is not None
        self._observer.lap(phase)
        self._takes_back.mark()

    def forward_began(self, module: nn.Module, inputs: Iterable[Any]) -> None:
        self._called = ""
        if self._backwards or not self._open:
            return  # what is computed anew for the backward pass is part of it
        one = self._open[-1]
        kind = self._called = self._kind(module)
        if kind:
            one.worked = True
        if kind == "forward":
            self._lap(self._between())
            one.feed(module, inputs)

    def forward_ended(self, module: nn.Module) -> None:
        if self._backwards or not self._open:
            return
        kind = self._called
        if kind:
            self._lap(kind)
        if kind == "forward":
            self._open[-1].waits = True

    def _kind(self, module: nn.Module) -> str:
        """The phase that a module's calls are; empty for those that are of none, such as a transform of data."""
        known = self._kinds.get(id(module))
        if known is not None and known[0]() is module:
            return known[1]
        parameter = parameter_of(module)
        kind = "forward" if parameter is not None else "loss" if isinstance(module, _Loss) else ""
        self._kinds[id(module)] = weakref.ref(module), kind
        if parameter is not None:
            self.device = self.device or parameter.device
            self._found(module)
        return kind

    def scaled(self, loss: Tensor, plain: Tensor) -> None:
        if self._open:
            self._open[-1].scaled.append((loss, plain))

    def backward_began(self, loss: Any) -> None:
        self._backwards += 1
        if self._backwards > 1 or not self._open:
            return
        one = self._open[-1]
        self._lap("loss" if one.waits else self._between())
        one.waits = False
        one.worked = True
        one.backwards += 1
        self._note(one, loss_of(loss))

    def _note(self, one: Pass, loss: Tensor | None) -> None:
        """The first loss of a step is its loss; further ones are evaluations of an optimizer that asks again."""
        if loss is None:
            return
        loss = one.unscaled(loss)
        if self._optimizing:
            self._observer.evaluation(loss)
        if one.loss is not None:
            return
        one.loss = loss
        self._graded(loss)
        if self._keeps_losses:
            one.keep(loss)

    def backward_ended(self) -> None:
        self._backwards -= 1
        if not self._backwards and self._open:
            self._lap("backward")

    def zeroing_began(self) -> None:
        if self._open:
            one = self._open[-1]
            self._lap("loss" if one.waits else self._between())

    def zeroing_ended(self) -> None:
        if self._open:
            self._lap("zero_grad")

    def optimizer_began(self, optimizer: Optimizer) -> None:
        self._stepping(optimizer)
        if self._open:
            self._lap(self._between())
            self._optimizing = True

    def optimizer_ended(self) -> None:
        self._optimizing = False
        if self._open:
            self._lap("optimizer")

    def _between(self) -> str:
        return "optimizer" if self._optimizing else "other"


def check_stage(name: str, said: str) -> None:
    """Raises ScriptError for a stage that there is not, that somebody `said`."""
    if name not in STAGES:
        raise ScriptError(f"{said}: there is no such stage, there are {', '.join(STAGES)}")
