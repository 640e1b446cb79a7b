"""Flags that several verbs take, and how their text is read."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import UsageError
from ..machine.processors import default_threads, usable_cores
from ..report import formats
from ..running.rounds import suite_files as suite_files
from ..suite.case import ALLOCATORS, START_METHODS, AxisValue, Conditions, Schedule
from ..suite.matrix import ARGUMENT, VARIABLE, column, parse_axis
from ..suite.script import Script, script

Suites = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SUITE", help="Suite files, or folders that hold them.", show_default="suites"),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run: its folder, the beginning of its name, latest, or latest~1 for the one before.",
    ),
]
Keyword = Annotated[
    str | None,
    typer.Option("-k", metavar="EXPR", help="Only the cases that match, such as 'adam and not mode=eval'."),
]
Axis = Annotated[
    list[str] | None,
    typer.Option(
        "--axis", metavar="NAME=V1,V2", help="Values of an axis, instead of the suite's own; repeatable."
    ),
]
ScriptFile = Annotated[
    Path | None,
    typer.Option(
        "--script",
        metavar="FILE",
        help="Measure a training script instead of suites, or a module as python -m names it (see epochbench.watch); "
        "its own arguments come after --.",
    ),
]
InPlace = Annotated[
    bool,
    typer.Option(
        "--in-place", help="Let a script overwrite files; a launch then finds those of the one before."
    ),
]
Timeout = Annotated[
    str, typer.Option(metavar="TIME", help="The longest that a single launch may take: 90s, 5m, 1h.")
]
Seed = Annotated[
    int, typer.Option(metavar="N", help="Seed of the order of the launches, and of torch in each of them.")
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", help="CPU threads of each launch.", show_default="physical cores")
]
Allocator = Annotated[
    str,
    typer.Option(
        metavar="|".join(ALLOCATORS),
        help="pinned: memory is handed out alike in every launch, so times vary less; system: as without bench.",
    ),
]
StartMethod = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(START_METHODS),
        help="How a launch starts: fork copies a process that has imported torch, spawn imports it anew.",
        show_default="fork where it is safe",
    ),
]
Data = Annotated[Path, typer.Option(metavar="DIR", help="The folder of downloaded data sets.")]
Download = Annotated[bool, typer.Option("--download", help="Download data sets that are missing.")]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Write to this folder, which must be new or empty.", show_default="one in results"
    ),
]
Name = Annotated[str, typer.Option(metavar="TEXT", help="A name for the run, shown above its tables.")]
Note = Annotated[str, typer.Option(metavar="TEXT", help="A remark that is kept with the run.")]
NoWait = Annotated[
    bool,
    typer.Option("--no-wait", help="If another run is measuring on this machine, exit instead of waiting."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only failures.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="With batch_size=max on the CPU: the memory, as the table has it, that a launch may take, such as 2GiB.",
        show_default="80 % of what is free",
    ),
]
MOST_OPERATORS = 12  # in the table of a profiled case, where no other number is asked for
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks, also those of your code in a launch that fails.")
]


# What the verbs that judge have in common.
FORMATS = ("table", *formats.FORMATS)
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", metavar="NAME", help="Compare only these metrics, such as 'count.*'; repeatable."
    ),
]
Thresholds = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The file that says which changes fail a build.",
        show_default="thresholds.toml, where there is one",
    ),
]
AllowInconclusive = Annotated[
    bool,
    typer.Option("--allow-inconclusive", help="Exit with 0, not 3, where a change could not be decided."),
]
Everything = Annotated[bool, typer.Option("--all", help="Show the rows that did not change, too.")]
Form = Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="The format of the output.")]
Junit = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the verdicts as JUnit XML, for a CI server.")
]
Pairs = Annotated[
    int,
    typer.Option(
        metavar="N", help="Measure at most so many pairs of launches of a case; fewer where they decide it."
    ),
]
Build = Annotated[
    str,
    typer.Option(
        "--build", metavar="CMD", help="Run this command in the tree of each side before measuring."
    ),
]


def overrides(axes: Sequence[str] | None) -> dict[str, list[AxisValue]]:
    """The values that --axis gives, by the axis of a suite. Raises UsageError for an axis that is given twice."""
    given: dict[str, list[AxisValue]] = {}
    for name, values in _as_given(axes).items():
        if name.startswith((VARIABLE, ARGUMENT)):
            raise UsageError(
                f"--axis {name}: env: and arg: name the options of a script; a suite's axis has neither"
            )
        if column(name) in given:
            raise UsageError(f"--axis {name} is given twice; give its values once, joined by commas")
        given[column(name)] = values
    return given


def _as_given(axes: Sequence[str] | None) -> dict[str, list[AxisValue]]:
    given: dict[str, list[AxisValue]] = {}
    for text in axes or []:
        name, values = parse_axis(text)
        if name in given:
            raise UsageError(f"--axis {name} is given twice; give its values once, joined by commas")
        given[name] = values
    return given


_BEHIND = "epochbench script arguments"


class Verb(TyperCommand):
    """A command whose help shows no type behind a flag: it takes no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        found = super().get_params(ctx)
        for parameter in found:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
        return found


class WithScript(Verb):
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
    behind = script_arguments(context)
    in_place = bool(context.params.get("in_place"))
    if path is None:
        if behind is not None:
            raise UsageError("arguments behind -- are a script's; name it: --script train.py -- ARGUMENTS")
        if in_place:
            raise UsageError("--in-place is for scripts; name one: --script train.py")
        return overrides(axes), None
    if suites:
        raise UsageError(
            f"--script {path} and suites ({', '.join(map(str, suites))}) cannot be measured together; arguments of "
            f"the script stand behind --"
        )
    values = _as_given(axes)
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
