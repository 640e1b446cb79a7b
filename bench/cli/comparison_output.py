"""Prints and writes a comparison: the terminal, files, and formats of CI servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from ..errors import UsageError
from ..report.comparison import ComparisonPage
from ..report.formats import github, junit, markdown, render
from ..report.terminal.comparison import table
from .options import VerdictOptions
from .screen import print_pages, print_remark


def print_page(page: ComparisonPage, options: VerdictOptions) -> None:
    """Prints the page in the format of --format."""
    if options.form == "table":
        print_pages(table(page, options.everything))
        return
    print(render(page, options.form), end="")
    if options.form == "csv":
        for note in page.remarks:
            print_remark(note)


def report_page(page: ComparisonPage, options: VerdictOptions) -> None:
    """Writes JUnit XML for --junit; on GitHub Actions annotations and the step summary."""
    if options.junit is not None:
        write(options.junit, junit.render(page), "--junit")
    _tell_github(github.workflow_commands(page), markdown.render(page), _log(options))


def report_usage_error(problem: UsageError, options: VerdictOptions) -> None:
    """Replaces the JUnit XML of an earlier comparison, which could be mistaken for this one's."""
    if options.junit is not None:
        write(options.junit, junit.error("usage", str(problem)), "--junit")


def report_not_comparable(message: str, options: VerdictOptions) -> None:
    """Reports to CI servers that two sides are not comparable."""
    if options.junit is not None:
        write(options.junit, junit.error("not_comparable", message), "--junit")
    annotation = github.annotation("error", "not comparable", message)
    _tell_github([annotation], markdown.error(message), _log(options))


def write_page(page: ComparisonPage, folder: Path) -> None:
    """Writes the page into a folder as JSON and Markdown."""
    write(folder / "comparison.json", render(page, "json"), "--out")
    write(folder / "comparison.md", markdown.render(page), "--out")


def on_actions() -> bool:
    """Whether this runs in a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _log(options: VerdictOptions) -> TextIO:
    """The stream for annotations: Actions reads both, so the one that no program parses."""
    return sys.stdout if options.form == "table" else sys.stderr


def _tell_github(annotations: Iterable[str], markdown: str, log: TextIO) -> None:
    if not on_actions():
        return
    for line in annotations:
        print(line, file=log)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(f"\n{markdown}\n")  # blank lines separate it from what other steps write there
        except OSError as problem:
            print_remark(f"the step summary {summary} cannot be written: {problem.strerror}")


def write(path: Path, text: str, flag: str) -> None:
    """Writes a file that an option names. Raises UsageError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"{flag} {path} cannot be written: {problem.strerror}; name another file") from None
