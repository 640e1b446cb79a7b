"""Pictures of a run, as SVG and PNG: layout only, every number comes from the tables.

The tables become pages (`pages`, worded by `labels`), a page becomes pictures (`batch_sizes`, `phases`,
`optimizers`, `data_wait`, `evaluation_modes`, `launches`, `quality`, `memory_timeline`, `largest`,
`autograd_graph`), and these are made of a `sheet`, `rows`, `lettering` and a `style`. Each suite and device has a
page of its own. Axes are open-ended, so no picture counts on one: what varies is spelled in its labels, and a
picture that there is no data for is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from ...errors import ResultsError
from ...results.tables import Tables
from ..comparison import ComparisonPage as ComparisonPage
from . import (
    autograd_graph,
    batch_sizes,
    data_wait,
    evaluation_modes,
    forest,
    launches,
    memory_timeline,
    optimizers,
    phases,
)
from . import batch_size_search as largest
from . import learning_curves as quality
from .pages import PlotPage, Shown, pages_of
from .sheet import save
from .style import own_settings

PICTURES: Mapping[str, Callable[[PlotPage], Figure | None]] = {
    "throughput": batch_sizes.throughput,
    "phases": phases.draw,
    "optimizers": optimizers.draw,
    "data_wait": data_wait.draw,
    "evaluation_modes": evaluation_modes.draw,
    "memory": batch_sizes.memory,
    "memory_timeline": memory_timeline.draw,
    "launches": launches.draw,
    "quality": quality.draw,
    "batch_search": largest.draw,
}

# Of each case of a profile.
OF_A_CASE: Mapping[str, Callable[[PlotPage, Shown], Figure | None]] = {
    "memory_timeline": memory_timeline.draw_case,
    "autograd_graph": autograd_graph.draw_case,
}


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Every picture that the tables have data for, as SVG and PNG in `folder`; returns their paths.

    Where there are several suites or devices, each has pictures of its own, named after both. Raises
    ResultsError where the files cannot be written.
    """
    pictures = (
        (f"{name}{page.suffix}", picture(page))
        for page in pages_of(tables)
        for name, picture in PICTURES.items()
    )
    return _saved(pictures, folder)


def draw_cases(tables: Tables, folder: Path, names: Mapping[str, str]) -> list[Path]:
    """The pictures that there is one of for each case, as `draw`; `names` has the file names of the cases."""
    pictures = (
        (f"{name}-{names[case.id]}", picture(page, case))
        for page in pages_of(tables)
        for case in page.cases
        for name, picture in OF_A_CASE.items()
    )
    return _saved(pictures, folder)


def draw_comparison(page: ComparisonPage, folder: Path) -> list[Path]:
    """The ratios of a comparison with their intervals, as `draw`."""
    title = f"{page.candidate} against {page.base}"
    return _saved([("comparison", forest.draw(page.rows, title, ""))], folder)


def _saved(pictures: Iterable[tuple[str, Figure | None]], folder: Path) -> list[Path]:
    paths: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with own_settings():
            for name, figure in pictures:
                if figure is not None:
                    paths += save(figure, folder, name)
    except OSError as problem:
        raise ResultsError(
            f"the pictures cannot be written to {folder}: {problem.strerror}; make room, or name another folder"
        ) from None
    return paths
