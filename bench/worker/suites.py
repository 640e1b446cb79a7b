"""Reads suite files: they are user code, so this always runs in a child process."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import alias
from ..errors import SuiteError, UsageError
from ..measurement.messages import ProbeReport, ProbeRequest
from ..plurals import counted
from ..suite.case import AxisValue, Case
from ..suite.matrix import Suite
from ..system.paths import HARNESS, is_in, is_own
from ..user_errors import detail_of, one_line


def load(path: Path) -> list[Suite]:
    """The suites of a file, in the order of its variables. Raises SuiteError for a file without any.

    The folder of the file and the working directory are importable while it loads and afterwards, as for a script;
    `sys.argv` holds only the file.
    """
    prefer(path.parent)
    alias.install()
    sys.argv = [str(path)]
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
        refuse_mistaken_name(path, problem)
        raise SuiteError(
            f"suite file {path} does not import: {one_line(problem)} (--debug shows the traceback)",
            detail_of(problem),
        ) from None
    # By type(), since some objects raise in isinstance.
    suites = {id(value): value for value in vars(module).values() if issubclass(type(value), Suite)}
    if not suites:
        raise SuiteError(
            f"{path} holds no suite; make one: suite = Suite(name=..., build=..., axes=...); a training script is "
            f"measured as it is by: bench run --script {path}"
        )
    return list(suites.values())


_folders: set[Path] = set()  # of the suite files that were loaded


def prefer(folder: Path) -> None:
    """Lets a suite import from its own folder first, then from the working directory.

    Folders of two suites may have helpers of the same name: those of other folders are removed from `sys.modules`.
    """
    if is_in(str(folder), [HARNESS]):
        return  # Epochbench's own suite: modules next to it would shadow others, such as `profile`
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    if sys.path[0] != str(folder):
        sys.path.insert(0, str(folder))
    _folders.add(folder)
    others = _folders - {folder}
    if not others:
        return  # the same as in every launch, which begins with this
    for name in list(sys.modules):
        file = file_of(name)
        if file and _folder_of(name, Path(file)) in others:
            top = folder / name.partition(".")[0]
            if top.with_suffix(".py").is_file() or (top / "__init__.py").is_file():
                del sys.modules[name]


def _folder_of(module: str, file: Path) -> Path:
    """The folder from which a module was imported: above its packages."""
    depth = module.count(".") + (file.name == "__init__.py")
    return next(itertools.islice(file.parents, depth, None), file)


def module_name(path: Path) -> str:
    """The module name of a suite file; different from any module with the name of the file."""
    return f"bench_suite_{path.stem}"


def refuse_mistaken_name(path: Path | str, problem: BaseException) -> None:
    """Raises SuiteError where a file looked for Epochbench in another package named `bench`."""
    if said := alias.advice(problem):
        raise SuiteError(f"{path}: {said}", detail_of(problem)) from None


def describe(paths: Sequence[str], overrides: Mapping[str, Sequence[AxisValue]]) -> list[dict[str, Any]]:
    """The suites of these files, expanded for this machine, as JSON.

    Imports torch only if an axis needs to know the devices. An override must fit at least one suite.
    """
    loaded = [(path, suite) for path in paths for suite in load(Path(path))]
    check_names(loaded)
    available: list[str] = ["cpu"]
    absent: Callable[[str], str] | None = None
    equal: dict[str, list[str]] = {}
    if any(suite.needs_devices(overrides) for _, suite in loaded):
        from .devices import absence, equal_cards  # imports torch, so only if needed
        from .environment import available_devices, devices

        available = available_devices()
        absent = absence(available)
        equal = equal_cards(devices(available))
    return [
        {
            "name": suite.name,
            "file": path,
            "columns": list(suite.columns),
            **suite.expand(available, overrides, absent, equal).to_json(),
        }
        for path, suite in loaded
    ]


def check_names(loaded: Sequence[tuple[str, Suite]]) -> None:
    """Raises SuiteError where two suites share a name, since it identifies their cases."""
    seen: dict[str, str] = {}
    for path, suite in loaded:
        if suite.name in seen:
            raise SuiteError(
                f"two suites are named {suite.name!r}: in {seen[suite.name]} and in {path}; rename one"
            )
        seen[suite.name] = path


def find(path: str, name: str) -> Suite:
    """The suite of this name in this file. Raises SuiteError where it is no longer there."""
    for suite in load(Path(path)):
        if suite.name == name:
            return suite
    raise SuiteError(
        f"{path} no longer holds the suite {name!r}; leave the file as it is while it is measured, and give suites "
        f"names that are the same in every process"
    )


def probe(request: ProbeRequest) -> ProbeReport:
    """Builds the cases of one suite once, before anything is measured.

    `idle` in the report are the axes that change nothing although they are read: a batch size that the batches do not
    have.

    Raises UsageError for what the user can fix (an unknown name, a batch larger than the data, an axis that the command
    requests and no case of the suite reads). Any other error is left to the launches, where it costs only its own case.
    """
    # Imports torch: needed to build a suite, but not to describe it.
    from ..training import Task
    from .axis_reads import BuildProbe, follows_batch_size

    before = set(sys.modules)
    path = str(request.suite_file)
    suite = find(path, request.cases[0].suite)
    builds = BuildProbe(suite.name, suite.build)
    idle: tuple[str, ...] = ()
    for case in request.cases:
        try:
            task = builds.build(case)
        except UsageError:
            raise
        except BaseException as problem:  # whatever user code raises
            refuse_mistaken_name(path, problem)
            log_traceback()
            continue
        if isinstance(task, Task):
            check_sizes(case, task)
            if "batch_size" in builds.read & case.axes.keys() and not idle:
                idle = () if follows_batch_size(suite.build, case, task) else ("batch_size",)
        del task  # it may keep the case alive
    builds.refuse_unread(request.requested_axes, request.cases, request.all_cases)
    if idle and "batch_size" in request.requested_axes:
        raise UsageError(
            f"suite {suite.name!r} reads batch_size, but makes the same batches whatever it is; give it to the loader, "
            f"or leave the axis out of the command"
        )
    new = [name for name in sys.modules if name not in before]
    return ProbeReport(tuple(third_party(new)), tuple(map(Path, own_files(new))), idle)


def check_sizes(case: Case, task: Any) -> None:
    """Raises UsageError where a batch, or the steps between two validations, exceed the training data."""
    from ..batches import size_of

    samples = length_of(task.train_loader)
    if "batch_size" in case.axes and samples is not None and samples < case.batch_size:
        raise UsageError(
            f"batch_size {case.batch_size} is larger than the training data of {case.suite!r}, "
            f"{counted(samples, 'sample')}; choose at most {samples}"
        )
    every = case.validate_every
    if every is not None and case.mode == "train":
        steps = size_of(task.train_loader)
        if steps is not None and steps < every:
            raise UsageError(
                f"validate_every {every} is more than the {counted(steps, 'step')} of an epoch at batch_size "
                f"{case.batch_size}; choose at most {steps}, or 'epoch'"
            )


def length_of(loader: Any) -> int | None:
    """How many samples the data set of a loader has; None where it has no length."""
    from ..batches import size_of

    try:
        return size_of(getattr(loader, "dataset", None))
    except Exception:  # from a user-defined loader
        return None


def log_traceback() -> None:
    """Writes the exception that is being handled to the log, unless user code has closed it."""
    with suppress(Exception):
        traceback.print_exc()


def own_files(names: Iterable[str]) -> list[str]:
    """The files of those modules that are user code: not of the interpreter, installed packages or Epochbench."""
    return sorted(file for file in map(file_of, names) if is_own(file))


def third_party(names: Iterable[str]) -> list[str]:
    """The modules among these that belong to installed packages, which a fork server may import beforehand.

    They stay in the order in which their imports began: in another order, modules that import each other may find
    each other half initialised (inductor then lacks what it registers while it is imported).
    """
    roots = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    origins = {name: file_of(name) for name in names}
    return [name for name, origin in origins.items() if is_in(origin, roots) and not is_in(origin, [HARNESS])]


def file_of(name: str) -> str:
    """The file of an imported module; empty if it has none, or does not tell."""
    try:
        file = getattr(sys.modules.get(name), "__file__", None)
    except Exception:  # a module may be any object
        return ""
    return file if isinstance(file, str) else ""
