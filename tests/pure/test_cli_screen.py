"""How wide a page is: what COLUMNS says, else the terminal, else what is documented."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest
from rich.text import Text

from bench.cli.screen import WITHOUT_TERMINAL, print_line, print_pages, width

COMMANDS = Path(__file__).parents[2] / "docs" / "commands.md"


class Terminal(io.StringIO):
    def fileno(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("said", "wide"), [("80", 80), ("", 132), ("0", 132), ("-5", 132), ("wide", 132), ("²", 132)]
)
def test_columns_is_obeyed_where_it_is_a_number(monkeypatch, said, wide):
    monkeypatch.setenv("COLUMNS", said)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((132, 40)))
    assert width(Terminal()) == wide


def test_a_pipe_has_the_width_of_columns_or_the_one_that_is_documented(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    words = "word " * 100
    print_pages([Text(words)])
    assert max(map(len, capsys.readouterr().out.splitlines())) in range(
        WITHOUT_TERMINAL - 5, WITHOUT_TERMINAL + 1
    )
    monkeypatch.setenv("COLUMNS", "60")
    print_pages([Text(words)])
    assert max(map(len, capsys.readouterr().out.splitlines())) in range(55, 61)


def test_a_terminal_that_does_not_know_its_size_is_as_wide_as_a_pipe(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    assert width(Terminal()) == WITHOUT_TERMINAL


def test_the_width_without_a_terminal_is_documented():
    said = " ".join(COMMANDS.read_text(encoding="utf-8").split())
    assert re.search(rf"COLUMNS.{{0,80}}{WITHOUT_TERMINAL}", said)


class TestLines:
    LINE = "after 12 pairs: s/device=cpu/width=8: train.step_time regressed, 1.052 (1.031 to 1.074)"

    def test_a_log_has_it_whole(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "40")
        log = io.StringIO()
        print_line(self.LINE, log)
        assert log.getvalue() == f"{self.LINE}\n"

    def test_a_terminal_has_it_folded_between_its_words(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "40")
        screen = Terminal()
        monkeypatch.setattr(screen, "isatty", lambda: True)
        print_line(self.LINE, screen)
        lines = screen.getvalue().splitlines()
        assert " ".join(" ".join(lines).split()) == self.LINE
        assert max(map(len, lines)) <= 40
        assert all(line.startswith("  ") for line in lines[1:])
