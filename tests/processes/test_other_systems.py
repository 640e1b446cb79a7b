"""Systems that are not supported: one line, and nothing of the user's that ends with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

POSIX_ONLY = ("fcntl", "resource", "termios", "pwd", "grp", "pty", "tty", "syslog")
AS_ON_WINDOWS = f"""
import multiprocessing, os, platform, signal, subprocess, sys
import psutil, pytest, rich.console, typer  # which come in a version for Windows of their own
for name in {POSIX_ONLY}:
    sys.modules[name] = None
for name in ("fork", "killpg", "setpgid", "getuid", "geteuid", "sched_getaffinity", "O_NOFOLLOW", "fchmod", "statvfs"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "pthread_sigmask"):
    delattr(signal, name)
platform.system = lambda: "Windows"
"""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run"], ["show", "latest"]])
def test_on_windows_the_command_says_that_it_is_not_for_it(arguments):
    code = f"{AS_ON_WINDOWS}\nfrom epochbench.cli import main\nmain({arguments})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "bench: Epochbench runs on Linux and macOS, and this is Windows; on Windows it runs inside WSL\n"
    )


def test_there_a_script_and_pytest_still_run():
    code = f"{AS_ON_WINDOWS}\nimport epochbench, epochbench.pytest_plugin\nprint(epochbench.watch([1]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[1]\n"), done.stderr
