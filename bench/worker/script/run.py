"""One launch of a script: run as `python train.py ...` would, with somebody listening at its loaders."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import runpy
import sys
import time
import weakref
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from ... import alias
from ...errors import UsageError
from ...measurement import PHASED, WARMUP_EPOCHS, Counts, Measurement, Profile
from ...suite.case import Case
from ...suite.script import ONE_PROCESS, Script, check_alone
from ...system.logs import end_of, last_line
from ...training import Observer
from ...watch import listen
from ..profile import profiler
from ..suites import log_traceback, own_files, refuse_mistaken_name, third_party
from ..timing.guards import AfterWarmup
from ..timing.meters import NANO, MemoryMeter, Meter, device_peaks, device_synchronizer, device_timer
from .counts import count
from .process import Left, Process
from .recorder import Enough, Recorder, ScriptError
from .writes import Stopped, Writes

_STEPS_UNWATCHED = 3  # of training, after which a script that does not name bench will watch none
_NAMES_BENCH = re.compile(r"\b(epoch)?bench\b")

_LOOP = "for inputs, targets in epochbench.watch(train_loader):"
UNWATCHED = f"a pass over a watched loader; import epochbench in it, and write its loop as: {_LOOP}"
NOT_REACHED = (
    f"a pass over a watched loader: it never came to its loop, as where it goes on from a checkpoint that has all "
    f"epochs, or the loop is not written as: {_LOOP}"
)


class Unusable(ScriptError):
    """A ScriptError that every launch would meet: it is told before anything is measured."""


class Unwatched(BaseException):
    """Ends a script that trains where nothing is watched."""


@dataclass(frozen=True)
class Folders:
    """The folders of a script in this launch, as `isolation.folders_of` finds them.

    `written` are where what is written to them is found; where they are the user's own, as `why` says, nothing may be.
    `shared` are files in them that are not kept from others.
    """

    folders: Sequence[str] = ()
    shared: Sequence[str] = ()
    written: Sequence[str] = ()
    why: str = ""

    def new_files(self) -> list[str]:
        """What has been written to them so far, relative to its folder, without what Python keeps of its modules."""
        return sorted(
            str(path)
            for place in self.written
            for path in (one.relative_to(place) for one in Path(place).rglob("*") if one.is_file())
            if "__pycache__" not in path.parts
        )


def run(
    script: Script, case: Case, recorder: Recorder, log: str = "", folders: Folders | None = None
) -> None:
    """Runs the script with the arguments of the case, to its end or until the recorder has enough.

    What it prints is in `log`. It may write to its `folders`, or where it likes if there are none. Raises ScriptError
    where it ends with an exit code, or cannot be measured, and what the script raises.
    """
    before = set(sys.modules)
    enter(script, case)
    writes = (
        nullcontext() if folders is None else Writes(folders.folders, folders.shared, folders.why).watched()
    )
    process = Process()
    listen(recorder)
    try:
        with recorder.hooks, process.watched():
            try:
                with writes:
                    code = exit_code(script, process)
                if code not in (None, 0):
                    raise ScriptError(ending(code, log))
            except Stopped as stop:
                raise Unusable(str(stop)) from None
            recorder.finish()
    finally:
        listen(None)
        recorder.close()
    if process.children and not recorder.passes:
        raise ScriptError(
            f"the script ended without a pass over a watched loader in its own process; it started others "
            f"({', '.join(dict.fromkeys(process.children))}), and what these train is not seen: {ONE_PROCESS}"
        )
    if not recorder.passes:
        if names_bench(script, before):
            raise ScriptError(f"the script ended without {NOT_REACHED}")
        raise Unusable(f"the script ended without {UNWATCHED}")


def exit_code(script: Script, process: Process) -> Any:
    """Runs the script to its end, its threads included, or until there is enough of it.

    Returns what it said to `sys.exit`, or to `os._exit`.
    """
    code = None
    try:
        if script.module:
            runpy.run_module(script.module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(script.path, run_name="__main__")
    except Enough:
        return None
    except SystemExit as end:
        code = end.code
    except Left as left:
        return left.code  # and its threads are not waited for
    except ImportError as problem:
        if "attempted relative import" not in str(problem) or problem.__traceback__ is None:
            raise
        raise ScriptError(
            f"{problem}: the script is part of a package; name it as python -m does, in the folder above the package: "
            f"--script {'.'.join(Path(script.path).with_suffix('').parts[-2:])}"
        ) from problem
    process.wait()
    return code


def enter(script: Script, case: Case) -> None:
    """Arguments, variables and search path as the script finds them when Python runs it.

    What it prints is in its log at once, as on a terminal: one that hangs is killed with all that it kept back.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    sys.argv = [script.path, *script.command(case)]
    os.environ.update(script.variables(case))
    check_alone(os.environ)
    folder = os.getcwd() if script.module else str(Path(script.path).parent)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    alias.install()


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
        run(script, case, recorder, request["log"], folders_in(request))
    finally:
        meter.close()
    ended = time.monotonic()
    if max((record.epoch for record in meter.stages), default=0) < WARMUP_EPOCHS:
        raise ScriptError(
            "each watched loader was passed over once, and the first pass is warm-up and does not count; let the "
            "script run two epochs or more, such as: -- --epochs 2; or, if it counts steps alone, say how many make an "
            "epoch: epochbench.watch(loader, steps_per_epoch=100)"
        )
    seen = steady.end()
    measurement = Measurement(
        **{**place, "conditions": {**place["conditions"], **found(recorder.device or device)}},
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
    return count(
        lambda recorder: run(script, case, recorder, request["log"], folders_in(request)), request["graph"]
    )


def profiled(
    script: Script, case: Case, request: Mapping[str, Any], wishes: profiler.ProfileOptions
) -> Profile:
    """The script under the profiler: the first stage longer, for the steps that come before those that count."""
    device = device_of(case)

    def follow(loop: profiler.ProfiledLoop) -> None:
        recorder = Recorder(loop, window=lambda _: wishes.steps + loop.before, keeps_losses=False)
        run(script, case, recorder, request["log"], folders_in(request))

    return profiler.profile_of(follow, device, wishes, device_synchronizer(device))


def device_of(case: Case) -> torch.device:
    """The device that a case names; the CPU where torch knows none of this name."""
    try:
        return torch.device(case.device)
    except RuntimeError:
        return torch.device("cpu")


def found(device: torch.device) -> dict[str, str]:
    """What a script has chosen for itself of the conditions of a launch."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return {"device": str(device), **({"loader_start_method": chosen} if chosen else {})}


def folders_in(request: Mapping[str, Any]) -> Folders | None:
    """The folders that a request has for its script; None where it may write as it likes."""
    return Folders(**request["folders"]) if "folders" in request else None


def probe(script: Script, case: Case, request: Mapping[str, Any]) -> dict[str, list[str]]:
    """Runs the script over one batch of each stage; what `suites.probe` returns, and what it has `written`.

    Raises UsageError where nothing of it is watched, at once where it trains and neither it nor what it has imported
    names bench, and where it writes what it must not. What else goes wrong is left to the launches, which tell it.
    """
    before = set(sys.modules)
    folders = folders_in(request)
    recorder = Recorder(Observer(), window=lambda _: 1, keeps_losses=False)
    try:
        with noticed_unwatched(script, recorder, before):
            run(script, case, recorder, request["log"], folders)
    except Unusable as problem:
        raise UsageError(f"{script.path}: {problem}") from None
    except BaseException as problem:  # KeyboardInterrupt too: here it is the script that raises it
        refuse_mistaken_name(script.path, problem)
        log_traceback()
    new = [name for name in sys.modules if name not in before]
    return {
        "modules": third_party(new),
        "sources": sorted({script.path, *own_files(new)}),
        "idle": [],
        "written": [] if folders is None else folders.new_files(),
    }


@contextmanager
def noticed_unwatched(script: Script, recorder: Recorder, before: Container[str]) -> Iterator[None]:
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


def names_bench(script: Script, before: Container[str]) -> bool:
    """Whether the script, or a module of the user's own that it has imported, has the name in it.

    `before` are the modules that were there before.
    """
    own = own_files(name for name in list(sys.modules) if name not in before)
    return any(_NAMES_BENCH.search(source_of(file)) for file in {script.path, *own})


def source_of(file: str) -> str:
    """A file of the user's as text, as far as it is such; of what cannot be read, a name of ours: it may be in it."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "bench"


def log_end(log: str) -> str:
    """The last lines of what a launch has printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # the script closed it
    return end_of(log)
