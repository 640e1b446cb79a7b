"""docs/glossary.md has an entry for every name that a user meets, and private words stay out of what users read."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import guards

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


# Guards of a launch with every sign of contamination.
CONTAMINATED = dict.fromkeys(guards(), 1e9) | {"wall": 1.0, "processors": 1.0}

NAMES = {
    "verdicts": VERDICTS,
    "failures": record.FAILURES,
    "caveats": CAVEATS,
    "signs of contamination": contamination(SimpleNamespace(guards=CONTAMINATED)),
    "groups of metrics": sorted({name.split(".")[0] for name in METRICS}),
    "classes of metrics": sorted({metric.kind for metric in METRICS.values()}),
    "policies": ACTIONS,
    "kinds of launches": [getattr(record, name) for name in LAUNCH_KINDS],
    "stages": STAGES,
    "phases": PHASES,
    "exit codes": [f"exit {code}" for code in EXIT_CODES],
    "public names": bench.__all__,
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

# Words that meant something in this project only, and archaic ones. They stay out of pages, help, messages, docstrings
# and comments.
PRIVATE = (
    r"nurser(y|ies)",
    r"mend(s|ed|ing)?",
    r"reveals?",
    r"sees from",
    r"wish(es)?",
    r"waists?",
    r"wings?",
    r"house",
    r"rooms?",
    r"floors?",
    r"doors?",
    r"deeds?",
    r"strangers?",
    r"plant(s|ed)?",
    r"ledgers?",
    r"disturb(s|ed|ing|ance)?",
    r"honest(y|ly)?",
    r"truth",
    r"unheard",
    r"hear(s|d)?",
    r"speaks?",
    r"whoever",
    r"nobody",
    r"thereof",
    r"anew",
    r"of (old|before)",
    r"told apart",
    r"left (behind|out)",
    r"held against",
    r"(gone|goes|go|going) on",
    r"gone through",
    r"so many",
    r"for want of",
    r"at the (least|most)",
    r"by the (sample|step|epoch)",
    r"(?<!there )(?-i:(is|are) none)",
    r"are what they say",
    r"(does|do) not say",
)
OLD_NAMES = re.compile(r"`nursery`")  # in files of earlier versions, which are still read


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
    """Comments, docstrings and messages: every text of more than one word."""
    nodes = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    texts = [text for text in nodes if isinstance(text, str) and " " in text]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return texts + [token.string for token in tokens if token.type == tokenize.COMMENT]


@pytest.mark.parametrize("folder", ["bench", "benchmarks", "suites", "examples"])
def test_sources_have_no_private_words(folder):
    found = {
        (path.relative_to(ROOT).as_posix(), word)
        for path in (ROOT / folder).rglob("*.py")
        for text in sentences(path.read_text(encoding="utf-8"))
        for word in private_words(OLD_NAMES.sub("", text))
    }
    assert found == set()


def test_a_private_word_is_found():
    assert private_words(prose("what you can mend, and `nursery` in code")) == ["mend"]
    source = 'def f():  # so many\n    """A nursery of launches."""\n    return "nursery"\n'
    assert sentences(source) == ["A nursery of launches.", "# so many"]
    assert [private_words(text) for text in sentences(source)] == [["nursery"], ["so many"]]
