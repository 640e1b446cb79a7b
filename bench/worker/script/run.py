"""Runs a script as `python train.py ...` would, while a recorder follows its watched loaders."""

from __future__ import annotations

import io
import os
import re
import runpy
import sys
from collections.abc import Container
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ... import alias
from ...suite.case import Case
from ...suite.script import ONE_PROCESS, Script, check_alone
from ...system.text import end_of, last_line
from ...watch import listen
from ..context import LaunchContext
from ..suites import own_files
from .errors import Enough, ScriptError
from .process import Left, Process
from .recorder import Recorder
from .writes import Stopped, Writes

_NAMES_BENCH = re.compile(r"\b(epoch)?bench\b")

_LOOP = "for inputs, targets in epochbench.watch(train_loader):"
UNWATCHED = f"a pass over a watched loader; import epochbench in it, and write its loop as: {_LOOP}"
NOT_REACHED = (
    f"a pass over a watched loader: it never came to its loop, as where it goes on from a checkpoint that has all "
    f"epochs, or the loop is not written as: {_LOOP}"
)


class Unusable(ScriptError):
    """A ScriptError that every launch would meet, so that it is raised before anything is measured."""


def run(script: Script, case: Case, recorder: Recorder, context: LaunchContext) -> None:
    """Runs the script with the arguments of the case, to its end or until the recorder has enough.

    Raises ScriptError where it ends with an exit code or cannot be measured, and whatever the script raises.
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
    """Sets the arguments, variables and search path as Python does for a script.

    Its output is buffered by lines, as on a terminal: a script that hangs is killed, and its log must be complete.
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
    """Whether the script, or a module of the user's own that it has imported since `before`, has the name in it."""
    own = own_files(name for name in list(sys.modules) if name not in before)
    return any(_NAMES_BENCH.search(source_of(file)) for file in {script.path, *own})


def source_of(file: str) -> str:
    """The text of a file; "bench" where it cannot be read, since the name may be in it."""
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
