"""The probe of a script: a short run before anything is measured, which finds what every launch would fail on."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_post_hook

from ...errors import UsageError
from ...measurement.messages import ProbeReport
from ...suite.case import Case
from ...suite.script import Script
from ...training import Observer
from ..context import LaunchContext
from ..suites import log_traceback, own_files, refuse_mistaken_name, third_party
from .recorder import Recorder
from .run import UNWATCHED, Unusable, names_bench, run

_STEPS_UNWATCHED = 3  # of training, after which a script that does not name bench will watch none


class Unwatched(BaseException):
    """Ends a script that trains where nothing is watched."""


def probe(script: Script, case: Case, context: LaunchContext) -> ProbeReport:
    """Runs the script over one batch of each stage.

    Raises UsageError where it watches nothing (at once where it trains and none of its code names bench), and where it
    writes to places that it must not. Any other error is left to the launches, which report it.
    """
    before = set(sys.modules)
    recorder = Recorder(Observer(), window=lambda _: 1, keeps_losses=False)
    try:
        with without_unwatched_training(script, recorder, before):
            run(script, case, recorder, context)
    except Unusable as problem:
        raise UsageError(f"{script.path}: {problem}") from None
    except BaseException as problem:  # KeyboardInterrupt too: here it is the script that raises it
        refuse_mistaken_name(script.path, problem)
        log_traceback()
    new = [name for name in sys.modules if name not in before]
    return ProbeReport(
        modules=tuple(third_party(new)),
        sources=tuple(map(Path, sorted({script.path, *own_files(new)}))),
        written=() if context.folders is None else tuple(map(Path, context.folders.new_files())),
    )


@contextmanager
def without_unwatched_training(script: Script, recorder: Recorder, before: Container[str]) -> Iterator[None]:
    """Raises Unusable where the script takes a few steps of training and nothing of its own code names bench."""
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == _STEPS_UNWATCHED and not recorder.passes and not names_bench(script, before):
            raise Unwatched

    hook = register_optimizer_step_post_hook(step)
    try:
        yield
    except Unwatched:
        raise Unusable(f"the script trains without {UNWATCHED}") from None
    finally:
        hook.remove()
