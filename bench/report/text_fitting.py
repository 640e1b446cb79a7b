"""Text in a limited width of a terminal: folded, broken or shortened, and never split inside a number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rich.cells import cell_len

TEXT, LIST = " ", ", "  # where a cell may fold: between words, or between the items of a list

_SEAM = re.compile(r"(?<=[/=,_.\-])")  # where a word that is wider than the terminal may be broken
_CUT = "…"


def fold(text: str, width: int, at: str) -> list[str]:
    """The lines of a text that folds between words (TEXT) or between items (LIST), or does not fold."""
    if not at or cell_len(text) <= width:
        return [text]
    return _filled(parts(text, at), width)


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a sentence; a word that is wider than a line is broken, after a punctuation mark if possible."""
    width = max(1, width)
    if cell_len(text) <= width:
        return [text]
    return _filled((piece for word in parts(text, TEXT) for piece in _pieces(word, width)), width)


def shortened(text: str, most: int) -> str:
    """The text in at most `most` cells; the middle is cut, since names differ at their ends."""
    if cell_len(text) <= most:
        return text
    behind = (most - 1) // 2
    return f"{_begin(text, most - 1 - behind)}{_CUT}{_begin(text[::-1], behind)[::-1]}"


def _filled(pieces: Iterable[str], width: int) -> list[str]:
    """Lines, each of as many pieces as fit."""
    lines = [""]
    for part in pieces:
        if not lines[-1]:
            lines[-1] = part
        elif cell_len(lines[-1]) + 1 + cell_len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _pieces(word: str, width: int) -> Iterator[str]:
    """The pieces of a word that is too wide, as large as fit."""
    while cell_len(word) > width:
        begin = ""
        for part in _SEAM.split(word):
            if cell_len(begin + part) > width:
                break
            begin += part
        begin = begin or _begin(word, width) or word[0]
        word = word[len(begin) :]
        yield begin
    yield word


def _begin(text: str, width: int) -> str:
    """As many of the first letters as fit."""
    end = 0
    while end < len(text) and cell_len(text[: end + 1]) <= width:
        end += 1
    return text[:end]


def parts(text: str, at: str) -> list[str]:
    """The parts that must not be split. None begins with '::', which GitHub interprets as a command."""
    found = text.split() if at == TEXT else [f"{item}," for item in text.split(LIST)]
    if at == LIST:
        found[-1] = found[-1][:-1]
    return [f": {part[1:]}" if part.startswith("::") else part for part in found]


def widest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)
