"""What two environments must have in common for their times, or their exact counts, to be compared.

Other fields never keep runs from being compared: host name, kernel, processor clocks, load.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ...measurement import Environment

# Fields of Environment whose difference changes times by itself.
FOR_TIME = (
    "cpu cpu_capability cpus threads openmp allocator start_method loader_start_method devices cards_at_once driver "
    "torch cuda cudnn python flags".split()
)
_MINOR = ("torch", "cuda", "python")  # compared as far as their minor version


@dataclass(frozen=True)
class EnvironmentDifference:
    """A field of Environment, or `device_kinds`, that is different in two environments, with both values."""

    field: str
    first: Any
    second: Any


def differences(first: Environment, second: Environment) -> list[EnvironmentDifference]:
    """The differences that matter for times, in the order of FOR_TIME."""
    return [
        EnvironmentDifference(field, getattr(first, field), getattr(second, field))
        for field in FOR_TIME
        if not _alike(field, first, second)
    ]


def differences_for_counts(first: Environment, second: Environment) -> list[EnvironmentDifference]:
    """The differences that matter for exact counts: the version of torch and the kinds of device."""
    found = []
    if not _alike("torch", first, second):
        found.append(EnvironmentDifference("torch", first.torch, second.torch))
    kinds = [sorted({device.kind for device in one.devices}) or ["cpu"] for one in (first, second)]
    if kinds[0] != kinds[1]:
        found.append(EnvironmentDifference("device_kinds", *kinds))
    return found


def same_for_counts(first: Environment, second: Environment) -> bool:
    """Whether exact counts are comparable."""
    return not differences_for_counts(first, second)


def same_for_machine_counts(first: Environment, second: Environment) -> bool:
    """Whether counts that depend on the machine are comparable too; counts launches always have the same threads.

    Which kernels a library launches on a device, and with which workspace, depends on the model of the card and on the
    version of cuDNN.
    """
    one, other = (
        (of.cpu_capability, of.cudnn, {device.name for device in of.devices}) for of in (first, second)
    )
    return one == other


def _alike(field: str, first: Environment, second: Environment) -> bool:
    if field == "flags":  # an earlier version recorded fewer
        return all(
            first.flags[name] == second.flags[name] for name in first.flags.keys() & second.flags.keys()
        )
    return bool(_compared(field, first) == _compared(field, second))


def _compared(field: str, environment: Environment) -> Any:
    value = getattr(environment, field)
    if field == "cpus":
        return len(value)  # how many, not which
    if field == "devices":  # the model of each, not which of several
        return [dataclasses.replace(device, uuid="", pci="") for device in value]
    if field in _MINOR and isinstance(value, str):
        return value.split(".")[:2]
    return value
