"""One process a test process imports torch; the fork servers of most tests are forked from it, in 20 ms each.

`python warm.py DESCRIPTOR` is that process. It imports what every fork server does, then forks one for each request
that comes over the socket: the arguments, environment and folder of `subprocess.Popen`, with its descriptors.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).parents[1])


class Forked:
    """As much of a `subprocess.Popen` as `bench.running.fork_server` uses, for a process forked from the warm one."""

    def __init__(self, warm: Warm, pid: int) -> None:
        self._warm, self.pid = warm, pid
        self._end = os.pidfd_open(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("fork server", timeout or 0.0)
            self.returncode = self._warm.ask({"ended": self.pid})
            os.close(self._end)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Warm:
    """The parent's end."""

    def __init__(self, modules: tuple[str, ...], variables: dict[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno()), *modules],
            env=variables,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()

    def ask(self, request: dict[str, Any], descriptors: tuple[int, ...] = ()) -> int:
        socket.send_fds(self._socket, [json.dumps(request, default=str).encode()], descriptors)
        return int(self._socket.recv(100))

    def fork(
        self, command: list[str], *, stdout: Any, env: dict[str, str], pass_fds: Any, **_: Any
    ) -> Forked:
        """A process that runs the code of `python -P -c CODE ARGUMENTS`."""
        code, *arguments = command[3:]
        request = {"code": code, "arguments": arguments[2:], "environment": env, "folder": os.getcwd()}
        return Forked(self, self.ask(request, (*pass_fds, stdout.fileno())))

    def close(self) -> None:
        self._socket.close()  # it ends by that
        self._process.wait()


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Makes of this process, a fork, the one that was requested for."""
    *pipes, log = descriptors
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
    sys.argv = ["-c", *map(str, pipes), *request["arguments"]]
    exec(request["code"], {"__name__": "__main__"})


def serve(line: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Forks until the line is closed; in a fork, what it is to become."""
    while True:
        data, descriptors, *_ = socket.recv_fds(line, 1 << 20, 3)
        if not data:
            return None
        request = json.loads(data)
        if "ended" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["ended"], 0)[1])
        elif answer := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            line.close()
            return request, descriptors
        line.send(str(answer).encode())


if __name__ == "__main__":
    sys.path.append(ROOT)
    for module in sys.argv[2:]:
        importlib.import_module(module)
    if (asked := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        become(*asked)
    os._exit(0)
