"""The nursery: imports third-party modules once, and forks a child per request.

It reads requests and writes answers as JSON lines on descriptors of its own; standard output and error
belong to the user's code. Each request runs in a forked child that leads its own process group; the
child answers by a message, and the nursery reports when it has ended. Before every fork it makes sure
that it is a single thread and has touched no device, since neither survives a fork.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.case import Case, Conditions
from bench.errors import UsageError

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl.h


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """What the child does, by the verb of the request. Rooms that need torch are entered where used."""
    match request["do"]:
        case "describe":
            from bench.worker import suites

            return {"suites": suites.describe(request["files"], request["overrides"])}
        case "probe":
            from bench.worker import suites

            conditions = Conditions.from_json(request["conditions"])
            os.environ["EPOCHBENCH_DATA"] = conditions.data_root
            os.environ["EPOCHBENCH_DOWNLOAD"] = "1" if request["download"] else ""
            cases = [Case.from_json(case) for case in request["cases"]]
            return {"modules": suites.probe(request["suite_file"], cases)}
        case "environment":
            from bench.worker import session

            conditions = Conditions.from_json(request["conditions"])
            return {"environment": session.describe_environment(conditions, request["seed"])}
        case "launch":
            from bench.worker import session

            return session.launch(request)
        case unknown:
            raise ValueError(f"unknown request {unknown!r}")


class Nursery:
    """The process: one request after the other, each in a child of its own."""

    def __init__(self, requests: int, answers: int) -> None:
        for descriptor in (requests, answers):
            os.set_inheritable(descriptor, False)  # no program that the user's code starts may hold it
        self._requests = os.fdopen(requests, "r", encoding="utf-8")
        self._answers = answers

    def send(self, message: Mapping[str, Any]) -> None:
        """One line up. It begins with a line feed as well: a killed child may have left half a line."""
        data = f"\n{json.dumps(message)}\n".encode()
        while data:
            data = data[os.write(self._answers, data) :]

    def serve(self) -> None:
        """Until the parent closes the line, or asks for one request in this very process."""
        for line in self._requests:
            request = json.loads(line)
            if request["do"] == "preload":
                self.send({"id": request["id"], "answer": preload(request["modules"])})
            elif not request["forked"]:
                self.run(request)
                reap_descendants()
                self.send({"id": request["id"], "ended": 0})
                return
            elif unsafe := unsafe_to_fork():
                self.send({"id": request["id"], "refused": unsafe})
            else:
                self.fork(request)

    def fork(self, request: dict[str, Any]) -> None:
        """Runs the request in a child, waits for its end, and leaves none of its processes behind."""
        request["launched_at"] = time.perf_counter_ns()
        nursery, child = os.getpid(), os.fork()
        if child == 0:
            die_with_parent()
            if os.getppid() != nursery:
                os._exit(1)  # it died before the kernel was told
            lead_group(0)
            self.run(request)
            os._exit(0)
        lead_group(child)  # on both sides of the fork, so that neither can come too late
        self.send({"id": request["id"], "child": child})
        _, status = os.waitpid(child, 0)
        kill_group(child)
        reap_descendants()
        self.send({"id": request["id"], "ended": os.waitstatus_to_exitcode(status)})

    def run(self, request: dict[str, Any]) -> None:
        """Answers one request in this process, its standard streams turned to the request's log."""
        redirect(request["log"])
        try:
            message: dict[str, Any] = {"answer": answer(request)}
        except UsageError as problem:
            message = {"usage": str(problem), "detail": problem.detail}
        except BaseException as problem:
            message = {"fault": f"{type(problem).__name__}: {problem}", "detail": traceback.format_exc()}
        self.send({"id": request["id"], **message})
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # the user's code closed it


def preload(modules: list[str]) -> dict[str, list[str]]:
    """Imports these modules; names those that started a thread, and those that did not import."""
    started, failed = [], []
    for module in modules:
        before = thread_count()
        try:
            importlib.import_module(module)
        except BaseException:
            failed.append(module)
        if thread_count() > before:
            started.append(module)
    return {"started_threads": started, "failed": failed}


def unsafe_to_fork() -> str:
    """The reason why a fork of this process would not be sound, or nothing."""
    if (threads := thread_count()) > 1:
        return f"the nursery has {threads} threads"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "the nursery has touched a CUDA device"
    return ""


def thread_count() -> int:
    """Threads of this process, those of C libraries included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        return threading.active_count()


def redirect(log: str) -> None:
    """Standard input reads nothing, standard output and error go to the log."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(written)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def die_with_parent() -> None:
    """The kernel kills this process when the one that made it ends, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def lead_group(process: int) -> None:
    """Makes a process (0: this one) the leader of a process group of its own."""
    try:
        os.setpgid(process, process)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended


def kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # all of it has ended


def reap_descendants() -> None:
    """Ends what the child left behind outside its group: as subreaper the nursery inherits it."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while children.exists() and (left := children.read_text().split()):
        for pid in map(int, left):
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def main() -> None:
    """Serves the two descriptors that the parent gave: requests, answers."""
    die_with_parent()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    requests, answers = int(sys.argv[1]), int(sys.argv[2])
    Nursery(requests, answers).serve()
    os._exit(0)


if __name__ == "__main__":
    main()
