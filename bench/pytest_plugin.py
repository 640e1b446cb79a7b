"""The cases of suites as tests of pytest-benchmark, one test a case.

`pytest suites/` collects them; without pytest-benchmark nothing is collected. Unlike every verb of `bench` the plugin
runs user code in its own process. Torch is imported only once a suite needs it.
"""

from __future__ import annotations

import ast
import contextlib
import fnmatch
import os
import re
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from . import __version__
from .alias import OTHER, OWN, somebody_elses
from .errors import BenchError, UsageError
from .report.caveat_texts import RunSettings, caveat_text
from .report.safe_text import plain
from .suite.case import ALLOCATORS, MAX, AxisValue, Case, axis_column, spell
from .suite.matrix import Suite
from .system.paths import is_own
from .user_errors import one_line

SUITES, ALLOCATOR = "bench_suites", "bench_allocator"  # keys of pytest's configuration
TEST_FILES = ("test_*.py", "*_test.py", "conftest.py")
KINDS = ("cpu", "cuda")  # of devices: markers even where no suite is collected

_LOADED = pytest.StashKey[dict[Path, tuple[ModuleType, list[Suite]]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two keys of the configuration; there are no options."""
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
    """Makes a kind of device a known marker."""
    known = {re.split(r"[:(]", line, maxsplit=1)[0].strip() for line in config.getini("markers")}
    if kind not in known:
        config.addinivalue_line("markers", f"{kind}: cases of suites that run on {kind}")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """A suite file is not collected as a module of tests as well: that would import it twice."""
    found = yield
    if not is_collected(file_path, parent.session) or not holds_suite(file_path):
        return found
    others = [collector for collector in found if not isinstance(collector, pytest.Module)]
    return [*others, SuiteFile.from_parent(parent, path=file_path)]


def is_collected(path: Path, session: pytest.Session) -> bool:
    """Whether a file is searched for suites: it, or its folder, is on the command line or in `bench_suites`."""
    config = session.config
    if not config.pluginmanager.hasplugin("pytest-benchmark"):
        return False
    # The pattern *.py does not mean that a file holds tests.
    tests = [*TEST_FILES, *(pattern for pattern in config.getini("python_files") if pattern != "*.py")]
    name = path.name
    if path.suffix != ".py" or name.startswith("_") or any(fnmatch.fnmatch(name, test) for test in tests):
        return False
    named = config.args_source is pytest.Config.ArgsSource.ARGS and (
        session.isinitpath(path) or session.isinitpath(path.parent)
    )
    # Where pytest's configuration is in a folder of tests, the key is `../suites`.
    places = (os.path.normpath(config.rootpath / place) for place in config.getini(SUITES))
    return named or any(path.is_relative_to(place) for place in places)


class SuiteFile(pytest.Module):
    """A file of suites: a test for each of their cases on this machine.

    A module to pytest, since the user's fixtures may be of that scope, or ask for `request.module`.
    """

    def _getobj(self) -> ModuleType:
        """The imported file; pytest would import it again."""
        return self.loaded()[0]

    def collect(self) -> Iterator[pytest.Item]:
        """Raises CollectError for a file that cannot be used, worded as in `bench list`."""
        try:
            for suite in self.loaded()[1]:
                for case in cases(suite):
                    yield CaseTest.of(self, suite, case)
        except UsageError as problem:
            raise self.CollectError(self.worded(problem)) from None

    def loaded(self) -> tuple[ModuleType, list[Suite]]:
        """The file and its suites; it is imported once however often it is collected."""
        from .worker import suites

        loaded = self.config.stash[_LOADED]
        if self.path not in loaded:
            with as_script(self.path):
                found = suites.load(self.path)
            loaded[self.path] = sys.modules[suites.module_name(self.path)], found
        suites.check_names([(str(path), suite) for path, (_, found) in loaded.items() for suite in found])
        return loaded[self.path]

    def worded(self, problem: UsageError) -> str:
        """The error on one line; its traceback where --tb=long asks for it."""
        lines = [str(problem).replace("--debug shows", "--tb=long shows")]  # pytest's --debug is another
        if self.config.getoption("tbstyle") == "long":
            lines += problem.detail.splitlines()
        return "\n".join(map(plain, lines))


def cases(suite: Suite) -> list[Case]:
    """The cases of a suite on this machine. Raises UsageError, also where its own `exclude` fails."""
    available = ["cpu"]
    absent: Callable[[str], str] | None = None
    equal: Mapping[str, Sequence[str]] = {}
    if suite.needs_devices({}):
        from .worker.devices import absence, equal_cards  # imports torch
        from .worker.environment import available_devices, devices

        available = available_devices()
        absent = absence(available)
        equal = equal_cards(devices(available))
    try:
        return suite.expand(available, absent=absent, equal=equal).cases
    except UsageError:
        raise
    except Exception as problem:
        raise UsageError(f"suite {suite.name!r} cannot be expanded: {one_line(problem)}") from None


class CaseTest(pytest.Function):
    """The test of one case: its name is the id of the case, and `axis:value` is a keyword too."""

    @classmethod
    def of(cls, parent: SuiteFile, suite: Suite, case: Case) -> CaseTest:
        """The test of this case, a child of its file."""
        test = cls.from_parent(
            parent, name=plain(case.id), callobj=timed(suite, case, parent.config, parent.path)
        )
        kind = case.device.partition(":")[0]
        register(parent.config, kind)
        test.add_marker(kind)
        # The failure of a case that could not be built has the actual reason.
        test.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"))
        # pytest's -k has another use for the equals sign.
        test.extra_keyword_matches |= {f"{axis}:{spell(value)}" for axis, value in case.used.items()}
        return test

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the test is: in the suite file and not in this one."""
        return self.path, 0, self.name  # a line number is required: warnings have one

    def repr_failure(  # type: ignore[override]  # as pytest's own, which takes no style either
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> Any:
        """Only the message of an error of Epochbench; any other error with the frames from the user's code on."""
        if isinstance(excinfo.value, BenchError):
            return plain(str(excinfo.value))
        own = [entry.path for entry in excinfo.traceback if is_own(str(entry.path))]
        if own and not self.config.getoption("fulltrace"):
            excinfo.traceback = excinfo.traceback.cut(path=own[0])
        return super().repr_failure(excinfo)


class Parameters(dict[str, AxisValue]):
    """The axes of a case, for --benchmark-group-by=param:NAME; None for one that it does not have."""

    def __missing__(self, axis: str) -> None:
        return None


@contextlib.contextmanager
def as_script(file: Path) -> Iterator[None]:
    """Code that reads `sys.argv` finds only the file, not the arguments of pytest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(file)])
        yield


def timed(suite: Suite, case: Case, config: pytest.Config, file: Path) -> Callable[[Any], None]:
    """The function of a test: one step of the case, as often as pytest-benchmark asks for it.

    `file` is the suite file; `build` may import modules next to it.
    """

    def run(benchmark: Any) -> None:
        from .worker import suites
        from .worker.timing import stepwise

        if case.seeks_largest:
            pytest.skip(f"batch_size={MAX}: only bench run searches for the largest that fits")
        suites.prefer(file.parent)
        pins = config.getini(ALLOCATOR) == "pinned"
        benchmark.params, benchmark.param = Parameters(case.used), case.label
        try:
            with as_script(file), stepwise.prepared(suite, case, pins, warms_up=benchmark.enabled) as step:
                benchmark.group = case.suite
                benchmark.extra_info |= described(case, step.conditions)
                benchmark(step)
                benchmark.extra_info["work.samples"] = step.samples
                step.check_finite()
                if step.unread:
                    words = caveat_text("axis_not_read", RunSettings(unread=step.unread))
                    warnings.warn(plain(f"{case.id}: {words}"), stacklevel=1)
        except BaseException:
            benchmark.has_error = True  # a case that fails has no times, not even those measured before
            raise

    return run


def described(case: Case, conditions: dict[str, Any]) -> dict[str, Any]:
    """The facts of a case for `extra_info`. Each of `axes` has a key, `axis.NAME` where another fact has that name."""
    facts = {
        "epochbench": __version__,
        "suite": case.suite,
        "case": case.id,
        "axes": list(case.used),
        **conditions,
    }
    axes = {"device": case.device, "mode": case.mode, **case.used}
    return facts | {axis_column(axis, facts): value for axis, value in axes.items()}


def holds_suite(path: Path) -> bool:
    """Whether the file calls `epochbench.Suite` at its top level, or a function of its own that does.

    So does `bench.Suite`, unless another package or module is named `bench`.
    """
    try:
        source = path.read_bytes()  # Python finds the encoding, which a comment may name
    except OSError:
        return False
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return all(re.search(rf"\b({word})\b".encode(), source) for word in (f"{OWN}|{OTHER}", "Suite"))
    theirs = re.search(rf"\b{OTHER}\b".encode(), source) and somebody_elses([str(path.parent), ""])
    names = (OWN,) if theirs else (OWN, OTHER)
    modules = {module for name in names for module in (name, f"{name}.suite", f"{name}.suite.matrix")}
    makers: set[str] = set()  # functions that make a suite
    for statement in statements:
        match statement:
            case ast.ImportFrom(module=module) if module in modules:
                makers |= {alias.asname or alias.name for alias in statement.names if alias.name == "Suite"}
            case ast.Import():
                makers |= {
                    f"{alias.asname or alias.name}.Suite"
                    for alias in statement.names
                    if alias.name in modules
                }
            case ast.FunctionDef():
                makers |= {statement.name} if _calls(makers, statement) else set()
            case ast.ClassDef() | ast.AsyncFunctionDef():
                continue
            case _ if _calls(makers, statement):
                return True
    return False


def _calls(functions: set[str], code: ast.AST) -> bool:
    """Whether some code calls one of these functions by its name."""
    return any(isinstance(node, ast.Call) and ast.unparse(node.func) in functions for node in ast.walk(code))
