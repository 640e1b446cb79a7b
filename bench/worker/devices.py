"""Why a requested device does not exist here, as far as torch and the machine show it."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..measurement import Device
from ..system.gpu import HIDING

KINDS = ("cpu", "cuda", "mps", "xpu")  # those that torch supports without other packages

# What people call a device, and torch's name for it.
_CALLED = {
    **dict.fromkeys(("gpu", "nvidia", "nvgpu", "rocm", "amd", "hip"), "cuda"),
    **dict.fromkeys(("metal", "apple"), "mps"),
    **dict.fromkeys(("intel", "sycl"), "xpu"),
    "tpu": "xla",
}
_INSTALL = "https://pytorch.org/get-started/locally"


def equal_cards(devices: Sequence[Device]) -> dict[str, list[str]]:
    """The cards that are of the same model, with the same memory, by the first of them; no card that is the only one.

    Only NVIDIA's cards, whose runtime can reorder them by their UUID. The parts of a card (MIG) have other names than
    whole cards.
    """
    kinds: dict[tuple[str, str, int | None], list[str]] = {}
    for card in devices:
        if card.kind == "cuda" and card.uuid and torch.version.hip is None:
            kinds.setdefault((card.name, card.capability, card.memory), []).append(card.device)
    told_by = Counter(
        card.uuid for card in devices
    )  # a virtual card may have a UUID of zeros, as its neighbour has
    return {
        cards[0]: cards
        for cards in kinds.values()
        if len(cards) > 1 and all(told_by[card.uuid] == 1 for card in devices if card.device in cards)
    }


def device_conditions(device: torch.device) -> dict[str, Any]:
    """The conditions of a launch on a card, once it has run; empty on other devices.

    `card` is the UUID of the card, missing where torch does not tell. `algorithms_by_time` is there if algorithms were
    chosen by how long each took, by cuDNN (`torch.backends.cudnn.benchmark`) or by inductor (max-autotune): another
    launch may choose others, with other kernels and workspaces.
    """
    if device.type != "cuda":
        return {}
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    inductor = sys.modules.get("torch._inductor.config")
    by_time = torch.backends.cudnn.benchmark or bool(getattr(inductor, "max_autotune", False))
    return {**({"card": uuid} if uuid else {}), **({"algorithms_by_time": True} if by_time else {})}


@dataclass(frozen=True)
class DeviceFacts:
    """The facts that decide which devices exist.

    `built_for` has, by kind, what the installed torch was built for, such as "CUDA 13.0" for cuda; `invalid` is torch's
    error for the name itself, empty for a valid name; `variables` is the environment.
    """

    version: str
    system: str
    built_for: Mapping[str, str]
    devices: Sequence[str]
    invalid: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


def facts(device: str, devices: Sequence[str]) -> DeviceFacts:
    """The facts of this torch and this machine, for a requested device."""
    built_for = {}
    if torch.backends.cuda.is_built():
        hip = torch.version.hip
        built_for["cuda"] = f"ROCm {hip}" if hip else f"CUDA {torch.version.cuda}"
    if torch.backends.mps.is_built():
        built_for["mps"] = "MPS"
    if xpu := getattr(torch.version, "xpu", None):
        built_for["xpu"] = f"XPU {xpu}"
    try:
        torch.device(device)
        invalid = ""
    except RuntimeError as problem:
        invalid = str(problem).strip().splitlines()[0]
    return DeviceFacts(torch.__version__, platform.system(), built_for, devices, invalid, os.environ)


def absence(devices: Sequence[str]) -> Callable[[str], str]:
    """A function that returns why a device does not exist here, as `Suite.expand` needs it."""
    return lambda device: why_absent(device, facts(device, devices))


def why_absent(device: str, facts: DeviceFacts) -> str:
    """Why this device does not exist here, with a remedy where there is one."""
    kind = device.partition(":")[0]
    if facts.invalid:
        return _no_name(device, kind)
    there = [one for one in facts.devices if one.partition(":")[0] == kind]
    if kind == "cpu":
        return "all processors together are one device; write cpu"
    if there:
        return f"torch sees {len(there)} of this kind, numbered from 0{_hidden(kind, facts, 'shows it these only')}"
    if kind == "meta":
        return "tensors there hold no data, so that there is nothing to measure"
    if kind not in KINDS:
        return "torch has no such device by itself: a package of its maker provides it, as the accelerator"
    if kind == "mps" and facts.system != "Darwin":
        return f"mps is the GPU of a Mac, and this is {facts.system}"
    if kind not in facts.built_for:
        what = {"cuda": "CUDA", "mps": "MPS", "xpu": "XPU"}[kind]
        return (
            f"the installed torch {facts.version} was built without {what}; install one that was: {_INSTALL}"
        )
    built = f"torch {facts.version} was built for {facts.built_for[kind]}, but"
    if kind == "mps":
        return f"{built} this Mac has no GPU that it can use, or macOS is older than 14"
    if hidden := _hidden(kind, facts, "hides them"):
        return f"{built} sees no card{hidden}"
    tool = {"cuda": "rocm-smi" if "ROCm" in facts.built_for[kind] else "nvidia-smi", "xpu": "xpu-smi"}[kind]
    return f"{built} sees no card; `{tool}` shows whether card and driver are there"


def _no_name(device: str, kind: str) -> str:
    """Why torch cannot parse this name of a device."""
    name = kind.strip().lower()
    if name in _CALLED:
        right = _CALLED[name]
        if right not in KINDS:
            return f"torch calls it {right}, and has it with the package torch_{right} only"
        return f"{kind} is not a device name of torch, which calls it {right}; write {device.replace(kind, right, 1)}"
    if name in KINDS:
        return f"write {name} or, if there are several, {name}:0, {name}:1" if name != "cpu" else "write cpu"
    return f"{kind or 'nothing'} is not a device name of torch; there are {', '.join(KINDS)}"


def _hidden(kind: str, facts: DeviceFacts, does: str) -> str:
    """The variables that hide cards, as they are set."""
    found = [f"{name}={facts.variables[name]!r}" for name in HIDING.get(kind, ()) if name in facts.variables]
    return f": {' and '.join(found)} {does}" if found else ""
