"""Links of the pages lead somewhere, and every command that they show can be given."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import pytest

from bench import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not {".venv", "build", "results", "node_modules"} & set(path.relative_to(ROOT).parts)
]


def without_code(page: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "code", page, flags=re.DOTALL)


def anchors(page: str) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(path: Path) -> list[str]:
    page = path.read_text(encoding="utf-8")
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
            dead.append(target)
    return dead


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_link_is_dead(path):
    assert dead_links(path) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_merge_was_left_half_done(path):
    assert re.findall(r"^(?:<{7}|={7}$|>{7}).*", path.read_text(encoding="utf-8"), re.M) == []


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One thing\n[a](page.md) [b](#one-thing) [c](#two) [d](none.md) [e](https://x.y) `[f](g)`\n"
    )
    assert dead_links(page) == ["#two", "none.md"]


def commands(page: str) -> Iterator[str]:
    """What a page shows after `bench`, in code blocks and in lines of text."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.M | re.DOTALL) + re.findall(
        r"^    (bench .*)$", page, re.M
    )
    for line in "\n".join(blocks).splitlines():
        if line.startswith(("bench ", "epochbench ")):
            yield line.partition("  #")[0].partition(" ")[2]
    for code in re.findall(r"`bench ([^`]+)`", page):
        yield " ".join(code.split())


@cache
def help_of(*verb: str) -> str:
    """The help of a verb, empty where there is no such verb."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(io.StringIO()):
        patch.setenv("COLUMNS", "400")
        return printed.getvalue() if cli.exit_code([*verb, "--help"]) == 0 else ""


def misuse(command: str) -> str:
    """Why a command cannot be given: an unknown verb or option; empty where it can."""
    words = shlex.split(command.replace("[", " ").replace("]", " "))
    words = words[: words.index("--")] if "--" in words else words
    verb = words[:2] if words[0] == "baseline" else words[:1]
    page = help_of(*verb)
    if not page:
        return f"no such command: {command}"
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    unknown = [word for word in given if not re.search(rf"(?<![\w-]){word}(?![\w-])", page)]
    return f"{command}: {', '.join(unknown)}" if unknown else ""


# Verbs are named in prose, too: `bench COMMAND --help`, `bench ab`, `bisect`.
NOT_A_VERB = ("COMMAND",)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_every_command_can_be_given(path):
    shown = [text for text in commands(path.read_text(encoding="utf-8")) if text.split()[0] not in NOT_A_VERB]
    assert [wrong for text in shown if (wrong := misuse(text))] == []


def test_a_wrong_command_is_found():
    assert list(commands("```\nbench run x.py  # why\n```\nand `bench show latest`")) == [
        "run x.py",
        "show latest",
    ]
    assert misuse("run suites/x.py -k 'adam' --axis a=1 -- --epochs 3") == ""
    assert misuse("run --lunches 3") == "run --lunches 3: --lunches"
    assert misuse("rum") == "no such command: rum"
    assert misuse("baseline save NAME") == ""


def test_every_test_that_a_page_names_is_there():
    tests = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    defined = {
        name for text in tests.values() for name in re.findall(r"(?:def|class) (test_\w+|Test\w+)", text)
    }
    page = (ROOT / "docs" / "methodology.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:tests/)?(?:\w+/)*(test_\w+(?:\.py)?|Test\w+)`", page))
    assert len(named) > 10
    assert named - defined - set(tests) == set()


def test_every_module_that_a_page_names_is_there():
    modules = {path.relative_to(ROOT / "bench").as_posix() for path in (ROOT / "bench").rglob("*.py")}
    packages = {name.partition("/")[0] for name in modules if "/" in name}
    for path in (ROOT / "docs").glob("*.md"):
        named = re.findall(r"`(?:bench/)?(\w+/[\w/]+\.py)`", path.read_text(encoding="utf-8"))
        assert {name for name in named if name.partition("/")[0] in packages} - modules == set(), path.name


DEVICE_CALL = re.compile(
    r"torch\.(?:cuda|accelerator|mps|xpu|Event|backends\.(?:cuda|cudnn|mps))\b|torch\._C\._cuda|nvml[A-Z]\w+"
    r"|non_blocking|pin_memory=|CUDA_VISIBLE_DEVICES|open_gpus\(|cards_of\("
)


def test_the_page_about_devices_names_each_file_that_calls_one():
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    calling = {
        path.relative_to(ROOT / "bench").as_posix()
        for path in (ROOT / "bench").rglob("*.py")
        if DEVICE_CALL.search(path.read_text(encoding="utf-8"))
    }
    assert len(calling) > 15
    folders = tuple(re.findall(r"`((?:machine|worker/script)/)`", page))  # whose files share a table
    assert {name for name in calling if name not in page and not name.startswith(folders)} == set()


def test_the_architecture_page_names_every_package_and_fits_two_screens():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent for path in (ROOT / "bench").rglob("*.py")} - {ROOT / "bench"}
    top = {f"{folder.relative_to(ROOT / 'bench').parts[0]}/" for folder in folders}
    files = {path.name for path in (ROOT / "bench").glob("*.py") if not path.name.startswith("__")}
    assert {name for name in top | files if name not in page} == set()
    lines = page.splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 120
