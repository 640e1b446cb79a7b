"""A `ForkServer` is the parent's end of a worker process: it starts one, asks it, and ends it if it does not answer."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from ..errors import BenchError, HarnessFault, UsageError
from ..measurement.messages import (
    CodeTree,
    Envelope,
    LaunchRequest,
    PreloadRequest,
    Request,
)
from ..suite.case import Conditions
from ..system.json_data import json_line, json_object
from ..system.signals import clearing_away, interruptible, kill_group
from ..system.text import last_line

# The worker imports the running Epochbench, not another one that the interpreter could find: -P keeps the working
# directory out of the search path. The user's code may have its own package `bench`.
_ROOT = str(Path(__file__).parents[2])
_BOOT = (
    f"import sys; sys.path.insert(0, {_ROOT!r}); import epochbench; sys.path.append(sys.path.pop(0)); "
    "from epochbench.worker.__main__ import main; main()"
)

SHORT = 120.0  # seconds for an answer that involves no loop: importing torch on a slow disk is part of it
_SOON = 10.0  # seconds that a fork server has to end what it runs

_MARK = "EPOCHBENCH_FORK_SERVER"  # a variable in the environment of every process of a fork server


STARVED = "the kernel killed a process because memory ran out: make the batch smaller, or give it more memory"


class Died(BenchError):
    """The child ended without an answer. `status` is its exit code, negative for a signal.

    `is_out_of_memory` if the kernel killed it because memory ran out.
    """

    log = ""  # the end of its log, if any

    def __init__(self, status: int, starved: bool = False) -> None:
        self.status = status
        self.is_out_of_memory = starved and status == -signal.SIGKILL
        ending = f"killed by {_signal_name(-status)}" if status < 0 else f"ended with exit code {status}"
        super().__init__(STARVED if self.is_out_of_memory else ending)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time one has no name


class TimedOut(BenchError):
    """The child did not answer in time and was killed."""

    log = ""  # the end of its log, if any


class Refused(BenchError):
    """The fork server refused to fork; the message is the reason."""


@dataclass(frozen=True)
class Interpreter:
    """The program that runs a fork server, and additional environment variables."""

    program: str = sys.executable
    variables: Mapping[str, str] = field(default_factory=dict)


def launch_variables(conditions: Conditions) -> dict[str, str]:
    """The environment variables of a fork server, for libraries that read them once when they are loaded.

    OpenBLAS and Arrow would start threads when they are imported, after which forking is not safe; a package that
    checks for a GPU when it is imported must not initialise the CUDA runtime.
    """
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(conditions.threads),
        "MKL_NUM_THREADS": str(conditions.threads),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", conditions.wait_policy),
        "OPENBLAS_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        "KINETO_LOG_LEVEL": "99",  # it writes to standard error if there is no GPU
    }


class ForkServer:
    """One worker process, two pipes for JSON lines, and its scratch folder.

    The folder is for temporary files of launches. The process creates it, so that it is removed with the process,
    whenever either side dies.
    """

    def __init__(
        self, conditions: Conditions, logs: Path | None = None, interpreter: Interpreter | None = None
    ) -> None:
        self._interpreter = interpreter or Interpreter()
        self.scratch, self._log = _scratch(), _log(logs)
        self._process, self._requests, self._answers = self._start(conditions)
        self.closed = False
        self._buffer = b""
        self._child: int | None = None
        self._number = 0
        self._interrupted = 0.0  # when it was first told to end

    def _start(self, conditions: Conditions) -> tuple[subprocess.Popen[bytes], int, int]:
        read_requests, requests = os.pipe()
        answers, write_answers = os.pipe()
        with _pinned(conditions.cpus):
            process = subprocess.Popen(
                [
                    *(self._interpreter.program, "-P", "-c", _BOOT),
                    *(str(read_requests), str(write_answers), self.scratch),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env={**launch_variables(conditions), **self._interpreter.variables, _MARK: str(self.scratch)},
                pass_fds=(read_requests, write_answers),
                start_new_session=True,  # Ctrl-C at the terminal is handled by the parent
            )
        os.close(read_requests)
        os.close(write_answers)
        return process, requests, answers

    def ask(
        self,
        request: Request,
        timeout: float,
        started: Callable[[int], None] = lambda _: None,
        log: Path | None = None,
        modules: Sequence[str] | None = None,
        tree: CodeTree | None = None,
    ) -> dict[str, Any]:
        """The answer to one request, once its process has ended; `started` is called with the process id.

        The process writes to `log`, imports `modules` first if any are given, and uses the code of `tree`. `starved` in
        the answer means that the kernel killed a process meanwhile because memory ran out. Raises the worker's
        UsageError; Died, TimedOut or Refused as described there; HarnessFault if the worker itself failed.
        """
        self._number += 1
        has_process = not isinstance(request, PreloadRequest)  # its end is reported
        deadline = time.monotonic() + (SHORT if modules else timeout)
        answer: dict[str, Any] | None = None
        ended: dict[str, Any] | None = None
        try:
            self._send(
                Envelope(self._number, request, log, None if modules is None else tuple(modules), tree)
            )
            while answer is None or (has_process and ended is None):
                message = self._receive(deadline)
                if message.get("id") != self._number:
                    continue
                if "no_folder" in message:
                    raise _no_space(message["no_folder"])
                if "refused" in message:
                    raise Refused(message["refused"])
                if "child" in message:
                    self._child = message["child"]
                    started(message["child"])
                elif "loaded" in message:
                    deadline = time.monotonic() + timeout
                elif "ended" in message:
                    self._child, ended = None, message
                    if answer is None:
                        raise Died(message["ended"], message["starved"])
                else:
                    answer = message
        except TimeoutError:
            self._stop_request()
            if answer is None:
                raise TimedOut(f"no answer within {timeout:g} s") from None
        except EOFError:
            lost = None if answer else self._loss(request)
            self.close()
            if lost is not None:
                raise lost from None
        assert answer is not None
        return {**_opened(answer), "starved": ended is not None and ended["starved"]}

    def _loss(self, request: Request) -> BenchError:
        """The error for the end of the whole process."""
        status = self._process.wait()
        if isinstance(request, LaunchRequest):  # user code may have killed its parent
            return Died(status)
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        why = last_line(text, longest=len(text)) or "it left no message"
        return HarnessFault(f"the worker process ended: {why}", text)

    def _send(self, envelope: Envelope) -> None:
        data = f"{json_line(envelope.to_json())}\n".encode()
        try:
            while data:
                data = data[os.write(self._requests, data) :]
        except BrokenPipeError:
            raise EOFError from None

    def _receive(self, deadline: float) -> dict[str, Any]:
        """The next complete line. A line that is not JSON was cut off by the death of a child, and is skipped.

        Raises TimeoutError after the deadline (a time of `time.monotonic`), EOFError if no line will come.
        """
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                try:
                    return json_object(line)
                except ValueError:
                    continue
            with selectors.DefaultSelector() as selector, interruptible():
                selector.register(self._answers, selectors.EVENT_READ)
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise EOFError
            self._buffer += data

    def _stop_request(self) -> None:
        """Kills the process of the current request; the fork server continues, unless it does not answer either."""
        if self._child is None:
            self.close()
            return
        kill_group(self._child)
        try:
            while "ended" not in self._receive(time.monotonic() + SHORT):
                continue
            self._child = None
        except (TimeoutError, EOFError):
            self.close()

    def interrupt(self) -> None:
        """Ends the process, from any thread and repeatedly: a thread that waits for its answer gets an error.

        A process that does not end when it is asked to is killed.
        """
        if self.closed:
            return
        self._interrupted = self._interrupted or time.monotonic()
        if time.monotonic() - self._interrupted > _SOON:
            kill_group(self._process.pid)
        else:
            self._process.terminate()

    def close(self) -> None:
        """Ends the process and everything that it runs; safe to call twice."""
        if self.closed:
            return
        self.closed = True
        with clearing_away():
            os.close(self._requests)
            os.close(self._answers)
            self._log.close()
            self._process.terminate()  # it ends its child, the child's processes, and itself
            try:
                ended = self._process.wait(_SOON)
            except subprocess.TimeoutExpired:
                ended = None
            if ended != 0:
                self._clear_away()
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _clear_away(self) -> None:
        """Kills all descendants of a fork server that could not do so itself; they are found by their environment.

        They have ended when this returns: a process that still frees its memory would contaminate the next launch.
        """
        kill_group(self._process.pid)
        deadline = time.monotonic() + _SOON
        while (left := self._descendants()) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(psutil.Error):  # it has ended, or is another user's by now
                    process.kill()
            while not all(map(_has_ended, left)) and time.monotonic() < deadline:
                time.sleep(0.001)
        self._process.wait()

    def _descendants(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == str(self.scratch):
                    found.append(process)
            except (psutil.Error, OSError):
                continue  # it has ended, or is another user's
        return found


@contextlib.contextmanager
def _pinned(cpus: Sequence[int]) -> Iterator[None]:
    """What this thread starts here runs on these processors: importing torch must not contaminate other launches."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _scratch() -> Path:
    """A name for a folder that does not exist yet."""
    with _in_temporary_place():
        return Path(tempfile.gettempdir(), f"epochbench-{secrets.token_hex(8)}")


def _log(logs: Path | None) -> IO[bytes]:
    """The file that a fork server writes to."""
    if logs is not None:
        return (logs / "fork_server.log").open("a+b")
    with _in_temporary_place():
        return tempfile.TemporaryFile()


@contextlib.contextmanager
def _in_temporary_place() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise _no_space(problem.strerror) from None


def _no_space(why: str | None) -> UsageError:
    return UsageError(
        f"no temporary folder can be created: {why}; free some space, or set TMPDIR to another place"
    )


def _opened(message: Mapping[str, Any]) -> dict[str, Any]:
    """The answer in a message. Raises the error if the message holds one."""
    if "usage" in message:
        raise UsageError(message["usage"], message["detail"])
    if "fault" in message:
        raise HarnessFault(message["fault"], message["detail"])
    answer: dict[str, Any] = message["answer"]
    return answer


def _has_ended(process: psutil.Process) -> bool:
    """Whether it has ended; a zombie counts as ended, since its parent may never read its status."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
