"""Answers one request in the child that was forked for it: standard streams, scratch folder, code, answer."""

from __future__ import annotations

import atexit
import dataclasses
import getpass
import importlib
import os
import signal
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..measurement.messages import (
    DescribeRequest,
    Envelope,
    EnvironmentRequest,
    LaunchRequest,
    PeaksRequest,
    PreloadReport,
    ProbeRequest,
    Request,
)
from ..system.json_data import to_json
from ..user_errors import detail_of, one_line, where
from .context import LaunchContext
from .process_control import flush_output, signal_when_parent_dies, thread_count
from .script import isolation

Send = Callable[[Mapping[str, Any]], None]


def run(envelope: Envelope, launched_at: int, scratch: str, send: Send) -> None:
    """Answers the request in this process, whose standard streams go to the log and temporary files to `scratch`."""
    script = getattr(envelope.request, "script", None)
    try:
        assert envelope.log is not None
        redirect(envelope.log)
        place = tempfile.mkdtemp(prefix="launch-", dir=scratch)
        use_scratch(place)
        context = LaunchContext(launched_at, str(envelope.log))
        if script is not None:
            give_terminal()
            if not script.in_place:
                context = dataclasses.replace(context, folders=isolated_folders(envelope, place))
        if envelope.modules is not None:
            if "torch" in preload(envelope.modules).failed:
                raise UsageError(f"{sys.executable} cannot import torch; install it and torchvision")
            send({"id": envelope.id, "loaded": True})
            context = dataclasses.replace(context, launched_at=time.perf_counter_ns())
        message: dict[str, Any] = {"answer": answer(envelope, context)}
    except UsageError as problem:
        message = {"usage": str(problem), "detail": problem.detail}
    except BaseException as problem:
        message = error_message(problem)
    send({"id": envelope.id, **message})
    flush_output()
    if script is not None:
        atexit._run_exitfuncs()  # a forked process does not run them by itself


def answer(envelope: Envelope, context: LaunchContext) -> dict[str, Any]:
    """The answer, with the user's code from the tree that the envelope names, if any."""
    if envelope.tree is None:
        return _answer(envelope.request, context)
    from . import tree

    tree.enter(envelope.tree)
    result = _answer(envelope.request, context)
    tree.check_modules(envelope.tree)
    return result


def _answer(request: Request, context: LaunchContext) -> dict[str, Any]:
    """Modules that need torch are imported where they are used."""
    match request:
        case DescribeRequest():
            from . import suites

            overrides = {name: values for name, *values in request.overrides}
            return {"suites": suites.describe(list(map(str, request.files)), overrides)}
        case ProbeRequest():
            os.environ["EPOCHBENCH_DATA"] = request.conditions.data_root
            os.environ["EPOCHBENCH_DOWNLOAD"] = "1" if request.download else ""
            if request.script is not None:
                from .script import run as scripts

                return {"report": to_json(scripts.probe(request.script, request.cases[0], context))}
            from . import suites

            return {"report": to_json(suites.probe(request))}
        case EnvironmentRequest() | PeaksRequest() | LaunchRequest():
            from . import launch

            if isinstance(request, LaunchRequest):
                return launch.launch(request, context)
            if isinstance(request, PeaksRequest):
                return {"peaks": launch.measure_peaks(request)}
            return {"environment": launch.describe_environment(request)}
        case _:
            raise ValueError(f"a child does not answer {request!r}")


def isolated_folders(envelope: Envelope, place: str) -> isolation.Folders:
    """Isolates the folders of a script for this launch, as far as this system allows it.

    The kernel requires that this process still has a single thread.
    """
    request, tree = envelope.request, envelope.tree
    assert isinstance(request, LaunchRequest | ProbeRequest)
    assert request.script is not None
    here = os.path.join(tree.root, tree.place) if tree else os.getcwd()
    folders = isolation.folders_of(here, request.script.path)
    shared = [os.path.realpath(os.path.dirname(envelope.log or ""))]
    if isinstance(request, LaunchRequest) and request.profile is not None:
        # Made later, it would be visible to this launch only.
        os.makedirs(request.profile.folder, exist_ok=True)
        shared.append(os.path.realpath(request.profile.folder))
    written: list[str] = []
    why = ""
    try:
        written = isolation.isolate(folders, [*shared, *isolation.caches()], f"{place}.own")
    except OSError as problem:
        why = problem.strerror or str(problem)
    signal_when_parent_dies(signal.SIGKILL)  # a change of credentials may have cleared it
    return isolation.Folders(folders, shared, written, why)


def error_message(problem: BaseException) -> dict[str, Any]:
    """An exception as a message: a UsageError if the user's code raised it, else a HarnessFault.

    Anything but an Exception, such as KeyboardInterrupt, comes from the user's code: Ctrl-C does not reach this
    process.
    """
    text, place = one_line(problem), where(problem)
    if place or not isinstance(problem, Exception):
        message = f"the code of a suite raised {text}{f' at {place}' if place else ''} (--debug shows the traceback)"
        return {"usage": message, "detail": detail_of(problem)}
    return {"fault": text, "detail": detail_of(problem)}


def preload(modules: Iterable[str]) -> PreloadReport:
    """Imports these modules."""
    started, failed = [], []
    for module in modules:
        before = thread_count()
        try:
            importlib.import_module(module)
        except BaseException:
            failed.append(module)
        if thread_count() > before:
            started.append(module)
    return PreloadReport(tuple(started), tuple(failed))


def redirect(log: Path) -> None:
    """Standard input reads nothing, standard output and error go to the log."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(written)


def give_terminal() -> None:
    """Standard input of a script becomes a terminal of 80 columns, so that the script can query its size.

    Reading gives an end of file at once, as from /dev/null, which is used where there are no terminals. It sends no
    keys and no signals.
    """
    try:
        keyboard, terminal = os.openpty()  # the other end stays open as long as this process
    except OSError:
        return
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
    settings[6][termios.VMIN] = settings[6][termios.VTIME] = 0
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    termios.tcsetwinsize(terminal, (24, 80))
    os.dup2(terminal, 0)
    os.close(terminal)
    os.set_inheritable(keyboard, False)


def use_scratch(place: str) -> None:
    """Temporary files of this process and its children go to this folder.

    The files that torch.compile builds stay at their usual place, where the next launch finds them.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid_{os.getuid()}"
    built = os.path.join(tempfile.gettempdir(), f"torchinductor_{user}")  # as torch._inductor names it
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", built)
    os.environ["TMPDIR"] = tempfile.tempdir = place
