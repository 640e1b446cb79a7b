"""A training script as a suite: how its command line makes the cases."""

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
from .matrix import ARGUMENT, AVAILABLE, VARIABLE, Expansion, Suite, column

# Of these a process takes notice once, before a script that is run in it could be given them.
_EARLY = ("OMP_", "KMP_", "GOMP_", "MKL_", "MALLOC_", "GLIBC_TUNABLES", "LD_", "PYTHON")
# Of these torchrun tells each process that it starts: how many there are, and which it is.
RANKS = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
ONE_PROCESS = (
    "what is measured trains in one process; several, as torchrun starts for DDP and FSDP, are not supported"
)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Script(JsonRecord):
    """A script, the `arguments` of every launch, and the axes that are added to them.

    One that is named as `python -m` does has the name of its `module`. Where it runs `in_place`, what launches write
    stays where they write it.

    `names` has by its column in the tables how an axis is called on the command line: `batch-size` is given as
    `--batch-size=64`, `arg:-b` as `-b=64`, `env:WORKERS` as a variable of the environment.
    """

    path: str
    arguments: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    module: str = ""
    in_place: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", tuple(self.arguments))

    @property
    def suite(self) -> str:
        """The name of its suite: the file's stem, in letters that such a name may have."""
        name = self.module.rpartition(".")[2] or Path(self.path).stem
        return _NOT_IN_A_NAME.sub("-", name).strip("-_.") or "script"

    def expand(self, axes: Mapping[str, Sequence[AxisValue]]) -> Expansion:
        """The cases of these axes, by their names in the tables. Raises UsageError for a value that none can have."""
        devices = [str(device) for device in axes.get("device", ["cpu"])]
        if AVAILABLE in devices:
            raise UsageError("a script is given its device by name, such as --axis device=cpu,cuda")
        return Suite(self.suite, build=_never, axes={"device": devices, **axes}).expand(devices)

    def command(self, case: Case) -> list[str]:
        """The arguments of a case; a device that nobody named is the script's own to choose."""
        return [
            *self.arguments,
            *(
                f"{argument(name)}={spell(case[axis])}"
                for axis, name in self._given(case)
                if not name.startswith(VARIABLE)
            ),
        ]

    def variables(self, case: Case) -> dict[str, str]:
        """The variables of the environment of a case."""
        return {
            name.removeprefix(VARIABLE): spell(case[axis])
            for axis, name in self._given(case)
            if name.startswith(VARIABLE)
        }

    def with_axes(self, axes: Iterable[str], flag: str = "set:") -> Script:
        """The script with further axes, as `flag` names them; one that it has goes on being called as it is.

        Raises UsageError as `named` does.
        """
        return dataclasses.replace(self, names={**named(list(axes), flag), **self.names})

    def _given(self, case: Case) -> list[tuple[str, str]]:
        return [(axis, self.names[axis]) for axis in case.axes if axis in self.names]


def script(path: Path, arguments: Sequence[str], axes: Sequence[str], in_place: bool = False) -> Script:
    """The script of a command line, `axes` as --axis names them. Raises UsageError for one that there is not."""
    module = ""
    if _is_module(path):
        module, path = str(path), _file_of(str(path))
    if not os.path.isfile(path):  # where Path raises of text that is too long to be a path
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise SuiteError(f"script {path} {what}; name a Python file: --script train.py")
    if path.suffix != ".py":
        raise SuiteError(f"script {path} is no Python file; its name ends in .py")
    return Script(str(path.resolve()), tuple(arguments), named(axes), module, in_place)


def _is_module(path: Path) -> bool:
    """Whether this is a name as `python -m` takes it: pkg.train."""
    parts = str(path).split(".")
    return (
        not os.path.exists(path)
        and parts[-1] != "py"
        and len(parts) > 1
        and all(map(str.isidentifier, parts))
    )


def _file_of(module: str) -> Path:
    """Where a module lies that is named from this folder on. Raises SuiteError where it does not."""
    place = Path(*module.split("."))
    for file in (place.with_suffix(".py"), place / "__main__.py"):
        if os.path.isfile(file):
            return file
    raise SuiteError(
        f"script {module} is neither {place}.py nor {place / '__main__.py'}; start bench in the folder in which "
        f"python -m {module} finds it, or name a file: --script train.py"
    )


def named(axes: Sequence[str], flag: str = "--axis ") -> dict[str, str]:
    """Column -> name of each axis, as `flag` gave it. Raises UsageError where two would be one, and for what would come
    too late.
    """
    names: dict[str, str] = {}
    for name in axes:
        variable = name.removeprefix(VARIABLE)
        if name != variable and variable in RANKS:
            raise UsageError(f"{flag}{name}: {ONE_PROCESS}")
        if name != variable and variable.startswith(_EARLY):
            remedy = (
                "--threads sets it"
                if variable == "OMP_NUM_THREADS"
                else f"set it before bench: {variable}=..."
            )
            raise UsageError(
                f"{flag}{name}: {variable} is read when the process starts or imports torch, which is before the "
                f"script begins; {remedy}"
            )
        axis = column(name)
        if axis in names:
            raise UsageError(
                f"{flag}{names[axis]} and {flag}{name} would be one column, {axis}; give one of them"
            )
        names[axis] = name
    return names


def check_alone(environ: Mapping[str, str]) -> None:
    """Raises UsageError where the environment is that of one of several processes, which would wait for the others.

    One process alone may have such variables: a script that asks for them then trains by itself.
    """
    size = environ.get("WORLD_SIZE", "1")
    told = f"WORLD_SIZE={size}" if size != "1" else ""
    for name in ("RANK", "LOCAL_RANK"):
        if not told and environ.get(name, "0") != "0":
            told = f"{name}={environ[name]}"
    if told:
        raise UsageError(
            f"{told} is set: {ONE_PROCESS}; start bench once, without torchrun, and as: env -u WORLD_SIZE -u RANK "
            f"-u LOCAL_RANK bench ..."
        )


def argument(name: str) -> str:
    """How the command line of the script calls an axis: `--lr` for `lr`, `-b` for `arg:-b`."""
    return name.removeprefix(ARGUMENT) if name.startswith(ARGUMENT) else f"--{name}"


def _never(case: Case) -> Any:
    raise NotImplementedError(f"{case.id} is a script, and builds no task")
