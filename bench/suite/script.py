"""A training script as a suite, whose cases are command lines."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SuiteError, UsageError
from ..system.json_data import JsonRecord
from .case import AxisValue, Case, spell
from .loops import Loop
from .matrix import ALL, ARGUMENT, AVAILABLE, VARIABLE, Expansion, Suite, column

# A process reads these once, before a script in it can get them.
_EARLY = ("OMP_", "KMP_", "GOMP_", "MKL_", "MALLOC_", "GLIBC_TUNABLES", "LD_", "PYTHON")
# torchrun sets these for each process: how many there are, and which it is.
RANKS = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
ONE_PROCESS = "only training in one process is supported, not several as torchrun starts for DDP and FSDP"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Script(JsonRecord):
    """A script, the `arguments` of every launch, and the axes that are added to them.

    `module` is its name if it was given as for `python -m`. With `in_place`, launches may overwrite files.

    `names` has the name of each axis on the command line, by its column in the tables: `batch-size` is given as
    `--batch-size=64`, `arg:-b` as `-b=64`, `env:WORKERS` as a variable of the environment.

    `loops` are those that its first run showed, if the script marks none. `epoch` is the number of steps of an epoch
    for loops without one; the script ends after `steps` training steps.
    """

    path: str
    arguments: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    module: str = ""
    in_place: bool = False
    loops: tuple[Loop, ...] = ()
    epoch: int | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", tuple(self.arguments))

    @property
    def suite(self) -> str:
        """The name of its suite: the file name without ending, in characters that such a name may have."""
        name = self.module.rpartition(".")[2] or Path(self.path).stem
        return _NOT_IN_A_NAME.sub("-", name).strip("-_.") or "script"

    def expand(self, axes: Mapping[str, Sequence[AxisValue]]) -> Expansion:
        """The cases of these axes, which have their names in tables. Raises UsageError for an impossible value."""
        devices = [str(device) for device in axes.get("device", ["cpu"])]
        if {AVAILABLE, ALL} & set(devices):
            raise UsageError("a script is given its device by name, such as --axis device=cpu,cuda")
        return Suite(self.suite, build=_never, axes={"device": devices, **axes}).expand(devices)

    def command(self, case: Case) -> list[str]:
        """The arguments of a case; an axis that has no name on the command line, such as the device, is not passed."""
        given = self._given(case, variables=False)
        return [*self.arguments, *(f"{argument(name)}={value}" for name, value in given.items())]

    def variables(self, case: Case) -> dict[str, str]:
        """The environment variables of a case."""
        return {
            name.removeprefix(VARIABLE): value for name, value in self._given(case, variables=True).items()
        }

    def with_axes(self, axes: Iterable[str], flag: str = "set:") -> Script:
        """The script with further axes from `flag`; existing ones keep their names.

        Raises UsageError as `named` does.
        """
        return dataclasses.replace(self, names={**named(list(axes), flag), **self.names})

    def _given(self, case: Case, variables: bool) -> dict[str, str]:
        """The values of a case by their names on the command line: of variables, or of all others."""
        given = {self.names[axis]: spell(value) for axis, value in case.axes.items() if axis in self.names}
        return {name: value for name, value in given.items() if name.startswith(VARIABLE) == variables}


def script(path: Path, arguments: Sequence[str], axes: Sequence[str], in_place: bool = False) -> Script:
    """The script of a command line, with `axes` from --axis. Raises UsageError if it does not exist."""
    module = ""
    if _is_module(path):
        module, path = str(path), _file_of(str(path))
    if not os.path.isfile(path):  # Path raises for a text that is too long for a path
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise SuiteError(f"script {path} {what}; name a Python file: --script train.py")
    if path.suffix != ".py":
        raise SuiteError(f"script {path} is not a Python file, whose name ends in .py")
    return Script(str(path.resolve()), tuple(arguments), named(axes), module, in_place)


def _is_module(path: Path) -> bool:
    """Whether this is a module name as for `python -m`: pkg.train."""
    parts = str(path).split(".")
    is_dotted = len(parts) > 1 and all(map(str.isidentifier, parts))
    return is_dotted and parts[-1] != "py" and not os.path.exists(path)


def _file_of(module: str) -> Path:
    """The file of a module below this folder. Raises SuiteError if it does not exist."""
    place = Path(*module.split("."))
    for file in (place.with_suffix(".py"), place / "__main__.py"):
        if os.path.isfile(file):
            return file
    raise SuiteError(
        f"script {module} is neither {place}.py nor {place / '__main__.py'}; start bench in the folder in which "
        f"python -m {module} finds it, or name a file: --script train.py"
    )


def named(axes: Sequence[str], flag: str = "--axis ") -> dict[str, str]:
    """Column -> name of each axis from `flag`. Raises UsageError if two axes have the same column, and for variables
    that the script would get too late.
    """
    names: dict[str, str] = {}
    for name in axes:
        variable = name.removeprefix(VARIABLE)
        if name != variable and variable in RANKS:
            raise UsageError(f"{flag}{name}: {ONE_PROCESS}")
        if name != variable and variable.startswith(_EARLY):
            threads = variable == "OMP_NUM_THREADS"
            remedy = "--threads sets it" if threads else f"set it before bench: {variable}=..."
            raise UsageError(
                f"{flag}{name}: {variable} is read when the process starts or imports torch, which is before the "
                f"script begins; {remedy}"
            )
        axis = column(name)
        if axis in names:
            raise UsageError(
                f"{flag}{names[axis]} and {flag}{name} would have the same column, {axis}; give only one of them"
            )
        names[axis] = name
    return names


def check_alone(environ: Mapping[str, str]) -> None:
    """Raises UsageError if this is one of several processes that train together: it would wait for the others.

    A single process may have such variables.
    """
    alone = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}
    several = [f"{name}={environ[name]}" for name, one in alone.items() if environ.get(name, one) != one]
    if several:
        raise UsageError(
            f"{several[0]} is set: {ONE_PROCESS}; start bench once, without torchrun, and as: env -u WORLD_SIZE "
            f"-u RANK -u LOCAL_RANK bench ..."
        )


def argument(name: str) -> str:
    """An axis on the command line of the script: `--lr` for `lr`, `-b` for `arg:-b`."""
    return name.removeprefix(ARGUMENT) if name.startswith(ARGUMENT) else f"--{name}"


def _never(case: Case) -> Any:
    raise NotImplementedError(f"{case.id} is a script, and builds no task")
