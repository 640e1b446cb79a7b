"""`bench init` writes a suite, thresholds, a workflow and a make target into a repository."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ... import __version__
from ...errors import UsageError
from ...report.safe_text import plain
from ...system.json_data import json_object
from ..command import Options, argument
from ..project import IGNORE_LINES, OwnModel, Project, about_baseline, find_model, ignores_runs

TEMPLATES = Path(__file__).parents[2] / "templates"
WORKFLOW = ".github/workflows/bench.yml"
GITIGNORE = ".gitignore"

_TARGET = re.compile(r"^(?:[^\s:#=]+[ \t]+)*bench(?:[ \t]+[^\s:#=]+)*[ \t]*:{1,2}(?![:=])", re.MULTILINE)
_INCLUDED = re.compile(r"^[ ]*[-s]?include\b.*\bbench\.mk\b", re.MULTILINE)
# A public address, without a character that a shell would interpret.
_REACHED = re.compile(r"(?:\w+\+)?(?:https|ssh)://[\w.:/@%~-]+")
_NO_MODEL = ("from package.module import Model", "model = Model()")


class InitOptions(Options):
    folder: Path = argument(
        Path("."), metavar="FOLDER", help="The folder of your project.", show_default="here"
    )


def main(options: InitOptions) -> int:
    project = Project(options.folder)
    name = project.suite_name
    suite, make = f"suites/{name}.py", make_file(project)
    suites = measured_suites(project, suite)
    model, requirement = find_model(project.folder), own_requirement()
    words = {
        "name": name,
        "model": model_comment(model),
        "suites": suites,
        "needs": project.requirements,
        "epochbench": requirement,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    written = list(write_files(project, suite, make, words))
    if WORKFLOW in written and "@" not in requirement:
        remedy = "if your package index does not have it, name its address there"
        print(plain(f"{WORKFLOW} installs {requirement}: {remedy}"))
    for hint in hints(project, make):
        print(plain(hint))
    if suite in written and model is not None:
        print(plain(f"your model: put {model.module}.{model.name} into {suite}, at the place marked 1"))
    elsewhere = "" if project.folder.resolve() == Path.cwd().resolve() else f", in {project.folder}"
    named = "" if suites == "suites" else f" {suites}"
    print(plain(f"next{elsewhere}:"))
    print(f"  bench run{named}    measures a small model, or the one that you put there")
    print(f"  bench ab{named}     after a commit: measures your later changes side by side with it")
    return 0


def write_files(project: Project, suite: str, make: str, words: Mapping[str, str]) -> Iterator[str]:
    """Writes the files that the project does not have yet, and returns their names."""
    templates = {
        suite: "suite.py",
        "thresholds.toml": "thresholds.toml",
        WORKFLOW: "workflow.yml",
        make: "bench.mk",
    }
    has_gitignore = os.path.lexists(project.folder / GITIGNORE)
    if project.repository is not None and not has_gitignore and not ignores_runs(project.folder):
        templates[GITIGNORE] = "gitignore"
    for path, template in templates.items():
        if write_new(project.folder / path, filled(template, words)):
            print(plain(f"wrote {path}"))
            yield path
        else:
            print(plain(f"{path} exists already: unchanged"))


def write_new(place: Path, text: str) -> bool:
    """Writes a file; False if it exists. Raises UsageError if it cannot be written."""
    if os.path.lexists(place):
        return False
    created = False
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            created = True
            file.write(text)
    except OSError as problem:
        if created:
            place.unlink(missing_ok=True)  # an incomplete file would not be overwritten the next time
        raise UsageError(f"{place} cannot be written: {_why(place, problem)}") from None
    return True


def _why(place: Path, problem: OSError) -> str:
    """Why a file cannot be written, with the remedy."""
    blocking = next((parent for parent in place.parents if os.path.lexists(parent)), place)
    if not blocking.is_dir():
        return f"{blocking} is not a folder; rename it"
    return f"{problem.strerror}; free space, fix the rights of its folder, or name another project"


def filled(template: str, words: Mapping[str, str]) -> str:
    """A template with values in place of the names between two @."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text


def model_comment(model: OwnModel | None) -> str:
    """The comment that shows where the user's own model goes; the template has its first `#`."""
    lines = (f"   {line}" for line in (model.lines if model is not None else _NO_MODEL))
    return "\n    #".join(["Found in this repository:" if model is not None else "Such as:", *lines])


def measured_suites(project: Project, suite: str) -> str:
    """The suites that the commands name: all, or only the new one if the folder has files that are not suites."""
    others = {file.name for file in (project.folder / "suites").glob("[!_]*.py")} - {Path(suite).name}
    all_suites = all("Suite(" in project.text(f"suites/{name}") for name in others)
    return "suites" if all_suites else suite


def own_requirement() -> str:
    """The requirement of Epochbench for pip: where it was installed from, if that is public, else a version on an
    index.

    Source: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    try:
        origin = json_object(
            importlib.metadata.distribution("epochbench").read_text("direct_url.json") or "{}"
        )
    except (importlib.metadata.PackageNotFoundError, ValueError):
        origin = {}
    url, vcs = origin.get("url", ""), origin.get("vcs_info")
    if vcs:
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    if _REACHED.fullmatch(url):
        return f"epochbench @ {url}"
    return f"epochbench>={__version__.partition('+')[0]}"  # pip does not order local versions


def make_file(project: Project) -> str:
    """The file that has the make target, or gets it: an existing Makefile is not changed."""
    makefile = project.makefile
    return "bench.mk" if makefile and not _TARGET.search(project.text(makefile)) else makefile or "Makefile"


def hints(project: Project, make: str) -> Iterator[str]:
    """The changes that the user has to make in files of the project."""
    if make == "bench.mk" and not _INCLUDED.search(project.text(project.makefile)):
        yield f"for make bench, add a line at the end of {project.makefile}: include bench.mk"
    if project.packages_are_searched:
        yield (
            "setuptools discovers the packages of this project, and would include suites: list them in "
            'pyproject.toml: [tool.setuptools] packages = ["..."]'
        )
    top, here = project.repository, project.folder.resolve()
    if top is None:
        return
    if not ignores_runs(project.folder):
        yield f"runs go to results/, which git should ignore except for baselines; add to {GITIGNORE}: {IGNORE_LINES}"
    elif hint := about_baseline(project.folder):
        yield hint
    if top != here:
        below = here.relative_to(top)
        yield (
            f"GitHub reads workflows at the top of a repository only: move {WORKFLOW} there, and let its job run in "
            f"{below}: defaults: {{run: {{working-directory: {below}}}}}, and keep {below}/results/"
        )
