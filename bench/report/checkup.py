"""The page of a checkup: what each check found, what to do about it, and the noise that is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..machine.doctor import Finding, Noise
from .units import NOTHING, quantity

_DEEP = "    "
_GOES_ON = " \\"

_STYLES = {"ok": "green", "notice": "yellow", "warning": "bold red", "unknown": "dim"}


def page(findings: Sequence[Finding], noise: Sequence[Noise] = ()) -> RenderableType:
    """A row for each finding, the remedies under it, and a row of noise for each device."""
    parts: list[RenderableType] = []
    if findings:
        parts += [_found(findings), Text(_tally(findings), style="bold"), Text()]
    parts += _remedies([finding for finding in findings if finding.remedy])
    if noise:
        parts += [_noise(noise), Text()]
    return Group(*parts)


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))


def _found(findings: Sequence[Finding]) -> RenderableType:
    table = _table()
    table.add_column("check", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found", overflow="fold")
    for finding in findings:
        style = _STYLES.get(finding.state, "")
        quiet = "dim" if finding.state == "unknown" else ""
        table.add_row(
            Text(finding.name, style=quiet),
            Text(finding.state, style=style),
            Text(finding.found, style=quiet),
        )
    return Group(table, Text())


def _tally(findings: Sequence[Finding]) -> str:
    """How many there are of each state, the worst first: `1 warning, 2 notices, 12 ok, 3 unknown`."""
    states = [finding.state for finding in findings]
    counted = []
    for state, many in (("warning", "warnings"), ("notice", "notices"), ("ok", "ok"), ("unknown", "unknown")):
        number = states.count(state)
        if number:
            counted.append(f"{number} {state if number == 1 else many}")
    return ", ".join(counted)


def _remedies(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """The names of what was found, and under each what to do, in words and commands."""
    for name, named in groupby(findings, key=lambda finding: finding.name):
        yield Text(name, style="bold")
        for finding in named:
            for number, piece in enumerate(finding.remedy.split("`")):
                if piece.strip():
                    words = Padding(Text(piece.strip()), (0, 0, 0, 2))
                    yield Command(piece.strip()) if number % 2 else words
        yield Text()


@dataclass(frozen=True)
class Command:
    """A command on lines of its own, to be copied as it is: a line that goes on ends in a backslash.

    Nothing stands behind the backslash, not even the blanks that fill a line: the shell would not go on.
    """

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = max(1, options.max_width - len(_DEEP))
        lines = [self.text]
        if cell_len(self.text) > room:
            lines = wrap(
                self.text, max(1, room - len(_GOES_ON)), break_long_words=False, break_on_hyphens=False
            )
        yield Text(_DEEP + f"{_GOES_ON}\n{_DEEP}".join(lines), style="cyan", overflow="fold")


def _noise(noise: Sequence[Noise]) -> RenderableType:
    table = _table()
    table.add_column("device", overflow="fold")
    for head in (
        "launches",
        "CV between\nlaunches",
        "pairs",
        "ratio A/A,\n95 % interval",
        "six a side\nreveal",
        "contaminated",
    ):
        table.add_column(head, justify="right", overflow="fold")
    for row in noise:
        table.add_row(
            row.device,
            f"{row.launches:,}",
            _percent(row.variation),
            f"{row.pairs:,}",
            f"{_ratio(row.pair_low)} to {_ratio(row.pair_high)}",
            _percent(row.reveals),
            f"{row.contaminated:,}",
        )
    words = Text(
        "Launches of one and the same case: the ratio between two sides should be 1. A change smaller than "
        "what six launches a side reveal is lost in the noise.",
        style="dim",
    )
    return Group(Text("Measured noise", style="bold"), Text(), table, Text(), words, *_disturbed(noise))


def _disturbed(noise: Sequence[Noise]) -> Iterator[RenderableType]:
    """Says of each device whose launches were disturbed for the most part what its row is worth."""
    for row in noise:
        if row.contaminated * 2 > row.launches:
            yield Text(
                f"{row.device}: {row.contaminated:,} of {row.launches:,} launches were disturbed by other work, so "
                "that these figures tell of that work as well. Measure again when the machine is quiet.",
                style="yellow",
            )


def _percent(share: float) -> str:
    return quantity(share * 100, "%")


def _ratio(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else NOTHING
