"""Pictures of a run, as SVG and PNG: layout only, every number comes from the tables.

The tables become pages (`pages`, worded by `labels`), a page becomes pictures (`batch_sizes`, `phases`,
`evaluation_modes`, `launches`), and these are made of a `sheet`, `rows`, `lettering` and a `style`. Each
suite and device has a page of its own. Axes are open-ended, so no picture counts on one: what varies is
spelled in its labels, and a picture that there is no data for is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bench.errors import ResultsError
from bench.report.plots import batch_sizes, evaluation_modes, launches, phases
from bench.report.plots.pages import Page, pages_of
from bench.report.plots.sheet import save
from bench.report.plots.style import own_settings
from bench.results.tables import Tables

PICTURES: Mapping[str, Callable[[Page], Figure | None]] = {
    "throughput": batch_sizes.throughput,
    "phases": phases.draw,
    "evaluation_modes": evaluation_modes.draw,
    "memory": batch_sizes.memory,
    "launches": launches.draw,
}


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Every picture that the tables have data for, as SVG and PNG in `folder`; returns their paths.

    Where there are several suites or devices, each has pictures of its own, named after both. Raises
    ResultsError where the files cannot be written.
    """
    paths: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with own_settings():
            for page in pages_of(tables):
                for name, picture in PICTURES.items():
                    figure = picture(page)
                    if figure is not None:
                        paths += save(figure, folder, f"{name}{page.suffix}")
    except OSError as problem:
        raise ResultsError(f"the pictures cannot be written to {folder}: {problem.strerror}") from None
    return paths
