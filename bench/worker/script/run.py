"""Runs a script as `python train.py ...` would, while a recorder follows its watched loaders; and its probe."""

from __future__ import annotations

import io
import multiprocessing.process
import os
import re
import runpy
import sys
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import _wrap as spawned_by_torch
from torch.utils.data._utils import worker as loader_worker

from ... import alias
from ...errors import UsageError
from ...measurement.messages import ProbeReport
from ...suite.case import Case
from ...suite.loops import Loop
from ...suite.script import ONE_PROCESS, Script, check_alone
from ...system.text import end_of, last_line
from ...training import Observer
from ...watch import listen
from ..context import LaunchContext
from ..process_control import flush_output
from ..suites import log_traceback, own_files, refuse_mistaken_name, third_party
from .discovery import Discovery
from .errors import Enough, ScriptError
from .loop_stages import Evidence, decided
from .recorder import Recorder
from .writes import Stopped, Writes, audited

# The functions that executors call at the end of the interpreter, and their flags.
_EXECUTORS = {"concurrent.futures.thread": "_shutdown", "concurrent.futures.process": "_global_shutdown"}


class Left(BaseException):
    """The script called `os._exit`, with this `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Process:
    """The process of a launch while a script runs. `children` are the functions of processes that the script started,
    except loader workers.
    """

    def __init__(self) -> None:
        self.children: list[str] = []
        self._own = os.getpid()
        self._before = set(threading.enumerate())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A context in which `os._exit` raises Left, and replacing this program by another one raises Stopped.

        Either would end the launch without a report.
        """
        leave, start = os._exit, multiprocessing.process.BaseProcess.start
        process = self

        def told_leave(status: int) -> Any:
            if os.getpid() == process._own and threading.current_thread() is threading.main_thread():
                raise Left(status)
            leave(status)

        def told_start(self: Any) -> None:
            target = getattr(self, "_target", None)
            if target is spawned_by_torch:
                target = self._args[0]  # the function that it runs
            if target is not loader_worker._worker_loop and os.getpid() == process._own:
                process.children.append(getattr(target, "__qualname__", type(self).__name__))
            start(self)

        os._exit = told_leave
        multiprocessing.process.BaseProcess.start = told_start  # type: ignore[method-assign]
        try:
            with audited({"os.exec": self._stop}):
                yield
        finally:
            os._exit = leave
            multiprocessing.process.BaseProcess.start = start  # type: ignore[method-assign]

    def _stop(self, details: tuple[Any, ...]) -> None:
        if os.getpid() == self._own:
            raise Stopped(
                f"the script replaces itself with {Path(os.fsdecode(details[0])).name} (os.exec), which cannot be "
                f"measured; set beforehand what it restarts for, such as a variable: NAME=VALUE bench run"
            )

    def wait(self) -> None:
        """Waits for the non-daemon threads of the script, as Python does at its end."""
        for name, is_shut in _EXECUTORS.items():
            if (executors := sys.modules.get(name)) is not None:
                executors.__dict__["_python_exit"]()  # they end their idle threads
                setattr(executors, is_shut, False)
        while left := [one for one in threading.enumerate() if one not in self._before and not one.daemon]:
            left[0].join()


_NAMES_BENCH = re.compile(r"\b(epoch)?bench\b")
_MARKS = re.compile(
    r"^\s*(import|from)\s+(epoch)?bench\b", re.MULTILINE
)  # a script that marks its loops itself

_LOOP = "for inputs, targets in epochbench.watch(train_loader):"
TO_MARK = f"import epochbench in it, and write its loop as: {_LOOP}"
UNWATCHED = f"a pass over a watched loader; {TO_MARK}"
NOT_REACHED = (
    f"a pass over a watched loader: it did not reach its loop, as when it resumes from a checkpoint that has all "
    f"epochs, or the loop is not written as: {_LOOP}"
)


class Unusable(ScriptError):
    """A ScriptError that would occur in every launch, so that it is raised before anything is measured."""


def run(script: Script, case: Case, recorder: Recorder, context: LaunchContext) -> None:
    """Runs the script with the arguments of the case, to its end or until the recorder has enough.

    Raises ScriptError if it ends with an exit code or cannot be measured, and whatever the script raises.
    """
    before, folders = set(sys.modules), context.folders
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
                    raise ScriptError(ending(code, context.log))
            except Stopped as stop:
                raise Unusable(str(stop)) from None
            recorder.finish()
    finally:
        listen(None)
        recorder.close()
    if process.children and not (recorder.passes or recorder.has_found):
        raise ScriptError(
            f"the script ended without a pass over a watched loader in its own process; it started others "
            f"({', '.join(dict.fromkeys(process.children))}), whose training is not measured: {ONE_PROCESS}"
        )
    if not recorder.passes and not recorder.finds_loops:
        if names_bench(script, before):
            raise ScriptError(f"the script ended without {NOT_REACHED}")
        raise Unusable(f"the script ended without {UNWATCHED}")


def exit_code(script: Script, process: Process) -> Any:
    """Runs the script to its end, its threads included, or until the recorder has enough.

    Returns the argument of its `sys.exit` or `os._exit`.
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
        return left.code  # its threads are not waited for
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
    """Sets the arguments, variables and search path as Python does for a script.

    Its output is line-buffered, as on a terminal: a script that hangs is killed, and its log must be complete.
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
    """Why a script ended: the text that it gave to `sys.exit`, or its exit code with the last line of its log."""
    if not isinstance(code, int):
        return f"the script ended: {code}"
    last = last_line(log_end(log))
    return f"the script ended with exit code {code}" + (f": {last}" if last else "")


def names_bench(script: Script, before: Container[str]) -> bool:
    """Whether the text of the script, or of a user's module that it has imported since `before`, contains the name."""
    own = own_files(name for name in list(sys.modules) if name not in before)
    return any(_NAMES_BENCH.search(source_of(file)) for file in {script.path, *own})


def source_of(file: str) -> str:
    """The text of a file; "bench" if it cannot be read, since the name may be in it."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "bench"


def log_end(log: str) -> str:
    """The last lines of what a launch has printed."""
    flush_output()
    return end_of(log)


def probe(script: Script, case: Case, context: LaunchContext) -> ProbeReport:
    """Runs the script over one batch of each stage.

    Raises UsageError if it watches nothing (at once if it trains and its code does not contain "bench"), and if it
    writes to forbidden places. Any other error is left to the launches, which report it.
    """
    before = set(sys.modules)
    discovery = Discovery(is_on=not _MARKS.search(source_of(script.path)))
    recorder = Recorder(Observer(), window=lambda _: 1, keeps_losses=False, unmarked=discovery)
    loops: tuple[Loop, ...] = ()
    try:
        run(script, case, recorder, context)
        if discovery.is_on:
            loops = found_loops(discovery.evidence, script, before)
    except Unusable as problem:
        raise UsageError(f"{script.path}: {problem}") from None
    except BaseException as problem:  # KeyboardInterrupt too: only the script raises it here
        refuse_mistaken_name(script.path, problem)
        log_traceback()
        if discovery.is_on and not isinstance(problem, UsageError | SystemExit):
            loops = tuple(decided(discovery.evidence, script.epoch))
    new = [name for name in sys.modules if name not in before]
    return ProbeReport(
        modules=tuple(third_party(new)),
        sources=tuple(map(Path, sorted({script.path, *own_files(new)}))),
        written=() if context.folders is None else tuple(map(Path, context.folders.new_files())),
        device="" if recorder.device is None else str(recorder.device),
        has_accelerator=torch.accelerator.is_available(),
        loops=loops,
    )


def found_loops(evidence: Evidence, script: Script, before: Container[str]) -> tuple[Loop, ...]:
    """The loops that a first run showed. Raises Unusable with the lines to add if it showed none, and ScriptError if
    the script may mark its loop but did not reach it.
    """
    loops = decided(evidence, script.epoch)
    if not loops and names_bench(script, before):
        raise ScriptError(f"the script ended without {NOT_REACHED}")
    if not loops:
        raise Unusable(
            f"nothing in it trains or evaluates in this process, over a DataLoader or otherwise; {TO_MARK}"
        )
    return tuple(loops)
