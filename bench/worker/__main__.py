"""The fork server: imports third-party modules once, and forks a child per request.

It reads requests and writes answers as JSON lines on descriptors of its own; standard output and error belong to the
user's code. Each request runs in a forked child that leads its own process group; the child answers by a message, and
the fork server reports when it has ended. Before every fork it checks that it has a single thread and has touched no
device, since neither survives a fork. A fork server that has imported nothing serves spawned launches: the child then
imports everything itself.

When the parent ends for any reason, the kernel signals the fork server, which ends its child with all processes that
the child started, and removes the scratch folder. When the fork server itself is killed, the kernel kills the child.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..measurement.messages import Envelope, PreloadRequest
from ..system.json_data import json_line, json_object, to_json
from ..system.signals import kill_group
from . import child as children
from .process_control import (
    adopt_orphans,
    be_killed_first,
    lead_group,
    opened_devices,
    out_of_memory_kills,
    reap_descendants,
    signal_when_parent_dies,
    thread_count,
)
from .script import isolation


class ForkServerProcess:
    """The process: one request after the other, each in a child of its own."""

    def __init__(self, requests: int, answers: int, scratch: str) -> None:
        for descriptor in (requests, answers):
            os.set_inheritable(descriptor, False)  # no program started by the user's code may inherit it
        self._requests = os.fdopen(requests, "r", encoding="utf-8")
        self._answers = answers
        self._scratch = scratch
        self._child: int | None = None

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends one line to the parent. It also begins with a line feed: a killed child may have left half a line."""
        data = f"\n{json_line(message)}\n".encode()
        while data:
            data = data[os.write(self._answers, data) :]

    def serve(self) -> None:
        """Answers requests until the parent closes the pipe."""
        no_folder = ""  # why the scratch folder, which only this user may enter, cannot be created
        try:
            os.mkdir(self._scratch, 0o700)
        except OSError as problem:
            no_folder = problem.strerror or type(problem).__name__
        for line in self._requests:
            if not line.endswith("\n"):
                break  # the parent ended while it wrote this
            envelope = Envelope.from_json(json_object(line))
            if no_folder:
                self.send({"id": envelope.id, "no_folder": no_folder})
            elif isinstance(envelope.request, PreloadRequest):
                report = children.preload(envelope.request.modules)
                self.send({"id": envelope.id, "answer": {"report": to_json(report)}})
            elif unsafe := unsafe_to_fork():
                self.send({"id": envelope.id, "refused": unsafe})
            else:
                self.fork(envelope)

    def stop(self, *_: object) -> None:
        """Ends this process and all that it runs; also the handler of the signal sent when the parent has ended."""
        if self._child is not None:
            kill_group(self._child)
        reap_descendants()
        self.clear_scratch()
        shutil.rmtree(self._scratch, ignore_errors=True)
        os._exit(0)

    def fork(self, envelope: Envelope) -> None:
        """Runs the request in a child, waits for its end, and ends all processes that it started."""
        launched_at = time.perf_counter_ns()
        kills = out_of_memory_kills()
        # Without this the child's first collection would copy the memory of all imported objects: 30 ms.
        gc.freeze()
        # A signal between the fork and the next line would leave the child running.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        server, child = os.getpid(), os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            signal_when_parent_dies(signal.SIGKILL)
            if os.getppid() != server:
                os._exit(1)  # the parent died before this took effect
            lead_group(0)
            be_killed_first()
            children.run(envelope, launched_at, self._scratch, self.send)
            os._exit(0)
        self._child = child
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        lead_group(child)  # on both sides of the fork, so that neither can come too late
        self.send({"id": envelope.id, "child": child})
        _, status = os.waitpid(child, 0)
        kill_group(child)
        self._child = None
        reap_descendants()
        self.clear_scratch()
        ended = os.waitstatus_to_exitcode(status)
        starved = out_of_memory_kills() > kills
        self.send({"id": envelope.id, "ended": ended, "starved": starved})

    def clear_scratch(self) -> None:
        """Removes the temporary files of a launch that has ended."""
        for place in Path(self._scratch).glob("launch-*"):
            isolation.clear(str(place))
            shutil.rmtree(place, ignore_errors=True)


def unsafe_to_fork() -> str:
    """Why this process must not fork; empty if it may."""
    if (threads := thread_count()) > 1:
        return f"the fork server has {threads} threads"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "the fork server has touched a CUDA device"
    if opened := opened_devices():
        return f"the fork server has opened {opened[0]}"
    return ""


def main() -> None:
    """Serves the pipes whose descriptors the parent gave, for requests and answers; owns the scratch folder."""
    requests, answers, scratch = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    del sys.argv[1:]  # a suite that reads a command line must not find our arguments
    server = ForkServerProcess(requests, answers, scratch)
    signal.signal(signal.SIGTERM, server.stop)
    signal_when_parent_dies(signal.SIGTERM)
    adopt_orphans()
    with suppress(BrokenPipeError):  # the parent ended, and its signal has not arrived yet
        server.serve()
    server.stop()


if __name__ == "__main__":
    main()
