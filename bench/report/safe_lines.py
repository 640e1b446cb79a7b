"""Printed lines of which none is a command to a CI server, however a terminal wraps the texts of users."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment


class SafeLines:
    """A part of a page. GitHub takes a line for a command that begins with '::', also behind blanks."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._part, options, pad=False):
            begun = False
            for segment in line:
                text = segment.text
                if not begun and text.lstrip().startswith("::"):
                    text = text.replace("::", ": :", 1)
                begun = begun or bool(text.strip())
                yield Segment(text, segment.style, segment.control)
            yield Segment.line()
