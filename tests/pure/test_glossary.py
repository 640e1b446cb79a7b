"""docs/glossary.md has an entry for every name that a user meets, and private words stay out of what users read."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench
from bench import cli
from bench.analysis.caveats import CAVEATS
from bench.analysis.compare.policy import ACTIONS
from bench.analysis.launch.contamination import contamination
from bench.measurement import METRICS, PHASES, STAGES, record
from bench.report.comparison import VERDICTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")

ENTRIES = [line.split(": ")[0] for line in PAGE.splitlines() if line.startswith("**")]
TERMS = [term for entry in ENTRIES for term in re.findall(r"\*\*(.+?)\*\*", entry)]

LAUNCH_KINDS = ("TIMED", "PHASED", "COUNTED", "PROFILED", "STACKED", "SEARCHED")
EXIT_CODES = (0, 1, 2, 3, 4, 5, 70, 130, 143)


class Disturbed(dict):
    """Guards of a launch that everything disturbed."""

    def get(self, name, default=None):
        return 1.0 if name in ("wall", "processors") else 1e9


NAMES = {
    "verdicts": VERDICTS,
    "failures": record.FAILURES,
    "caveats": CAVEATS,
    "signs of contamination": contamination(SimpleNamespace(guards=Disturbed())),
    "groups of metrics": sorted({name.split(".")[0] for name in METRICS}),
    "classes of metrics": sorted({metric.kind for metric in METRICS.values()}),
    "policies": ACTIONS,
    "kinds of launches": [getattr(record, name) for name in LAUNCH_KINDS],
    "stages": STAGES,
    "phases": PHASES,
    "exit codes": [f"exit {code}" for code in EXIT_CODES],
    "the front door": bench.__all__,
}


@pytest.mark.parametrize("names", NAMES)
def test_every_name_has_an_entry(names):
    assert len(NAMES[names]) > 2
    assert {name.lower() for name in NAMES[names]} - {term.lower() for term in TERMS} == set()


def test_the_entries_are_sorted_and_none_is_there_twice():
    first = [re.findall(r"\*\*(.+?)\*\*", entry)[0].lower() for entry in ENTRIES]
    words = [re.findall(r"\d+|[a-z]+", term) for term in first]
    order = [[(int(word), "") if word.isdigit() else (-1, word) for word in term] for term in words]
    assert order == sorted(order)
    assert len(set(TERMS)) == len(TERMS)


def test_the_exit_codes_are_those_of_the_commands_page():
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    rows = re.findall(r"^\| ([\d, ]+) \|", page, re.M)
    assert tuple(int(code) for row in rows for code in row.split(", ")) == EXIT_CODES
    assert {cli.USAGE, cli.FAULT, cli.INTERRUPTED} <= set(EXIT_CODES)


# -- private words --

# Words that meant something in this project alone, or were used in a sense of its own. They stay out of the pages ...
PRIVATE = (
    r"nurser(y|ies)",
    r"mend(s|ed|ing)?",
    r"reveals?",
    r"wish(es)?",
    r"waists?",
    r"unheard",
    r"told apart",
    r"left behind",
    r"(made|make|makes|begun|fetched) anew",
    r"(gone|goes|go|going) on with",
    r"(?<!there )(is|are) none",
    r"are what they say",
    r"(the|a) house",
    r"rooms?",
)
# ... and, as far as they are gone there already, out of docstrings and messages of the package.
PRIVATE_IN_CODE = (
    r"mend(s|ed|ing)?",
    r"wish(es)?",
    r"waists?",
    r"unheard",
    r"told apart",
    r"left behind",
    r"(made|make|makes|begun|fetched) anew",
    r"(gone|goes|go|going) on with",
    r"are what they say",
    r"(the|a) house",
)


def private_words(text: str, words: tuple[str, ...] = PRIVATE) -> list[str]:
    pattern = rf"\b({'|'.join(words)})\b"
    return [match[0] for match in re.finditer(pattern, " ".join(text.split()), re.IGNORECASE)]


def prose(page: str) -> str:
    """A page without its code, which may show a heading as it is printed."""
    return re.sub(r"```.*?```|`[^`]*`|^    [^\n]*", " ", page, flags=re.DOTALL | re.MULTILINE)


PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_no_private_words(page):
    assert private_words(prose(page.read_text(encoding="utf-8"))) == []


def test_help_has_no_private_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    assert cli.exit_code(["--help"]) == 0
    verbs = re.findall(r"^│ (\w+)  ", capsys.readouterr().out, re.M)
    assert {"run", "ab", "baseline"} < set(verbs)
    for verb in verbs:
        assert cli.exit_code([verb, "--help"]) == 0
        assert private_words(capsys.readouterr().out) == [], verb


def sentences(source: str) -> list[str]:
    """Docstrings and messages: every text of more than one word."""
    nodes = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return [text for text in nodes if isinstance(text, str) and " " in text]


def test_docstrings_and_messages_have_no_private_words():
    found = {
        (path.relative_to(ROOT).as_posix(), word)
        for path in (ROOT / "bench").rglob("*.py")
        for text in sentences(path.read_text(encoding="utf-8"))
        for word in private_words(text, PRIVATE_IN_CODE)
    }
    assert found == set()


def test_a_private_word_is_found():
    assert private_words(prose("what you can mend, and `reveals from` in code")) == ["mend"]
    assert sentences('def f():\n    """A nursery of launches."""\n    return "nursery"') == [
        "A nursery of launches."
    ]
