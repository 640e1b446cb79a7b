"""The peak FLOP/s of a device: as its maker states it, or as a large matrix product measures it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from ...measurement import Peak
from .timers import device_synchronizer

_TERA = 1e12
_SIZE = {"cpu": 1024}  # rows and columns of the measured product
_ON_DEVICE = 8192
_TIMES = 8  # repetitions, of which the best counts: other processes can only make it slower

# By a part of the device's name, the first match applies; dense (no structured sparsity), in TFLOP/s: float32 without
# tensor cores, TF32, bfloat16 and float16 with accumulation in float32.
_HOPPER = {"float32": 67, "tf32": 494.7, "bfloat16": 989.4, "float16": 989.4}
_HOPPER_NVL = {"float32": 60, "tf32": 417.5, "bfloat16": 835.5, "float16": 835.5}
_STATED: tuple[tuple[str, Mapping[str, float], str], ...] = (
    ("H200 NVL", _HOPPER_NVL, "NVIDIA H200 NVL data sheet"),
    ("H200", _HOPPER, "NVIDIA H200 data sheet"),
    ("H100 PCIe", {"float32": 51.2, "tf32": 378, "bfloat16": 756, "float16": 756}, "NVIDIA H100 data sheet"),
    ("H100 NVL", _HOPPER_NVL, "NVIDIA H100 NVL data sheet"),
    ("H100", _HOPPER, "NVIDIA H100 data sheet"),
    ("A100", {"float32": 19.5, "tf32": 156, "bfloat16": 312, "float16": 312}, "NVIDIA A100 data sheet"),
    ("L40S", {"float32": 91.6, "tf32": 183, "bfloat16": 362, "float16": 362}, "NVIDIA L40S data sheet"),
    ("L4", {"float32": 30.3, "tf32": 60, "bfloat16": 121, "float16": 121}, "NVIDIA L4 data sheet"),
    ("A10G", {"float32": 31.5, "tf32": 35, "bfloat16": 70, "float16": 70}, "NVIDIA A10G data sheet"),
    ("A10", {"float32": 31.2, "tf32": 62.5, "bfloat16": 125, "float16": 125}, "NVIDIA A10 data sheet"),
    ("V100 PCIE", {"float32": 14, "float16": 112}, "NVIDIA V100 data sheet (PCIe)"),
    ("V100", {"float32": 15.7, "float16": 125}, "NVIDIA V100 data sheet (SXM2)"),
    ("T4", {"float32": 8.1, "float16": 65}, "NVIDIA T4 data sheet"),
)


def peaks(devices: Sequence[str]) -> Iterator[Peak]:
    """The peaks of these devices by number format: stated ones, and float32 measured where none is stated.

    Where float32 products may run as TF32, their peak is that of TF32. A device on which it cannot be measured, such as
    for lack of memory, has no peak.
    """
    for name in devices:
        device = torch.device(name)
        stated, source = stated_for(torch.cuda.get_device_name(device) if device.type == "cuda" else "")
        if not stated:
            size = _SIZE.get(device.type, _ON_DEVICE)
            try:
                flops = measured(device, size)
            except RuntimeError:
                continue
            source = f"measured: product of {size} x {size} matrices, best of {_TIMES}"
            yield Peak(name, "float32", flops, source)
            continue
        reduced = torch.get_float32_matmul_precision() != "highest" and "tf32" in stated
        for dtype, tera in stated.items():
            if dtype == "tf32":
                continue
            counted = stated["tf32"] if dtype == "float32" and reduced else tera
            yield Peak(name, dtype, counted * _TERA, f"{source}{', TF32' if counted is not tera else ''}")


def stated_for(name: str) -> tuple[Mapping[str, float], str]:
    """The row of the table for a device of this name; empty for an unknown card, or a part of one (MIG)."""
    words = name.replace("-", " ")
    if _holds(words, "MIG"):
        return {}, ""
    return next(((rates, source) for held, rates, source in _STATED if _holds(words, held)), ({}, ""))


def _holds(name: str, words: str) -> bool:
    """Whether the name contains these whole words: "L4" does not match an L40S."""
    return f" {words} " in f" {name} "


def measured(device: torch.device, size: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """FLOP/s of the fastest of a few float32 matrix products."""
    synchronize = device_synchronizer(device)
    generator = torch.Generator(device)  # its own, since the caller may have seeded torch's
    left, right = (torch.rand(size, size, device=device, generator=generator) for _ in range(2))
    best = float("inf")
    for _ in range(_TIMES):
        synchronize()
        began = clock()
        torch.mm(left, right)
        synchronize()
        best = min(best, clock() - began)
    return 2 * size**3 / best
