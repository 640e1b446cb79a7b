"""The other door: the cases of suites as tests of pytest-benchmark, one test a case.

`pytest suites/` collects them; without pytest-benchmark nothing is collected. Unlike every verb of `bench` this
door runs user code in its own process. Torch is imported only once a suite needs it.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import __version__
from bench.case import ALLOCATORS, Case, spell
from bench.errors import BenchError, UsageError
from bench.report.units import plain
from bench.suite import Suite

if TYPE_CHECKING:
    from bench.worker.stepwise import Stepper

SUITES, ALLOCATOR = "bench_suites", "bench_allocator"  # keys of pytest's configuration
TEST_FILES = ("test_*.py", "*_test.py", "conftest.py")
KINDS = ("cpu", "cuda")  # of devices: markers even where no suite is collected

_LOADED = pytest.StashKey[dict[Path, list[Suite]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two keys of the configuration; there is no flag."""
    parser.addini(SUITES, "Folders and files of Epochbench suites, from rootdir.", "args", ["suites"])
    parser.addini(ALLOCATOR, "system, or pinned: keep freed memory in the process.", default="system")


def pytest_configure(config: pytest.Config) -> None:
    """Raises pytest.UsageError for a value that a key cannot have."""
    if config.getini(ALLOCATOR) not in ALLOCATORS:
        raise pytest.UsageError(
            f"{ALLOCATOR} must be {' or '.join(ALLOCATORS)}, not {config.getini(ALLOCATOR)!r}"
        )
    config.stash[_LOADED] = {}
    for kind in KINDS:
        register(config, kind)


def register(config: pytest.Config, kind: str) -> None:
    """Makes a kind of device a known marker, where it is none yet."""
    known = {re.split(r"[:(]", line, maxsplit=1)[0].strip() for line in config.getini("markers")}
    if kind not in known:
        config.addinivalue_line("markers", f"{kind}: cases of suites that run on {kind}")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """A suite file is collected as such, and not as a module of tests as well: that would import it twice."""
    found = yield
    if not is_collected(file_path, parent.session) or not holds_suite(file_path):
        return found
    others = [collector for collector in found if not isinstance(collector, pytest.Module)]
    return [*others, SuiteFile.from_parent(parent, path=file_path)]


def is_collected(path: Path, session: pytest.Session) -> bool:
    """Whether a suite is looked for in a file: it, or its folder, is on the command line or in `bench_suites`."""
    config = session.config
    if not config.pluginmanager.hasplugin("pytest-benchmark"):
        return False
    # Who collects tests from *.py says nothing of a file by its name.
    tests = [*TEST_FILES, *(pattern for pattern in config.getini("python_files") if pattern != "*.py")]
    name = path.name
    if path.suffix != ".py" or name.startswith("_") or any(fnmatch.fnmatch(name, test) for test in tests):
        return False
    named = config.args_source is pytest.Config.ArgsSource.ARGS and (
        session.isinitpath(path) or session.isinitpath(path.parent)
    )
    return named or any(path.is_relative_to(config.rootpath / place) for place in config.getini(SUITES))


def holds_suite(path: Path) -> bool:
    """Whether a file makes a suite when it is imported, by its text alone: nobody knows yet what it would do.

    It calls `bench.Suite` at its top level, or a function of its own that does.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return re.search(r"\bbench\b", source) is not None and re.search(r"\bSuite\b", source) is not None
    makers: set[str] = set()
    for statement in statements:
        match statement:
            case ast.ImportFrom(module="bench" | "bench.suite"):
                makers |= {one.asname or one.name for one in statement.names if one.name == "Suite"}
            case ast.Import():
                names = {one.name: one.asname or one.name for one in statement.names}
                makers |= {f"{names[name]}.Suite" for name in ("bench", "bench.suite") if name in names}
            case ast.FunctionDef():
                makers |= {statement.name} if calls_one_of(makers, statement) else set()
            case ast.ClassDef() | ast.AsyncFunctionDef():
                continue
            case _ if calls_one_of(makers, statement):
                return True
    return False


def calls_one_of(functions: set[str], code: ast.AST) -> bool:
    """Whether some code calls one of these functions by its name."""
    return any(isinstance(node, ast.Call) and ast.unparse(node.func) in functions for node in ast.walk(code))


class SuiteFile(pytest.File):
    """A file of suites: a test for each of their cases on this machine."""

    def collect(self) -> Iterator[pytest.Item]:
        """Raises CollectError, in the words that `bench list` has, for a file that cannot be used."""
        try:
            for suite in self.suites():
                for case in cases(suite):
                    yield CaseTest.of(self, suite, case)
        except UsageError as problem:
            raise self.CollectError(self.said(problem)) from None

    def suites(self) -> list[Suite]:
        """The suites of the file, which is imported once however often it is collected."""
        from bench.worker import suites

        loaded = self.config.stash[_LOADED]
        if self.path not in loaded:
            loaded[self.path] = suites.load(self.path)
        suites.check_names([(str(path), suite) for path, found in loaded.items() for suite in found])
        return loaded[self.path]

    def said(self, problem: UsageError) -> str:
        """The error on one line; its traceback where --tb=long asks for it."""
        lines = [str(problem).replace("--debug shows", "--tb=long shows")]  # pytest's --debug is another
        if self.config.getoption("tbstyle") == "long":
            lines += problem.detail.splitlines()
        return "\n".join(map(plain, lines))


def cases(suite: Suite) -> list[Case]:
    """The cases of a suite on this machine. Raises UsageError, also where its own `exclude` fails."""
    devices = ["cpu"]
    if suite.needs_devices({}):
        from bench.worker.environment import available_devices  # torch: only where it must be

        devices = available_devices()
    try:
        return suite.expand(devices).cases
    except UsageError:
        raise
    except Exception as problem:
        from bench.worker.suites import one_line

        raise UsageError(f"suite {suite.name!r} cannot be expanded: {one_line(problem)}") from None


class CaseTest(pytest.Function):
    """The test of one case: its name is the id of the case, and `axis:value` is a keyword too."""

    @classmethod
    def of(cls, parent: SuiteFile, suite: Suite, case: Case) -> CaseTest:
        """The test of this case, a child of its file."""
        test = cls.from_parent(parent, name=plain(case.id), callobj=timed(suite, case, parent.config))
        kind = case.device.partition(":")[0]
        register(parent.config, kind)
        test.add_marker(kind)
        # Said of a case that could not be built, whose failure says it better.
        test.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"))
        # pytest's -k has another use for the equals sign.
        test.extra_keyword_matches |= {f"{axis}:{spell(value)}" for axis, value in case.used.items()}
        return test

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the test is: in the suite file and not in this one."""
        return self.path, 0, self.name  # a line there must be: warnings have one

    def repr_failure(  # type: ignore[override]  # as pytest's own, which takes no style either
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> Any:
        """What Epochbench says on purpose, alone; of anything else the frames from the user's own code on."""
        from bench.worker.suites import FOREIGN

        if isinstance(excinfo.value, BenchError):
            return plain(str(excinfo.value))
        own = [entry.path for entry in excinfo.traceback if not str(entry.path).startswith(FOREIGN)]
        if own and not self.config.getoption("fulltrace"):
            excinfo.traceback = excinfo.traceback.cut(path=own[0])
        return super().repr_failure(excinfo)


def timed(suite: Suite, case: Case, config: pytest.Config) -> Callable[[Any], None]:
    """The function of a test: one step of the case, again and again, as pytest-benchmark is told to."""

    def run(benchmark: Any) -> None:
        from bench.worker import stepwise

        pins = config.getini(ALLOCATOR) == "pinned"
        with stepwise.prepared(suite, case, pins, warms_up=benchmark.enabled) as step:
            benchmark.group = case.suite
            benchmark.extra_info |= described(case, step.conditions)
            benchmark(step)
            benchmark.extra_info["work.samples"] = step.samples
            checked(benchmark, step)

    return run


def checked(benchmark: Any, step: Stepper) -> None:
    """Raises what `check_finite` does; the times of such a case are not kept."""
    try:
        step.check_finite()
    except BenchError:
        benchmark.has_error = True
        raise


def described(case: Case, conditions: dict[str, Any]) -> dict[str, Any]:
    """What a test says of its case. `axes` names those that have a key of their own, above all other keys."""
    return {
        "epochbench": __version__,
        "suite": case.suite,
        "case": case.id,
        "device": case.device,
        "mode": case.mode,
        **conditions,
        "axes": list(case.used),
        **case.used,
    }
