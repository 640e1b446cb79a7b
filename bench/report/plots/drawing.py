"""The list of pictures; draws and saves them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from ...errors import ResultsError
from ...results.tables import Tables
from ..comparison import ComparisonPage
from . import (
    autograd_graph,
    batch_size_search,
    batch_sizes,
    data_wait,
    evaluation_modes,
    forest,
    launches,
    learning_curves,
    memory_timeline,
    optimizers,
    phases,
)
from .pages import PlotCase, PlotPage, pages_of
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
    "quality": learning_curves.draw,
    "batch_search": batch_size_search.draw,
}

CASE_PICTURES: Mapping[str, Callable[[PlotPage, PlotCase], Figure | None]] = {
    "memory_timeline": memory_timeline.draw_case,
    "autograd_graph": autograd_graph.draw_case,
}


def draw(tables: Tables, folder: Path) -> list[Path]:
    """See `plots.draw`."""
    pictures = (
        (f"{name}{page.suffix}", partial(picture, page))
        for page in pages_of(tables)
        for name, picture in PICTURES.items()
    )
    return _saved(pictures, folder)


def draw_cases(tables: Tables, folder: Path, names: Mapping[str, str]) -> list[Path]:
    """See `plots.draw_cases`."""
    pictures = (
        (f"{name}-{names[case.id]}", partial(picture, page, case))
        for page in pages_of(tables)
        for case in page.cases
        for name, picture in CASE_PICTURES.items()
    )
    return _saved(pictures, folder)


def draw_comparison(page: ComparisonPage, folder: Path) -> list[Path]:
    """See `plots.draw_comparison`."""
    title = f"{page.candidate} against {page.base}"
    return _saved([("comparison", partial(forest.draw, page.rows, title))], folder)


def _saved(pictures: Iterable[tuple[str, Callable[[], Figure | None]]], folder: Path) -> list[Path]:
    paths: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with own_settings():
            for name, draw_picture in pictures:
                if (figure := draw_picture()) is not None:
                    paths += save(figure, folder, name)
    except OSError as problem:
        raise ResultsError(
            f"the pictures cannot be written to {folder}: {problem.strerror}; free some space, or name another folder"
        ) from None
    return paths
