"""What must never be, as data; each rule is shown to catch what it forbids, then held against every file."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"

# A package imports from the layers below its own; the lowest layer comes first. `bench` is the public interface.
LAYERS = (
    ("errors", "alias", "plurals"),
    ("system",),
    ("user_errors",),
    ("suite",),
    ("measurement",),
    ("analysis",),
    ("readers", "thresholds"),
    ("results",),
    ("bench",),
    ("machine",),
    ("running",),
    ("ab",),
    ("report",),
    ("cli",),
    ("__main__",),
)

# Packages outside of the layers: what runs in the worker, and what is measured there.
SEES = {
    "batches": (),
    "training": ("batches",),
    "watch": (),  # it runs in the user's scripts
    "tasks": ("errors", "plurals", "suite", "training"),
    "worker": (
        *("errors", "alias", "plurals", "system", "user_errors", "suite", "measurement"),
        *("batches", "training", "watch", "tasks"),
    ),
    "templates": ("bench", "training"),  # what `bench init` writes: a suite, as users write one
    "bench": (
        "errors",
        "alias",
        "suite",
        "measurement",
        "results",
        "watch",
    ),  # its import must be fast
    "as_bench": ("alias",),  # what is installed as the package `bench`
    "__main__": ("cli",),
    # The other entry point: it runs user code in its own process, through the packages that do.
    "pytest_plugin": (
        *("bench", "errors", "alias", "plurals", "system", "user_errors", "suite", "worker", "report"),
    ),
}

# Who alone imports a module; `batches` knows nothing else, and `training` nothing else but `batches`.
ONLY = {
    "torch": ("batches", "training", "worker", "tasks", "templates"),
    "torchvision": ("worker", "tasks"),
    "bench.cli": ("cli", "__main__"),
}

# Who alone imports `json`; all others go through `json_data`.
JSON = (
    "bench.system.json_data",
    "bench.readers.json_document",  # documents of other tools: whole numbers of any length, and where one is cut short
    "bench.worker.profile.traces",  # a trace of torch may have 100 MB, and is plain data already
)

# What a package never imports.
NEVER = {
    "analysis": (
        "pathlib",
        "os",
        "io",
        "pandas",
        "numpy",
        "torch",
        "bench.results",
        "bench.report",
        "bench.plurals",
    ),
    "report": ("statistics", "scipy", "torch", "bench.worker"),
}

# What computes a statistic of a column: for `analysis` to do, and for `report` to show.
STATISTICS = ("mean", "median", "std", "var", "quantile", "describe", "fmean", "stdev")

# Packages within a layer that import only from those before them.
WITHIN = {"bench.analysis": ("launch", "run", "compare caveats")}

# Who prints or ends the process. What user code prints goes to the launch's log, and so does a traceback.
PRINTS = ("cli", "__main__")
PRINTERS = (
    "print",
    "sys.stdout.write",
    "sys.stderr.write",
    "traceback.print_exc",
    "traceback.print_exception",
)
ENDINGS = ("exit", "quit", "sys.exit", "os._exit", "SystemExit")
WORKER_MAY = ("traceback.print_exc", "os._exit")

NO_SUCH_FILE = ("utils.py", "util.py", "common.py", "helpers.py", "misc.py")

# Who imports Epochbench by a name: what users copy, and what stands for the package `bench`. Inside the package every
# import is relative, as it may have either name, and `bench` may be a package of the user's.
BY_NAME = ("templates", "as_bench")
SUITES = ("bench.worker.noise_suite",)  # a suite file, which is found by its path as those of users


def name_of(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(BENCH.rglob("*.py"))}
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
PACKAGES = {name.split(".")[1] if "." in name else "bench" for name in FILES}
PLACED = {package for layer in LAYERS for package in layer} | set(SEES)


def package_of(module: str) -> str:
    """The package of a file by its dotted name: `bench.report.terminal.overview` is in `report`."""
    return module.split(".")[1] if "." in module else "bench"


def package_behind(name: str) -> str:
    """The package of an imported name; anything else is a public name, from `bench` itself."""
    package = package_of(name)
    return package if package in PLACED | PACKAGES else "bench"


@cache
def imports(source: str, of: str = "bench.nowhere") -> tuple[str, ...]:
    """Every module that a file imports when it runs, at any depth: what only a type checker sees is none.

    `from a import b` gives a.b, since b may be a module. Epochbench is `bench` here, whatever name it is imported by.
    """
    names = imports_as_written(source, of)
    return tuple(name.removeprefix("epoch") if is_within(name, "epochbench") else name for name in names)


def imports_as_written(source: str, of: str) -> Iterator[str]:
    waiting = list(parsed(source).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = of.split(".") + (["__init__"] if of in FILES and FILES[of].name == "__init__.py" else [])
            package = inside[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield from (f"{base}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("importlib.import_module", "__import__"):
            yield from (str(text.value) for text in node.args[:1] if isinstance(text, ast.Constant))
        waiting += ast.iter_child_nodes(node)


def called(node: ast.Call) -> str:
    """The function of a call as it is written, `sys.exit`, or its last name where that is of a value: `.exit`."""
    return dotted(node.func)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@cache
def calls(source: str) -> list[str]:
    return [called(node) for node in ast.walk(parsed(source)) if isinstance(node, ast.Call)]


def is_within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


# The rules: each gives the faults of one file.


def imports_of_its_own_are_relative(module: str, source: str) -> list[str]:
    if package_of(module) in BY_NAME or module in SUITES:
        return []
    return [
        f"{module} imports {name}"
        for name in imports_as_written(source, "nowhere.nowhere")  # where no relative import gives `bench`
        if is_within(name, "bench") or is_within(name, "epochbench")
    ]


def imports_go_down(module: str, source: str) -> list[str]:
    if module in SUITES:
        return []
    package = package_of(module)
    height = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    faults = []
    for name in imports(source, module):
        if not is_within(name, "bench"):
            continue
        other = package_behind(name)
        below = other in SEES[package] if package in SEES else height.get(other, 99) < height.get(package, -1)
        if other != package and not below:
            faults.append(f"{module} imports {name}")
    return faults


def each_module_is_for_those_who_may(module: str, source: str) -> list[str]:
    return [
        f"{module} imports {name}, which is for {', '.join(may)} only"
        for name in imports(source, module)
        for package, may in ONLY.items()
        if is_within(name, package) and package_of(module) not in may
    ]


def what_a_package_never_imports(module: str, source: str) -> list[str]:
    never = NEVER.get(package_of(module), ())
    return [
        f"{module} imports {name}"
        for name in imports(source, module)
        if any(is_within(name, package) for package in never)
    ]


def packages_of_a_layer_keep_their_order(module: str, source: str) -> list[str]:
    height = {
        f"{layer}.{name}": number
        for layer, packages in WITHIN.items()
        for number, names in enumerate(packages)
        for name in names.split()
    }
    inside = package_in(module, height)
    return [
        f"{module} imports {name}"
        for name in imports(source, module)
        if (other := package_in(name, height)) != inside
        if inside and other and height[other] >= height[inside]
    ]


def package_in(module: str, packages: Iterable[str]) -> str:
    return next((package for package in packages if is_within(module, package)), "")


def report_computes_no_statistics(module: str, source: str) -> list[str]:
    if package_of(module) != "report":
        return []
    return [f"{module} calls {call}" for call in calls(source) if call.split(".")[-1] in STATISTICS]


def only_the_command_line_prints_and_exits(module: str, source: str) -> list[str]:
    if package_of(module) in PRINTS or module.endswith(".__main__"):
        return []
    may = WORKER_MAY if package_of(module) == "worker" else ()
    faults = [call for call in calls(source) if call in (*PRINTERS, *ENDINGS) and call not in may]
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id == "SystemExit":
            faults.append("SystemExit")
        if isinstance(node, ast.ImportFrom) and node.module in ("sys", "os"):
            faults += [name.name for name in node.names if name.name in ("exit", "_exit")]
    return [f"{module} calls {fault}" for fault in faults]


def json_is_read_and_written_in_one_place(module: str, source: str) -> list[str]:
    return [
        f"{module} imports json"
        for name in imports(source, module)
        if is_within(name, "json") and module not in JSON
    ]


def no_verb_imports_another(module: str, source: str) -> list[str]:
    if not is_within(module, "bench.cli.verbs"):
        return []
    return [
        f"{module} imports {name}"
        for name in imports(source, module)
        if is_within(name, "bench.cli.verbs") and not is_within(name, module)
    ]


RULES = {
    rule.__name__: rule
    for rule in (
        imports_of_its_own_are_relative,
        imports_go_down,
        each_module_is_for_those_who_may,
        what_a_package_never_imports,
        packages_of_a_layer_keep_their_order,
        report_computes_no_statistics,
        only_the_command_line_prints_and_exits,
        json_is_read_and_written_in_one_place,
        no_verb_imports_another,
    )
}


@pytest.mark.parametrize("rule", RULES)
def test_every_file_keeps(rule):
    faults = [fault for module in FILES for fault in RULES[rule](module, SOURCES[module])]
    assert not faults, "\n".join(faults)


# A rule, a file that it could be, and what it must not hold there.
FORBIDDEN = [
    ("imports_of_its_own_are_relative", "bench.running.rounds", "import bench.suite.case"),
    ("imports_of_its_own_are_relative", "bench.running.rounds", "def f():\n    from bench import Suite"),
    ("imports_of_its_own_are_relative", "bench.worker.launch", "from epochbench.errors import UsageError"),
    ("imports_of_its_own_are_relative", "bench.pytest_plugin", "import epochbench"),
    ("imports_of_its_own_are_relative", "bench", "__import__('epochbench.watch')"),
    ("imports_go_down", "bench.suite.case", "from epochbench.measurement import Failure"),
    ("imports_go_down", "bench.errors", "import bench.suite.case"),
    ("imports_go_down", "bench.suite.matrix", "from bench import measurement"),
    ("imports_go_down", "bench.measurement", "from bench import Case"),
    ("imports_go_down", "bench.analysis.run.estimate", "from ...results import tables"),
    ("imports_go_down", "bench.results.tables", "def f():\n    from bench.report import table"),
    ("imports_go_down", "bench.running.fork_server", "from bench.worker import session"),
    ("imports_go_down", "bench.running.rounds", "import bench.worker.timing.meter as meter"),
    ("imports_go_down", "bench.running.rounds", "import importlib\nimportlib.import_module('bench.tasks')"),
    (
        "imports_go_down",
        "bench.report.terminal.overview",
        "class C:\n    def f(self):\n        from bench.cli import app",
    ),
    ("imports_go_down", "bench.cli.verbs.run", "from bench.training import fit"),
    ("imports_go_down", "bench.cli.verbs.run", "if True:\n    from bench.tasks import models"),
    ("imports_go_down", "bench.training", "from bench.errors import UsageError"),
    ("imports_go_down", "bench.batches", "from bench.training import Task"),
    ("imports_go_down", "bench.tasks.models", "from bench.watch import watch"),
    ("imports_go_down", "bench.worker.launch", "from bench.results.journal import Journal"),
    ("imports_go_down", "bench.worker.launch", "from bench.running.rounds import Job"),
    ("imports_go_down", "bench", "from bench.running.rounds import run"),
    ("imports_go_down", "bench.pytest_plugin", "from bench.running.rounds import run"),
    ("imports_go_down", "bench.cli.verbs.run", "from bench.pytest_plugin import cases"),
    ("imports_go_down", "bench.running.rounds", "from bench.ab.sides import SideWorkers"),
    ("imports_go_down", "bench.ab.pairs", "from bench.report.comparison import Page"),
    ("imports_go_down", "bench.ab.session", "from bench.cli.progress import PairProgress"),
    ("imports_go_down", "bench.worker.tree", "from bench.ab.trees import Tree"),
    ("imports_go_down", "bench.somewhere_new", "from bench.suite.case import Case"),
    ("each_module_is_for_those_who_may", "bench.results.tables", "import torch"),
    ("each_module_is_for_those_who_may", "bench.running.rounds", "def f():\n    import torch.cuda"),
    ("each_module_is_for_those_who_may", "bench.cli.verbs.run", "from torch import nn"),
    ("each_module_is_for_those_who_may", "bench.training", "import torchvision"),
    (
        "each_module_is_for_those_who_may",
        "bench.machine.lock",
        "try:\n    import torch\nexcept OSError:\n    pass",
    ),
    ("each_module_is_for_those_who_may", "bench.report.html", "from bench.cli import main"),
    ("each_module_is_for_those_who_may", "bench", "__import__('torch')"),
    ("each_module_is_for_those_who_may", "bench.pytest_plugin", "def f():\n    import torch"),
    ("what_a_package_never_imports", "bench.analysis.run.estimate", "from pathlib import Path"),
    ("what_a_package_never_imports", "bench.analysis", "import os.path"),
    ("what_a_package_never_imports", "bench.analysis.caveats", "import io, math"),
    ("what_a_package_never_imports", "bench.analysis.run.estimate", "def f():\n    import pandas as pd"),
    (
        "what_a_package_never_imports",
        "bench.analysis.launch.values",
        "from bench.results.tables import build",
    ),
    ("what_a_package_never_imports", "bench.analysis.compare.sequential", "import numpy.typing"),
    ("what_a_package_never_imports", "bench.report.plots", "import statistics"),
    ("what_a_package_never_imports", "bench.report.terminal.overview", "from scipy.stats import t"),
    (
        "packages_of_a_layer_keep_their_order",
        "bench.analysis.launch.values",
        "from ..compare.outcome import Outcome",
    ),
    ("packages_of_a_layer_keep_their_order", "bench.analysis.run.stopping", "from ..caveats import caveats"),
    ("packages_of_a_layer_keep_their_order", "bench.analysis.caveats", "from .compare import sequential"),
    ("report_computes_no_statistics", "bench.report.terminal.overview", "x = frame['value'].median()"),
    ("report_computes_no_statistics", "bench.report.plots", "from numpy import mean\nx = mean([1])"),
    ("only_the_command_line_prints_and_exits", "bench.running.rounds", "def f():\n    print('x')"),
    (
        "only_the_command_line_prints_and_exits",
        "bench.report.terminal.overview",
        "import sys\nsys.stderr.write('x')",
    ),
    ("only_the_command_line_prints_and_exits", "bench.running.fork_server", "import sys\nsys.exit(1)"),
    ("only_the_command_line_prints_and_exits", "bench.running.fork_server", "from sys import exit as leave"),
    ("only_the_command_line_prints_and_exits", "bench.suite.matrix", "exit()"),
    ("only_the_command_line_prints_and_exits", "bench.suite.matrix", "raise SystemExit"),
    ("only_the_command_line_prints_and_exits", "bench.suite.matrix", "raise SystemExit(2)"),
    ("only_the_command_line_prints_and_exits", "bench.results.folder", "import os\nos._exit(0)"),
    ("only_the_command_line_prints_and_exits", "bench.results.folder", "traceback.print_exc()"),
    ("only_the_command_line_prints_and_exits", "bench.worker.launch", "print('x')"),
    ("only_the_command_line_prints_and_exits", "bench.worker.launch", "sys.exit(1)"),
    ("json_is_read_and_written_in_one_place", "bench.results.journal", "import json"),
    (
        "json_is_read_and_written_in_one_place",
        "bench.report.formats.json",
        "def f():\n    from json import dumps",
    ),
    ("no_verb_imports_another", "bench.cli.verbs.profile", "from .run import FAILED"),
    ("no_verb_imports_another", "bench.cli.verbs.plot", "def f():\n    from ..verbs import show"),
]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_catches_what_it_forbids(rule):
    examples = [(module, source) for name, module, source in FORBIDDEN if name == rule]
    missed = [example for example in examples if len(RULES[rule](*example)) != 1]
    assert examples
    assert not missed


ALLOWED = [
    ("bench.results.tables", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
    ("bench.results.tables", "import typing\nif typing.TYPE_CHECKING:\n    from ..cli import app"),
    ("bench.report.terminal.overview", "from ..results.tables import Tables\nfrom .units import digits"),
    ("bench.templates.suite", "from epochbench import Suite"),
    ("bench.running.rounds", "import benchmarks, epochbenchmark"),
    ("bench.tasks.models", "def f():\n    import torch"),
    ("bench.results.journal", "from ..system.json_data import json_line\nfrom . import json_files"),
    ("bench.worker.launch", "import os, traceback\ntraceback.print_exc()\nos._exit(0)"),
    ("bench.worker.__main__", "import sys\nsys.exit(0)"),
    ("bench.cli.verbs.run", "import sys\nfrom .. import __version__\nprint('x')\nsys.exit(2)"),
    ("bench.analysis.run.estimate", "import math, statistics\nx = statistics.median([1])"),
    ("bench.report.terminal.overview", "import torchless, iot, scipyesque"),
    ("bench.report.terminal.overview", "text = 'import torch; print(1)'\nconsole.print(text)"),
]


def test_what_is_right_is_let_through():
    assert [fault for example in ALLOWED for rule in RULES.values() for fault in rule(*example)] == []


def test_the_branch_that_runs_beside_a_type_checkers_is_seen():
    source = "if TYPE_CHECKING:\n    import torch\nelse:\n    import pandas"
    assert imports(source) == ("pandas",)


def test_every_package_has_its_place():
    assert PLACED >= PACKAGES, "give the new package a layer in LAYERS, or say in SEES what it sees"


def test_no_package_stands_on_two_layers():
    placed = [package for layer in LAYERS for package in layer]
    assert sorted(set(placed)) == sorted(placed)


# Circles: not even imports inside functions may close one.


def circle(sources: dict[str, str]) -> list[str]:
    """Modules that import each other in a circle, empty where there is none."""
    graph = {
        module: {found for name in imports(source, module) if (found := resolved(name, sources)) != module}
        for module, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        return list(problem.args[1])
    return []


def resolved(name: str, modules: dict[str, str]) -> str:
    """The module that an imported name is, or lies in."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def test_no_modules_import_each_other_in_a_circle():
    assert circle(SOURCES) == []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"bench.a": "import bench.b", "bench.b": "def f():\n    from bench.a import x"}, True),
        (
            {"bench.a": "from bench import b", "bench.b": "from bench import c", "bench.c": "import bench.a"},
            True,
        ),
        ({"bench.a": "import bench.b", "bench.b": "if TYPE_CHECKING:\n    import bench.a"}, False),
        ({"bench.a": "import bench.b, bench.c", "bench.b": "import bench.c", "bench.c": "import os"}, False),
    ],
)
def test_a_circle_is_found(sources, found):
    assert bool(circle(sources)) is found


# Names of files.


def badly_named(paths: list[Path]) -> list[Path]:
    return [path for path in paths if path.name in NO_SUCH_FILE]


def test_a_helper_lives_beside_its_one_user():
    folders = (BENCH, ROOT / "tests", ROOT / "suites", ROOT / "benchmarks")
    assert badly_named([path for folder in folders for path in folder.rglob("*.py")]) == []


def test_a_bad_name_is_found():
    assert badly_named([Path("bench/x/utils.py"), Path("bench/suite/case.py")]) == [Path("bench/x/utils.py")]
