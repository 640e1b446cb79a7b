"""A repository that has its own `bench`: its code gets that one, whatever measures it and wherever its suites lie."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiers import takes_long

from bench import cli
from bench.results.folder import RunFolder
from bench.results.journal import read_journal

MODELS = """
import torch

WHERE = __file__

def net():
    return torch.nn.Linear(4, 2)

def batches():
    return [(torch.randn(4, 4), torch.randint(2, (4,))) for _ in range(3)]
"""
SUITE = """
from epochbench import Suite
from bench.models import net, batches, WHERE

assert WHERE.startswith({top!r})

def build(case):
    import torch
    from bench import models
    from epochbench.training import Task

    assert models.net is net
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=case.learning_rate)
    return Task(model, torch.nn.CrossEntropyLoss(), optimizer, batches(), batches(), batches())

suite = Suite(name="theirs", build=build, axes={{"device": ["cpu"], "epochs": [2]}})
"""
SCRIPT = """
import torch
import epochbench
from bench.models import net, batches

model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for inputs, targets in epochbench.watch(batches()):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
"""
# What theirs may hold that ours holds too: taking the one for the other would end here.
ALIKE = ("suite", "training", "case", "errors", "worker", "cli", "__main__", "watch", "tasks")
ONCE = ("--launches", "1", "--repeats", "0", "--no-profile", "--quiet", "--threads", "1")


def files(kind: str) -> dict[str, str]:
    if kind == "module":  # bench.py, with a namespace in place of a module
        models = f"import sys, types\nmodels = sys.modules['bench.models'] = types.ModuleType('bench.models')\n{MODELS}"
        return {"bench.py": f"{models}\nvars(models).update(WHERE=WHERE, net=net, batches=batches)\n"}
    alike = {f"bench/{name}.py": f"raise SystemExit('the {name} of theirs')" for name in ALIKE}
    return {**alike, "bench/models.py": MODELS, **({"bench/__init__.py": ""} if kind == "package" else {})}


@pytest.fixture
def repository(request, tmp_path, monkeypatch) -> Path:
    """One of each kind, in which the command is started: a suite at its top, and one in `bench/` if there is one."""
    top = tmp_path.resolve() / "repository"
    told = {
        **files(request.param),
        "mine.py": SUITE.format(top=str(top)),
        "train.py": SCRIPT,
        ".gitignore": "__pycache__/\nresults/\n",
    }
    if request.param != "module":
        told["bench/loops.py"] = told["mine.py"]
    for name, text in told.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    monkeypatch.chdir(top)
    return top


KINDS = pytest.mark.parametrize("repository", ["package", "module", "folder"], indirect=True)


@KINDS
@takes_long("measures in a repository that has a package of our name")
def test_its_suites_are_measured(repository, capfd):
    assert cli.exit_code(["run", "mine.py", *ONCE, "--out", "results/a"]) == 0, capfd.readouterr().err
    made = read_journal(RunFolder(repository / "results/a").journal)
    assert [launch.case.suite for launch in made.measurements] == ["theirs"] * 2  # timed, counted


@pytest.mark.parametrize("repository", ["package", "folder"], indirect=True)
@takes_long("measures in a repository that has a package of our name")
def test_so_is_a_suite_that_lies_in_it(repository, capfd):
    assert cli.exit_code(["list", "bench/loops.py"]) == 0, capfd.readouterr().err
    assert "theirs/device=cpu/epochs=2" in capfd.readouterr().out


@KINDS
@takes_long("measures in a repository that has a package of our name")
def test_so_are_its_scripts(repository, capfd):
    assert cli.exit_code(["run", "--script", "train.py", *ONCE, "--out", "results/a"]) == 0, (
        capfd.readouterr().err
    )
    assert len(read_journal(RunFolder(repository / "results/a").journal).measurements) == 2


@pytest.mark.parametrize("repository", ["package"], indirect=True)
@takes_long("measures in a repository that has a package of our name")
def test_a_script_that_means_ours_is_told_so(repository, capfd):
    text = SCRIPT.replace("epochbench.watch", "bench.watch").replace("import epochbench", "import bench")
    (repository / "train.py").write_text(text)
    (repository / "bench/watch.py").unlink()
    assert cli.exit_code(["run", "--script", "train.py", *ONCE, "--out", "results/a"]) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert said.endswith(
        f"but {repository / 'bench/__init__.py'}; write: import epochbench, and epochbench.watch"
    )


@pytest.mark.parametrize("repository", ["package"], indirect=True)
@takes_long("measures in a repository that has a package of our name")
def test_each_side_of_ab_has_its_own(repository, capfd, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("GIT_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")
    mine = (repository / "mine.py").read_text().replace(f"assert WHERE.startswith({str(repository)!r})", "")
    (repository / "mine.py").write_text(mine)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", *command], check=True, capture_output=True)
    models = repository / "bench/models.py"
    models.write_text(
        models.read_text().replace("Linear(4, 2)", "Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU())")
    )
    code = cli.exit_code(
        ["ab", "mine.py", "--pairs", "1", "--quiet", "--threads", "1", "--out", "results/ab"]
    )
    said = capfd.readouterr()
    assert code == 1, said.err
    assert "count.ops" in said.out, "the sides have different models"


def test_nothing_of_ours_imports_it():
    code = (
        "import epochbench.cli, epochbench.pytest_plugin, epochbench.worker.launch, sys; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "epochbench" in done.stdout.split()
    assert "bench" not in done.stdout.split()
