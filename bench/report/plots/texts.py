"""Text in a picture: how wide it is, how it is shortened to fit, and how it is set beside a mark."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from .style import QUIET, SMALL, TEXT, Look

_DARK = ("#0072B2", "#555555", "#000000")  # on which text is white


def inches(line: str, size: float = TEXT) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(line, FontProperties(size=size), ismath=False)
    return width / 72


def fit(text: str, width: float, size: float = TEXT) -> str:
    """One printable line of at most so many inches; the middle is cut, since names differ at their ends."""
    text = text if len(text) < 1000 else f"{text[:500]}{text[-500:]}"  # measuring is slow
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split())
    keep = len(line)
    short = line
    while keep > 2 and (taken := inches(short, size)) > width:
        keep = min(keep - 1, int(keep * width / taken) + 1)
        short = f"{line[: (keep + 1) // 2]}…{line[len(line) - keep // 2 :]}"
    return short


def signed(percent: float, decimals: int = 0) -> str:
    return f"{percent:+.{decimals}f} %".replace("-", "\N{MINUS SIGN}")


def write_inside(axes: Axes, x: float, y: float, words: str, look: Look) -> None:
    """In the middle of a bar, over its hatch."""
    behind = {"facecolor": look.colour, "linewidth": 0, "pad": 0.8} if look.hatch else None
    colour = "white" if look.colour in _DARK else "black"
    axes.text(x, y, words, ha="center", va="center_baseline", size=SMALL, color=colour, bbox=behind)


def write_after(axes: Axes, x: float, y: float, words: str, left: bool = False) -> None:
    """Beside the end of a mark."""
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
    """To the right of the axes, at this height."""
    at = axes.get_yaxis_transform()
    axes.text(1.01, y, words, transform=at, va="center", size=SMALL, color=QUIET)
