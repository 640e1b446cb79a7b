"""Reading suite files: user code, so always in a child process."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from ..case import AxisValue, Case
from ..counting import counted
from ..errors import SuiteError, UsageError
from ..suite import Suite

# What lies here is not the user's own code.
FOREIGN = (
    *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parents[1]),
)


def load(path: Path) -> list[Suite]:
    """The suites of a file, in the order of its names. Raises SuiteError for a file that holds none.

    The folder of the file and the working directory are importable while it loads and afterwards, as they
    are for a script.
    """
    prefer(path.parent)
    spec = importlib.util.spec_from_file_location(module_name(path), path)
    if spec is None or spec.loader is None:
        raise SuiteError(f"{path} is not a Python file; a suite file ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except UsageError as problem:
        raise SuiteError(f"{path}: {problem}", traceback.format_exc()) from None
    except (Exception, SystemExit) as problem:
        summary = one_line(problem)
        raise SuiteError(
            f"suite file {path} does not import: {summary} (--debug shows the traceback)",
            traceback.format_exc(),
        ) from None
    suites = {id(value): value for value in vars(module).values() if isinstance(value, Suite)}
    if not suites:
        raise SuiteError(
            f"{path} holds no suite; make one: suite = Suite(name=..., build=..., axes=...); a training script is "
            f"measured as it is by: bench run --script {path}"
        )
    return list(suites.values())


_folders: set[Path] = set()  # of the suite files that were loaded


def prefer(folder: Path) -> None:
    """What a suite imports is looked for in its own folder first, then in the working directory.

    Folders of two suites may have helpers of one name: those of the others are forgotten, and stay with who
    imported them.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    if sys.path[0] != str(folder):
        sys.path.insert(0, str(folder))
    _folders.add(folder)
    others = _folders - {folder}
    if not others:
        return  # as in every launch, whose start this is a part of
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and _folder_of(name, Path(file)) in others:
            top = folder / name.partition(".")[0]
            if top.with_suffix(".py").is_file() or (top / "__init__.py").is_file():
                del sys.modules[name]


def _folder_of(module: str, file: Path) -> Path:
    """Where the import of a module began: above its packages."""
    depth = module.count(".") + (file.name == "__init__.py")
    return next(itertools.islice(file.parents, depth, None), file)


def module_name(path: Path) -> str:
    """What a suite file is called among the modules, apart from any that it is called after."""
    return f"bench_suite_{path.stem}"


def one_line(problem: BaseException) -> str:
    """An exception as one line: its type and the first line of its message."""
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__


def describe(paths: Sequence[str], overrides: Mapping[str, Sequence[AxisValue]]) -> list[dict[str, Any]]:
    """The suites of these files, expanded for this machine, as JSON.

    Imports torch only where an axis needs to know the devices. An override must fit at least one suite.
    """
    loaded = [(path, suite) for path in paths for suite in load(Path(path))]
    check_names(loaded)
    devices: list[str] = ["cpu"]
    if any(suite.needs_devices(overrides) for _, suite in loaded):
        from .environment import available_devices  # torch: only where it must be

        devices = available_devices()
    return [
        {
            "name": suite.name,
            "file": path,
            "columns": list(suite.columns),
            **suite.expand(devices, overrides).to_json(),
        }
        for path, suite in loaded
    ]


def check_names(loaded: Sequence[tuple[str, Suite]]) -> None:
    """Raises SuiteError where two suites share a name, since cases are told apart by it."""
    seen: dict[str, str] = {}
    for path, suite in loaded:
        if suite.name in seen:
            raise SuiteError(
                f"two suites are named {suite.name!r}: in {seen[suite.name]} and in {path}; rename one"
            )
        seen[suite.name] = path


def find(path: str, name: str) -> Suite:
    """The suite of this name in this file."""
    return next(suite for suite in load(Path(path)) if suite.name == name)


def probe(path: str, cases: Sequence[Case]) -> dict[str, list[str]]:
    """Builds these cases of one suite once, before anything is measured.

    Returns the third-party `modules` that they need, and the `sources`: the files of the user's own code.

    Raises UsageError for what the user can mend (an unknown name, a batch larger than the data). Any
    other error is left to the launches, where it costs its own case and no other.
    """
    before = set(sys.modules)
    suite = find(path, cases[0].suite)
    for case in cases:
        try:
            task = suite.build(case)
        except UsageError:
            raise
        except (Exception, SystemExit):
            traceback.print_exc()
            continue
        check_sizes(case, task)
    new = [name for name in sys.modules if name not in before]
    return {"modules": third_party(new), "sources": own_files(new)}


def check_sizes(case: Case, task: Any) -> None:
    """Raises UsageError where a batch, or the steps between two validations, exceed the training data."""
    samples = length_of(task.train_loader)
    if "batch_size" in case.axes and samples is not None and samples < case.batch_size:
        raise UsageError(
            f"batch_size {case.batch_size} is larger than the training data of {case.suite!r}, "
            f"{counted(samples, 'sample')}; choose at most {samples}"
        )
    every = case.validate_every
    if every is not None and case.mode == "train" and isinstance(task.train_loader, Sized):
        steps = len(task.train_loader)
        if steps < every:
            raise UsageError(
                f"validate_every {every} is more than the {counted(steps, 'step')} of an epoch at batch_size "
                f"{case.batch_size}; choose at most {steps}, or 'epoch'"
            )


def length_of(loader: Any) -> int | None:
    """How many samples the data set of a loader has; None where it has no length."""
    dataset = getattr(loader, "dataset", None)
    return len(dataset) if isinstance(dataset, Sized) else None


def own_files(names: Iterable[str]) -> list[str]:
    """The files of those modules that are neither the interpreter's, installed packages, nor Epochbench's."""
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names)
    return sorted(file for file in files if file and not file.startswith((*FOREIGN, "<")))


def third_party(names: Iterable[str]) -> list[str]:
    """Those modules that are installed packages: what a nursery may import beforehand.

    They stay in the order in which their imports began: in another one modules that import each other may
    find halves (inductor then lacks what it registers while it is imported).
    """
    roots = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    bench = str(Path(__file__).parents[1])
    found = []
    for name in names:
        origin = getattr(sys.modules.get(name), "__file__", None)
        if origin and origin.startswith(roots) and not origin.startswith(bench):
            found.append(name)
    return found
