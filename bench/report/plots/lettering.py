"""Text in a picture: how much room it takes, how it is made to fit, and how it is set beside a mark."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from .style import QUIET, SMALL, TEXT, Look

_DARK = ("#0072B2", "#555555", "#000000")  # these take white text


def inches(line: str, size: float = TEXT) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(line, FontProperties(size=size), ismath=False)
    return width / 72


def fit(text: str, room: float, size: float = TEXT) -> str:
    """One printable line that takes no more inches than this; the middle goes, since ends tell apart."""
    text = text if len(text) < 1000 else f"{text[:500]}{text[-500:]}"  # measuring takes its time
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split())
    keep = len(line)
    short = line
    while keep > 2 and (taken := inches(short, size)) > room:
        keep = min(keep - 1, int(keep * room / taken) + 1)
        short = f"{line[: (keep + 1) // 2]}…{line[len(line) - keep // 2 :]}"
    return short


def signed(percent: float, decimals: int = 0) -> str:
    return f"{percent:+.{decimals}f} %".replace("-", "\N{MINUS SIGN}")


def write_inside(axes: Axes, x: float, y: float, words: str, look: Look) -> None:
    """In the middle of a bar; a hatch is covered where the words stand."""
    behind = {"facecolor": look.colour, "linewidth": 0, "pad": 0.8} if look.hatch else None
    colour = "white" if look.colour in _DARK else "black"
    axes.text(x, y, words, ha="center", va="center_baseline", size=SMALL, color=colour, bbox=behind)


def write_after(axes: Axes, x: float, y: float, words: str, left: bool = False) -> None:
    """Beside the end of a mark, where there is no mark any more."""
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
