"""Flame graphs as files of https://www.speedscope.app, which also opens without network after `npm i -g speedscope`."""

from __future__ import annotations

from collections.abc import Mapping

from ..system.json_data import json_line

_MOST_DIGITS = 15  # of a number of microseconds: thirty years


def read_folded(text: str) -> dict[tuple[str, ...], int]:
    """Microseconds by stack from lines `frame;frame;frame number`; lines that are damaged are ignored."""
    stacks: dict[tuple[str, ...], int] = {}
    for line in text.split("\n"):  # not splitlines: names may contain other line separators
        frames, _, number = line.rpartition(" ")
        if frames and number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS:
            stack = tuple(frames.split(";"))
            stacks[stack] = stacks.get(stack, 0) + int(number)
    return stacks


def speedscope(stacks: Mapping[tuple[str, ...], int], name: str) -> str:
    """The stacks, outermost frame first, as a sampled profile of speedscope's file format."""
    frames = {
        frame: number for number, frame in enumerate(dict.fromkeys(f for stack in stacks for f in stack))
    }
    profile = {
        "type": "sampled",
        "name": name,
        "unit": "microseconds",
        "startValue": 0,
        "endValue": sum(stacks.values()),
        "samples": [[frames[frame] for frame in stack] for stack in stacks],
        "weights": list(stacks.values()),
    }
    file = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": name,
        "exporter": "Epochbench",
        "shared": {"frames": [{"name": frame} for frame in frames]},
        "profiles": [profile],
    }
    return json_line(file)
