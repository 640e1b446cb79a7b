"""Follows the passes over watched loaders: where each begins and ends, its steps, and its stage."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from ...batches import size_of
from ...measurement import samples_known
from ..window import Window
from .errors import Enough, ScriptError
from .passes import TRAIN, CheckingObserver, Pass, RewindingObserver, StageObserver, StepLimits, reference_to
from .samples import UNTOLD, Counted, Samples, SamplesError
from .threads import ScriptThreads
from .watched_loader import Watching

_STAGE_LINE = 'with epochbench.stage("validate"):'
_WATCH_OUTSIDE = (
    "watch what the loop itself takes them from: "
    "for inputs, targets in epochbench.watch(fetch_ahead(loader)):"
)


@dataclass
class NamedStage:
    """A stage that the script has entered by name, inside of `depth` passes, and what happened in it."""

    stage: str
    site: str
    depth: int
    has_loader: bool = False
    has_step: bool = False


class PassTracker:
    """The passes that are open, the innermost last. `around` is entered for each outermost one.

    A pass belongs to the epoch of the training pass that it is inside of, or else of the last one before it.
    """

    def __init__(
        self,
        observer: StageObserver,
        threads: ScriptThreads,
        limits: StepLimits,
        around: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.observer = observer
        # Called ten times per step, so without a function in between.
        self.lap: Callable[[str], None] = observer.lap
        self.open: list[Pass] = []
        self.begun: dict[str, int] = {}  # the number of passes, by stage
        self.problem: ScriptError | None = None  # to be raised at the next occasion
        self.began = self.ended = 0.0  # the first pass and the last one, on time.monotonic
        self.is_over = False
        self.unknown = 0  # open passes over loaders that were not there in the first run of the script
        self._threads = threads
        self._limits = limits
        self._rewinding = observer if isinstance(observer, RewindingObserver) else None
        self._checking = observer if isinstance(observer, CheckingObserver) else None
        self._around = around
        self._entered = ExitStack()
        self._entered_in = 0  # the thread
        self._stages: list[NamedStage] = []
        self._one_step_stages: set[tuple[str, str]] = set()  # without a watched loader; by stage and site
        self._cut_short = ""  # the last stage whose pass a limit has ended
        self._suspect: Pass | None = None  # the last pass, if its batches may have been fetched several ahead
        self._epoch = -1
        self._site = ""  # of the passes that no named stage surrounds
        self._loaders: list[weakref.ref[Any]] = []  # the loaders of these passes, each once

    # Named stages.

    @property
    def named_stage(self) -> str:
        """The innermost stage that the script has entered by name; empty outside of any."""
        return self._stages[-1].stage if self._stages else ""

    def enter(self, name: str, site: str) -> None:
        """A named stage begins; one that had no watched loader before is a pass itself."""
        if not self.open:
            self._threads.loop = threading.get_ident()
        stage = NamedStage(name, site, len(self.open))
        self._stages.append(stage)
        if (name, site) in self._one_step_stages and not self.is_over:
            try:
                self._begin_step(stage)
            except BaseException:
                self._stages.pop()  # a stage that was not entered is not left
                raise

    def leave(self) -> None:
        """The innermost named stage ends."""
        stage = self._stages.pop()
        if stage.has_loader:
            self._one_step_stages.discard((stage.stage, stage.site))
        elif stage.has_step:
            self._one_step_stages.add((stage.stage, stage.site))
        if not self.is_over:
            self._leave_above(stage.depth)

    # The end of the script.

    def finish(self) -> None:
        """The script has ended; raises the ScriptError that was not raised yet."""
        if self.problem is None:
            self._leave_above(0)
        if self.problem is not None:
            raise self.problem

    def was_cut_short(self) -> bool:
        """Whether a limit has ended a pass of which further steps than the first were seen."""
        if not self._cut_short:
            return False
        self._leave_above(0)
        return self._limits.done.get(self._cut_short, 0) > 1 and self.problem is None

    def close(self) -> None:
        """Ignores all further calls."""
        self.is_over = True
        if self._entered_in not in (0, threading.get_ident()):
            self._entered.pop_all()  # it can only be left in the thread that entered it
        self._entered.close()
        self.open.clear()

    # A pass.

    def batches(self, loader: Iterable[Any], watching: Watching, known_by: Any) -> Iterator[Any]:
        """The batches of a loader, reported to the observer; `known_by` is the object that was watched."""
        try:
            try:
                yield from self._batches(loader, watching, known_by)
            except SamplesError as problem:
                raise ScriptError(f"the loader watched at {watching.site}: {problem}") from problem
        except (ScriptError, Enough) as end:
            self._threads.interrupt(end)  # the loop would wait forever for a thread that fetches
            raise

    def _batches(self, loader: Iterable[Any], watching: Watching, known_by: Any) -> Iterator[Any]:
        site, stage, steps_per_epoch = watching.site, watching.stage, watching.steps_per_epoch
        current = self._begin(site, stage, known_by, size_of(loader))
        current.is_stepwise = watching.is_stepwise
        steps_per_epoch = steps_per_epoch or self._limits.epoch(current.stage, current.length)
        source: Iterable[tuple[Any, Samples]] = Counted(loader, watching.samples)
        if current.window is not None:
            source = Window(
                source,
                current.window,
                lambda counted: counted[1].number,
                lambda: self._limits.has_enough(current.stage),
            )
            steps_per_epoch = steps_per_epoch and current.window
        current.cut = steps_per_epoch
        try:
            for batch, samples in source:
                if self.is_over:
                    yield batch
                    continue
                if current.ended:
                    raise ScriptError(
                        f"the pass over the loader watched at {site} continues after another began; two loaders in one "
                        f"loop are watched together: epochbench.watch(zip(a, b))"
                    )
                current.receive(samples)
                self._choose_lap()
                self.lap("data")
                yield batch
                if not self.is_over and not current.ended:
                    if self.open[-1] is not current:
                        self._leave_above(self.open.index(current) + 1)
                    self._next_requested(current)
                    if current.steps == current.cut:
                        self._end(current)
                        before, current = current, self._begin(site, stage, known_by, current.length)
                        current.continue_from(before)
        except GeneratorExit:
            # The loop was left: a step in which nothing was done is not counted.
            if not self.is_over and not current.ended:
                self._leave_above(self.open.index(current))
            raise
        if not self.is_over and not current.ended:
            self._exhausted(current)

    def _exhausted(self, current: Pass) -> None:
        """The loader has no further batch."""
        self.observer.lap("data")
        if current.window == current.given != current.length and not current.is_ahead:
            self._cut_short = current.stage
        if current.is_behind and not self._only_fetches(current):
            current.is_last = True  # its last step is still to come, and no further batch will be requested
            self._choose_lap()
            if self._rewinding is not None:
                self._rewinding.mark()
            return
        self._suspect = current if current.may_be_far_behind else None
        while current.waiting:
            self._count(current)
        if current.is_remnant:
            self._drop(current)
            return
        if not current.steps:
            raise ScriptError(
                f"the loader watched at {current.site} gave no batch; give it data, or check drop_last"
            )
        self._end(current)
        if self.problem is not None:
            raise self.problem

    def _next_requested(self, current: Pass) -> None:
        """The loop requests its next batch.

        A loop that fetches one batch ahead, as accelerate does, requests the second before it has done anything with
        the first: its first step ends with the third request.
        """
        if not current.worked and not current.backwards and not current.calls:
            current.idle += 1
            if current.idle == 1:
                return
        if current.idle and not current.steps:
            current.is_ahead = current.worked
            if not current.worked:
                self._count(current)  # its work is not seen: each batch is a step
        self._count(current)

    def _begin_step(self, stage: NamedStage) -> None:
        """A stage without a watched loader is a pass of one step."""
        current = self._begin(stage.site, stage.stage, is_block=True)
        stage.has_step = True
        current.receive(UNTOLD)

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
        name = named or self.named_stage
        stage = name or TRAIN
        if self._stages and not is_block:
            self._stages[-1].has_loader = True
        self._leave_abandoned(site, stage)
        self._check_begin(site, stage, name, loader)
        if not self.open and self._limits.are_met(stage, self.begun):
            raise Enough
        steps = self._limits.begin(stage)
        if stage == TRAIN and TRAIN not in self.begun and self._rewinding is not None:
            self._rewinding.forget()  # a validation before any training
        if self.open and self.open[-1].worked:
            self._rewind(self.open[-1])
        if not self.open:
            self._threads.loop = self._entered_in = threading.get_ident()
            self._entered.enter_context(self._around())
            self.began = self.began or time.monotonic()
        self.begun[stage] = self.begun.get(stage, 0) + 1
        epoch = self.begun.get(TRAIN, self.begun[stage]) - 1
        if epoch != self._epoch:
            self._epoch = epoch
            self.observer.epoch(epoch)
        current = Pass(stage, site, bool(name), epoch, length, window=steps, is_block=is_block)
        current.loader = reference_to(loader)
        self.observer.begin(stage)
        self.open.append(current)
        self._choose_lap()
        return current

    def _leave_abandoned(self, site: str, stage: str) -> None:
        """Ends open passes if their loop was left but something still holds them, since another pass begins.

        Training never runs inside of an evaluation; and work of a stage outside its watched loader is a separate step.
        """
        for number, other in enumerate(self.open):
            if (
                (other.site, other.stage) == (site, stage)
                or (stage == TRAIN != other.stage)
                or (other.is_block and other.stage == stage)
            ):
                self._leave_above(number)
                break

    def _check_begin(self, site: str, stage: str, name: str, loader: Any) -> None:
        """Raises ScriptError for a pass that cannot be measured where it begins."""
        if not name:
            self._check_only_loader(loader, site)
        if any(other.stage == stage for other in self.open):
            raise ScriptError(
                f"{site} passes over a watched loader inside a pass of the same stage, {stage}; watch one of them, "
                f"both together (epochbench.watch(zip(a, b))), or put around the inner loop: {_STAGE_LINE}"
            )
        if getattr(self.observer, "is_of_one_thread", False) and not self._threads.is_in_main():
            raise ScriptError(
                f"the loop over the loader watched at {site} runs in another thread, where the profiler does not see "
                f"it: run it in the thread of the script, or measure without a profile, with --no-profile"
            )

    def _check_only_loader(self, loader: Any, site: str) -> None:
        """Raises ScriptError where a second loader is watched outside of any stage, or one at two lines."""
        seen = [reference() for reference in self._loaders]
        if seen and seen[-1] is loader and self._site != site:
            raise ScriptError(
                f"the same loader is watched at {self._site} and at {site}; watch it once, above both, or name the "
                f'stage at each: epochbench.watch(loader, "train")'
            )
        again = any(other is loader for other in seen) and seen[-1] is not loader
        if again or (self._site and self._site != site):
            raise ScriptError(
                f"two loaders are watched, at {self._site} and at {site}, and the stage of each is not known; "
                f"put around the loop that does not train: {_STAGE_LINE}"
            )

    def _count(self, current: Pass) -> None:
        """The current step has ended."""
        loss = current.loss
        self.observer.step(current.count(), loss)
        self._limits.step(current.stage)

    def _leave_above(self, depth: int) -> None:
        """Ends passes that were left early: with their current step if something was done in it."""
        while len(self.open) > depth:
            current = self.open[-1]
            self._rewind(current)
            if (current.worked and not current.is_stepwise) or current.is_idle:
                self._count(current)
            while current.waiting and current.is_ahead and not current.is_behind:
                self._count(current)  # several were fetched at once, and all were used
            if current.steps and not current.is_remnant:
                self._end(current)
            else:
                self._drop(current)  # such as reading only the first batch

    def _rewind(self, current: Pass) -> None:
        """Discards the time after the last batch if the loop did not request another."""
        if current.is_last and self._rewinding is not None:
            self._rewinding.rewind()

    def _end(self, current: Pass) -> None:
        loss = current.losses.mean()
        self.observer.end(current.stage, loss, {})
        self._limits.ended(current.stage, current.steps)
        self._close(current)
        if not current.has_forward:
            self.failed("forward_seen")
        if not current.is_known:
            self.failed(samples_known(current.stage))
        if current.losses.weight and loss is None:
            self.failed("loss_scale_known")
        if self._only_fetches(current):
            self.problem = self._fetched_elsewhere(current)
        if current.is_named:
            return
        self._site = current.site
        if current.loader is not None and all(current.loader() is not known() for known in self._loaders):
            self._loaders.append(current.loader)
        if not current.backwards and self.problem is None:
            self.problem = ScriptError(
                f"the pass over the loader watched at {current.site} had no backward pass, so that its stage is not "
                f"known; put around its loop: {_STAGE_LINE}"
            )

    def _drop(self, current: Pass) -> None:
        if self._rewinding is not None:
            self._rewinding.drop()
        else:
            self.observer.end(current.stage, None, {})
        self.begun[current.stage] -= 1
        if not self.begun[current.stage]:
            del self.begun[current.stage]
        self._close(current)

    def _close(self, current: Pass) -> None:
        current.ended = True
        self.open.remove(current)
        self.ended = time.monotonic()
        if self.open:
            self._choose_lap()
        else:
            self._entered.close()

    def failed(self, check: str) -> None:
        """A check of the work does not hold."""
        if self._checking is not None:
            self._checking.note(check, False)

    # Work that is seen.

    @property
    def expects_work(self) -> bool:
        """Whether `worked` needs to be called."""
        return bool(self._stages or self._suspect or self.unknown)

    def worked(self, trains: bool) -> None:
        """The script does some work; in a named stage without a watched loader, this begins its only step.

        Raises ScriptError if the work is on batches of a pass that has ended.
        """
        if self.unknown and not self.open:
            self.failed("passes_recognised")
        late = self._suspect
        if late is not None and not self.open and not self.is_over:
            if trains != (late.stage == TRAIN):
                return
            self.problem = ScriptError(
                f"the batches of the loader watched at {late.site} are fetched several ahead, so that it is not known "
                f"which step uses which batch; {_WATCH_OUTSIDE}"
            )
            raise self.problem
        if not self._stages:
            return
        stage = self._stages[-1]
        is_inside = len(self.open) > stage.depth or any(other.stage == stage.stage for other in self.open)
        if not is_inside and not self.is_over:
            self._begin_step(stage)

    def trained_elsewhere(self) -> None:
        """Another thread trains than the one that iterates over the loader. Raises ScriptError if that only fetches."""
        current = self.open[0] if self.open else None
        if current is None or current.has_forward or current.backwards or self.is_over:
            return
        self.problem = self._fetched_elsewhere(current)
        self.is_over = True  # for the other thread as well
        raise self.problem

    def _only_fetches(self, current: Pass) -> bool:
        """Whether the thread that iterates over a loader, not the main thread, has done no work."""
        is_elsewhere = self._threads.loop != self._threads.main
        return is_elsewhere and not (current.has_forward or current.backwards or current.is_block)

    def _fetched_elsewhere(self, current: Pass) -> ScriptError:
        return ScriptError(
            f"the loader watched at {current.site} is iterated over in a thread that only fetches its batches; "
            f"{_WATCH_OUTSIDE}"
        )

    def _choose_lap(self) -> None:
        """Laps go directly to the observer, unless each of them may have ended the innermost pass."""
        marks = self.open[-1].is_last and self._rewinding is not None
        self.lap = self._lap_and_mark if marks else self.observer.lap

    def _lap_and_mark(self, phase: str) -> None:
        assert self._rewinding is not None
        self.observer.lap(phase)
        self._rewinding.mark()
