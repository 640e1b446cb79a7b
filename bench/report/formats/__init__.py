"""A comparison in the formats of programs and of CI servers: one module per format.

Names of cases, refs and messages are texts of users: each format escapes them in its own way. A new value of `--format`
is a module with a function `render`, and its name in FORMATS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..comparison import ComparisonPage

FORMATS = ("markdown", "csv", "json")


def render(page: ComparisonPage, name: str) -> str:
    """The page in one of FORMATS, whose module is imported here: `bench --help` needs none of them."""
    text: str = import_module(f".{name}", __name__).render(page)
    return text
