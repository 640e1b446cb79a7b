"""The style of all pictures: colours, markers, dashes and hatches; width, shortening and placement of text."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import matplotlib
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

TEXT, TITLE, SMALL = 9.0, 9.5, 7.5  # points

INK, QUIET, FAINT = "#222222", "#666666", "#E2E2E2"

# Okabe and Ito's colours, safe for colour-blind readers, without their yellow, which is too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "os^DvPX*"  # one more than there are colours, so that pairs repeat only after 56
_Dash: TypeAlias = Literal["-", "--", "-.", ":", ""]
_DASHES: tuple[_Dash, ...] = ("-", "--", "-.", ":")
_HATCHES = ("", "////", "----", "xxxx")

SETTINGS: dict[Any, Any] = {
    "font.size": TEXT,
    "text.parse_math": False,  # a '$' in the value of an axis is no formula
    "axes.titlesize": TITLE,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.6,
    "lines.markersize": 5.0,
    "errorbar.capsize": 2.5,
    "svg.fonttype": "none",  # text stays text: it can be searched, and the file is small
    "svg.hashsalt": "epochbench",  # the same tables give the same file
    "savefig.dpi": 150,
}

_DARK = ("#0072B2", "#555555", "#000000")  # text on these is white


@dataclass(frozen=True)
class Look:
    """Styles that do not rely on colour: lines differ in marker and dash too, bars in hatch."""

    colour: str
    hatch: str = ""
    marker: str = "o"
    dash: _Dash = "-"

    @classmethod
    def number(cls, number: int) -> Look:
        return cls(
            COLOURS[number % len(COLOURS)],
            _HATCHES[number % len(_HATCHES)],
            _MARKERS[number % len(_MARKERS)],
            _DASHES[number % len(_DASHES)],
        )

    @property
    def filled(self) -> dict[str, Any]:
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": INK, "linewidth": 0.4}

    def bar(self) -> Patch:
        """The entry in a legend of bars."""
        return Patch(**self.filled)

    @property
    def curve(self) -> dict[str, Any]:
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dash}

    def line(self) -> Line2D:
        """The entry in a legend of lines."""
        return Line2D([], [], **self.curve)


@contextmanager
def own_settings() -> Iterator[None]:
    """A context with exactly these SETTINGS, independent of the user's matplotlibrc."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        # A character that the font lacks is a box in the PNG; the SVG has the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def inches(line: str, size: float = TEXT) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(line, FontProperties(size=size), ismath=False)
    return width / 72


def fit(text: str, width: float, size: float = TEXT) -> str:
    """One printable line of at most this width in inches; the middle is cut, since names differ at their ends."""
    text = text if len(text) < 1000 else f"{text[:500]}{text[-500:]}"  # measuring is slow
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split())
    keep = len(line)
    short = line
    while keep > 2 and (taken := inches(short, size)) > width:
        keep = min(keep - 1, int(keep * width / taken) + 1)
        short = f"{line[: (keep + 1) // 2]}…{line[len(line) - keep // 2 :]}"
    return short


def signed_percent(percent: float, decimals: int = 0) -> str:
    return f"{percent:+.{decimals}f} %".replace("-", "\N{MINUS SIGN}")


def write_inside(axes: Axes, x: float, y: float, words: str, look: Look) -> None:
    """Writes a text in the middle of a bar, over its hatch."""
    behind = {"facecolor": look.colour, "linewidth": 0, "pad": 0.8} if look.hatch else None
    colour = "white" if look.colour in _DARK else "black"
    axes.text(x, y, words, ha="center", va="center_baseline", size=SMALL, color=colour, bbox=behind)


def write_after(axes: Axes, x: float, y: float, words: str, left: bool = False) -> None:
    """Writes a text next to the end of a mark."""
    axes.annotate(
        words,
        (x, y),
        xytext=(-5 if left else 5, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center_baseline",
        size=SMALL,
        color=QUIET,
    )


def write_at_edge(axes: Axes, y: float, words: str) -> None:
    """Writes a text to the right of the axes, at this height."""
    at = axes.get_yaxis_transform()
    axes.text(1.01, y, words, transform=at, va="center", size=SMALL, color=QUIET)
