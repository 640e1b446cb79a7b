"""Flame graphs: files of speedscope that add up, whatever the frames are called."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.speedscope import read_folded, speedscope

STACKS = {
    ("train", "forward", "mine.py(3): forward", "aten::addmm"): 600_000,
    ("train", "forward", "mine.py(3): forward"): 100_000,
    ("train", "backward", "aten::mm"): 200_000,
    ("test", "forward"): 100_000,
}


def stacks_in(text: str) -> dict[tuple[str, ...], int]:
    """The stacks of a file of speedscope, by the rules of its schema."""
    file = json.loads(text)
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    (profile,) = file["profiles"]
    assert (profile["type"], profile["unit"], profile["startValue"]) == ("sampled", "microseconds", 0)
    assert profile["endValue"] == sum(profile["weights"])
    names = [frame["name"] for frame in file["shared"]["frames"]]
    assert len(set(names)) == len(names)
    stacks = (tuple(names[number] for number in sample) for sample in profile["samples"])
    return dict(zip(stacks, profile["weights"], strict=True))


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
    def test_that_are_damaged_are_ignored(self, line):
        assert read_folded(f"x;y 1\n{line}\nx;z 2\n") == {("x", "y"): 1, ("x", "z"): 2}


class TestAFile:
    def test_has_every_stack_with_its_time(self):
        assert stacks_in(speedscope(STACKS, "a case")) == STACKS

    def test_is_named_after_its_case(self):
        file = json.loads(speedscope(STACKS, 'mine & "yours"'))
        assert file["name"] == file["profiles"][0]["name"] == 'mine & "yours"'

    def test_of_nothing_is_empty(self):
        assert stacks_in(speedscope({}, "")) == {}

    @given(st.text())
    def test_may_be_of_any_text(self, text):
        stacks = read_folded(text)
        assert stacks_in(speedscope(stacks, text)) == stacks
