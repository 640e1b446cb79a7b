"""Lists existing names in messages, and suggests corrections of misspelt words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from ..system.text import cut

_ALIKE = 0.5  # the share of letters that a misspelt word has in common with what was meant


def meant(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The remedy for a misspelt word: the closest known one, else all of them."""
    names = list(known)
    lower = {name.lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(word.lower(), lower, cutoff=_ALIKE)
    return f"did you mean {lower[near[0]]!r}?" if near else otherwise or f"write {alternatives(names)}"


def alternatives(words: Sequence[str]) -> str:
    """'a, b or c'."""
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)


def some(names: Sequence[str], most: int = 3) -> str:
    """A few names, and the number of the others."""
    shown = ", ".join(short(name or "(none)") for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def short(text: str, most: int = 60) -> str:
    """Printable text on one line, shortened if long."""
    line = "".join(
        letter if letter.isprintable() else repr(letter)[1:-1] for letter in " ".join(text.split())
    )
    return cut(line, most)


def closest(word: str, known: Sequence[str]) -> list[str]:
    """The known names, similar ones first."""
    near = difflib.get_close_matches(word, known[:1000], cutoff=_ALIKE)
    return list(dict.fromkeys([*near, *known]))
