"""`bench` is Epochbench where nobody else has one, and then it is the very same modules."""

from __future__ import annotations

import importlib
import os
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import bench
import bench.training
from bench import alias
from bench.errors import SuiteError
from bench.worker import suites

ROOT = Path(__file__).parents[2]
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages([str(ROOT / "bench")], "bench.")
    if not name.endswith("__main__") and name not in ("bench.as_bench", "bench.templates.suite")
]


def python(code: str, folder: Path, *path: Path) -> str:
    """What a fresh interpreter says in a folder, with further folders behind it on the search path."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path or (ROOT,)))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


class TestTheSameModules:
    def test_all_of_them_are(self):
        assert len(MODULES) > 100
        for name in MODULES:
            module = importlib.import_module(name)
            assert module is importlib.import_module(f"epoch{name}"), name
            assert module.__name__ == module.__spec__.name == f"epoch{name}"

    def test_the_package_is(self):
        import epochbench

        assert bench is epochbench
        assert bench.training is epochbench.training

    def test_a_function_of_the_name_of_its_module_stays(self):
        code = (
            "import bench; from bench.watch import listen; assert bench.watch([1]) == [1] == bench.watch([1])"
        )
        assert python(code, ROOT) == ""

    def test_none_is_loaded_twice(self):
        code = f"""
import importlib, sys
for name in {MODULES}:
    importlib.import_module(name)
files = [module.__spec__.origin for module in set(sys.modules.values()) if getattr(module, "__spec__", None)]
print([file for file in files if file and "/bench/" in file and files.count(file) > 1])
"""
        assert python(code, ROOT) == "[]\n"

    def test_pickles_are_of_the_own_name(self):
        text = pickle.dumps(bench.Case, protocol=0)
        assert b"epochbench.suite.case" in text
        assert pickle.loads(text.replace(b"epochbench.suite.case", b"bench.suite.case")) is bench.Case

    def test_they_are_loaded_anew(self):
        code = (
            "import importlib, bench, bench.suite.case as c, epochbench; assert importlib.reload(c) is c; "
            "assert importlib.reload(bench) is bench is epochbench; from bench import Case; assert Case is c.Case; "
            "print(bench.__spec__.name, bench.__path__ == [bench.__file__.removesuffix('/__init__.py')])"
        )
        assert python(code, ROOT) == "epochbench True\n"

    def test_what_is_not_there_is_not(self):
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'bench\.nothing'"):
            import bench.nothing  # noqa: F401

    def test_a_child_that_is_spawned_has_them(self, tmp_path):
        told = (
            "from bench.suite.case import Case\nimport epochbench.suite.case\n"
            "def told(kind):\n    return kind is Case is epochbench.suite.case.Case\n"
        )
        go = (
            "import multiprocessing\nfrom bench import Case\nfrom told import told\n"
            "for method in ('spawn', 'forkserver'):\n"
            "    with multiprocessing.get_context(method).Pool(1) as pool:\n"
            "        print(*pool.map(told, [Case]))"
        )
        put(tmp_path, {"told.py": told})
        assert python(go, tmp_path) == "True\nTrue\n"

    @pytest.mark.parametrize("name", ["bench", "epochbench"])
    def test_each_is_a_command(self, name, tmp_path):
        done = subprocess.run(
            [sys.executable, "-m", name, "show", "nothing"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith("bench: ")


class TestSomebodyElses:
    @pytest.mark.parametrize("file", ["bench.py", "bench/__init__.py"])
    @pytest.mark.parametrize("behind", [False, True])
    def test_it_comes_first_wherever_it_lies(self, tmp_path, file, behind):
        put(tmp_path / "theirs", {file: "models = 'theirs'", "bench/suite/matrix.py": "x = 1"})
        path = (ROOT, tmp_path / "theirs") if behind else (tmp_path / "theirs", ROOT)
        code = "from bench import models; import epochbench; print(models, epochbench.Suite.__module__)"
        assert python(code, tmp_path, *path) == "theirs epochbench.suite.matrix\n"

    def test_its_modules_are_its_own(self, tmp_path):
        put(
            tmp_path,
            {f"bench/{name}.py": "x = 'theirs'" for name in ("suite", "watch")} | {"bench/__init__.py": ""},
        )
        code = (
            "import epochbench, epochbench.running.rounds; from bench import suite, watch; from bench.suite import x; "
            "print(suite.x, watch.x, suite is epochbench.suite)"
        )
        assert python(code, tmp_path) == "theirs theirs False\n"

    def test_so_are_those_of_a_folder_without_init(self, tmp_path):
        files = {"models.py": "x = 'theirs'", "suite.py": "x = 'theirs'", "deep/inner.py": "x = 'theirs'"}
        put(tmp_path, {f"bench/{name}": text for name, text in files.items()})
        code = (
            "from bench import models, suite, Suite; import bench.deep.inner as inner\n"
            "from bench.training import Task; "
            "import epochbench.training; print(models.x, suite.x, inner.x, Suite is epochbench.Suite, "
            "Task is epochbench.training.Task)"
        )
        assert python(code, tmp_path) == "theirs theirs theirs True True\n"

    def test_what_neither_has_is_said_of_the_folder(self, tmp_path):
        (tmp_path / "bench").mkdir()
        code = "import bench\ntry:\n    bench.nothing\nexcept AttributeError as problem:\n    print(problem)"
        assert python(code, tmp_path) == "module 'bench' has no attribute 'nothing'\n"

    def test_another_version_of_epochbench_is_no_other_package(self, tmp_path):
        opening = (ROOT / "bench/__init__.py").read_text().splitlines()[0]
        put(tmp_path, {"bench/__init__.py": f"{opening}\nSuite = None"})
        code = (
            "from epochbench import alias; alias.install(); from bench import Suite; print(Suite.__module__)"
        )
        assert python(code, tmp_path) == "epochbench.suite.matrix\n"

    def test_every_file_that_stands_for_bench_begins_so(self):
        for file in ("bench/__init__.py", "bench/as_bench/__init__.py"):
            assert alias._is_epochbench(str(ROOT / file))
        assert not alias._is_epochbench(str(ROOT / "bench/suite/case.py"))

    def test_what_finds_packages_otherwise_is_asked_too(self, tmp_path, monkeypatch):
        put(tmp_path, {"elsewhere/__init__.py": ""})
        found = importlib.util.spec_from_file_location("bench", tmp_path / "elsewhere/__init__.py")

        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                return found if name == "bench" else None

        assert alias.somebody_elses() is None
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
        assert alias.somebody_elses() is found

    def test_of_two_suites_in_one_process_each_has_its_own(self, tmp_path):
        suite = "from epochbench import Suite\n{}\nsuite = Suite(name={!r}, build=print, axes={{}})\n"
        put(
            tmp_path,
            {
                "a/own.py": suite.format("import bench; assert bench.Suite is Suite", "a"),
                "b/bench.py": "x = 1",
            },
        )
        put(tmp_path, {"b/own.py": suite.format("from bench import x", "b")})
        code = (
            "from pathlib import Path; from epochbench.worker.suites import load; "
            "print([load(Path(folder, 'own.py').resolve())[0].name for folder in 'ab'])"
        )
        assert python(code, tmp_path) == "['a', 'b']\n"


class TestAdvice:
    """Whoever meant Epochbench, and got their own."""

    @pytest.fixture
    def theirs(self, tmp_path, monkeypatch):
        """A folder with a package `bench`, to import from."""
        put(tmp_path, {"bench/__init__.py": "from . import models", "bench/models.py": "x = 1"})
        kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "bench"}
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        # An editable install has a finder that gives its own modules whatever package they are asked of.
        finders = [
            one for one in sys.meta_path if not getattr(one, "__module__", "").startswith("__editable__")
        ]
        monkeypatch.setattr(sys, "meta_path", finders)
        monkeypatch.chdir(tmp_path)
        yield tmp_path
        for name in [name for name in sys.modules if name.split(".")[0] == "bench"]:
            del sys.modules[name]
        sys.modules.update(kept)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("from bench import Suite", "from epochbench import Suite"),
            ("from bench import Case, models", "from epochbench import Case"),
            ("from bench.training import Task", "from epochbench.training import ..."),
            ("from bench.tasks.models import build", "from epochbench.tasks import ..."),
            ("import bench; bench.watch([])", "import epochbench, and epochbench.watch"),
        ],
    )
    def test_a_suite_is_told_the_line(self, theirs, line, said):
        path = put(theirs, {"mine.py": line}) / "mine.py"
        with pytest.raises(SuiteError) as caught:
            suites.load(path)
        theirs_is = theirs / "bench/__init__.py"
        assert str(caught.value) == f"{path}: bench is not Epochbench there, but {theirs_is}; write: {said}"
        assert "Traceback" in caught.value.detail

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("from bench import nothing", "cannot import name 'nothing'"),
            ("import bench.nothing", "No module named 'bench.nothing'"),
            ("from bench.models import Suite", "cannot import name 'Suite' from 'bench.models'"),
            ("import bench; bench.nothing", "has no attribute 'nothing'"),
            ("from epochbench import nothing", "cannot import name 'nothing' from 'epochbench'"),
        ],
    )
    def test_any_other_error_stays_what_it_is(self, theirs, line, problem):
        path = put(theirs, {"mine.py": line}) / "mine.py"
        with pytest.raises(SuiteError, match=problem) as caught:
            suites.load(path)
        assert "does not import" in str(caught.value)

    def test_nothing_is_said_where_it_is_ours(self):
        problem = ImportError("cannot import name 'Suite' from 'bench'", name="bench")
        assert alias.advice(problem) == ""


class Odd:
    def __getattr__(self, name):
        raise RuntimeError(name)


@pytest.mark.parametrize("module", [None, 7, Odd], ids=str)
def test_any_object_may_be_among_the_modules(module):
    assert not alias.is_own(Odd() if module is Odd else module)
