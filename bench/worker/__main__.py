"""The fork server: imports third-party modules once, and forks a child per request.

It reads requests and writes answers as JSON lines on descriptors of its own; standard output and error
belong to the user's code. Each request runs in a forked child that leads its own process group; the
child answers by a message, and the fork server reports when it has ended. Before every fork it makes sure
that it is a single thread and has touched no device, since neither survives a fork. A fork server that has
imported nothing gives spawned launches: the child then imports for itself.

When the parent ends, however it ends, the kernel tells the fork server, which ends its child, whatever that
has left behind, and the scratch folder; when the fork server itself is killed, the kernel kills the child.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import getpass
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..suite.case import Case, Conditions
from ..suite.script import Script
from ..user_errors import detail_of, one_line, where
from .script import isolation

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl.h


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """What the child does, by the verb of the request. Rooms that need torch are entered where used."""
    match request["do"]:
        case "describe":
            from . import suites

            return {"suites": suites.describe(request["files"], request["overrides"])}
        case "probe":
            from . import suites

            conditions = Conditions.from_json(request["conditions"])
            os.environ["EPOCHBENCH_DATA"] = conditions.data_root
            os.environ["EPOCHBENCH_DOWNLOAD"] = "1" if request["download"] else ""
            cases = [Case.from_json(case) for case in request["cases"]]
            if "script" in request:
                from .script import run as script

                return dict(script.probe(Script.from_json(request["script"]), cases[0], request))
            others = [Case.from_json(case) for case in request["others"]]
            return dict(suites.probe(request["suite_file"], cases, request["asked"], others))
        case "environment":
            from . import launch as session

            conditions = Conditions.from_json(request["conditions"])
            return {"environment": session.describe_environment(conditions, request["seed"])}
        case "launch":
            from . import launch as session

            return session.launch(request)
        case unknown:
            raise ValueError(f"unknown request {unknown!r}")


def answered_in_tree(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer, with the user's code from the tree that the request names, if it names one."""
    if "tree" not in request:
        return answer(request)
    from . import tree

    tree.enter(request["tree"])
    found = answer(request)
    tree.prove(request["tree"])
    return found


class ForkServerProcess:
    """The process: one request after the other, each in a child of its own."""

    def __init__(self, requests: int, answers: int, scratch: str) -> None:
        for descriptor in (requests, answers):
            os.set_inheritable(descriptor, False)  # no program that the user's code starts may hold it
        self._requests = os.fdopen(requests, "r", encoding="utf-8")
        self._answers = answers
        self._scratch = scratch
        self._child: int | None = None

    def send(self, message: Mapping[str, Any]) -> None:
        """One line up. It begins with a line feed as well: a killed child may have left half a line."""
        data = f"\n{json.dumps(message)}\n".encode()
        while data:
            data = data[os.write(self._answers, data) :]

    def serve(self) -> None:
        """Until the parent closes the line."""
        homeless = make_folder(self._scratch)
        for line in self._requests:
            if not line.endswith("\n"):
                break  # the parent ended in the midst of it
            request = json.loads(line)
            if homeless:
                self.send({"id": request["id"], "homeless": homeless})
            elif request["do"] == "preload":
                self.send({"id": request["id"], "answer": preload(request["modules"])})
            elif unsafe := unsafe_to_fork():
                self.send({"id": request["id"], "refused": unsafe})
            else:
                self.fork(request)

    def stop(self, *_: object) -> None:
        """Ends this process and all that it runs; the handler of the signal that the parent has ended."""
        if self._child is not None:
            kill_group(self._child)
        reap_descendants()
        self.clear_scratch()
        shutil.rmtree(self._scratch, ignore_errors=True)
        os._exit(0)

    def fork(self, request: dict[str, Any]) -> None:
        """Runs the request in a child, waits for its end, and leaves none of its processes behind."""
        request["launched_at"] = time.perf_counter_ns()
        kills = out_of_memory_kills()
        # A collection in the child that went through what is imported here would copy all its memory: 30 ms.
        gc.freeze()
        # A signal between the fork and the next line would leave the child running.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        server, child = os.getpid(), os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            tell_me_when_parent_dies(signal.SIGKILL)
            if os.getppid() != server:
                os._exit(1)  # it died before the kernel was told
            lead_group(0)
            die_first_for_memory()
            self.run(request)
            os._exit(0)
        self._child = child
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        lead_group(child)  # on both sides of the fork, so that neither can come too late
        self.send({"id": request["id"], "child": child})
        _, status = os.waitpid(child, 0)
        kill_group(child)
        self._child = None
        reap_descendants()
        self.clear_scratch()
        ended = os.waitstatus_to_exitcode(status)
        starved = out_of_memory_kills() > kills
        self.send({"id": request["id"], "ended": ended, "starved": starved})

    def clear_scratch(self) -> None:
        """Removes the temporary files of a launch that has ended."""
        for place in Path(self._scratch).glob("launch-*"):
            isolation.clear(str(place))
            shutil.rmtree(place, ignore_errors=True)

    def run(self, request: dict[str, Any]) -> None:
        """Answers one request in this process, its standard streams turned to the request's log."""
        try:
            redirect(request["log"])
            for name in {"log", "traces"} & request.keys():  # the user's code may go to another folder
                request[name] = request[name] and os.path.abspath(request[name])
            place = tempfile.mkdtemp(prefix="launch-", dir=self._scratch)
            use_scratch(place)
            if "script" in request:
                give_terminal()
                give_folders(request, place)
            if "modules" in request:
                if "torch" in preload(request["modules"])["failed"]:
                    raise UsageError(f"{sys.executable} cannot import torch; install it and torchvision")
                self.send({"id": request["id"], "loaded": True})
                request["launched_at"] = time.perf_counter_ns()
            message: dict[str, Any] = {"answer": answered_in_tree(request)}
        except UsageError as problem:
            message = {"usage": str(problem), "detail": problem.detail}
        except BaseException as problem:
            message = blamed(problem)
        self.send({"id": request["id"], **message})
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # the user's code closed it
        if "script" in request:
            atexit._run_exitfuncs()  # what it registered for its end, which a fork has not


def give_folders(request: dict[str, Any], place: str) -> None:
    """Gives the launch of a script its folders for itself, as far as this system allows it, and says so in the request.

    While this process is a single thread, which the kernel asks for.
    """
    its = Script.from_json(request["script"])
    if its.in_place:
        return
    tree = request.get("tree")
    here = os.path.join(tree["root"], tree["place"]) if tree else os.getcwd()
    folders = isolation.folders_of(here, its.path)
    shared = [os.path.realpath(os.path.dirname(request["log"]))]
    if traces := request.get("traces"):
        os.makedirs(traces, exist_ok=True)  # what is made later, nobody else finds
        shared.append(os.path.realpath(traces))
    found = {"folders": folders, "shared": shared}
    try:
        request["folders"] = {
            **found,
            "written": isolation.isolate(folders, [*shared, *isolation.caches()], f"{place}.own"),
        }
    except OSError as problem:
        request["folders"] = {**found, "why": problem.strerror or str(problem)}
    tell_me_when_parent_dies(signal.SIGKILL)  # a change of credentials may have ended that


def blamed(problem: BaseException) -> dict[str, Any]:
    """What is said of an exception: the user's mistake where their code raised it, else a fault of our own.

    Nothing of Epochbench raises what is no Exception, such as KeyboardInterrupt: Ctrl-C does not reach this process.
    """
    said, place = one_line(problem), where(problem)
    if place or not isinstance(problem, Exception):
        message = f"the code of a suite raised {said}{f' at {place}' if place else ''} (--debug shows the traceback)"
        return {"usage": message, "detail": detail_of(problem)}
    return {"fault": said, "detail": detail_of(problem)}


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


def make_folder(place: str) -> str:
    """Makes a folder that is nobody else's; the reason where it cannot be made, or nothing."""
    try:
        os.mkdir(place, 0o700)
    except OSError as problem:
        return problem.strerror or type(problem).__name__
    return ""


def unsafe_to_fork() -> str:
    """The reason why a fork of this process would not be sound, or nothing."""
    if (threads := thread_count()) > 1:
        return f"the fork server has {threads} threads"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "the fork server has touched a CUDA device"
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


def give_terminal() -> None:
    """Standard input of a script is a terminal of 80 columns on which nobody types, so that it can ask for its size.

    To read gives an end of file at once, as from /dev/null, which stays where there are no terminals. It controls
    nothing: no key and no signal comes from it.
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


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def tell_me_when_parent_dies(number: int) -> None:
    """The kernel sends this process a signal when the one that made it ends, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def die_first_for_memory() -> None:
    """Where memory runs out, the kernel is to kill the launch, not the process that reports it."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")  # proc_pid_oom_score_adj(5): the most likely
    except OSError:
        pass  # no such file here


def out_of_memory_kills() -> int:
    """How many processes of this machine, or container, the kernel has killed for want of memory."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass  # not Linux: such a kill then reads as a crash by SIGKILL
    return 0


def use_scratch(place: str) -> None:
    """Temporary files of this process and its children go to this folder.

    What torch.compile has built stays where it would be without us: another launch is to find it.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid_{os.getuid()}"
    built = os.path.join(tempfile.gettempdir(), f"torchinductor_{user}")  # as torch._inductor names it
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", built)
    os.environ["TMPDIR"] = tempfile.tempdir = place


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
    """Ends what the child left behind outside its group: as subreaper the fork server inherits it."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while children.exists() and (left := children.read_text().split()):
        for pid in map(int, left):
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def main() -> None:
    """Serves the two descriptors that the parent gave: requests, answers; and keeps its scratch folder."""
    requests, answers, scratch = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    del sys.argv[1:]  # arguments of ours, which a suite that reads a command line is not to find
    server = ForkServerProcess(requests, answers, scratch)
    signal.signal(signal.SIGTERM, server.stop)
    tell_me_when_parent_dies(signal.SIGTERM)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        server.serve()
    except BrokenPipeError:
        pass  # the parent asked and ended before the kernel was told to say so
    server.stop()


if __name__ == "__main__":
    main()
