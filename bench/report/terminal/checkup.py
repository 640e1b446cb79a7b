"""The state of this machine: the findings of `bench doctor`, its noise, and the error rates of the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from ...ab.error_rates import ErrorRate
from ...machine.doctor import Finding, Noise
from ...plurals import counted
from ..layout import ESSENTIAL, Column, Grid, Words
from ..text_fitting import TEXT
from ..units import NOTHING, percent, quantity

_INDENT = "    "
_CONTINUED = " \\"

_STYLES = {"ok": "green", "notice": "yellow", "warning": "bold red", "unknown": "dim"}


def page(findings: Sequence[Finding], noise: Sequence[Noise] = ()) -> RenderableType:
    """A row for each finding, the remedies under it, and a row of noise for each device."""
    parts: list[RenderableType] = []
    if findings:
        parts += [_findings(findings), Text(), Words(_tally(findings), "bold"), Text()]
    parts += _remedies([finding for finding in findings if finding.remedy])
    if noise:
        parts += [_noise(noise), Text()]
    return Group(*parts)


def _findings(findings: Sequence[Finding]) -> Grid:
    styles = ["dim" if finding.state == "unknown" else "" for finding in findings]
    states = [finding.state for finding in findings]
    columns = [
        Column("check", [finding.name for finding in findings], styles=styles),
        Column("state", states, styles=[_STYLES[state] for state in states]),
        Column("found", [finding.found for finding in findings], folds=TEXT, styles=styles),
    ]
    return Grid(columns, every="check")


def _tally(findings: Sequence[Finding]) -> str:
    """How many findings there are of each state, the worst first: `1 warning, 2 notices, 12 ok, 3 unknown`."""
    numbers = Counter(finding.state for finding in findings)
    plurals = {"warning": "warnings", "notice": "notices", "ok": "ok", "unknown": "unknown"}
    return ", ".join(
        counted(numbers[state], state, many) for state, many in plurals.items() if numbers[state]
    )


def _remedies(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """The names of the checks, and under each what to do, in words and commands."""
    for name, named in groupby(findings, key=lambda finding: finding.name):
        yield Words(name, "bold")
        for finding in named:
            for number, piece in enumerate(finding.remedy.split("`")):
                if piece.strip():
                    yield Command(piece.strip()) if number % 2 else Words(piece.strip(), indent=2)
        yield Text()


@dataclass(frozen=True)
class Command:
    """A command on separate lines, ready to copy: a continued line ends in a backslash.

    Nothing follows the backslash, not even blanks, since the shell would not continue the line.
    """

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - len(_INDENT))
        lines = [self.text]
        if cell_len(self.text) > width:
            lines = wrap(
                self.text, max(1, width - len(_CONTINUED)), break_long_words=False, break_on_hyphens=False
            )
        yield Text(_INDENT + f"{_CONTINUED}\n{_INDENT}".join(lines), style="cyan", overflow="fold")


def _numbers(head: str, priority: int, cells: Iterable[str], name: str = "") -> Column:
    return Column(head, [*cells], priority, right=True, name=name)


def _noise(noise: Sequence[Noise]) -> RenderableType:
    grid = Grid(
        [
            Column("device", [row.device for row in noise]),
            _numbers("launches", 3, (f"{row.launches:,}" for row in noise)),
            _numbers("CV between\nlaunches", 2, (quantity(row.variation * 100, "%") for row in noise)),
            _numbers("pairs", 5, (f"{row.pairs:,}" for row in noise)),
            _numbers(
                "ratio A/A,\n95 % interval",
                1,
                (f"{_ratio(row.pair_low)} to {_ratio(row.pair_high)}" for row in noise),
            ),
            _numbers("MDE at\nsix a side", ESSENTIAL, (quantity(row.mde * 100, "%") for row in noise)),
            _numbers("contaminated", 4, (f"{row.contaminated:,}" for row in noise)),
        ],
        [Words("Measured noise", "bold")],
        "device",
    )
    words = Words(
        "Launches of the same case: the ratio between two sides should be 1. A change smaller than "
        "the minimum detectable effect (MDE) of six launches a side is lost in the noise.",
        "dim",
    )
    doubtful = (
        Words(
            f"{row.device}: {row.contaminated:,} of {counted(row.launches, 'launch', 'launches')} were contaminated by "
            f"other work, so that these figures include it. Measure again when the machine is quiet.",
            "yellow",
        )
        for row in noise
        if row.contaminated * 2 > row.launches
    )
    return Group(grid, Text(), words, *doubtful)


def _ratio(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else NOTHING


def error_rate_table(rows: Sequence[ErrorRate]) -> Grid:
    """One row per kind of decision: how often a change was found, and the error of its estimated size."""
    return Grid(
        [
            Column("injected slowdown", [row.arm for row in rows], folds=TEXT),
            _numbers("called", ESSENTIAL, (str(row.found) for row in rows)),
            _numbers("of", ESSENTIAL, (str(row.decisions) for row in rows), "decisions"),
            _numbers("share", 1, (f"{row.found / row.decisions:.0%}" for row in rows)),
            _numbers("95 % interval", 2, (f"{row.low:.0%} to {row.high:.0%}" for row in rows)),
            _numbers("estimate off by", 3, (_off(row.bias) for row in rows)),
            _numbers("pairs", 4, (f"{row.pairs:.0f}" for row in rows)),
            _numbers("s per decision", 5, (f"{row.seconds:.1f}" for row in rows), "seconds per decision"),
        ]
    )


def _off(bias: float | None) -> str:
    return NOTHING if bias is None else f"{'-' if bias < 0 else '+'}{percent(abs(bias))}"
