"""The command line: the only package that prints or picks an exit code (command.py).

A verb is a subcommand: a module in verbs/ whose function `main` takes the options and returns an exit code. Its help is
here, so that `bench --help` imports no verb.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
import traceback
from collections.abc import Sequence

import typer

from ..errors import HarnessFault, Interrupted, UsageError
from ..report.safe_text import plain, plain_lines
from . import streams
from .command import FAULT, INTERRUPTED, USAGE, Group, LazyCommand

_VERBS = {
    "init": "Write a first suite, thresholds, a CI workflow and a make target; nothing is overwritten.",
    "list": "List the cases of suites, and the combinations that are not measured, with the reason.",
    "run": "Measure suites, or a script: tables and pictures of every case in a new folder of results.",
    "profile": "Profile suites, or a script: where time and memory of a few steps go, with traces and flame graphs.",
    "compare": "Compare two runs, or the values of an axis within one; exit 1 if something regressed.",
    "ab": "Measure two versions side by side, launch by launch; exit 1 if something regressed.",
    "selftest": "Measure the error rates of ab on this machine: false alarms, and injected slowdowns that it finds.",
    "bisect": "Find the commit that made a case slower: exit 0 if it is found, 3 if that cannot be decided.\n\n"
    "Exact metrics (--metric 'count.*', 'work.*') need only one launch per commit.",
    "show": "Show the tables of a run, or of a summary file.",
    "tables": "Rebuild the tables of a run from its journal.",
    "plot": "Draw the pictures of a run.",
    "doctor": "Examine this machine for sources of noise, with remedies, and measure its noise; changes nothing.",
}

app = Group(
    "bench",
    "Measure PyTorch training loops: the whole train / validate / test loop, with confidence intervals.",
    *(LazyCommand(name, help, module=name) for name, help in _VERBS.items()),
    Group(
        "baseline",
        "Keep runs to compare with later.",
        LazyCommand(
            "save",
            "Keep a run as a baseline in results/baselines/: summary, counts and environment.",
            module="baseline",
            function="save",
        ),
        LazyCommand("list", "List the baselines.", module="baseline", function="list_names"),
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The `bench` command: it ends with one of the exit codes."""
    sys.exit(exit_code(list(sys.argv[1:] if arguments is None else arguments)))


def exit_code(arguments: list[str]) -> int:
    """Runs a command; whatever it raises becomes one line on standard error and an exit code."""
    streams.open_all()
    with streams.lossy_errors():
        return _exit_code(arguments, debug="--debug" in arguments)


def _exit_code(arguments: list[str], debug: bool) -> int:
    try:
        _check_system()
        code = int(app(arguments, standalone_mode=False) or 0)
        sys.stdout.flush()  # here, so that an output that cannot be written is still reported
        return code
    except UsageError as problem:
        return _fail(str(problem), USAGE, problem.detail if debug else "")
    except Interrupted as stop:
        return 128 + stop.signal_number
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer exits with 1 then, the code of a regression
            return _reader_gone()
        raise
    except HarnessFault as fault:
        return _fail(_report(str(fault)), FAULT, fault.detail if debug else "")
    except Exception as problem:
        if isinstance(problem, OSError) and problem.filename is None and (refused := streams.refused()):
            streams.write_nowhere()
            return _fail(
                f"standard output cannot be written: {refused}; redirect it to a place with free space", USAGE
            )
        # typer's own errors (a misspelt flag) format themselves; their class is not public.
        format_message = getattr(problem, "format_message", None)
        if format_message is not None:
            context = getattr(problem, "ctx", None)
            hint = f"; see: {context.command_path} --help" if context is not None else ""
            return _fail(f"{format_message().rstrip('.') or 'a command is missing'}{hint}", USAGE)
        return _fail(
            _report(f"{type(problem).__name__}: {problem}"), FAULT, traceback.format_exc() if debug else ""
        )


def _reader_gone() -> int:
    """The reader of the output has ended (`bench list | head`): nothing more is printed or flushed."""
    streams.write_nowhere()
    return 0


def _check_system() -> None:
    """Raises UsageError where the system has no POSIX file locks, forks and process groups."""
    if importlib.util.find_spec("fcntl") is None:
        raise UsageError(
            f"Epochbench runs on Linux and macOS, and this is {platform.system()}; on Windows it runs inside WSL"
        )


def _report(what: str) -> str:
    return (
        f"a fault of Epochbench itself: {what}; what was measured is kept. Please report it with the command and "
        f"the output of --debug"
    )


def _fail(message: str, code: int, detail: str = "") -> int:
    if detail:
        print(plain_lines(detail), file=sys.stderr)
    print(plain(f"bench: {message}"), file=sys.stderr)
    return code
