"""A flame graph as one SVG file: it opens in a browser without network, and zooms where it is clicked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from .units import one_line, percent, quantity

_WIDTH, _ROW, _HEAD = 1200, 17, 46  # pixels
_LEAST = 0.3  # pixels: a narrower frame could not be seen
_LETTER = 6.3  # pixels wide, on average
_MOST_DIGITS = 15  # of a number of microseconds: thirty years

# By what a frame is; light enough for black text, and apart in lightness for who sees no colour.
_STAGE, _PYTHON, _OPERATOR, _MODULE = "#B5B5B5", "#F3E08A", "#8FC7EA", "#F0B27A"


@dataclass
class Frame:
    """A node of the tree: its own microseconds and those of what it called."""

    name: str
    total: int = 0
    inside: dict[str, Frame] = field(default_factory=dict)


def tree(stacks: Mapping[tuple[str, ...], int]) -> Frame:
    """Folded stacks, outermost frame first, as a tree."""
    root = Frame("all")
    for stack, value in stacks.items():
        node = root
        node.total += value
        for name in stack:
            node = node.inside.setdefault(name, Frame(name))
            node.total += value
    return root


def read_folded(text: str) -> dict[tuple[str, ...], int]:
    """Stacks as `frame;frame;frame number` lines hold them; a line that does not is left out."""
    found: dict[tuple[str, ...], int] = {}
    for line in text.split(
        "\n"
    ):  # and at nothing else that Python takes for the end of a line: names may hold it
        frames, _, number = line.rpartition(" ")
        if frames and number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS:
            stack = tuple(frames.split(";"))
            found[stack] = found.get(stack, 0) + int(number)
    return found


def svg(root: Frame, title: str, note: str) -> str:
    """The graph: the outermost frames at the top, as wide as they took time."""
    rows = list(_rows(root, 0.0, 0)) if root.total else []
    depth = max((row for _, _, row, _ in rows), default=0) + 1
    height = _HEAD + _ROW * depth + 24
    title, note = one_line(title), one_line(note)
    boxes = "\n".join(_box(frame, x, row, parent, root.total) for frame, x, row, parent in rows)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="100%" \
font-family="DejaVu Sans, Verdana, sans-serif" font-size="11">
<title>{escape(title)}</title>
<rect width="100%" height="100%" fill="white"/>
<text x="8" y="18" font-size="14" font-weight="bold">{escape(title)}</text>
<text x="8" y="36" fill="#555">{escape(note)}</text>
<g id="frames">
{boxes}
</g>
<text id="said" x="8" y="{height - 8}" fill="#222"></text>
<script><![CDATA[{_SCRIPT}]]></script>
</svg>
"""


def _rows(root: Frame, x: float, row: int) -> Iterator[tuple[Frame, float, int, Frame]]:
    """Each frame that can be seen, with its left edge in pixels, its row, and what called it; the widest first."""
    waiting = [(root, x, row)]
    while waiting:
        parent, left, below = waiting.pop()
        for frame in sorted(parent.inside.values(), key=lambda one: -one.total):
            if frame.total / root.total * _WIDTH >= _LEAST:
                yield frame, left, below, parent
                waiting.append((frame, left, below + 1))
            left += frame.total / root.total * _WIDTH


def _box(frame: Frame, x: float, row: int, parent: Frame, whole: int) -> str:
    width = frame.total / whole * _WIDTH
    y = _HEAD + row * _ROW
    name = one_line(frame.name)  # XML has no control characters, not even spelled as &#27;
    label = name if len(name) * _LETTER < width - 6 else name[: int((width - 12) / _LETTER)] + "…"
    text = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(label)}</text>' if width > 4 * _LETTER else ""
    says = f"{name}: {quantity(frame.total / 1e6, 's')}, {percent(frame.total / whole)} of all"
    if parent.total != whole:
        says += f", {percent(frame.total / parent.total)} of {one_line(parent.name)}"
    return (
        f'<g data-x="{x:.2f}" data-w="{width:.2f}" data-n="{escape(name, {chr(34): "&quot;"})}">'
        f"<title>{escape(says)}</title>"
        f'<rect x="{x:.2f}" y="{y}" width="{max(0.2, width - 0.4):.2f}" height="{_ROW - 1}" rx="1" '
        f'fill="{_colour(name, row)}"/>{text}</g>'
    )


def _colour(name: str, row: int) -> str:
    """One colour for a kind of frame, a little lighter or darker by its name, so that neighbours part."""
    if row < 2:
        base = _STAGE
    elif name.startswith("nn.Module: "):
        base = _MODULE
    elif "::" in name or "#" in name:
        base = _OPERATOR
    else:
        base = _PYTHON
    shade = 0.9 + zlib.crc32(name.encode()) % 5 * 0.025
    return "#" + "".join(f"{round(int(base[place : place + 2], 16) * shade):02X}" for place in (1, 3, 5))


# A click on a frame widens it to the whole width, a click on an empty place goes back; the frame under the pointer
# is told at the foot.
_SCRIPT = """
const W = 1200, L = 6.3, groups = [...document.querySelectorAll('#frames g')], said = document.getElementById('said');
function show(x, w) {
  for (const g of groups) {
    const gx = +g.dataset.x, gw = +g.dataset.w, r = g.querySelector('rect');
    let a = (gx - x) / w * W, b = (gx + gw - x) / w * W;
    a = Math.max(0, a); b = Math.min(W, b);
    g.style.display = b - a > 0.3 ? '' : 'none';
    r.setAttribute('x', a); r.setAttribute('width', Math.max(0.2, b - a - 0.4));
    let t = g.querySelector('text');
    if (!t && b - a > 4 * L) {
      t = document.createElementNS('http://www.w3.org/2000/svg', 'text');
      t.setAttribute('y', +r.getAttribute('y') + 12); g.appendChild(t);
    }
    if (t) {
      const n = g.dataset.n, fits = Math.floor((b - a - 12) / L);
      t.setAttribute('x', a + 3);
      t.textContent = b - a <= 4 * L ? '' : n.length * L < b - a - 6 ? n : n.slice(0, fits) + '\\u2026';
    }
  }
}
document.documentElement.addEventListener('click', e => {
  const g = e.target.closest('#frames g');
  if (g) show(+g.dataset.x, +g.dataset.w); else show(0, W);
});
document.documentElement.addEventListener('mousemove', e => {
  const g = e.target.closest('#frames g');
  said.textContent = g ? g.querySelector('title').textContent : '';
});
"""
