"""Projects of a tiny loop whose commits plant something in it, and `bench ab` in them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cli
from bench.results.folder import RunFolder
from bench.results.journal import read_journal

WORK = '''
"""What the loop does; the variable goes before the constant."""

import os

CHANGE = os.environ.get("CHANGE", "{change}")
WIDTHS = [{widths}]
'''

SUITE = '''
"""A tiny loop: six batches of random data, and the change that work.py makes to it."""

import work

from bench import Suite


def build(case):
    import torch
    from torch import nn

    from bench.training import Task

    if work.CHANGE == "crash":
        raise ValueError("it no longer builds")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            width = case.get("width")
            self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
            self.register_buffer("load", torch.ones(16, 16))

        def forward(self, inputs):
            if work.CHANGE == "slow":
                for _ in range(5):
                    self.load @ self.load
            return self.layers(inputs)

    def batches(number):
        generator = torch.Generator().manual_seed(1)
        return [
            (torch.randn(8, 4, generator=generator), torch.randint(0, 2, (8,), generator=generator))
            for _ in range(number // 2 if work.CHANGE == "half" else number)
        ]

    model = Net()
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=5.0 if work.CHANGE == "wild" else 0.1),
        train_loader=batches(6),
        validate_loader=batches(4),
        test_loader=batches(2),
    )


suite = Suite(
    name="loop",
    build=build,
    axes={"device": ["cpu"], "batch_size": [8], "epochs": [2], "width": work.WIDTHS, "mode": ["train"]},
)
'''
CASE = "loop/device=cpu/batch_size=8/epochs=2/width=8/mode=train"
OTHER = CASE.replace("width=8", "width=16")
TIMES = ("epoch.time", "train.step_time")


def git(place, *arguments):
    done = subprocess.run(["git", *arguments], cwd=place, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def step_seconds(request, tree):
    """What a step takes: nothing but the change in the code of its side decides it."""
    change = (tree.root / tree.place / "work.py").read_text()
    return (3.0 if '"slow"' in change else 1.0) * (1 + (request.round + request.position) % 3 / 1000)


def write_change(place, what="", widths="8"):
    (place / "work.py").write_text(WORK.format(change=what, widths=widths))


@contextlib.contextmanager
def own_git(temporary: Path) -> Iterator[None]:
    """Git as nobody has configured it, no CI server, and temporary files where they can be counted."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "GITHUB_"))]:
            patch.delenv(name)
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "A tester")
            patch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setattr("tempfile.tempdir", str(temporary))
        yield


def make_project(top: Path) -> Path:
    """A project below the top of a repository: the tag of each commit says what it plants; HEAD plants nothing."""
    top = top.resolve()
    git(top, "init", "-q", "-b", "main")
    place = top / "project"
    place.mkdir()
    (place / "loop.py").write_text(SUITE)
    (top / ".gitignore").write_text("results/\nbuilt\n__pycache__/\nuntracked.py\n")
    for what, widths in (("crash", "8"), ("half", "8"), ("wide", "16"), ("plain", "8")):
        write_change(place, "" if what in ("plain", "wide") else what, widths)
        git(top, "add", "-A")
        git(top, "commit", "-qm", what)
        git(top, "tag", what)
    return place


def make_history(place: Path) -> Path:
    """Five commits; from the third on the loop is slow."""
    git(place, "init", "-q", "-b", "main")
    (place / "suites").mkdir()
    (place / "suites" / "loop.py").write_text(SUITE)
    (place / ".gitignore").write_text("results/\n__pycache__/\n")
    for number in range(1, 6):
        write_change(place, "slow" if number >= 3 else "")
        (place / "note").write_text(str(number))
        git(place, "add", "-A")
        git(place, "commit", "-qm", f"commit {number}")
    return place


class Done:
    """What a command came to. `rows` are those of its JSON by metric, of the one case or of the named one."""

    def __init__(self, code, out, err, folder) -> None:
        self.code, self.out, self.err, self.folder = code, out, err, folder

    @property
    def page(self):
        return json.loads(self.out)

    def rows(self, case=None):
        return {row["metric"]: row for row in self.page["rows"] if case in (None, row["case"])}

    def journal(self, side):
        return read_journal(RunFolder(self.folder / side).journal).measurements


def bench(place, *arguments, folder=None):
    """Runs `bench ab` in the project."""
    out, err = io.StringIO(), io.StringIO()
    folder = folder or place / "results" / f"run{len(list((place / 'results').glob('*')))}"
    with (
        contextlib.chdir(place),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli.exit_code(["ab", *map(str, arguments), "--out", str(folder), "--threads", "1"])
    return Done(code, out.getvalue(), err.getvalue(), folder)


def bench_in(place, *arguments):
    """Runs another command in the project."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(place), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.exit_code(list(map(str, arguments)))
    return Done(code, out.getvalue(), err.getvalue(), None)


def measured(place, *arguments):
    return bench(place, *arguments, "--format", "json")


def left(place):
    """The worktrees that git knows of beside the user's, and temporary folders of them."""
    known = git(place, "worktree", "list").splitlines()[1:]
    return known + [str(path) for path in Path(tempfile.gettempdir()).glob("epochbench-tree-*")]
