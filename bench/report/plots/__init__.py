"""Pictures of a run, as SVG and PNG; every number comes from the tables.

The tables become `pages`, one for each suite and device. A page becomes pictures, each of which has a module; they
share `sheet` and `style`. Suites have different axes, so no picture relies on a certain one: axes that vary are in its
labels, and a picture without data is not drawn.

matplotlib is imported by the first call: a command that ends with a usage error needs none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...results.tables import Tables
from ..comparison import ComparisonPage


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Every picture that the tables have data for, as SVG and PNG in `folder`; returns their paths.

    If there are several suites or devices, each has its own pictures, named after both. Raises ResultsError if the
    files cannot be written.
    """
    from . import drawing

    return drawing.draw(tables, folder)


def draw_cases(tables: Tables, folder: Path, names: Mapping[str, str]) -> list[Path]:
    """The pictures of each case, as `draw`; `names` has the file names of the cases."""
    from . import drawing

    return drawing.draw_cases(tables, folder, names)


def draw_comparison(page: ComparisonPage, folder: Path) -> list[Path]:
    """The ratios of a comparison with their intervals, as `draw`."""
    from . import drawing

    return drawing.draw_comparison(page, folder)
