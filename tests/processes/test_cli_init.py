"""`bench init` as a user meets it: what it writes runs at once, and nothing that is there is touched."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from stand_in import standing_in
from tiers import takes_long

from bench import cli
from bench.analysis.compare.policy import policy
from bench.cli.project import OwnModel, Project, find_model
from bench.cli.verbs.init import TEMPLATES, WORKFLOW
from bench.measurement import metric
from bench.thresholds.rules import check_used, read_thresholds

ROOT = Path(__file__).parents[2]
WRITTEN = ("suites/mine.py", "thresholds.toml", WORKFLOW, "Makefile")
QUICK = ("--launches", "1", "--repeats", "0", "--no-profile", "--quiet")


@dataclass
class Done:
    code: int
    out: str
    err: str


def bench(place, *arguments) -> Done:
    """Runs a command in a folder; what asks a worker asks this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        standing_in(),
        contextlib.chdir(place),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli.exit_code(list(arguments))
    return Done(code, out.getvalue(), err.getvalue())


def init(place) -> Done:
    done = bench(place, "init")
    assert (done.code, done.err) == (0, ""), done.err
    return done


def files(place) -> dict[str, bytes]:
    return {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*") if file.is_file()}


def put(place, path, text=""):
    file = place / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder called mine, empty before: where `init` was, and what it said."""
    place = tmp_path_factory.mktemp("empty") / "mine"
    place.mkdir()
    return place, init(place)


@pytest.fixture
def mine(tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    return place


class TestAnEmptyFolder:
    def test_each_file_is_written_and_said(self, begun):
        place, done = begun
        assert set(files(place)) >= set(WRITTEN)
        assert [f"wrote {path}" for path in WRITTEN] == done.out.splitlines()[:4]
        origin, *said = done.out.splitlines()[4:]
        assert origin.startswith(f"{WORKFLOW} installs epochbench>=")
        assert [line.split("  ")[:2] for line in said] == [["next:"], ["", "bench run"], ["", "bench ab"]]

    def test_no_word_of_a_template_is_left(self, begun):
        place, _ = begun
        assert [path for path in WRITTEN if re.search(r"@[a-z]+@", (place / path).read_text())] == []

    def test_no_line_ends_in_blanks(self, begun):
        place, _ = begun
        lines = [line for path in WRITTEN for line in (place / path).read_text().splitlines()]
        assert [line for line in lines if line != line.rstrip()] == []

    def test_the_suite_lists(self, begun):
        place, _ = begun
        done = bench(place, "list", "--axis", "device=cpu")
        assert (done.code, done.out.splitlines()[-1]) == (0, "4 cases")
        assert "mine/device=cpu/batch_size=64/mode=train" in done.out

    def test_the_suite_runs(self, begun):
        place, _ = begun
        done = bench(place, "run", *QUICK, "--axis", "device=cpu", "-k", "batch_size=256 and mode=train")
        assert done.code == 0, done.err
        (run,) = (place / "results").iterdir()
        assert "train.step_time" in (run / "summary.csv").read_text()

    def test_the_make_target_runs_it(self, begun):
        place, _ = begun
        assert made(place, "bench") == "bench run suites"
        assert made(place, "bench", "BENCH_ARGS=-k train") == "bench run suites -k train"
        assert made(place, "bench", "BENCH=python3 -m epochbench") == "python3 -m epochbench run suites"

    def test_the_folder_may_be_named(self, tmp_path, mine):
        done = bench(tmp_path, "init", "mine")
        assert done.code == 0
        assert set(files(mine)) == set(WRITTEN)
        assert "next, in mine:" in done.out

    def test_whoever_has_no_name_is_mine(self, tmp_path):
        (tmp_path / "é").mkdir()
        init(tmp_path / "é")
        assert set(files(tmp_path / "é")) == set(WRITTEN)


def made(place, *arguments) -> str:
    """What make would run; without the settings of a make that runs the tests."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", *arguments],
        cwd=place,
        env=clean,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestThresholds:
    def test_they_are_read(self, begun):
        place, _ = begun
        default, quality = read_thresholds(place / "thresholds.toml")
        assert dict(default.changes) == {"regression": "fail", "improvement": "ignore"}
        assert (quality.metric, dict(quality.changes)) == ("quality.*", {"regression": "fail"})

    def test_what_was_learnt_gates_with_a_tolerance_of_its_own(self, begun):
        rules = read_thresholds(begun[0] / "thresholds.toml")
        for name, tolerance in (("test_accuracy", 0.02), ("test_loss", 0.05), ("test_of_my_own", 0.05)):
            found = policy(metric(f"quality.{name}"), "s", "s/a=1", "cpu", rules)
            assert (found.named, found.regression) == (True, "fail")
            assert found.tolerance(1.0) == tolerance

    def test_a_loop_that_tells_no_loss_is_not_refused_for_it(self, begun):
        file = begun[0] / "thresholds.toml"
        check_used(read_thresholds(file), [("epoch.time", "s", "s/a=1", "cpu")], file)

    def test_so_are_the_examples_in_their_comments(self, begun, tmp_path):
        place, _ = begun
        text = (place / "thresholds.toml").read_text()
        put(tmp_path, "t.toml", re.sub(r"^# (?=\[\[|\w+ = )", "", text, flags=re.MULTILINE))
        assert [rule.metric for rule in read_thresholds(tmp_path / "t.toml")] == [
            "",
            "quality.*",
            "quality.test_score",
            "train.step_time",
            "memory.*",
        ]


class TestWorkflow:
    def test_it_is_yaml(self, begun):
        yaml = pytest.importorskip("yaml")
        place, _ = begun
        (job,) = yaml.safe_load((place / WORKFLOW).read_text())["jobs"].values()
        assert job["steps"][0]["with"]["fetch-depth"] == 0
        assert all("uses" in step or "run" in step for step in job["steps"])

    def test_without_a_parser_its_shape_is(self, begun):
        lines = [line for line in (begun[0] / WORKFLOW).read_text().splitlines() if line.strip()]
        indents = [len(line) - len(line.lstrip(" ")) for line in lines]
        assert "\t" not in "".join(lines)
        assert all(indent % 2 == 0 for indent in indents)
        assert all(after - before <= 4 for before, after in itertools.pairwise(indents))
        assert "          fetch-depth: 0 # the history, for the merge base" in lines
        assert f'          python-version: "{sys.version_info.major}.{sys.version_info.minor}"' in lines

    def test_its_commands_have_such_flags(self, begun):
        commands = re.findall(r"\bbench ((?:run|ab) suites .*)", (begun[0] / WORKFLOW).read_text())
        verbs = cli.app.commands
        assert [command.split()[0] for command in commands] == ["run", "ab"]
        for command in commands:
            verb, *arguments = command.split()
            verbs[verb].make_context(verb, arguments)

    @pytest.mark.parametrize(
        ("there", "needs"),
        [
            ({}, ""),
            ({"pyproject.toml": "[tool.ruff]"}, ""),
            ({"pyproject.toml": "not = = toml"}, ""),
            ({"requirements.txt": "torch"}, " -r requirements.txt"),
            ({"setup.py": ""}, " --config-settings editable_mode=compat -e ."),
            ({"pyproject.toml": "[project]\nname = 'a'"}, " --config-settings editable_mode=compat -e ."),
            ({"pyproject.toml": "[build-system]\nbuild-backend = 'hatchling.build'"}, " -e ."),
        ],
    )
    def test_it_installs_the_project_as_it_can_be(self, mine, monkeypatch, there, needs):
        monkeypatch.setattr("bench.cli.verbs.init.__version__", "1.2.3.dev4+g567")
        for path, text in there.items():
            put(mine, path, text)
        init(mine)
        assert f'pip install "epochbench>=1.2.3.dev4"{needs}\n' in (mine / WORKFLOW).read_text()

    @pytest.mark.parametrize(
        ("origin", "requirement"),
        [
            (None, "epochbench>=1.2"),
            ("not json", "epochbench>=1.2"),
            ({"url": "file:///home/me/epochbench.whl", "archive_info": {}}, "epochbench>=1.2"),
            ({"url": "https://example.org/$(rm)/epochbench.whl"}, "epochbench>=1.2"),
            ({"url": "https://example.org/e-1.2.whl"}, "epochbench @ https://example.org/e-1.2.whl"),
            (
                {"url": "https://example.org/e.git", "vcs_info": {"vcs": "git", "commit_id": "5fe1"}},
                "epochbench @ git+https://example.org/e.git@5fe1",
            ),
        ],
    )
    def test_it_installs_epochbench_from_where_it_came(self, mine, monkeypatch, origin, requirement):
        class Installed:
            def read_text(self, name):
                assert name == "direct_url.json"
                return origin if origin is None or isinstance(origin, str) else json.dumps(origin)

        monkeypatch.setattr("bench.cli.verbs.init.importlib.metadata.distribution", lambda _: Installed())
        monkeypatch.setattr("bench.cli.verbs.init.__version__", "1.2")
        done = init(mine)
        assert f'pip install "{requirement}"\n' in (mine / WORKFLOW).read_text()
        assert (f"installs {requirement}: if your package index" in done.out) == (">=" in requirement)

    @pytest.mark.parametrize("below", [".", "part"])
    def test_it_compares_once_the_base_has_the_suites(self, tmp_path, monkeypatch, below):
        place = tmp_path / "mine" / below
        place.mkdir(parents=True)
        put(tmp_path, "bin/bench", '#!/bin/sh\necho "bench $*"\n')
        (tmp_path / "bin" / "bench").chmod(0o755)
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_NAME", "A tester")
            monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("GITHUB_BASE_REF", "main")

        def run(*command) -> str:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        def commit(message):
            run("git", "add", "-A")
            run("git", "commit", "-qm", message, "--allow-empty")

        run("git", "init", "-qb", "main")
        put(place, "note")
        commit("before")
        run("git", "update-ref", "refs/remotes/origin/main", "HEAD")
        init(place)
        commit("suites")
        script = (place / WORKFLOW).read_text().partition("run: |\n")[2].partition("      - name")[0]
        command = ("bash", "-e", "-c", script)
        assert run(*command) == "nothing to compare with: suites is new"
        run("git", "update-ref", "refs/remotes/origin/main", "HEAD")
        commit("work")
        assert run(*command).startswith("bench ab suites --time-budget")

        # A checkout without the history, as that action makes it by itself: before and after main was fetched.
        top = run("git", "rev-parse", "--show-toplevel")
        run("git", "checkout", "-qb", "work")
        commit("more work")
        run("git", "checkout", "-q", "main")
        commit("others' work")
        clone = (
            "git",
            "clone",
            "-q",
            "--depth",
            "1",
            "--branch",
            "work",
            f"file://{top}",
            tmp_path / "shallow",
        )
        run(*map(str, clone))
        for fetched in (False, True):
            if fetched:
                fetch = ("fetch", "-q", "--depth", "1", "origin", "main:refs/remotes/origin/main")
                run("git", "-C", str(tmp_path / "shallow"), *fetch)
            done = subprocess.run(command, cwd=tmp_path / "shallow", capture_output=True, text=True)
            assert done.returncode == 2
            assert done.stdout == (
                "::error::there is no history up to origin/main: give actions/checkout fetch-depth: 0\n"
            )


class TestWhatIsThere:
    def test_twice_is_harmless(self, mine):
        init(mine)
        before = files(mine)
        done = init(mine)
        assert files(mine) == before
        assert done.out.splitlines()[:4] == [f"{path} exists already: unchanged" for path in WRITTEN]

    def test_nothing_is_overwritten(self, mine):
        own = {path: f"# {path}, my own\r\nbench:\n\ttrue" for path in WRITTEN}
        for path, text in own.items():
            put(mine, path)
            (mine / path).write_bytes(text.encode())
        init(mine)
        assert files(mine) == {path: text.encode() for path, text in own.items()}

    def test_one_that_is_missing_is_written_beside_the_others(self, mine):
        put(mine, "thresholds.toml", "[default]\npolicy = 'warn'\n")
        done = init(mine)
        assert "thresholds.toml exists already: unchanged" in done.out
        assert f"wrote {WORKFLOW}" in done.out
        assert (mine / "thresholds.toml").read_text() == "[default]\npolicy = 'warn'\n"

    def test_a_link_is_not_written_through(self, tmp_path, mine):
        (mine / "thresholds.toml").symlink_to(tmp_path / "elsewhere")
        assert "thresholds.toml exists already" in init(mine).out
        assert not (tmp_path / "elsewhere").exists()

    def test_a_suites_folder_of_other_things_is_not_measured(self, mine):
        put(mine, "suites/of_rooms.py", "raise SystemExit(1)")
        done = init(mine)
        assert made(mine, "bench") == "bench run suites/mine.py"
        assert "bench ab suites/mine.py " in (mine / WORKFLOW).read_text()
        assert "  bench run suites/mine.py  " in done.out


class TestMakefile:
    def test_one_without_the_target_is_not_changed(self, mine):
        text = "\n.PHONY: bench-all\nbench := 1\nbench-all: bench2\n\techo bench:\n"
        put(mine, "Makefile", text)
        done = init(mine)
        assert (mine / "Makefile").read_text() == text
        assert "for make bench, add a line at the end of Makefile: include bench.mk" in done.out
        put(mine, "Makefile", f"{text}include bench.mk\n")
        assert made(mine, "bench") == "bench run suites"
        assert "add a line" not in init(mine).out

    @pytest.mark.parametrize("target", ["bench:", "bench::", "test bench : all", "bench test:"])
    def test_one_with_the_target_is_enough(self, mine, target):
        put(mine, "Makefile", f"all:\n\ttrue\n{target}\n\ttrue\n")
        assert "Makefile exists already: unchanged" in init(mine).out
        assert not (mine / "bench.mk").exists()

    def test_the_one_that_make_reads_is_meant(self, mine):
        put(mine, "GNUmakefile", "all:\n")
        assert "at the end of GNUmakefile: include bench.mk" in init(mine).out
        assert not (mine / "Makefile").exists()


class TestHints:
    def test_a_folder_below_the_top_of_a_repository(self, tmp_path, mine):
        (tmp_path / ".git").mkdir()
        said = init(mine).out
        assert f"at the top of a repository only: move {WORKFLOW} there" in said
        assert "run in mine: defaults: {run: {working-directory: mine}}, and keep mine/results/" in said

    def test_the_top_of_one_needs_no_such_word(self, mine):
        (mine / ".git").mkdir()
        assert "GitHub" not in init(mine).out

    @pytest.mark.parametrize(
        ("pyproject", "there", "said"),
        [
            ("[project]\nname = 'a'", (), True),
            ("[project]\nname = 'a'\n[tool.setuptools]\npackages = ['a']", (), False),
            ("[project]\nname = 'a'\n[tool.setuptools.packages.find]\ninclude = ['a']", (), False),
            ("[project]\nname = 'a'", ("src/a/__init__.py",), False),
            ("[project]\nname = 'a'\n[build-system]\nbuild-backend = 'flit_core.buildapi'", (), False),
            ("[tool.ruff]", ("requirements.txt",), False),
        ],
    )
    def test_setuptools_would_take_the_suites_for_a_package(self, mine, pyproject, there, said):
        put(mine, "pyproject.toml", pyproject)
        for path in there:
            put(mine, path)
        assert ("setuptools discovers" in init(mine).out) is said


LINES = "/results/* and !/results/baselines/"


class TestWhatGitIgnores:
    """With git itself: runs are not for it, baselines are."""

    @pytest.fixture(autouse=True)
    def plain_git(self, monkeypatch):
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")

    def added(self, place) -> list[str]:
        """What `git add` takes of results/, once a run and a baseline are there."""
        run, baseline = "results/20260101-1a2b3c4-host/journal.jsonl", "results/baselines/main/summary.csv"
        for path in (run, baseline):
            put(place, path, "1")
        subprocess.run(["git", "add", "-A"], cwd=place, check=True)
        listed = ["git", "ls-files", "--", "results"]
        done = subprocess.run(listed, cwd=place, check=True, capture_output=True, text=True)
        assert set(done.stdout.split()) <= {run, baseline}
        return done.stdout.split()

    def repository(self, place, ignored=None):
        subprocess.run(["git", "init", "-q", "."], cwd=place, check=True)
        if ignored is not None:
            put(place, ".gitignore", ignored)

    @pytest.mark.parametrize("below", [False, True])
    def test_where_nothing_is_ignored_yet_the_lines_are_written(self, tmp_path, mine, below):
        self.repository(tmp_path if below else mine)
        assert "wrote .gitignore" in init(mine).out
        assert self.added(mine) == ["results/baselines/main/summary.csv"]
        assert "baselines" not in init(mine).out

    def test_a_file_that_is_there_is_not_changed_and_the_lines_are_said(self, mine):
        self.repository(mine, "*.pyc\n")
        said = init(mine).out
        assert (
            f"runs go to results/, which git should ignore except for baselines; add to .gitignore: {LINES}"
            in said
        )
        assert (mine / ".gitignore").read_text() == "*.pyc\n"
        put(mine, ".gitignore", "\n".join(["*.pyc", *LINES.split(" and ")]))
        assert self.added(mine) == ["results/baselines/main/summary.csv"]
        assert "gitignore" not in init(mine).out.replace(".gitignore is there", "")

    @pytest.mark.parametrize("line", ["results/", "/results/", "results", "**/results/**"])
    def test_a_line_that_ignores_baselines_too_is_named(self, mine, line):
        self.repository(mine, f"*.pyc\n{line}\n")
        said = init(mine).out
        assert (
            f"git would not add baselines (.gitignore:2: {line}): in place of that line write: {LINES}"
            in said
        )
        assert self.added(mine) == []
        put(mine, ".gitignore", "\n".join(LINES.split(" and ")))
        assert self.added(mine) == ["results/baselines/main/summary.csv"]

    def test_so_is_one_that_ignores_tables(self, mine):
        self.repository(mine, "*.csv\n/results/*\n!/results/baselines/\n")
        remedy = "!/results/baselines/**"
        assert f"git would not add baselines (.gitignore:1: *.csv): add: {remedy}\n" in init(mine).out
        put(mine, ".gitignore", f"{(mine / '.gitignore').read_text()}{remedy}\n")
        assert self.added(mine) == ["results/baselines/main/summary.csv"]

    def test_one_of_a_folder_above_is_found(self, tmp_path, mine):
        self.repository(tmp_path, "results/\n")
        assert "git would not add baselines (.gitignore:1: results/)" in init(mine).out.replace("../", "")
        assert not (mine / ".gitignore").exists()

    def test_outside_of_a_repository_nothing_is_said(self, mine):
        assert "gitignore" not in init(mine).out
        assert set(files(mine)) == set(WRITTEN)

    def test_nor_where_there_is_no_git(self, mine, monkeypatch):
        (mine / ".git").mkdir()
        monkeypatch.setenv("PATH", "")
        assert "wrote .gitignore" in init(mine).out
        assert "would not add" not in init(mine).out


class TestNames:
    @pytest.mark.parametrize(
        ("pyproject", "name"),
        [
            ("", "my_project_2"),
            ("[project]\nname = 'Deep.Learner'", "deep_learner"),
            ("[tool.poetry]\nname = 'poet'", "poet"),
            ("[project]\nname = 7", "my_project_2"),
            ("project = 'x'", "my_project_2"),
            ("[project]\nname = '../\"x'", "x"),
            ("[project]\nname = '_-'", "mine"),
            ("[project]\nname = 'json'", "json_loop"),
            ("[project]\nname = 'torch'", "torch_loop"),
            ("[project]\nname = 'flat'", "flat_loop"),
            ("[project]\nname = 'inner'", "inner_loop"),
            ("[project]\nname = 'single'", "single_loop"),
        ],
    )
    def test_of_the_project_or_the_folder_and_of_no_module(self, tmp_path, pyproject, name):
        place = tmp_path / "My Project-2"
        for path in ("flat/__init__.py", "src/inner/__init__.py", "single.py"):
            put(place, path)
        put(place, "pyproject.toml", pyproject)
        assert Project(place).suite_name == name

    def test_a_package_of_that_name_can_be_imported_from_the_suite(self, mine):
        put(mine, "mine/__init__.py", "WIDTHS = [3]")
        init(mine)
        suite = mine / "suites" / "mine_loop.py"
        text = suite.read_text().replace("from epochbench", "import mine\nfrom epochbench", 1)
        suite.write_text(text.replace('"mode": [', '"width": mine.WIDTHS,\n        "mode": ['))
        done = bench(mine, "list", "--axis", "device=cpu")
        assert "mine_loop/device=cpu/batch_size=64/width=3/mode=train" in done.out, done.err


NET = "from torch import nn\n\n\nclass {name}(nn.Module):\n    {body}\n"
PLAIN = "pass"


class TestOwnModel:
    def found(self, place, sources):
        for path, text in sources.items():
            put(place, path, text)
        return find_model(place)

    def test_it_is_named_in_the_suite_and_said(self, mine):
        put(mine, "package/nets.py", NET.format(name="TinyNet", body="def __init__(self, depth=3): ..."))
        done = init(mine)
        text = (mine / "suites" / "mine.py").read_text()
        assert "    #   from package.nets import TinyNet\n    #   model = TinyNet()\n" in text
        assert "your model: put package.nets.TinyNet into suites/mine.py" in done.out
        put(mine, "package/nets.py", NET.format(name="TinyNet", body=f"{PLAIN}\nraise SystemExit(9)"))
        assert bench(mine, "list").code == 0, "the suite does without it"

    def test_none_of_the_users_code_runs(self, mine):
        put(mine, "mine/__init__.py", "open('ran', 'w')\n")
        put(mine, "mine/nets.py", NET.format(name="Net", body=PLAIN) + "open('ran', 'w')\n")
        init(mine)
        assert not (mine / "ran").exists()

    @pytest.mark.parametrize(
        "text",
        [
            "import torch\nclass A(torch.nn.Module): ...",
            "import torch.nn as layers\nclass A(layers.Module): ...",
            "from torch.nn import Module\nclass A(Module): ...",
            "from torch.nn import Module as Base\nclass A(object, Base): ...",
            "import lightning as L\nclass A(L.LightningModule): ...",
            "from pytorch_lightning import LightningModule\nclass A(LightningModule): ...",
        ],
    )
    def test_however_its_base_is_written(self, tmp_path, text):
        assert self.found(tmp_path, {"a.py": text}) == OwnModel("a", "A")

    @pytest.mark.parametrize(
        "sources",
        [
            {},
            {"a.py": "from enum import Module\nclass A(Module): ..."},
            {"a.py": "from .nn import Module\nclass A(Module): ..."},
            {"a.py": NET.format(name="_Part", body=PLAIN)},
            {"a.py": "def Module(:\n"},
            {"a.py": "Module = \0"},
            {"a.py": "Module" + "[" * 5000},
            {"a.py": NET.format(name="A", body=PLAIN) + "#" * 300_000},
            {"tests/a.py": NET.format(name="A", body=PLAIN)},
            {"test_a.py": NET.format(name="A", body=PLAIN)},
            {".hidden/a.py": NET.format(name="A", body=PLAIN)},
            {"not-a-name/a.py": NET.format(name="A", body=PLAIN)},
            {"class/a.py": NET.format(name="A", body=PLAIN)},
            {"own/pyvenv.cfg": "", "own/lib/a.py": NET.format(name="A", body=PLAIN)},
        ],
    )
    def test_what_is_none(self, tmp_path, sources):
        assert self.found(tmp_path, sources) is None

    @pytest.mark.parametrize(
        ("signature", "needs", "call"),
        [
            ("self", (), "model = Net()"),
            ("self, width=3, *rest, depth=2, **more", (), "model = Net()"),
            ("self, width, depth=2", ("width",), "model = Net(width)"),
            (
                "self, width, /, height, *, depth, name=''",
                ("width", "height", "depth=depth"),
                "model = Net(width, height, depth=depth)",
            ),
        ],
    )
    def test_what_its_constructor_needs(self, tmp_path, signature, needs, call):
        body = f"def __init__({signature}): ..."
        model = self.found(tmp_path, {"a.py": NET.format(name="Net", body=body)})
        assert model == OwnModel("a", "Net", needs)
        assert model.lines == ("from a import Net", call)

    def test_of_several_the_one_that_is_called_a_model(self, tmp_path):
        needy = "def __init__(self, width): ..."
        sources = {
            "a.py": NET.format(name="Head", body=PLAIN),
            "b.py": NET.format(name="BigNet", body=needy),
            "package/deep/c.py": NET.format(name="SmallNet", body=PLAIN),
            "src/package/d.py": NET.format(name="MyModel", body=PLAIN),
        }
        assert self.found(tmp_path, sources) == OwnModel("package.d", "MyModel")

    def test_a_package_is_imported_by_its_name(self, tmp_path):
        sources = {"package/__init__.py": NET.format(name="Net", body=PLAIN)}
        assert self.found(tmp_path, sources) == OwnModel("package", "Net")

    def test_the_search_ends(self, tmp_path, monkeypatch):
        monkeypatch.setattr("bench.cli.project._MOST_FILES", 2)
        for name in ("a", "b"):
            put(tmp_path, f"{name}.py")
        assert self.found(tmp_path, {"c.py": NET.format(name="Net", body=PLAIN)}) is None

    def test_a_pipe_is_not_waited_for(self, mine):
        for name in ("a.py", "pyproject.toml", ".gitignore"):
            os.mkfifo(mine / name)
        init(mine)

    def test_nothing_is_said_of_the_users_text(self, mine):
        put(mine, "a.py", NET.format(name="Net", body="x = '\\d'"))
        done = subprocess.run(
            [sys.executable, "-W", "always", "-m", "bench", "init"],
            cwd=mine,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "your model: put a.Net" in done.stdout


class TestBadFolders:
    @pytest.mark.parametrize(
        ("folder", "words"),
        [
            ("nowhere", "folder nowhere does not exist; create it first: mkdir -p nowhere"),
            ("file", "file is not a folder; name that of your project"),
            ("file/below", "file/below is not a folder"),
            ("x" * 300, "cannot be read: File name too long; name another"),
            ("taken", "taken/suites/taken.py cannot be written: taken/suites is not a folder; rename it"),
        ],
    )
    def test_it_is_one_line_with_the_remedy(self, tmp_path, folder, words):
        put(tmp_path, "file")
        put(tmp_path, "taken/suites")
        before = files(tmp_path)
        done = bench(tmp_path, "init", folder)
        assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
        assert words in done.err
        assert files(tmp_path) == before

    @pytest.mark.skipif(sys.platform != "linux", reason="a folder in which nobody may write")
    def test_one_that_cannot_be_written(self, tmp_path):
        done = bench(tmp_path, "init", "/proc/self/task")
        assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
        assert "cannot be written" in done.err

    def test_a_disk_that_is_full_keeps_no_half_of_a_file(self, disk):
        with contextlib.suppress(OSError), (disk / "full").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        done = bench(disk, "init")
        assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
        assert "free space" in done.err
        assert set(files(disk)) == {"full"}


def building() -> tuple[str, ...]:
    """Flags of a build with the setuptools that is here; none where it is older than pyproject.toml asks for."""
    try:
        major = int(importlib.metadata.version("setuptools").partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return ()
    return ("--no-build-isolation", "--no-index") if major >= 77 else ()


class TestDistribution:
    def test_the_templates_are_part_of_it(self):
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
        patterns = settings["package-data"]["epochbench"]
        shipped = {path for pattern in patterns for path in (ROOT / "bench").glob(pattern)}
        assert shipped >= {path for path in TEMPLATES.iterdir() if path.is_file()}

    def test_so_is_every_package_and_each_under_its_name(self):
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
        folders = {file.parent.relative_to(ROOT) for file in (ROOT / "bench").rglob("*.py")}
        named = {".".join(("epochbench", *folder.parts[1:])) for folder in folders}
        assert set(settings["packages"]) == named - {"epochbench.as_bench"} | {"bench"}
        assert settings["package-dir"] == {"epochbench": "bench", "bench": "bench/as_bench"}

    @takes_long("builds a wheel")
    def test_a_wheel_installed_begun_and_run(self, tmp_path, mine):
        """Three commands of a user: pip install, bench init, bench run.

        What Epochbench requires is linked from where the tests have it: torch is not installed once more.
        """
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

        def run(*command, cwd=tmp_path) -> str:
            done = subprocess.run(list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        source, wheels, venv = tmp_path / "source", tmp_path / "wheels", tmp_path / "venv"
        source.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        shutil.copytree(ROOT / "bench", source / "bench", ignore=shutil.ignore_patterns("__pycache__"))
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
        run(*pip, "wheel", "--no-deps", *building(), "-w", wheels, source)
        run(sys.executable, "-m", "venv", "--without-pip", venv)
        (purelib,) = venv.glob("lib/python*/site-packages")
        for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            for entry in Path(place).iterdir():
                ours = entry.name.startswith(("bench", "epochbench", "__editable__", "pip", "__pycache__"))
                if not ours and not os.path.lexists(purelib / entry.name):
                    (purelib / entry.name).symlink_to(entry)

        (wheel,) = wheels.iterdir()
        run(*pip, "--python", venv / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
        program = venv / "bin" / "bench"
        assert "wrote suites/mine.py" in run(program, "init", cwd=mine)
        run(program, "run", *QUICK, "--axis", "device=cpu", cwd=mine)
        (measured,) = (mine / "results").iterdir()
        assert "train.step_time" in (measured / "summary.csv").read_text()
        python = venv / "bin" / "python"
        loaded = run(python, "-c", "import epochbench; print(epochbench.__file__)", cwd=mine)
        assert loaded.startswith(str(purelib)), "the wheel is what ran"
        same = "import bench, epochbench, bench.training as t; assert bench is epochbench and t is epochbench.training"
        run(python, "-c", same, cwd=mine)
        for command in (
            (venv / "bin" / "epochbench",),
            (python, "-m", "epochbench"),
            (python, "-m", "bench"),
        ):
            assert "mine/device=cpu/batch_size=64" in run(*command, "list", "--axis", "device=cpu", cwd=mine)
        typed = "import bench, epochbench\nfrom epochbench import Suite\nreveal_type(Suite)\nreveal_type(bench.Suite)\n"
        put(mine, "typed.py", typed)
        types = run(sys.executable, "-m", "mypy", "--python-executable", python, "typed.py", cwd=mine)
        assert types.count("epochbench.suite.matrix.Suite") == 2

        # Of a repository that has its own `bench` the tests run, and its suites have that one.
        suite = mine / "suites" / "mine.py"
        suite.write_text(f"from bench import models\n{suite.read_text()}")
        put(mine, "tests/test_it.py", "from bench import models\ndef test(): assert models.net == 'theirs'")
        for theirs in ("bench/__init__.py", "bench.py"):
            shutil.rmtree(mine / "bench", ignore_errors=True)
            put(mine, theirs, "class models: net = 'theirs'")
            assert "1 passed" in run(python, "-m", "pytest", "-q", "tests", cwd=mine)
            run(program, "run", *QUICK, "--axis", "device=cpu", "-k", "batch_size=64", cwd=mine)
        put(mine, "typed.py", typed.partition("\n")[2].replace("reveal_type(bench.Suite)", ""))
        assert "epochbench.suite.matrix.Suite" in run(
            sys.executable, "-m", "mypy", "--python-executable", python, "typed.py", cwd=mine
        )
