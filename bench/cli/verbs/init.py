"""The verb that begins: `init` writes a suite, thresholds, a workflow and a make target into a repository."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ... import __version__
from ...errors import UsageError
from ...report.units import plain
from ..ignore_lines import LINES, about_baseline, ignores_runs
from ..options import Debug, Verb
from ..own_model import OwnModel, find_model

TEMPLATES = Path(__file__).parents[2] / "templates"
WORKFLOW = ".github/workflows/bench.yml"
GITIGNORE = ".gitignore"

_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")  # in the order in which make looks for them
_TARGET = re.compile(r"^(?:[^\s:#=]+[ \t]+)*bench(?:[ \t]+[^\s:#=]+)*[ \t]*:{1,2}(?![:=])", re.MULTILINE)
_INCLUDED = re.compile(r"^[ ]*[-s]?include\b.*\bbench\.mk\b", re.MULTILINE)
# Where others reach it; nothing in it that a shell would take for its own.
_REACHED = re.compile(r"(?:\w+\+)?(?:https|ssh)://[\w.:/@%~-]+")
_LONGEST_NAME = 40
_NO_MODEL = ("from package.module import Model", "model = Model()")


def register(app: typer.Typer) -> None:
    app.command("init", cls=Verb)(init)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder of your project.", show_default="here")
    ] = Path("."),
    debug: Debug = False,
) -> int:
    """Write a first suite, thresholds, a CI workflow and a make target; nothing is overwritten."""
    _check(folder)
    project = _pyproject(folder)
    name = suite_name(folder, project)
    suite, make = f"suites/{name}.py", _make_file(folder)
    suites = _suites(folder, suite)
    model, requirement = find_model(folder), _requirement()
    words = {
        "name": name,
        "model": _swap(model),
        "suites": suites,
        "needs": _needs(folder, project),
        "epochbench": requirement,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    files = {
        suite: "suite.py",
        "thresholds.toml": "thresholds.toml",
        WORKFLOW: "workflow.yml",
        make: "bench.mk",
    }
    top = _top(folder)
    if top is not None and not os.path.lexists(folder / GITIGNORE) and not ignores_runs(folder):
        files[GITIGNORE] = "gitignore"
    new = []
    for path, template in files.items():
        if _written(folder, path, filled(template, words)):
            new.append(path)
            print(plain(f"wrote {path}"))
        else:
            print(plain(f"{path} is there already: left as it is"))
    if WORKFLOW in new and "@" not in requirement:
        print(
            plain(
                f"{WORKFLOW} installs {requirement}: if your package index has none, name its address there"
            )
        )
    for hint in _hints(folder, top, project, make):
        print(plain(hint))
    if suite in new and model is not None:
        print(plain(f"your model: {model.module}.{model.name} goes into {suite}, where it says 1"))
    flag = "" if suites == "suites" else f" {suites}"
    print(plain(f"next{'' if _is_here(folder) else f', in {folder}'}:"))
    print(f"  bench run{flag}    measures a small model, or what you put in its place")
    print(f"  bench ab{flag}     once that is committed: what you changed since, side by side with it")
    return 0


def filled(template: str, words: Mapping[str, str]) -> str:
    """A template with words in place of their names between two @."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text


def suite_name(folder: Path, project: Mapping[str, Any]) -> str:
    """What the suite is called, and its file: as the project, or as the folder; never as a module that is there.

    The folder of a suite comes first where Python looks for modules, so that its file would hide the other one.
    """
    called = _table(project, "project").get("name", _table(project, "tool", "poetry").get("name"))
    text = called if isinstance(called, str) else folder.resolve().name
    name = re.sub(r"[^a-z0-9]+", "_", text.lower())[:_LONGEST_NAME].strip("_") or "mine"
    return f"{name}_loop" if _is_module(name, folder) else name


def _is_module(name: str, folder: Path) -> bool:
    """Whether Python, or the project, has a module of this name."""
    places = (folder, folder / "src")
    return importlib.util.find_spec(name) is not None or any(
        (place / name).is_dir() or (place / f"{name}.py").exists() for place in places
    )


def _check(folder: Path) -> None:
    """Raises UsageError for what is no folder that can be read."""
    try:
        os.listdir(folder)
    except FileNotFoundError:
        raise UsageError(f"folder {folder} does not exist; make it first: mkdir -p {folder}") from None
    except NotADirectoryError:
        raise UsageError(f"{folder} is no folder; name the one that your project lies in") from None
    except OSError as problem:
        raise UsageError(f"folder {folder} cannot be read: {problem.strerror}; name another") from None


def _pyproject(folder: Path) -> dict[str, Any]:
    """What pyproject.toml says; empty where there is none, or none that can be read."""
    try:
        return tomllib.loads(_text(folder / "pyproject.toml"))
    except (ValueError, RecursionError):
        return {}


def _table(document: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A table of a TOML document; empty where it has none."""
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _text(path: Path) -> str:
    """A file of the user's, as far as it is text; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def _swap(model: OwnModel | None) -> str:
    """The lines of a comment that say how the user's own model comes in; the template has the first `#`."""
    lines = (f"   {line}" for line in (model.lines if model is not None else _NO_MODEL))
    said = "Found in this repository:" if model is not None else "Such as:"
    return "\n    #".join([said, *lines])


def _suites(folder: Path, suite: str) -> str:
    """What the commands measure: all suites; the new one alone where other files lie beside it that hold none."""
    others = (file for file in (folder / "suites").glob("[!_]*.py") if file.name != Path(suite).name)
    return "suites" if all("Suite(" in _text(file) for file in others) else suite


def _requirement() -> str:
    """What pip installs as Epochbench: where it comes from here, if others reach that too, else a version of an index.

    Source: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    try:
        origin = json.loads(
            importlib.metadata.distribution("epochbench").read_text("direct_url.json") or "{}"
        )
    except (importlib.metadata.PackageNotFoundError, ValueError):
        origin = {}
    url, vcs = origin.get("url", ""), origin.get("vcs_info")
    if vcs:
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    if _REACHED.fullmatch(url):
        return f"epochbench @ {url}"
    return f"epochbench>={__version__.partition('+')[0]}"  # pip orders no local versions


def _needs(folder: Path, project: Mapping[str, Any]) -> str:
    """What pip installs beside Epochbench: the project where it can be, or what it requires."""
    if _is_distribution(folder, project):
        # So that `bench ab` finds the code of each side by its path.
        return " --config-settings editable_mode=compat -e ." if _by_setuptools(project) else " -e ."
    return " -r requirements.txt" if (folder / "requirements.txt").is_file() else ""


def _is_distribution(folder: Path, project: Mapping[str, Any]) -> bool:
    return bool(project.keys() & {"project", "build-system"}) or (folder / "setup.py").is_file()


def _by_setuptools(project: Mapping[str, Any]) -> bool:
    backend = _table(project, "build-system").get("build-backend", "setuptools.build_meta")
    return str(backend).startswith("setuptools")


def _makefile(folder: Path) -> str:
    """The Makefile of the project; empty where there is none."""
    there = set(os.listdir(folder))
    return next((name for name in _MAKEFILES if name in there), "")


def _make_file(folder: Path) -> str:
    """The file that the make target is in, or goes into: a Makefile that is there is not ours to change."""
    makefile = _makefile(folder)
    return "bench.mk" if makefile and not _TARGET.search(_text(folder / makefile)) else makefile or "Makefile"


def _written(folder: Path, path: str, text: str) -> bool:
    """Writes a new file; False where something of this name is there. Raises UsageError where that cannot be."""
    place = folder / path
    if os.path.lexists(place):
        return False
    made = False
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open(
            "x", encoding="utf-8"
        ) as file:  # one that somebody has just written is not overwritten
            made = True
            file.write(text)
    except OSError as problem:
        if made:
            place.unlink(missing_ok=True)  # half of it would be left as it is the next time
        raise UsageError(f"{place} cannot be written: {_why(place, problem)}") from None
    return True


def _why(place: Path, problem: OSError) -> str:
    """What keeps a file from being written, with the remedy."""
    blocking = next((parent for parent in place.parents if os.path.lexists(parent)), place)
    if not blocking.is_dir():
        return f"{blocking} is no folder; rename it"
    return f"{problem.strerror}; make room, mend the rights of its folder, or name another project"


def _top(folder: Path) -> Path | None:
    """The top of the repository that a folder lies in; None where it lies in none."""
    here = folder.resolve()
    return next((one for one in (here, *here.parents) if (one / ".git").exists()), None)


def _hints(folder: Path, top: Path | None, project: Mapping[str, Any], make: str) -> Iterator[str]:
    """What is to be changed in files that are not ours to change."""
    makefile, here = _makefile(folder), folder.resolve()
    if make == "bench.mk" and not _INCLUDED.search(_text(folder / makefile)):
        yield f"for make bench, add a line at the end of {makefile}: include bench.mk"
    if _is_searched(folder, project):
        yield (
            "setuptools looks for the packages of this project, and would take suites for one: name them in "
            'pyproject.toml: [tool.setuptools] packages = ["..."]'
        )
    if top is None:
        return
    if not ignores_runs(folder):
        yield f"runs go to results/, for git to ignore but for baselines; add to {GITIGNORE}: {LINES}"
    elif said := about_baseline(folder):
        yield said
    if top != here:
        below = here.relative_to(top)
        yield (
            f"GitHub reads workflows at the top of a repository only: move {WORKFLOW} there, and let its job run in "
            f"{below}: defaults: {{run: {{working-directory: {below}}}}}, and keep {below}/results/"
        )


def _is_searched(folder: Path, project: Mapping[str, Any]) -> bool:
    """Whether setuptools takes each folder at the top for a package, as it does where nothing names them."""
    said = _table(project, "tool", "setuptools").keys() & {"packages", "py-modules"}
    elsewhere = any((folder / name).exists() for name in ("setup.py", "setup.cfg", "src"))
    return _is_distribution(folder, project) and _by_setuptools(project) and not said and not elsewhere


def _is_here(folder: Path) -> bool:
    return folder.resolve() == Path.cwd().resolve()
