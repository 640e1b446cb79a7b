"""Decides which loops of an unmarked script train, validate and test, from what happened in each during a short run.

A pass over a loader with a backward pass in it trains; one in which modules are only called evaluates; one without
either, such as computing the mean of the data, is ignored. Where nothing trains inside a pass, a training step ends
with a step of the optimizer, or without one with the backward pass. The names of loaders and
functions, and their order, show which evaluation is the validation and which the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ...suite.loops import BACKWARD, BATCH, OPTIMIZER, Loop
from .passes import TRAIN

EPOCH = 100  # steps of an epoch where the loop has none, or one that is longer than LONGEST
LONGEST = 10_000
_REPEATS = 3  # steps outside of a pass after which its batches are known to be used again

_VALIDATE = frozenset("val valid validate validation dev".split())  # "evaluate" may be either
_TEST = frozenset("test tests testing tst".split())
_LOADER = re.compile(r"(data)?(loader|set|iter|iterator|batches|dl|ds)?$")  # testloader, val_dl


@dataclass
class PassEvidence:
    """What happened in the passes over loaders that begin at one place of the script.

    `names` are those of the loader and of the functions around it, the innermost first; `length` the batches of a pass,
    None if unknown. `inside` are the keys of passes that were open with work in their step when one of these began.
    `is_interleaved` if a pass continued after another began; `is_elsewhere` if it was in another thread than the
    script's.
    """

    key: str
    place: str
    names: tuple[str, ...] = ()
    length: int | None = None
    passes: int = 0
    forwards: int = 0
    backwards: int = 0
    optimizer_places: set[str] = field(default_factory=set)
    inside: set[str] = field(default_factory=set)
    is_interleaved: bool = False
    is_elsewhere: bool = False


@dataclass
class StepEvidence:
    """How often an optimizer stepped, or a backward pass ended, at one place of the script outside of any pass."""

    key: str
    place: str
    count: int = 0


@dataclass
class Evidence:
    """All that a run showed, each in the order in which it was seen first."""

    passes: dict[str, PassEvidence] = field(default_factory=dict)
    optimizer_steps: dict[str, StepEvidence] = field(default_factory=dict)
    backwards: dict[str, StepEvidence] = field(default_factory=dict)


def decided(evidence: Evidence, epoch: int | None = None) -> list[Loop]:
    """The loops of the script, those that train first; empty if nothing in it trains or evaluates.

    Passes without any work follow, with no stage. `epoch` is the number of steps of an epoch, if the user gives it.
    """
    trained = _trained(evidence)
    if not trained:
        trained = _by_step(evidence, epoch or EPOCH)
        known: set[str] = set()
    else:
        known = {loop.key for loop in trained}
        trained = [_with_epoch(loop, epoch) for loop in trained]
    evaluated = [
        one
        for one in evidence.passes.values()
        if one.forwards and not one.backwards and not one.is_elsewhere and not one.is_interleaved
    ]
    outermost = [one for one in evaluated if not one.inside & ({other.key for other in evaluated} - known)]
    stages = evaluation_stages([one.names for one in outermost])
    evaluations = [
        Loop(stage, BATCH, one.key, one.place, one.length)
        for stage, one in zip(stages, outermost, strict=True)
    ]
    if not (trained or evaluations):
        return []
    known |= {loop.key for loop in evaluations}
    ignored = [
        Loop("", BATCH, one.key, one.place) for one in evidence.passes.values() if one.key not in known
    ]
    return [*trained, *evaluations, *ignored]


def _trained(evidence: Evidence) -> list[Loop]:
    """The passes that train, without those inside of another; none if their batches are used outside of them too."""
    trained = [one for one in evidence.passes.values() if one.backwards]
    if any(one.is_elsewhere or one.is_interleaved or _repeats(one, evidence) for one in trained):
        return []
    keys = {one.key for one in trained}
    return [
        Loop(TRAIN, BATCH, one.key, one.place, one.length)
        for one in trained
        if not one.inside & (keys - {one.key})
    ]


def _repeats(one: PassEvidence, evidence: Evidence) -> bool:
    """Whether the script uses the batches of its only pass again, as `itertools.cycle` does."""
    if one.passes > 1:
        return False
    after = [step.count for step in evidence.optimizer_steps.values() if step.place in one.optimizer_places]
    return max(after, default=0) >= _REPEATS


def _with_epoch(loop: Loop, epoch: int | None) -> Loop:
    """The loop with epochs of this number of steps, or of EPOCH steps if its passes are endless."""
    if epoch is None and (loop.steps is not None and loop.steps <= LONGEST):
        return loop
    return Loop(loop.stage, loop.ends, loop.key, loop.place, epoch or EPOCH, is_cut=True)


def _by_step(evidence: Evidence, epoch: int) -> list[Loop]:
    """Training from step to step: of the optimizer that stepped first, or without one of the backward pass."""
    for ends, steps in ((OPTIMIZER, evidence.optimizer_steps), (BACKWARD, evidence.backwards)):
        most = max((one.count for one in steps.values()), default=0)
        frequent = [one for one in steps.values() if 2 * one.count >= most]
        if frequent:
            return [Loop(TRAIN, ends, frequent[0].key, frequent[0].place, epoch, is_cut=True)]
    return []


def stage_said(names: Iterable[str]) -> str:
    """The stage that the innermost of these names says; empty if none does."""
    return next(filter(None, map(_stage_said, names)), "")


def evaluation_stages(names: Sequence[Iterable[str]]) -> list[str]:
    """The stage of each evaluation, in the order in which they came, from the names around it.

    Of those whose names say nothing, the first is the validation unless another one is, and the others are the test.
    """
    said = list(map(stage_said, names))
    free = "test" if "validate" in said else "validate"
    stages = []
    for stage in said:
        stages.append(stage or free)
        if not stage:
            free = "test"
    return stages


def _stage_said(name: str) -> str:
    """The stage that a name says: "validate" for val_loader, "test" for testloader; empty for any other."""
    words = re.findall("[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    said = {*words, *(_LOADER.sub("", word) for word in words)}
    if said & _TEST:
        return "test"
    return "validate" if said & _VALIDATE else ""
