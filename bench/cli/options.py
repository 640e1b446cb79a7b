"""Flags that several verbs take, and how their text is read."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..case import ALLOCATORS, START_METHODS, AxisValue, Conditions, Schedule
from ..errors import UsageError
from ..machine.processors import default_threads, usable_cores
from ..runner import suite_files as suite_files
from ..script import Script, script
from ..suite import parse_axis

Suites = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[SUITE]...", help="Suite files, or folders of them.", show_default="suites"),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run: its folder, a unique prefix of its name, latest, or latest~N."
    ),
]
Keyword = Annotated[
    str | None,
    typer.Option("-k", metavar="EXPR", help="Take the cases that match, such as 'adam and not mode=eval'."),
]
Axis = Annotated[
    list[str] | None,
    typer.Option(
        "--axis", metavar="NAME=V1,V2", help="Values of an axis in place of the suite's; repeatable."
    ),
]
ScriptFile = Annotated[
    Path | None,
    typer.Option(
        "--script",
        metavar="FILE",
        help="Measure a training script, or a module as python -m names it, with the arguments behind `--`; see "
        "bench.watch.",
    ),
]
InPlace = Annotated[
    bool,
    typer.Option(
        "--in-place", help="Let a script overwrite files; a launch then finds those of the one before."
    ),
]
Timeout = Annotated[str, typer.Option(metavar="TIME", help="The longest that one launch may take.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of a launch.", show_default="physical cores")]
Allocator = Annotated[
    str,
    typer.Option(
        metavar="|".join(ALLOCATORS), help="Pin the host allocator, or take it as untuned users do."
    ),
]
StartMethod = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(START_METHODS), help="How launches start.", show_default="fork where it is sound"
    ),
]
Data = Annotated[Path, typer.Option(metavar="DIR", help="Where downloaded data sets lie.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch data sets that are not there.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder itself: new, or empty.")]
Name = Annotated[str, typer.Option(help="A label for the run.")]
Note = Annotated[str, typer.Option(help="A remark to keep with the run.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Leave where another run is measuring on this machine.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What each launch may take, such as 2GiB, that looks for batch_size=max on the CPU.",
        show_default="80 % of what is free",
    ),
]
MOST_OPERATORS = 12  # in the table of a profiled case, where no other number is asked for
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


# What the verbs that judge have in common.
FORMATS = ("table", "markdown", "csv", "json")
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="Compare these metrics, such as 'count.*'; repeatable."),
]
Thresholds = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="What fails a build.", show_default="thresholds.toml, where there is one"
    ),
]
AllowInconclusive = Annotated[
    bool, typer.Option("--allow-inconclusive", help="Exit 0 where rows could not be decided.")
]
Everything = Annotated[bool, typer.Option("--all", help="Show the rows that did not change, too.")]
Form = Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="What is printed.")]
Junit = Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML for a CI server.")]
Pairs = Annotated[int, typer.Option(help="Pairs of launches of a case, or commit, that cannot be decided.")]
Build = Annotated[str, typer.Option("--build", metavar="CMD", help="Run this in each side's tree first.")]


def overrides(axes: Sequence[str] | None) -> dict[str, list[AxisValue]]:
    """The values that --axis gives, by axis. Raises UsageError for an axis that is given twice."""
    given: dict[str, list[AxisValue]] = {}
    for text in axes or []:
        name, values = parse_axis(text)
        if name in given:
            raise UsageError(f"--axis {name} is given twice; give its values once, joined by commas")
        given[name] = values
    return given


_BEHIND = "epochbench script arguments"


class WithScript(TyperCommand):
    """A verb of suites, or of a script whose own arguments stand behind `--`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[_BEHIND] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)


def script_arguments(context: typer.Context) -> list[str] | None:
    """What stands behind `--`; None where there is none."""
    behind: list[str] | None = context.meta.get(_BEHIND)
    return behind


def axes_and_script(
    context: typer.Context, axes: Sequence[str] | None, path: Path | None, suites: Sequence[Path] | None
) -> tuple[dict[str, list[AxisValue]], Script | None]:
    """What --axis and --script ask for: values by axis, and the script with these axes; None where suites are meant.

    Raises UsageError for a script beside suites, and for arguments or --in-place of none.
    """
    behind, values = script_arguments(context), overrides(axes)
    in_place = bool(context.params.get("in_place"))
    if path is None:
        if behind is not None:
            raise UsageError("arguments behind -- are a script's; name it: --script train.py -- ARGUMENTS")
        if in_place:
            raise UsageError("--in-place is for scripts; name one: --script train.py")
        return values, None
    if suites:
        raise UsageError(
            f"--script {path} and suites ({', '.join(map(str, suites))}) cannot be measured together; arguments of "
            f"the script stand behind --"
        )
    return values, script(path, behind or (), list(values), in_place)


_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|m|h|)")


def seconds(text: str) -> float:
    """A duration such as 90, 90s, 1.5m or 2h, in seconds. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise UsageError(f"{text!r} is no duration; write it as 90, 90s, 5m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:([kmgt])(i?))?b?")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_MOST_BYTES = 2**62  # what the kernel takes for a limit


def size(text: str) -> int:
    """A number of bytes such as 2GiB, 500 MB or 1048576. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip().lower())
    # Two letters are needed behind a number: what G alone stands for, tools do not agree about.
    if match is None or (match[2] and not text.strip().lower().endswith("b")):
        raise UsageError(f"{text!r} is no size; write it as 2GiB, 500MB or a number of bytes")
    step = 1024 if match[3] else 1000
    found = float(match[1]) * step ** _POWERS.get(match[2], 0)
    if not 1 <= found <= _MOST_BYTES:
        raise UsageError(
            f"{text!r} is no size that memory can have; write it as 2GiB, 500MB or a number of bytes"
        )
    return int(found)


MOST_LAUNCHES = 20  # of a case whose intervals do not get narrow: the vision suite then ends within 4 minutes

_SHARE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%|)")


def share(text: str) -> float:
    """A share such as 2%, 0.5% or 0.02. Raises UsageError."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 1.0
    if not 0 < value < 1:
        raise UsageError(f"{text!r} is no share between 0 % and 100 %; write it as 2% or 0.02")
    return value


def schedule(
    launches: int | None,
    max_launches: int | None,
    tolerance: str,
    repeats: int,
    time_budget: str | None,
    timeout: str,
    seed: int,
) -> Schedule:
    """The schedule that flags ask for: a number of launches alone is meant exactly."""
    standard = Schedule()
    most = next(number for number in (max_launches, launches, MOST_LAUNCHES) if number is not None)
    return Schedule(
        launches=launches if launches is not None else min(standard.launches, max(1, most)),
        max_launches=most,
        tolerance=share(tolerance),
        repeats=repeats,
        time_budget=None if time_budget is None else seconds(time_budget),
        timeout=seconds(timeout),
        seed=seed,
    )


def conditions(
    threads: int | None = None,
    allocator: str = "pinned",
    start_method: str | None = None,
    data: Path = Path("data"),
) -> Conditions:
    """The conditions that flags ask for, with the defaults of this machine."""
    cores = usable_cores()
    return Conditions(
        threads=default_threads(cores) if threads is None else threads,
        cpus=cores,
        allocator=allocator,
        # On macOS a forked child may not use the system's own libraries.
        start_method=start_method or ("fork" if sys.platform == "linux" else "spawn"),
        data_root=str(data.resolve()),
    )
