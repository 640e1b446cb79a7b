"""Flame graphs: pictures that are well-formed and add up, whatever the frames are called."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.flame_graph import read_folded, svg, tree

SVG = "{http://www.w3.org/2000/svg}"

STACKS = {
    ("train", "forward", "mine.py(3): forward", "aten::addmm"): 600_000,
    ("train", "forward", "mine.py(3): forward"): 100_000,
    ("train", "backward", "aten::mm"): 200_000,
    ("test", "forward"): 100_000,
}


def drawn(stacks, title: str = "Flame graph", note: str = "a note") -> ET.Element:
    """The picture as an XML parser reads it: well-formed, or the test fails."""
    return ET.fromstring(svg(tree(stacks), title, note).encode())


def frames(root: ET.Element) -> list[ET.Element]:
    return root.findall(f"{SVG}g/{SVG}g")


def tooltips(root: ET.Element) -> list[str]:
    return [frame.findtext(f"{SVG}title") for frame in frames(root)]


def spans(root: ET.Element) -> list[tuple[int, float, float]]:
    """Row, left and right edge of each frame, in pixels."""
    found = []
    for frame in frames(root):
        left, wide = float(frame.get("data-x")), float(frame.get("data-w"))
        found.append((int(frame.find(f"{SVG}rect").get("y")), left, left + wide))
    return found


def assert_frames_lie_in_their_parents(root: ET.Element) -> None:
    """Every frame lies within one of the row above, and none over its neighbour: but for the last digit."""
    rows: dict[int, list[tuple[float, float]]] = {}
    for row, left, right in spans(root):
        rows.setdefault(row, []).append((left, right))
    above = [(0.0, 1200.0)]
    for _, those in sorted(rows.items()):
        those.sort()
        for left, right in those:
            assert any(start - 0.02 <= left and right <= end + 0.02 for start, end in above)
        for (_, right), (left, _) in pairwise(those):
            assert right <= left + 0.02
        above = those


class TestTheTree:
    def test_adds_up_what_is_inside_a_frame(self):
        root = tree(STACKS)
        assert root.total == 1_000_000
        assert root.inside["train"].total == 900_000
        forward = root.inside["train"].inside["forward"].inside["mine.py(3): forward"]
        assert (forward.total, forward.inside["aten::addmm"].total) == (700_000, 600_000)

    def test_of_nothing_is_empty(self):
        assert (tree({}).total, tree({}).inside) == (0, {})


class TestFoldedStacks:
    def test_are_read_as_they_were_written(self):
        text = "".join(f"{';'.join(stack)} {value}\n" for stack, value in STACKS.items())
        assert read_folded(text) == STACKS

    def test_of_the_same_frames_are_added_up(self):
        assert read_folded("a;b 1\na;b 2\n") == {("a", "b"): 3}

    def test_may_hold_spaces_and_what_python_takes_for_the_end_of_a_line(self):
        assert read_folded("a b;c\u2028d\x0ce 7\n") == {("a b", "c\u2028d\x0ce"): 7}

    @pytest.mark.parametrize(
        "line",
        [
            *("", " ", "a", "a;b", "7", " 7", "a;b ", "a -1", "a 1.5", "a 1e3", "a nan", "a 0x1", "a 1 x"),
            *("a \u00b2", "a \u0663", "a " + "9" * 5000, "a " + "9" * 400, "\0", "a;b;c 1_0"),
        ],
    )
    def test_that_are_damaged_are_left_out(self, line):
        assert read_folded(f"x;y 1\n{line}\nx;z 2\n") == {("x", "y"): 1, ("x", "z"): 2}

    @given(st.text())
    def test_may_be_any_text(self, text):
        drawn(read_folded(text))


class TestAPicture:
    def test_has_a_frame_for_each_of_the_tree(self):
        names = [frame.get("data-n") for frame in frames(drawn(STACKS))]
        assert sorted(names) == sorted(
            [
                "train",
                "test",
                "forward",
                "forward",
                "backward",
                "mine.py(3): forward",
                "aten::addmm",
                "aten::mm",
            ]
        )

    def test_tells_time_and_share_under_the_pointer(self):
        there = tooltips(drawn(STACKS))
        assert "train: 900 ms, 90 % of all" in there
        assert "aten::addmm: 600 ms, 60 % of all, 86 % of mine.py(3): forward" in there

    def test_is_as_wide_as_frames_took_time(self):
        wide = {frame.get("data-n"): float(frame.get("data-w")) for frame in frames(drawn(STACKS))}
        assert (wide["train"], wide["test"], wide["aten::addmm"]) == (1080, 120, 720)
        assert_frames_lie_in_their_parents(drawn(STACKS))

    def test_says_its_title_and_note(self):
        root = drawn(STACKS, "Mine & yours", "click <here>")
        texts = [text.text for text in root.findall(f"{SVG}text")]
        assert texts[:2] == ["Mine & yours", "click <here>"]
        assert root.findtext(f"{SVG}title") == "Mine & yours"

    def test_gives_each_row_its_place_and_room(self):
        root = drawn(STACKS)
        height = float(root.get("viewBox").split()[3])
        assert {row for row, _, _ in spans(root)} == {46, 63, 80, 97}
        assert height >= 97 + 17

    def test_writes_only_what_fits_in_a_frame(self):
        root = drawn({("a" * 5000,): 10, ("b" * 500, "c"): 90})
        for frame in frames(root):
            label = frame.findtext(f"{SVG}text")
            assert label is None or len(label) * 6.3 <= float(frame.get("data-w"))

    def test_leaves_out_what_cannot_be_seen(self):
        assert len(frames(drawn({("wide",): 1_000_000, ("narrow",): 1}))) == 1

    @pytest.mark.parametrize("stacks", [{}, {("a",): 0}, {(): 7}], ids=["none", "no time", "no frame"])
    def test_of_nothing_is_an_empty_picture(self, stacks):
        root = drawn(stacks)
        assert frames(root) == []
        assert float(root.get("viewBox").split()[3]) > 0

    def test_may_be_deeper_than_python_goes(self):
        assert len(frames(drawn({tuple(f"f{n}" for n in range(3000)): 5}))) == 3000

    def test_refers_to_nothing_outside(self):
        text = svg(tree(STACKS), "t", "n")
        assert set(re.findall(r"\w+://[^\s\"']*", text)) == {"http://www.w3.org/2000/svg"}
        assert not re.search(r"href|url\(|@import|<image|<use|\bsrc\b|fetch|import\(", text)

    def test_is_the_same_for_the_same_stacks(self):
        assert svg(tree(STACKS), "t", "n") == svg(tree(dict(STACKS)), "t", "n")

    def test_colours_the_kinds_of_frames_apart(self):
        stack = ("train", "forward", "mine.py(3): forward", "nn.Module: Linear_0", "aten::addmm")
        fills = [f.find(f"{SVG}rect").get("fill") for f in frames(drawn({stack: 1000}))]
        assert all(re.fullmatch("#[0-9A-F]{6}", fill) for fill in fills)
        assert len(set(fills[1:])) == 4


HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an end of CDATA": "]]></script><rect/>",
    "an ampersand": "a & b &amp; &lt; &#27; &nope;",
    "quotes": '" onclick="alert(1)" \'',
    "controls": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "no characters": "\ufffe\uffff\U0001fffe",
    "half a character": "\ud800",
    "from the right": "\u202egpj",
    "other lines": "a\u2028b\x85c",
    "empty": "",
    "a comment": "<!-- -->",
    "wide": "漢" * 300,
}


class TestHostileNames:
    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
    def test_are_text_in_a_well_formed_picture(self, name):
        root = drawn({(name, "a"): 50, (name, name, name): 50}, name, name)
        assert len(frames(root)) == 4
        assert len(root.findall(f".//{SVG}script")) == 1
        assert {child.tag for child in root.iter()} <= {
            f"{SVG}{tag}" for tag in ("svg", "title", "rect", "text", "g", "script")
        }
        assert not any(attribute.startswith("on") for child in root.iter() for attribute in child.attrib)
        assert all(text.isprintable() for text in tooltips(root))

    def test_that_are_plain_stay_as_they_are(self):
        assert [f.get("data-n") for f in frames(drawn({('<a href="x">&</a>',): 1}))] == ['<a href="x">&</a>']

    @given(
        st.dictionaries(
            st.lists(st.text(max_size=4), max_size=5).map(tuple), st.integers(0, 10**15), max_size=12
        )
    )
    def test_and_any_times_make_frames_within_their_parents(self, stacks):
        assert_frames_lie_in_their_parents(drawn(stacks))
