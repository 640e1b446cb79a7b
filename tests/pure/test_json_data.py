"""JSON in and out: records come back as they were, and whatever else JSON holds is refused."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.suite.case import Case
from bench.system.json_data import (
    JsonRecord,
    finite,
    from_json,
    json_line,
    json_object,
    json_text,
    quoted,
    to_json,
    write_json,
)


@dataclass(frozen=True)
class Part(JsonRecord):
    name: str
    size: int = 0


@dataclass(frozen=True)
class Other(JsonRecord):
    name: str


@dataclass(frozen=True)
class Whole(JsonRecord):
    parts: tuple[Part, ...]
    place: Path
    case: Case
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    limit: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


WHOLE = Whole(
    (Part("a", 1), Part("b")), Path("x/y"), Case("s", {"width": 8}), {"v": (1.0, 2)}, None, {"deep": [1]}
)


def test_a_record_comes_back_as_it_was():
    assert Whole.from_json(json.loads(json_line(WHOLE))) == WHOLE
    assert to_json([WHOLE]) == [WHOLE.to_json()]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"parts": "ab"}, "'parts' of a Whole is not of its type"),
        ({"parts": [{"name": 1}]}, "'name' of a Part is not of its type"),
        ({"parts": [{"name": "a", "colour": 1}]}, "'colour' is not a field of a Part"),
        ({"parts": [7]}, "int in place of a Part"),
        ({"place": None}, "'place' of a Whole is not of its type"),
        ({"values": {"v": [True]}}, "'values' of a Whole is not of its type"),
        ({"values": {"v": [2**63]}}, "'values' of a Whole is not of its type"),
        ({"values": {"\ud800": []}}, "'values' of a Whole is not of its type"),
        ({"limit": "1"}, "'limit' of a Whole is not of its type"),
        ({"facts": {"deep": [[[[[[[[1]]]]]]]]}}, "'facts' of a Whole is not of its type"),
    ],
)
def test_anything_else_is_refused_with_the_field(change, why):
    with pytest.raises(ValueError, match=why):
        Whole.from_json({**WHOLE.to_json(), **change})


def test_a_field_that_is_missing_is_refused():
    with pytest.raises(TypeError, match="'name'"):
        Part.from_json({})


def test_a_record_that_was_already_read_is_taken_as_it_is():
    @dataclass(frozen=True)
    class Sent:
        content: Part | Other

    Sent.__annotations__["content"] = Part | Other
    assert from_json(Sent, {"content": Other("b")}) == Sent(Other("b"))


def test_what_is_not_a_finite_number_is_null_for_other_programs():
    data = {"a": [math.nan, 1.5, {"b": -math.inf}], "c": True, "d": 10**30}
    assert finite(data) == {"a": [None, 1.5, {"b": None}], "c": True, "d": 10**30}


@pytest.mark.parametrize("text", ["", "x", "[]", "1", '{"a": 1', '{"a": ' + "[" * 100_000, b"\xff"])
def test_a_line_that_is_no_object_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011
        json_object(text)


def test_an_object_comes_back_from_its_line():
    assert json_object(json_line({"a": [1, Path("é")]})) == {"a": [1, "é"]}


@pytest.mark.parametrize("text", ["", "a", 'say "a\\b"', "two\nlines", "é \U0001f600"])
def test_quotes_are_those_of_json_and_of_toml(text):
    assert json.loads(quoted(text)) == text
    assert tomllib.loads(f"text = {quoted(text)}") == {"text": text}


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    place = tmp_path / "plan.json"
    write_json(place, WHOLE)
    assert place.read_text() == json_text(WHOLE) + "\n"
    with pytest.raises(OSError, match="No such file"):
        write_json(tmp_path / "missing" / "plan.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
