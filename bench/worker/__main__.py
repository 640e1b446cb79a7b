"""The fork server: imports third-party modules once, and forks a child per request.

It reads requests and writes answers as JSON lines on descriptors of its own; standard output and error
belong to the user's code. Each request runs in a forked child that leads its own process group; the
child answers by a message, and the fork server reports when it has ended. Before every fork it makes sure
that it is a single thread and has touched no device, since neither survives a fork. A fork server that has
imported nothing gives spawned launches: the child then imports for itself.

When the parent ends, however it ends, the kernel tells the fork server, which ends its child and all processes that
this started, and removes the scratch folder; when the fork server itself is killed, the kernel kills the child.
"""

from __future__ import annotations

import signal
import sys

from .process_control import adopt_orphans, signal_when_parent_dies
from .server import ForkServerProcess


def main() -> None:
    """Serves the pipes whose descriptors the parent gave, for requests and answers; owns the scratch folder."""
    requests, answers, scratch = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    del sys.argv[1:]  # a suite that reads a command line must not find our arguments
    server = ForkServerProcess(requests, answers, scratch)
    signal.signal(signal.SIGTERM, server.stop)
    signal_when_parent_dies(signal.SIGTERM)
    adopt_orphans()
    try:
        server.serve()
    except BrokenPipeError:
        pass  # the parent ended, and the signal that says so has not arrived yet
    server.stop()


if __name__ == "__main__":
    main()
