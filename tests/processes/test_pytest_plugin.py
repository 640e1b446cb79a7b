"""Suites as tests of pytest-benchmark: pytest itself, in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fakes import small_task
from tiers import takes_long

from bench import cli
from bench.pytest_plugin import holds_suite, timed
from bench.suite.case import Case
from bench.suite.matrix import Suite

ROOT = Path(__file__).parents[2]

SUITE = """
from bench import Suite, tasks

print("imported")
suite = Suite(
    name="tiny",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=lambda case: "too large" if case["batch_size"] == 512 else None,
    axes={
        "device": ["cpu"],
        "batch_size": [256, 512],
        "optimizer": ["adam", "sgd"],
        "epochs": [2],
        "mode": ["train", "eval"],
    },
)
"""
TRAIN = "suites/tiny.py::tiny/device=cpu/batch_size=256/optimizer={}/epochs=2/mode=train"
EVAL = "suites/tiny.py::tiny/device=cpu/batch_size=256/epochs=2/mode=eval"
CASES = [TRAIN.format("adam"), EVAL, TRAIN.format("sgd")]
FAILING = """
from bench import Suite, UsageError

def build(case):
    import torch
    from bench.training import Task
    if case["behaviour"] == "raises":
        raise ValueError("mine")
    if case["behaviour"] == "misnames":
        raise UsageError("no such thing: \\x1b[31m")
    data = [(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))]
    model = torch.nn.Linear(2, 2)
    factor = float("nan") if case["behaviour"] == "diverges" else 1.0
    loss = lambda outputs, targets: outputs.sum() * factor
    torn = (lambda: 1 / 0) if case["behaviour"] == "ends-badly" else None
    return Task(model, loss, torch.optim.SGD(model.parameters()), data, data, data, teardown=torn)

behaviours = ["raises", "misnames", "diverges", "ends-badly"]
suite = Suite(name="failing", build=build, axes={"device": ["cpu"], "behaviour": behaviours})
largest = Suite(name="largest", build=build, axes={"device": ["cpu"], "batch_size": ["max"], "behaviour": ["none"]})
"""
# What the processor is takes pytest-benchmark longer than the tests.
NO_MACHINE = "def pytest_benchmark_generate_machine_info(): return {'node': 'here'}"
UNUSABLE = {
    "import nowhere_at_all\nSuite()": "No module named 'nowhere_at_all'",
    "Suite(": "SyntaxError: '(' was never closed",
    "Suite(name='a', build=print)": "holds no suite; make one",
    "a = Suite(name='a', build=print, axes={'mode': ['fast']})": "unknown mode 'fast'; there are train, eval",
    "a = Suite(name='a', build=print, axes={'device': ['cpu']}, exclude=lambda case: 1 / 0)": (
        "suite 'a': exclude raised ZeroDivisionError: division by zero at "
    ),
    "b = Suite(name='tiny', build=print)": "two suites are named 'tiny'",
}
QUICK = ("--benchmark-max-time=0.001", "--benchmark-min-rounds=2")


class Project:
    """A folder with suites and tests, and pytest with the plugin as an installation of it has it."""

    def __init__(self, place: Path) -> None:
        self.place = place / "project"
        installed = place / "site" / "epochbench_door-1.dist-info"
        installed.mkdir(parents=True)
        declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
        lines = [f"{name} = {module}" for name, module in declared.items()]
        (installed / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: epochbench-door\nVersion: 1\n")
        self.path = os.pathsep.join([str(ROOT), str(installed.parent)])
        self.write("pytest.ini", "[pytest]\naddopts = --strict-markers -p no:cacheprovider\n")

    def write(self, name: str, text: str) -> None:
        (self.place / name).parent.mkdir(parents=True, exist_ok=True)
        (self.place / name).write_text(text)

    def pytest(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=self.place,
            env={**clean, "PYTHONPATH": self.path, "OMP_NUM_THREADS": "1", **variables},
            capture_output=True,
            text=True,
        )

    def collected(self, *words: str, **variables: str) -> list[str]:
        done = self.pytest(*words, "--collect-only", "-q", **variables)
        assert done.returncode in (0, 5), done.stdout + done.stderr
        return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.fixture
def project(tmp_path):
    found = Project(tmp_path)
    found.write("suites/tiny.py", SUITE)
    return found


@pytest.mark.parametrize("theirs", ["bench/__init__.py", "bench.py", "bench/models.py"])
@takes_long("runs pytest in a process of its own")
def test_a_repository_with_its_own_bench_has_its_tests_and_its_suites(project, theirs):
    models = "class Suite: pass\nclass models: net = 'theirs'\n"
    project.write(theirs, "net = 'theirs'\n" if theirs == "bench/models.py" else models)
    project.write("tests/test_it.py", "from bench import models\ndef test(): assert models.net == 'theirs'")
    uses = "from bench import models\nassert models.net == 'theirs'\n"
    project.write("suites/tiny.py", uses + SUITE.replace("from bench", "from epochbench"))
    project.write("conftest.py", NO_MACHINE)
    done = project.pytest("tests", "suites", *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CASES) + 1} passed" in done.stdout


class TestCollection:
    def test_each_case_is_a_test_and_a_test_of_the_users_stays_one(self, project):
        project.write("suites/test_mine.py", SUITE + "\ndef test_it(): pass")
        project.write("suites/_shared.py", SUITE)
        project.write("suites/names.py", "from bench import Suite\nraise RuntimeError")
        assert project.collected("suites") == ["suites/test_mine.py::test_it", *CASES]

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (["suites", "-k", "adam and not eval"], CASES[:1]),
            (["suites", "-k", "optimizer:sgd or mode:eval"], CASES[1:]),
            (["suites", "-m", "cuda or not cpu"], []),
            ([EVAL], [EVAL]),
        ],
    )
    @takes_long("runs pytest in a process of its own")
    def test_cases_are_chosen_as_tests_are(self, project, words, found):
        assert project.collected(*words) == found

    @takes_long("runs pytest in a process of its own")
    def test_the_configuration_that_the_docs_show_is_one(self, project):
        shown = re.findall(r"```ini\n(.*?)```", (ROOT / "docs" / "pytest.md").read_text(), re.DOTALL)
        project.write("pytest.ini", shown[0])
        project.write("more/suites/one.py", SUITE.replace("tiny", "more"))
        files = {line.partition("::")[0] for line in project.collected("more", "suites")}
        assert files == {"more/suites/one.py", "suites/tiny.py"}

    @takes_long("runs pytest in a process of its own")
    def test_a_file_is_imported_once_and_is_no_module_of_tests(self, project):
        twice = ("--keep-duplicates", "suites/tiny.py", "suites/tiny.py")
        done = project.pytest(*twice, "--doctest-modules", "--collect-only", "-q", "-s")
        assert done.stdout.count("imported") == 1
        assert done.stdout.count("::") == 2 * len(CASES)

    @takes_long("runs pytest in a process of its own")
    def test_only_what_is_named_or_configured_is_looked_at(self, project):
        for folder in ("more", "more/inner", "tests"):
            project.write(f"{folder}/one.py", SUITE.replace("tiny", folder.replace("/", "-")))
        project.write("tests/test_mine.py", "def test_it(): pass")
        mine = "tests/test_mine.py::test_it"

        assert project.collected() == [*CASES, mine]
        named = project.collected("more")
        assert [name.partition("::")[0] for name in named] == ["more/one.py"] * 3
        project.write("pytest.ini", "[pytest]\nbench_suites = more/inner nowhere\ntestpaths = more tests\n")
        kept = project.collected()
        assert [name.partition("::")[0] for name in kept] == ["more/inner/one.py"] * 3 + [
            "tests/test_mine.py"
        ]

    @takes_long("runs pytest in a process of its own")
    def test_a_key_may_lead_out_of_the_folder_of_the_configuration(self, project):
        project.write("tests/pytest.ini", "[pytest]\nbench_suites = ../suites\n")
        project.write("tests/test_mine.py", "def test_it(): pass")
        found = project.collected("-c", "tests/pytest.ini", "--rootdir=tests", ".")
        assert [name.partition("::")[2] for name in found] == [
            *(case.partition("::")[2] for case in CASES),
            "test_it",
        ]

    @takes_long("runs pytest in a process of its own")
    def test_without_pytest_benchmark_nothing_of_it_is_there(self, project):
        project.write("suites/test_mine.py", "def test_it(): pass")
        project.write("pytest_benchmark/__init__.py", "raise ImportError")
        own = ["suites/test_mine.py::test_it"]
        assert project.collected("suites", "-p", "no:benchmark") == own
        absent = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p epochbench"}
        assert project.collected("suites", **absent) == own
        done = project.pytest("suites", "-q", "-p", "no:benchmark")
        assert (done.returncode, done.stderr) == (0, "")
        assert "bench" not in done.stdout

    @takes_long("runs pytest in a process of its own")
    def test_a_file_that_cannot_be_used_is_one_line(self, project):
        for number, text in enumerate(UNUSABLE):
            project.write(f"suites/unusable{number}.py", f"from bench import Suite\n{text}")
        done = project.pytest("suites", "--collect-only", "-q")
        assert done.returncode == 2
        for number, says in enumerate(UNUSABLE.values()):
            said = re.search(rf"_ ERROR collecting suites/unusable{number}.py _+\n(.*)\n[_=]", done.stdout)
            assert said is not None, done.stdout
            assert says in said.group(1)

    @takes_long("runs pytest in a process of its own")
    def test_the_traceback_of_one_is_there_for_who_wants_it(self, project):
        project.write("suites/tiny.py", "from bench import Suite\n1 / 0\nSuite()")
        done = project.pytest("suites", "--collect-only", "-q", "--tb=long")
        assert "(--tb=long shows the traceback)" in done.stdout
        assert 'suites/tiny.py", line 2, in <module>' in done.stdout

    @takes_long("runs pytest in a process of its own")
    def test_a_key_that_cannot_be_is_refused(self, project):
        project.write("pytest.ini", "[pytest]\nbench_allocator = fast\n")
        done = project.pytest("suites")
        assert done.returncode == 4
        assert "bench_allocator must be pinned or system, not 'fast'" in done.stderr


@takes_long("runs pytest in a process of its own")
def test_fixtures_of_the_users_may_ask_for_the_module(project):
    project.write(
        "conftest.py",
        f"""
import pytest
{NO_MACHINE}

@pytest.fixture(autouse=True, scope="module")
def once(request):
    print("of", request.module.suite.name)

@pytest.fixture(autouse=True)
def each(request):
    print("in", request.module.__name__, request.cls)
""",
    )
    done = project.pytest("suites", "-sq", "--benchmark-disable", "-k", "eval")
    assert done.returncode == 0, done.stdout
    assert re.findall("^(?:of|in|imported).*", done.stdout, re.MULTILINE) == [
        "imported",
        "of tiny",
        "in bench_suite_tiny None",
    ]


@takes_long("runs pytest in a process of its own")
def test_helpers_of_one_name_beside_suites_are_each_suites_own(project):
    """While files are read, and again while cases are built."""
    text = f"""
from helpers.sizes import SIZE

def build(case):
    import helpers.sizes, other
    assert (helpers.sizes.SIZE, other.SIZE) == (SIZE, SIZE) == (case.suite, case.suite)
    return tasks.build(case)
{SUITE.replace("build=tasks.build", "build=build")}
"""
    for name in ("one", "two"):
        project.write(f"{name}/suite.py", text.replace('"tiny"', f'"{name}"'))
        project.write(f"{name}/helpers/__init__.py", "")
        project.write(f"{name}/helpers/sizes.py", f"SIZE = {name!r}")
        project.write(f"{name}/other.py", f"SIZE = {name!r}")
    done = project.pytest("one", "two", "-q", "--benchmark-disable", "-k", "eval")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


class Measured:
    """What one run of two suites came to, one of which fails."""

    def __init__(self, place: Path) -> None:
        project = Project(place)
        project.write("suites/tiny.py", SUITE)
        project.write("suites/zfailing.py", FAILING)
        project.write("pytest.ini", "[pytest]\nbench_allocator = pinned\n")
        project.write("conftest.py", NO_MACHINE)
        choice = ("-k", "adam or eval or behaviour", "-rs")
        grouped = "--benchmark-group-by=group,param:optimizer"
        done = project.pytest("suites", *choice, *QUICK, grouped, "--benchmark-json=out.json")
        self.file, self.printed, self.code = project.place / "out.json", done.stdout, done.returncode


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return Measured(tmp_path_factory.mktemp("measured"))


@takes_long("measures in a process of its own")
class TestMeasuring:
    def test_what_was_measured_is_said(self, measured):
        assert "benchmark 'tiny optimizer=adam': 1 tests" in measured.printed
        assert "benchmark 'tiny optimizer=None': 1 tests" in measured.printed
        train, evaluated = json.loads(measured.file.read_text())["benchmarks"]
        assert [train["fullname"], evaluated["fullname"]] == CASES[:2]
        assert train["group"] == "tiny"
        assert train["stats"]["rounds"] >= 2
        notes = train["extra_info"]
        assert notes.pop("torch")
        assert notes.pop("epochbench")
        assert notes.pop("allocator") in ("pinned", "unpinned")  # as this machine has it
        assert notes == {
            "suite": "tiny",
            "case": CASES[0].partition("::")[2],
            "device": "cpu",
            "mode": "train",
            "threads": 1,
            "axes": ["device", "batch_size", "optimizer", "epochs", "mode"],
            "batch_size": 256,
            "optimizer": "adam",
            "epochs": 2,
            "work.samples": 256,
        }
        assert "optimizer" not in evaluated["extra_info"]

    def test_two_files_are_compared_case_by_case(self, measured, tmp_path, monkeypatch, capsys):
        slower = json.loads(measured.file.read_text())
        for benchmark in slower["benchmarks"]:
            del benchmark["stats"]["data"]
            benchmark["stats"]["median"] *= 1.01
        other = tmp_path / "other.json"
        other.write_text(json.dumps(slower))
        words = ["compare", str(measured.file), str(other), "--allow-inconclusive", "-k", "optimizer=adam"]
        monkeypatch.setenv("COLUMNS", "200")
        assert cli.exit_code(words) == 0
        printed = capsys.readouterr().out
        assert "optimizer=adam" in printed
        assert "mode=eval" not in printed

    @takes_long("runs pytest three times")
    def test_what_was_kept_is_compared_with_drawn_and_fails_a_build(self, project):
        pytest.importorskip("pygal")
        project.write("conftest.py", NO_MACHINE)
        words = ("suites", "-k", "eval", *QUICK)
        assert project.pytest(*words, "--benchmark-save=kept").returncode == 0
        (kept,) = project.place.glob(".benchmarks/*/*_kept.json")
        compared = (*words, "--benchmark-compare", "--benchmark-compare-fail=median:900%")
        done = project.pytest(*compared, "--benchmark-histogram=drawn")
        assert done.returncode == 0, done.stdout
        (drawn,) = project.place.glob("drawn*.svg")
        assert EVAL.partition("::")[2] in drawn.read_text()
        was = json.loads(kept.read_text())
        was["benchmarks"][0]["stats"]["median"] /= 1000
        kept.write_text(json.dumps(was))
        done = project.pytest(*compared)
        assert done.returncode != 0
        assert "Performance has regressed" in done.stdout + done.stderr

    def test_a_case_that_fails_says_why_and_has_no_times(self, measured):
        assert measured.code == 1
        assert "4 failed, 2 passed, 1 skipped" in measured.printed
        assert "ZeroDivisionError" in measured.printed
        assert "batch_size=max: only bench run searches for the largest that fits" in measured.printed
        assert "ValueError: mine" in measured.printed
        assert "\nno such thing: \\x1b[31m\n" in measured.printed
        assert "\nafter its last step the loss is nan; try a smaller learning_rate\n" in measured.printed
        assert "stepwise" not in measured.printed, "frames of this package"
        assert "warning" not in measured.printed


class Fixture:
    """What a test has of pytest-benchmark."""

    def __init__(self, enabled):
        self.enabled, self.extra_info, self.group, self.steps = enabled, {}, None, []

    def __call__(self, step):
        self.steps.append(step.samples)
        step()


class Config:
    def getini(self, name):
        return "system"


@pytest.mark.parametrize(("enabled", "calls"), [(True, 8), (False, 1)])
def test_warm_up_is_left_out_where_nothing_is_timed(enabled, calls):
    from bench.training import forward_and_loss

    made = []

    def build(case):
        return small_task(step=lambda *given: made.append(1) or forward_and_loss(*given))

    suite, fixture = Suite(name="mine", build=build), Fixture(enabled)
    timed(suite, Case("mine"), Config(), Path(__file__))(fixture)
    assert len(made) == calls, "three batches to train on, two to validate, two to test, and the step"
    assert len(fixture.steps) == 1
    assert (fixture.group, fixture.extra_info["allocator"]) == ("mine", "unpinned")
    assert fixture.extra_info["work.samples"] == 4


def test_an_axis_that_nothing_reads_is_warned_of():
    def build(case):
        return small_task() if case["read"] else None

    suite = Suite(name="mine", build=build)
    run = timed(suite, Case("mine", {"read": 1, "optimizer": "sgd"}), Config(), Path(__file__))
    with pytest.warns(UserWarning, match=r"^mine/read=1/optimizer=sgd: .* declares \(optimizer\)"):
        run(Fixture(False))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("from bench import Suite\nsuite = Suite()", True),
        ("from bench import tasks, Suite as S\nfor n in range(2):\n    globals()[n] = S()", True),
        ("from bench.suite.matrix import Suite\nfirst, second = Suite(), Suite()", True),
        ("import bench\nsuite = bench.Suite()", True),
        ("import bench as b\nsuite = b.Suite()", True),
        ("import bench.suite.matrix\nsuite = bench.suite.matrix.Suite()", True),
        ("from bench import Suite\ndef make():\n    return Suite()\nsuite = make()", True),
        ("from bench import Suite\ndef make():\n    return Suite()", False),
        ("from bench import Suite\nclass Test:\n    suite = Suite()", False),
        ("from bench import Suite\ndef test(suite=None) -> Suite: ...", False),
        ("from unittest import TestSuite as Suite\nsuite = Suite()", False),
        ("import unittest\nsuite = unittest.TestSuite()", False),
        ("suite = 'from bench import Suite; Suite()'", False),
        ("from bench import Suite\nsuite = Suite(", True),
        ("benches = (", False),
        ("suite\0", False),
    ],
)
def test_a_suite_is_seen_without_importing_its_file(tmp_path, text, holds):
    place = tmp_path / "one.py"
    place.write_text(text)
    assert holds_suite(place) is holds


@pytest.mark.parametrize(
    ("text", "theirs", "holds"),
    [
        ("from epochbench import Suite\nsuite = Suite()", "bench.py", True),
        ("from epochbench.suite.matrix import Suite\nsuite = Suite()", "bench.py", True),
        ("import epochbench\nsuite = epochbench.Suite()", "bench/__init__.py", True),
        ("from bench import Suite\nsuite = Suite()", "bench/__init__.py", False),
        ("import bench\nsuite = bench.Suite()", "bench.py", False),
        ("from bench import Suite\nsuite = Suite()", "bench/models.py", True),
    ],
)
@pytest.mark.parametrize("beside", [True, False])
def test_a_class_of_their_own_bench_makes_none(tmp_path, monkeypatch, text, theirs, holds, beside):
    place = tmp_path / ("one.py" if beside else "suites/one.py")
    for path, content in ((tmp_path / theirs, ""), (place, text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.chdir(tmp_path)
    assert holds_suite(place) is holds


@pytest.mark.parametrize("cookie", ["# coding: latin-1\n", ""])
def test_the_encoding_of_a_file_is_for_python_to_say(tmp_path, cookie):
    """Without a cookie this is a syntax error: it is collected, so that it is said."""
    place = tmp_path / "latin.py"
    place.write_bytes(f"{cookie}from bench import Suite\nSuite(name='caf\xe9')".encode("latin-1"))
    assert holds_suite(place)


def test_what_is_not_there_holds_none(tmp_path):
    assert not holds_suite(tmp_path / "gone.py")
    (tmp_path / "folder.py").mkdir()
    assert not holds_suite(tmp_path / "folder.py")


READS_A_COMMAND_LINE = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=3)
WIDTH = parser.parse_args().width
from bench import Suite
suite = Suite(name="worded", build=print, axes={"device": ["cpu"], "width": [WIDTH]})
"""


@takes_long("runs pytest in a process of its own")
def test_a_suite_that_reads_a_command_line_does_not_find_that_of_pytest(project):
    project.write("suites/worded.py", READS_A_COMMAND_LINE)
    assert "suites/worded.py::worded/device=cpu/width=3" in project.collected()


@takes_long("runs pytest in a process of its own")
def test_the_tests_of_this_repository_are_no_suites(tmp_path):
    project = Project(tmp_path)
    project.place = ROOT
    assert project.collected("tests", "--ignore-glob=*/test_*.py") == []
