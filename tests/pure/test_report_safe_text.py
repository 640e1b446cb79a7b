"""Text and JSON as a terminal or a CI server may have them."""

from __future__ import annotations

import json
import math

import pytest

from bench.report.safe_text import one_line, plain, plain_json


def test_text_of_the_users_code_is_one_line_without_control_characters():
    assert (
        one_line("no such\n\tfile \x1b[31mred\x1b[0m\r\x07 é 数")
        == "no such file \\x1b[31mred\\x1b[0m \\x07 é 数"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("::error::no", ": :error::no"),
        (" \n::error::no", ": :error::no"),
        ("test_sums.py::test_sum", "test_sums.py::test_sum"),
        ("a ##[error]no", "a # #[error]no"),
        ("\x1b[31mred", "\\x1b[31mred"),
    ],
)
def test_only_what_a_server_would_obey_is_written_otherwise(text, said):
    assert plain(text) == said


@pytest.mark.parametrize("text", ["##[error]", "::x\n::y", "<b>&amp;", "é \U0001f600"])
def test_json_for_programs_holds_no_command_and_says_the_same(text):
    written = plain_json({text: [text, 1.5]})
    assert not set("<>&#") & set(written)
    assert not any(line.lstrip().startswith("::") for line in written.splitlines())
    assert json.loads(written) == {text: [text, 1.5]}


def test_json_for_programs_has_only_what_all_of_them_read():
    written = plain_json({"x": [math.nan, -math.inf, "half \ud800 a letter"]})
    assert json.loads(written, parse_constant=pytest.fail) == {"x": [None, None, "half \ufffd a letter"]}
