"""Text of the user's code, and JSON, as a terminal or a CI server may have it: no control characters, no commands."""

from __future__ import annotations

from typing import Any

from ..system.json_data import finite, json_text, to_json


def one_line(text: str) -> str:
    """Text of the user's code, safe for a terminal: one line, with escaped control characters."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def plain(text: str) -> str:
    """One line that neither a terminal nor a CI server interprets as a command.

    GitHub reads commands from what a step prints: a line that begins with '::', and '##[' anywhere.
    """
    line = one_line(text).replace("##[", "# #[")
    return f": {line[1:]}" if line.startswith("::") else line


def plain_lines(text: str) -> str:
    """Lines of which none is a command; each keeps its indentation, as a traceback needs it."""
    lines = text.expandtabs().splitlines()
    return "\n".join(" " * (len(line) - len(line.lstrip())) + plain(line) for line in lines).rstrip()


def plain_json(value: Any) -> str:
    """JSON for other programs, as HTML and the log of a step may hold it: what commands begin with is escaped."""
    text = json_text(finite(to_json(value)))
    for letter in "<>&#":  # they stand in its texts only
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
