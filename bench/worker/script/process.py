"""Follows how a script ends its process or leaves it to another program, and ends it as plain Python does."""

from __future__ import annotations

import multiprocessing.process
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import _wrap as spawned_by_torch
from torch.utils.data._utils import worker as loader_worker

from .audit import audited
from .writes import Stopped

# What executors are told at the end of the interpreter, and what they remember of it.
_EXECUTORS = {"concurrent.futures.thread": "_shutdown", "concurrent.futures.process": "_global_shutdown"}


class Left(BaseException):
    """The script called `os._exit`, with this `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Process:
    """The process of a launch while a script runs. `children` are the functions of processes that the script started,
    without the workers of loaders.
    """

    def __init__(self) -> None:
        self.children: list[str] = []
        self._own = os.getpid()
        self._before = set(threading.enumerate())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, `os._exit` raises Left, and another program in place of this one raises Stopped.

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
                target = self._args[0]  # what it was asked to run
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
                f"the script starts {Path(os.fsdecode(details[0])).name} in its own place (os.exec), where nothing "
                f"sees what it does; set beforehand what it starts anew for, such as a variable: NAME=VALUE bench run"
            )

    def wait(self) -> None:
        """Waits for the threads of the script that are not daemons, as Python does at its end."""
        for name, is_shut in _EXECUTORS.items():
            if (executors := sys.modules.get(name)) is not None:
                executors.__dict__["_python_exit"]()  # they let their idle threads go
                setattr(executors, is_shut, False)
        while left := [one for one in threading.enumerate() if one not in self._before and not one.daemon]:
            left[0].join()
