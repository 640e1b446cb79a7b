"""One launch of a script: run as `python train.py ...` would, with somebody listening at its loaders."""

from __future__ import annotations

import io
import os
import runpy
import sys
import time
import traceback
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..case import Case
from ..logs import end_of, last_line
from ..measurement import PHASED, WARMUP_EPOCHS, Counts, Measurement, Profile
from ..script import Script
from ..training import Observer
from ..watch import listen
from . import profiler
from .guards import AfterWarmup
from .meters import (
    NANO,
    MemoryMeter,
    Meter,
    device_peaks,
    device_synchronizer,
    device_timer,
)
from .recorder import Enough, Recorder, ScriptError
from .script_counts import count
from .suites import own_files, third_party


def run(script: Script, case: Case, recorder: Recorder, log: str = "") -> None:
    """Runs the script with the arguments of the case, to its end or until the recorder has enough.

    What it prints is in `log`. Raises ScriptError where it ends with an exit code, or cannot be measured, and what
    the script raises.
    """
    enter(script, case)
    listen(recorder)
    try:
        with recorder.hooks:
            try:
                runpy.run_path(script.path, run_name="__main__")
            except SystemExit as end:
                if end.code not in (None, 0):
                    raise ScriptError(ending(end.code, log)) from None
            except Enough:
                pass
            recorder.finish()
    finally:
        listen(None)
        recorder.close()
    if not recorder.passes:
        raise ScriptError(
            "the script ended without a pass over a watched loader; import bench in it, and write its loop as: "
            "for inputs, targets in bench.watch(train_loader):"
        )


def enter(script: Script, case: Case) -> None:
    """Arguments, variables and search path as the script finds them when Python runs it.

    What it prints is in its log at once, as on a terminal: one that hangs is killed with all that it kept back.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    sys.argv = [script.path, *script.command(case)]
    os.environ.update(script.variables(case))
    folder = str(Path(script.path).parent)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)


def ending(code: Any, log: str = "") -> str:
    """Why a script ended: what it said to `sys.exit`, or its exit code with the last line of its log."""
    if not isinstance(code, int):
        return f"the script ended: {code}"
    last = last_line(log_end(log))
    return f"the script ended with exit code {code}" + (f": {last}" if last else "")


class Checks:
    """Gives the meter for each pass the models that the script had called before it, and still keeps."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._called: list[weakref.ref[nn.Module]] = []
        self._stepped: list[weakref.ref[Optimizer]] = []

    def found(self, model: nn.Module) -> None:
        self._called.append(weakref.ref(model))
        self._meter.model = None  # of a pass that shows a further one it is not known what was to move

    def stepping(self, optimizer: Optimizer) -> None:
        if all(optimizer is not known() for known in self._stepped):
            self._stepped.append(weakref.ref(optimizer))

    def _parameters(self) -> Iterator[Tensor]:
        """Those of the optimizers that have stepped."""
        for reference in self._stepped:
            optimizer = reference()
            for group in optimizer.param_groups if optimizer is not None else ():
                yield from group["params"]

    @contextmanager
    def around(self) -> Iterator[None]:
        kept = [model for reference in self._called if (model := reference()) is not None]
        known = {id(one) for model in kept for one in model.parameters()}
        rest = nn.Module()  # what is trained without that a module of it was called
        for number, one in enumerate(self._parameters()):
            if id(one) not in known and isinstance(one, nn.Parameter):
                rest.register_parameter(str(number), one)
        if any(True for _ in rest.parameters()):
            kept.append(rest)
        self._meter.model = nn.ModuleList(kept) if kept else None
        try:
            yield
        finally:
            self._meter.model = None


def timed(
    script: Script, case: Case, request: Mapping[str, Any], place: Mapping[str, Any]
) -> tuple[Measurement, tuple[float, float]]:
    """The whole script with a meter attached, and when its loop ran on `time.monotonic`."""
    memory = MemoryMeter(torch.device("cpu"))  # a device is the script's to touch first
    memory.start()
    began, began_monotonic = time.perf_counter_ns(), time.monotonic()
    device = torch.device("cpu")  # until a model shows where it is
    steady = AfterWarmup()

    @contextmanager
    def around() -> Iterator[None]:
        nonlocal device
        if recorder.device not in (None, device):
            device = recorder.device or device
            timer = device_timer(device, phases=request["kind"] == PHASED)
            meter.time_by(timer, device_synchronizer(device))
        with checks.around():
            yield

    meter = Meter(None, None, device_timer(device, phases=False), records_graph=None, warmed_up=steady.begin)
    checks = Checks(meter)
    recorder = Recorder(meter, around=around, found=checks.found, stepping=checks.stepping)
    try:
        run(script, case, recorder, request["log"])
    finally:
        meter.close()
    ended = time.monotonic()
    if max((record.epoch for record in meter.stages), default=0) < WARMUP_EPOCHS:
        raise ScriptError(
            "each watched loader was passed over once, and the first pass is warm-up and does not count; let the "
            "script run two epochs or more, such as: -- --epochs 2; or, if it counts steps alone, say how many make an "
            "epoch: bench.watch(loader, steps_per_epoch=100)"
        )
    seen = steady.end()
    measurement = Measurement(
        **{**place, "conditions": {**place["conditions"], "device": str(recorder.device or device)}},
        clock=meter.clock_name,
        stages=tuple(meter.stages),
        memory={**memory.peaks(), **device_peaks(recorder.device or device)},
        checks=meter.checks,
        costs={
            "before_build": (began - request["launched_at"]) * NANO,
            "build": recorder.began - began_monotonic,
            "loop": recorder.ended - recorder.began,
            "after": ended - recorder.ended,
        },
        **seen,
    )
    return measurement, (recorder.began, recorder.ended)


def counted(script: Script, case: Case, request: Mapping[str, Any]) -> Counts:
    """The exact counts of the script."""
    return count(lambda recorder: run(script, case, recorder, request["log"]), request["graph"])


def profiled(script: Script, case: Case, request: Mapping[str, Any], wishes: profiler.Wishes) -> Profile:
    """The script under the profiler: the first stage longer, for the steps that come before those that count."""
    device = device_of(case)

    def follow(loop: profiler.ProfiledLoop) -> None:
        recorder = Recorder(loop, window=lambda _: wishes.steps + loop.before, keeps_losses=False)
        run(script, case, recorder, request["log"])

    return profiler.profile_of(follow, device, wishes, device_synchronizer(device))


def device_of(case: Case) -> torch.device:
    """The device that a case names; the CPU where torch knows none of this name."""
    try:
        return torch.device(case.device)
    except RuntimeError:
        return torch.device("cpu")


def probe(script: Script, case: Case) -> dict[str, list[str]]:
    """Runs the script over one batch of each stage; what `suites.probe` returns.

    What goes wrong is left to the launches, which tell it.
    """
    before = set(sys.modules)
    try:
        run(script, case, Recorder(Observer(), window=lambda _: 1, keeps_losses=False))
    except (Exception, SystemExit):
        traceback.print_exc()
    new = [name for name in sys.modules if name not in before]
    return {"modules": third_party(new), "sources": sorted({script.path, *own_files(new)})}


def log_end(log: str) -> str:
    """The last lines of what a launch has printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # the script closed it
    return end_of(log)
