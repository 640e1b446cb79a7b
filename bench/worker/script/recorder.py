"""Makes the stages, steps and phases of a loop that is not ours, from its watched loaders and torch's hooks.

It tells an Observer what `training.fit` would tell: a pass over a watched loader is a stage of an epoch, the time
from batch to batch a step.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ...batches import size_of
from ...errors import BenchError
from ...measurement import STAGES, samples_known
from ...system.paths import is_in, is_own
from ..window import Window
from .hooks import Hooks, loss_of
from .passes import Pass, parameter_of, reference_to
from .samples import UNTOLD, Counted, Said, Samples, SamplesError
from .watched_loader import Watching, is_made_from, is_watched, unwatched, watch_also, watched

TRAIN = "train"
_HERE = str(Path(__file__).parents[1])
_LINE = 'with epochbench.stage("validate"):'
_WATCH_OUTSIDE = (
    "watch what the loop itself takes them from: "
    "for inputs, targets in epochbench.watch(fetch_ahead(loader)):"
)


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


@runtime_checkable
class Notes(Protocol):
    """An Observer that keeps what was found out about the work, as the Meter does."""

    def note(self, check: str, holds: bool) -> None: ...


class Stage:
    """What `epochbench.stage` gives under a recorder; it may be entered again, as what it gives elsewhere."""

    def __init__(self, recorder: Recorder, name: str, site: str) -> None:
        self._recorder, self._name, self._site = recorder, name, site

    def __enter__(self) -> None:
        self._recorder.enter(self._name, self._site)

    def __exit__(self, *_: object) -> None:
        self._recorder.leave()


@dataclass
class Block:
    """A stage that was entered, inside of `depth` passes; what was found in it by then."""

    stage: str
    site: str
    depth: int
    has_loader: bool = False
    has_step: bool = False


@dataclass
class Known:
    """What is known of a module that was called: the phase that its calls are, and how it is called in training."""

    module: weakref.ref[nn.Module]
    kind: str  # empty for those that are of no phase, such as a transform of data
    is_trained: bool = False  # with autograd
    is_training: bool = False  # with autograd, in training mode


class Recorder:
    """Listens to a script and tells `observer` of it. It keeps none of the script's own objects alive.

    `window` gives the most steps of a pass by its stage; once a stage and the training have theirs, another pass of it
    raises Enough. A pass of a window ends before them once `has_enough` says so of its stage. `around` is entered for
    each outermost pass; `found` is told once of each module with parameters that is called from outside of any other,
    `stepping` of an optimizer before each of its steps, `graded` of the loss of a step before its backward pass. Losses
    are kept where `keeps_losses`.
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
        self._cut = ""  # the last stage that a window has cut short
        self._suspect: Pass | None = None  # the last pass, if its batches may have been fetched several ahead
        self._wanted: dict[str, int] = {}  # steps of each stage, where there is a window
        self._done: dict[str, int] = {}  # steps of each stage
        self._observer = observer
        self._takes_back = observer if isinstance(observer, TakesBack) else None
        self._notes = observer if isinstance(observer, Notes) else None
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
        self._entered_in = 0  # the thread
        self._blocks: list[Block] = []
        self._without_loader: set[tuple[str, str]] = (
            set()
        )  # stages, by where they are written, that are one step
        self._watched: list[weakref.ref[Any]] = []  # DataLoaders
        self._open: list[Pass] = []
        self._epoch = -1
        self._site = ""  # of passes that no stage surrounds
        self._loaders: list[weakref.ref[Any]] = []  # that those went over, each once
        # By id, since not all modules can be hashed.
        self._modules: dict[int, Known] = {}
        self._called = ""  # the phase that the call of a module that is under way is
        self._backwards = 0  # under way, one within the other
        self._optimizing = False
        self._is_over = False

    # The door.

    def watch(
        self,
        loader: Any,
        stage: str | None = None,
        steps_per_epoch: int | None = None,
        samples: Said = None,
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
        if is_watched(loader):
            if stage is None and steps_per_epoch is None and samples is None:
                return loader
            loader = unwatched(loader)
        made = watched(loader, Watching(self, self._caller(), stage, steps_per_epoch, samples))
        if issubclass(type(made), DataLoader):
            self._watched = [one for one in self._watched if one() is not None]
            self._watched.append(weakref.ref(made))
        return made

    def stage(self, name: str) -> Stage:
        check_stage(name, f"epochbench.stage({name!r})")
        return Stage(self, name, self._caller())

    def _caller(self) -> str:
        """The line that called bench.watch or bench.stage."""
        caller = sys._getframe(3)
        return f"{caller.f_code.co_filename}:{caller.f_lineno}"

    def enter(self, name: str, site: str) -> None:
        """A stage begins; one that had no watched loader before is a pass itself."""
        if not self._open:
            self.hooks.thread = threading.get_ident()
        block = Block(name, site, len(self._open))
        self._blocks.append(block)
        if (name, site) in self._without_loader and not self._is_over:
            try:
                self._begin_step(block)
            except BaseException:
                self._blocks.pop()  # nobody leaves what could not be entered
                raise

    def leave(self) -> None:
        """The innermost stage ends."""
        block = self._blocks.pop()
        if block.has_loader:
            self._without_loader.discard((block.stage, block.site))
        elif block.has_step:
            self._without_loader.add((block.stage, block.site))
        if not self._is_over:
            self._leave_above(block.depth)

    def length(self, whole: int, stage: str | None) -> int:
        """How many batches the next pass over a loader of this stage has, which would give so many.

        A Trainer counts them, and is told those of the window. A script that plans with them, as for how often it
        prints, is told of no fewer than there are.
        """
        if self._window is None:
            return whole
        stage = stage or (self._blocks[-1].stage if self._blocks else TRAIN)
        if stage not in self._windows:
            self._windows[stage] = self._window(stage)
        steps = self._windows[stage]
        return max(whole, steps) if is_own_code() else steps

    def finish(self) -> None:
        """The script has come to its end; raises ScriptError for what was not yet said."""
        self.hooks.home.close()
        if self.problem is None:
            self._leave_above(0)
        if self.problem is not None:
            raise self.problem

    def excuses(self, error: BaseException) -> bool:
        """Whether the script failed because its loader was cut short, as where it counts its batches itself.

        Steps of the stage have been seen by then, beside the first; the log has the error.
        """
        if not self._cut or not isinstance(error, Exception) or isinstance(error, ScriptError):
            return False
        self._leave_above(0)
        if self._done.get(self._cut, 0) <= 1 or self.problem is not None:
            return False
        traceback.print_exc()
        return True

    def close(self) -> None:
        """What still comes is nobody's."""
        self._is_over = True
        if self._entered_in not in (0, threading.get_ident()):
            self._entered.pop_all()  # what was entered in a thread cannot be left from another
        self._entered.close()
        self._open.clear()

    # A pass.

    def batches(self, loader: Iterable[Any], watching: Watching, known_by: Any) -> Iterator[Any]:
        """What a loader gives, while the observer is told. It is `known_by` what was watched."""
        try:
            try:
                yield from self._batches(loader, watching, known_by)
            except SamplesError as problem:
                raise ScriptError(f"the loader watched at {watching.site}: {problem}") from problem
        except (ScriptError, Enough) as end:
            self.hooks.home.interrupt(end)  # the loop would wait for ever for a thread that fetches
            raise

    def _batches(self, loader: Iterable[Any], watching: Watching, known_by: Any) -> Iterator[Any]:
        site, stage, steps_per_epoch = watching.site, watching.stage, watching.steps_per_epoch
        one = self._begin(site, stage, known_by, size_of(loader))
        source: Iterable[tuple[Any, Samples]] = Counted(loader, watching.samples)
        if one.window is not None:
            source = Window(
                source,
                one.window,
                lambda counted: counted[1].number,
                lambda: self._has_enough(one.stage),
            )
            steps_per_epoch = steps_per_epoch and one.window
        one.cut = steps_per_epoch
        try:
            for batch, samples in source:
                if self._is_over:
                    yield batch
                    continue
                if one.ended:
                    raise ScriptError(
                        f"the pass over the loader watched at {site} goes on after another began; two loaders in one "
                        f"loop are watched together: epochbench.watch(zip(a, b))"
                    )
                one.receive(samples)
                self._attend()
                self._lap("data")
                yield batch
                if not self._is_over and not one.ended:
                    if self._open[-1] is not one:
                        self._leave_above(self._open.index(one) + 1)
                    self._ask(one)
                    if one.steps == one.cut:
                        self._end(one)
                        before, one = one, self._begin(site, stage, known_by, one.length)
                        one.goes_on_from(before)
        except GeneratorExit:
            # Its loop was left: a step in which nothing was done is none.
            if not self._is_over and not one.ended:
                self._leave_above(self._open.index(one))
            raise
        if not self._is_over and not one.ended:
            self._observer.lap("data")
            if one.window == one.given != one.length and not one.is_ahead:
                self._cut = one.stage
            if one.is_behind and not self._only_fetches(one):
                one.is_last = True  # its last step is still to come, and nobody will ask for another
                self._attend()
                if self._takes_back is not None:
                    self._takes_back.mark()
                return
            self._suspect = one if one.may_be_far_behind else None
            while one.waiting:
                self._count(one)
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

    def _ask(self, one: Pass) -> None:
        """The loop asks for its next batch.

        Who fetches one batch ahead, as accelerate does, asks for the second before anything was done with the first:
        his first step ends with the third.
        """
        if not one.worked and not one.backwards and not one.calls:
            one.idle += 1
            if one.idle == 1:
                return
        if one.idle and not one.steps:
            one.is_ahead = one.worked
            if not one.worked:
                self._count(one)  # nothing is seen of its work: each batch is a step
        self._count(one)

    def _begin_step(self, block: Block) -> None:
        """A stage without a watched loader is a pass of one step."""
        one = self._begin(block.site, block.stage, is_block=True)
        block.has_step = True
        one.receive(UNTOLD)

    def _begin(
        self,
        site: str,
        named: str | None,
        loader: Any = None,
        length: int | None = None,
        is_block: bool = False,
    ) -> Pass:
        if self.problem is not None:
            raise self.problem
        self._suspect = None
        block = self._blocks[-1] if self._blocks else None
        name = named or (block.stage if block else "")
        stage = name or TRAIN
        if block and not is_block:
            block.has_loader = True
        for number, other in enumerate(self._open):
            # Their loop was left, and something still holds them: nobody trains inside of an evaluation. What a stage
            # does beside its watched loader is a step of its own.
            if (
                (other.site, other.stage) == (site, stage)
                or (stage == TRAIN != other.stage)
                or (other.is_block and other.stage == stage)
            ):
                self._leave_above(number)
                break
        if not name:
            self._check_alone(loader, site)
        if any(other.stage == stage for other in self._open):
            raise ScriptError(
                f"{site} passes over a watched loader inside a pass of the same stage, {stage}; watch one of them, "
                f"both together (epochbench.watch(zip(a, b))), or put around the inner loop: {_LINE}"
            )
        if (
            getattr(self._observer, "is_of_one_thread", False)
            and threading.get_ident() != self.hooks.home.thread
        ):
            raise ScriptError(
                f"the loop over what is watched at {site} runs in a thread of its own, where the profiler does not see "
                f"it: run it in the thread of the script, or measure without a profile, with --no-profile"
            )
        steps: int | None = None
        if self._window is not None:
            if not self._open and self._has_all_of(stage):
                raise Enough
            steps = self._windows.pop(stage, None) or self._window(stage)
            self._wanted.setdefault(stage, steps)
        if stage == TRAIN and TRAIN not in self.passes and self._takes_back is not None:
            self._takes_back.forget()  # a look at the validation before there is anything to validate
        if self._open and self._open[-1].worked:
            self._settle(self._open[-1])
        if not self._open:
            self.hooks.thread = threading.get_ident()
            self._entered_in = threading.get_ident()
            self._entered.enter_context(self._around())
            self.began = self.began or time.monotonic()
        self.passes[stage] = self.passes.get(stage, 0) + 1
        # Passes belong to the epoch of the training that they are inside or behind of.
        epoch = self.passes.get(TRAIN, self.passes[stage]) - 1
        if epoch != self._epoch:
            self._epoch = epoch
            self._observer.epoch(epoch)
        one = Pass(stage, site, bool(name), epoch, length, window=steps, is_block=is_block)
        one.loader = reference_to(loader)
        self._observer.begin(stage)
        self._open.append(one)
        self._attend()
        return one

    def _has_all_of(self, stage: str) -> bool:
        """Whether another pass of this stage adds nothing to the window: it, and training, have all their steps."""
        if stage not in self.passes:
            return False
        seen = {stage, TRAIN} & set(self.passes)
        return all(self._done.get(name, 0) >= self._wanted[name] or self._has_enough(name) for name in seen)

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
        """The step that is under way has ended."""
        loss = one.loss
        self._observer.step(one.count(), loss)
        self._done[one.stage] = self._done.get(one.stage, 0) + 1

    def _leave_above(self, depth: int) -> None:
        """Ends passes that did not come to their own end: with the step under way where something was done in it."""
        while len(self._open) > depth:
            one = self._open[-1]
            self._settle(one)
            if one.worked or one.is_idle:
                self._count(one)
            while one.waiting and one.is_ahead and not one.is_behind:
                self._count(one)  # several were fetched at once, and have all been worked on
            if one.steps and not one.is_remnant:
                self._end(one)
            else:
                self._drop(one)  # a look at the first batch, say

    def _settle(self, one: Pass) -> None:
        """Leaves out what its loop does behind the last batch, if it did not ask for another."""
        if one.is_last and self._takes_back is not None:
            self._takes_back.rewind()

    def _end(self, one: Pass) -> None:
        loss = one.losses.mean()
        self._observer.end(one.stage, loss, {})
        self._close(one)
        if not one.has_forward:
            self._doubt("forward_seen")
        if not one.is_known:
            self._doubt(samples_known(one.stage))
        if one.losses.weight and loss is None:
            self._doubt("loss_scale_known")
        if self._only_fetches(one):
            self.problem = self._fetched(one)
        if one.is_named:
            return
        self._site = one.site
        if one.loader is not None and all(one.loader() is not known() for known in self._loaders):
            self._loaders.append(one.loader)
        if not one.backwards and self.problem is None:
            self.problem = ScriptError(
                f"the pass over the loader watched at {one.site} made no backward pass, so that it is not known what "
                f"it is; put around its loop: {_LINE}"
            )

    def _doubt(self, check: str) -> None:
        if self._notes is not None:
            self._notes.note(check, False)

    def _only_fetches(self, one: Pass) -> bool:
        """Whether nothing was done in the thread that goes through a loader, which is not the script's own."""
        is_elsewhere = self.hooks.thread != self.hooks.home.thread
        return is_elsewhere and not (one.has_forward or one.backwards or one.is_block)

    def _fetched(self, one: Pass) -> ScriptError:
        return ScriptError(
            f"the loader watched at {one.site} is gone through in a thread that only fetches its batches; "
            f"{_WATCH_OUTSIDE}"
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
        if self._backwards or not (self._open or self._blocks or self._suspect):
            return  # what is computed anew for the backward pass is part of it
        known = self._known(module)
        if known.kind and (self._blocks or self._suspect):
            self._work(trains=False)
        if not known.kind or not self._open:
            return
        one = self._open[-1]
        one.worked = True
        self._called = known.kind
        if one.stage == TRAIN and self._evaluates(known, module):
            self._called = "other"
            self._lap("loss" if one.waits else self._between())
        elif known.kind == "forward":
            one.has_forward = True
            self._lap(self._between())
            if one.stage != TRAIN or torch.is_grad_enabled():
                one.feed(module, inputs)

    def _evaluates(self, known: Known, module: nn.Module) -> bool:
        """Whether a call inside of a training step is none of its forward pass: of a model that is trained otherwise.

        That is without autograd, or in evaluation mode where it was in training mode before.
        """
        has_autograd = torch.is_grad_enabled()
        if known.kind == "loss":
            return not has_autograd
        evaluates = known.is_trained and (not has_autograd or (known.is_training and not module.training))
        if evaluates:
            self._doubt("evaluation_marked")
        elif has_autograd:
            known.is_trained, known.is_training = True, known.is_training or module.training
        return evaluates

    def _work(self, trains: bool) -> None:
        """Something is done: in a stage that has no watched loader, what is done in it is one step.

        Raises ScriptError where it is done with batches of a pass that has ended.
        """
        late = self._suspect
        if late is not None and not self._open and not self._is_over:
            if trains != (late.stage == TRAIN):
                return
            self.problem = ScriptError(
                f"the batches of the loader watched at {late.site} are fetched several ahead, so that it is not seen "
                f"which step works on which; {_WATCH_OUTSIDE}"
            )
            raise self.problem
        if not self._blocks:
            return
        block = self._blocks[-1]
        is_inside = len(self._open) > block.depth or any(one.stage == block.stage for one in self._open)
        if not is_inside and not self._is_over:
            self._begin_step(block)

    def forward_ended(self, module: nn.Module) -> None:
        if self._backwards or not self._open:
            return
        kind = self._called
        if kind:
            self._lap(kind)
        if kind == "forward":
            self._open[-1].waits = True

    def _known(self, module: nn.Module) -> Known:
        known = self._modules.get(id(module))
        if known is not None and known.module() is module:
            return known
        parameter = parameter_of(module)
        kind = "forward" if parameter is not None else "loss" if isinstance(module, _Loss) else ""
        known = self._modules[id(module)] = Known(weakref.ref(module), kind)
        if parameter is not None:
            self.device = self.device or parameter.device
            # Those of `functional_call` are not the module's own: it does not move.
            if isinstance(parameter, nn.Parameter):
                self._found(module)
        return known

    def scaled(self, loss: Tensor, plain: Tensor) -> None:
        if self._open:
            self._open[-1].scaled.append((loss, plain))

    def backward_began(self, loss: Any) -> None:
        self._backwards += 1
        if self._backwards > 1:
            return
        if self._blocks or self._suspect:
            self._work(trains=True)
        if not self._open:
            return
        one = self._open[-1]
        self._lap("loss" if one.waits else self._between())
        one.waits = False
        one.worked = True
        one.backwards += 1
        one.losses.group += 1
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
            one.losses.add(loss, one.samples or 1)

    def backward_ended(self) -> None:
        self._backwards -= 1
        if not self._backwards and self._open:
            self._lap("backward")

    def backward_elsewhere(self) -> None:
        """Another thread trains than the one that goes through the loader: raises ScriptError if that only fetches."""
        one = self._open[0] if self._open else None
        if one is None or one.has_forward or one.backwards or self._is_over:
            return
        self.problem = self._fetched(one)
        self._is_over = True  # for the other thread as well, which has nothing to tell
        raise self.problem

    def zeroing_began(self) -> None:
        if self._open:
            one = self._open[-1]
            one.losses.stepped()
            self._lap("loss" if one.waits else self._between())

    def zeroing_ended(self) -> None:
        if self._open:
            self._lap("zero_grad")

    def optimizer_began(self, optimizer: Optimizer) -> None:
        self._stepping(optimizer)
        if self._open:
            self._lap(self._between())
            self._optimizing = True

    def closure_began(self) -> None:
        """An optimizer evaluates the batch: what it is given again was counted."""
        if self._open:
            self._open[-1].has_fed = self._open[-1].samples > 0

    def optimizer_ended(self, is_done: bool) -> None:
        self._optimizing = False
        if not self._open:
            return
        self._lap("optimizer")
        if is_done:
            self._open[-1].losses.stepped()

    def loader_made(self, loader: DataLoader[Any]) -> None:
        """A DataLoader is there that may be a watched one, made anew: then it is watched as well."""
        if is_watched(loader):
            return
        by_library = not is_own_code(loader)
        for reference in reversed(self._watched):
            before = reference()
            if before is not None and is_made_from(loader, before, by_library):
                watch_also(loader, before)
                return

    def _between(self) -> str:
        return "optimizer" if self._optimizing else "other"


def is_own_code(made: Any = None) -> bool:
    """Whether the script itself asks, and not a library that it uses; what is `made` does so where it is made."""
    frame = sys._getframe(1)
    while frame is not None and (
        is_in(frame.f_code.co_filename, [_HERE])
        or (made is not None and any(one is made for one in frame.f_locals.values()))
    ):
        frame = frame.f_back  # type: ignore[assignment]
    return frame is None or is_own(frame.f_code.co_filename)


def check_stage(name: str, said: str) -> None:
    """Raises ScriptError for a stage that there is not, that somebody `said`."""
    if name not in STAGES:
        raise ScriptError(f"{said}: there is no such stage, there are {', '.join(STAGES)}")
