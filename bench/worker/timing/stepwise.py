"""One case, step by step: the loop of `training.py`, paused after each step, for an external timer.

The process is shared with other code: global settings of torch that building a case changes are restored at the end.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from ...errors import UsageError
from ...suite.case import Case
from ...suite.matrix import Suite
from ...training import GRADIENTS, Observer, Steps, Task, evaluate_steps, fit, train_steps
from ..axis_reads import Reads
from ..counts import compiled
from ..launch import Diverged
from ..suite_launches import build
from ..suites import check_sizes
from ..window import window, windowed
from . import launch_memory
from .timers import device_synchronizer

_SEED = 0  # that of `bench run`
_ENDLESS = 2**62  # steps: loaders are restarted when they end


class _Last(Observer):
    """What the previous step was."""

    samples = 0
    loss: Tensor | None = None

    def step(self, samples: int, loss: Tensor) -> None:
        self.samples, self.loss = samples, loss.detach()


class Stepper:
    """Each call runs one step over the next full batch of the loader, and returns when the device has finished.

    It is a training step under the mode `train`, else a step of the test stage (of validation if there is no test),
    with autograd as in the mode.
    """

    def __init__(self, task: Task, case: Case, pinned: bool, reads: Reads) -> None:
        self._reads = reads
        self.conditions = {
            "threads": torch.get_num_threads(),
            "allocator": "pinned" if pinned else "unpinned",
            "torch": str(torch.__version__),
        }
        self._last = _Last()
        self._synchronize = device_synchronizer(task.device)
        self._steps: Steps[Any]
        if case.mode == "train":
            self._steps = train_steps(windowed(task, train=_ENDLESS), self._last)
        else:
            stage, loader, metrics = "test", task.test_loader, task.metrics
            if loader is None:
                stage, loader, metrics = "validate", task.validate_loader, {}
            if loader is None:
                raise UsageError(
                    f"mode {case.mode!r} evaluates: give the Task a test_loader or a validate_loader"
                )
            endless = window(task, loader, _ENDLESS)
            self._steps = evaluate_steps(task, stage, endless, self._last, GRADIENTS[case.mode], metrics)

    def __call__(self) -> None:
        try:
            next(self._steps)
        except StopIteration:
            raise UsageError(
                "a loader gave no batch in its second pass; give one that can be reused"
            ) from None
        self._synchronize()

    @property
    def samples(self) -> int:
        """Rows of data in the last step."""
        return self._last.samples

    @property
    def unread(self) -> tuple[str, ...]:
        """The axes of the case that were not read so far, and therefore change nothing."""
        return self._reads.unread

    def check_finite(self) -> None:
        """Raises Diverged if the last loss is not a finite number."""
        loss = math.nan if self._last.loss is None else float(self._last.loss)
        if not math.isfinite(loss):
            raise Diverged(f"after its last step the loss is {loss}; try a smaller learning_rate")

    def close(self) -> None:
        """Ends the loop; autograd is reset to its state before the first step."""
        self._steps.close()


@contextlib.contextmanager
def prepared(suite: Suite, case: Case, pins: bool = False, warms_up: bool = True) -> Iterator[Stepper]:
    """The case, built on its device and, if it `warms_up`, after a first epoch of the whole loop.

    If it `pins` the allocator of the host, which may have no effect, that lasts as long as the process. Raises
    UsageError for a batch larger than the data, as `bench run` does.
    """
    device = torch.device(case.device)
    current: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if device.type != "cpu":
        current = torch.accelerator.device_index(device.index or 0)
    pinned = pins and launch_memory.pin()
    with _restored(), current:
        random.seed(_SEED)
        numpy.random.seed(_SEED)
        torch.manual_seed(_SEED)
        reads = Reads(case)
        task = build(suite, reads.case(), device)
        try:
            check_sizes(case, task)
            if warms_up:
                fit(task, 1, case.mode, case.validate_every)
            with contextlib.closing(Stepper(task, case, pinned, reads)) as stepper:
                yield stepper
        finally:
            if task.teardown is not None:
                task.teardown()


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    """A context after which number formats and threads are as before, and compiled graphs are dropped.

    Torch compiles only a few graphs of the same code: without this, later cases would fall back to Python.
    """
    cudnn = torch.backends.cudnn
    before = [(name, getattr(cudnn, name)) for name in ("benchmark", "deterministic")]
    set_formats, threads, default = _formats(), torch.get_num_threads(), torch.get_default_dtype()
    try:
        yield
    finally:
        for name, value in before:
            setattr(cudnn, name, value)
        set_formats()
        torch.set_num_threads(threads)
        torch.set_default_dtype(default)
        if compiled.counts():
            torch.compiler.reset()


def _formats() -> Callable[[], None]:
    """A function that sets the formats of float32 products as they are now.

    Torch refuses to tell its older settings where the newer ones, of single operators, have no such value: then those
    are set.
    """
    setters: list[Callable[[], None]] = []

    def keep(read: Callable[[], Any], write: Callable[[Any], None], operators: Sequence[Any]) -> None:
        try:
            setters.append(functools.partial(write, read()))
        except RuntimeError:
            for one in operators:
                setters.append(functools.partial(setattr, one, "fp32_precision", one.fp32_precision))

    backends: Any = torch.backends
    matmul, cudnn = (backends.cuda.matmul, backends.mkldnn.matmul), backends.cudnn
    keep(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, matmul)
    keep(
        lambda: cudnn.allow_tf32,
        functools.partial(setattr, cudnn, "allow_tf32"),
        (cudnn.conv, cudnn.rnn),
    )

    def set_them() -> None:
        for setter in setters:
            setter()

    return set_them
