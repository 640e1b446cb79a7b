"""The command line: the only rooms that print or pick an exit code.

Exit codes: 0; 130 and 143 interrupted; 70 a fault of Epochbench itself; 2 something that the user can
mend; 4 two sides are not comparable; 5 at least one case failed; 1 a comparison found a regression; 3 it
could not be decided, or a budget ended before each case had a launch.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
import traceback
from collections.abc import Sequence

import typer

from ..errors import HarnessFault, Interrupted, UsageError
from ..report.units import plain, plain_lines
from . import streams
from .verbs import ab, bisect, compare, doctor, init, profile, run, selftest
from .verbs import list as listing
from .verbs import show as inspect

USAGE, FAULT, INTERRUPTED = 2, 70, 130

app = typer.Typer(
    name="bench",
    help="Measure PyTorch training loops: the whole train / validate / test loop, with numbers to trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
init.register(app)
listing.register(app)
run.register(app)
profile.register(app)
compare.register(app)
ab.register(app)
selftest.register(app)
bisect.register(app)
inspect.register(app)
doctor.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """The `bench` command. Every way out of it is an exit code of the table above."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(exit_code(arguments))


def exit_code(arguments: list[str]) -> int:
    """Runs a command; whatever it raises becomes one line on standard error and an exit code."""
    streams.open_all()
    with streams.lossy_errors():
        return _exit_code(arguments, debug="--debug" in arguments)


def _exit_code(arguments: list[str], debug: bool) -> int:
    try:
        _check_system()
        code = int(app(arguments, standalone_mode=False) or 0)
        sys.stdout.flush()  # here, where an output that takes no more can still be said
        return code
    except UsageError as problem:
        return _say(str(problem), USAGE, problem.detail if debug else "")
    except Interrupted as stop:
        return 128 + stop.signal_number
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # which typer makes a 1 of, the code of a regression
            return _unread()
        raise
    except HarnessFault as fault:
        return _say(_report(str(fault)), FAULT, fault.detail if debug else "")
    except Exception as problem:
        if isinstance(problem, OSError) and problem.filename is None and (refused := streams.refused()):
            streams.write_nowhere()
            return _say(f"standard output cannot be written: {refused}; give it a place that has room", USAGE)
        # typer's own errors (a misspelt flag) know how to word themselves; their class is not public.
        worded = getattr(problem, "format_message", None)
        if worded is not None:
            context = getattr(problem, "ctx", None)
            hint = f"; see: {context.command_path} --help" if context is not None else ""
            return _say(f"{worded().rstrip('.') or 'no command is named'}{hint}", USAGE)
        return _say(
            _report(f"{type(problem).__name__}: {problem}"), FAULT, traceback.format_exc() if debug else ""
        )


def _unread() -> int:
    """Whoever read our output has gone (`bench list | head`): nothing is left to say, nor to flush."""
    streams.write_nowhere()
    return 0


def _check_system() -> None:
    """Raises UsageError where the system has no file locks as POSIX has them, nor forks and process groups."""
    if importlib.util.find_spec("fcntl") is None:
        raise UsageError(
            f"Epochbench runs on Linux and macOS, and this is {platform.system()}; on Windows it runs inside WSL"
        )


def _report(what: str) -> str:
    return (
        f"a fault of Epochbench itself: {what}; what was measured is kept. Please report it with the command and "
        f"the output of --debug"
    )


def _say(message: str, code: int, detail: str = "") -> int:
    if detail:
        print(plain_lines(detail), file=sys.stderr)
    print(plain(f"bench: {message}"), file=sys.stderr)
    return code
