"""The peaks of a device: FLOP/s by number format, stated by its maker or measured, and the bandwidth of its memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...measurement import Bandwidth, Peak
from ...system.gpu import open_gpus
from ...system.kernel import read_file
from .timers import device_synchronizer

_TERA = 1e12
_TIMES = 8  # repetitions, of which the best counts: other processes can only make it slower
_LONG_ENOUGH = 0.005  # seconds of a product that has all units at work
_TOO_LONG = 0.2  # seconds of a product in a format that the processor only emulates: two must do
_SMALLEST, _LARGEST = 1024, 8192  # rows and columns of the measured product
_LARGEST_ON_CPU = 4096

FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
TF32 = "tf32"
ON_DEVICES = ("float32", TF32, "bfloat16", "float16")  # that are measured where they are not stated

# Dense (no structured sparsity), in TFLOP/s: float32 without tensor cores, TF32, bfloat16 and float16 with accumulation
# in float32, float8. GeForce cards do half of their float16 rate when they accumulate in float32, as torch does.
Rates = Mapping[str, float]


def _rates(float32: float, tf32: float | None, half: float, float8: float | None = None) -> Rates:
    stated = {
        "float32": float32,
        TF32: tf32,
        "bfloat16": half,
        "float16": half,
        **dict.fromkeys(FLOAT8, float8),
    }
    return {name: rate for name, rate in stated.items() if rate is not None}


_HOPPER = _rates(67, 494.7, 989.4, 1978.9)
_HOPPER_NVL = _rates(60, 417.5, 835.5, 1670.5)
_AMPERE, _ADA = "NVIDIA Ampere GA102 architecture white paper", "NVIDIA Ada GPU architecture white paper"
_BLACKWELL = "NVIDIA RTX Blackwell GPU architecture white paper"
# By a part of the device's name, the first match applies; a part that ends with $ must end the name, so that variants
# of a card (Ti, D, Laptop GPU) do not match.
_STATED: tuple[tuple[str, Rates, str], ...] = (
    ("GB200", _rates(80, 1250, 2500, 5000), "NVIDIA GB200 NVL72 data sheet"),
    ("B200", _rates(75, 1125, 2250, 4500), "NVIDIA HGX B200 data sheet"),
    ("GH200", _HOPPER, "NVIDIA GH200 data sheet"),
    ("H200 NVL", _HOPPER_NVL, "NVIDIA H200 NVL data sheet"),
    ("H200", _HOPPER, "NVIDIA H200 data sheet"),
    ("H100 PCIe", _rates(51.2, 378, 756, 1513), "NVIDIA H100 data sheet"),
    ("H100 NVL", _HOPPER_NVL, "NVIDIA H100 NVL data sheet"),
    ("H100", _HOPPER, "NVIDIA H100 data sheet"),
    ("A100", _rates(19.5, 156, 312), "NVIDIA A100 data sheet"),
    ("A30", _rates(10.3, 82, 165), "NVIDIA A30 data sheet"),
    ("A40", _rates(37.4, 74.8, 149.7), "NVIDIA A40 data sheet"),
    ("L40S", _rates(91.6, 183, 362, 733), "NVIDIA L40S data sheet"),
    ("L40", _rates(90.5, 90.5, 181, 362), "NVIDIA L40 data sheet"),
    ("L4", _rates(30.3, 60, 121, 242.5), "NVIDIA L4 data sheet"),
    ("A10G", _rates(31.5, 35, 70), "NVIDIA A10G data sheet"),
    ("A10", _rates(31.2, 62.5, 125), "NVIDIA A10 data sheet"),
    ("RTX A6000", _rates(38.7, 77.4, 154.8), "NVIDIA RTX A6000 data sheet"),
    ("RTX 6000 Ada Generation", _rates(91.1, 182.1, 364.2, 728.5), "NVIDIA RTX 6000 Ada data sheet"),
    ("GeForce RTX 5090$", _rates(104.8, 104.8, 209.5, 419), _BLACKWELL),
    ("GeForce RTX 5080$", _rates(56.3, 56.3, 112.6, 225.1), _BLACKWELL),
    ("GeForce RTX 4090$", _rates(82.6, 82.6, 165.2, 330.3), _ADA),
    ("GeForce RTX 4080$", _rates(48.7, 48.7, 97.5, 194.9), _ADA),
    ("GeForce RTX 3090$", _rates(35.6, 35.6, 71), _AMPERE),
    ("GeForce RTX 3080$", _rates(29.8, 29.8, 59.5), _AMPERE),
    ("V100 PCIE", {"float32": 14, "float16": 112}, "NVIDIA V100 data sheet (PCIe)"),
    ("V100", {"float32": 15.7, "float16": 125}, "NVIDIA V100 data sheet (SXM2)"),
    ("T4", {"float32": 8.1, "float16": 65}, "NVIDIA T4 data sheet"),
    ("MI355X", _rates(157.3, None, 2516.6, 5033.2), "AMD Instinct MI355X data sheet"),
    ("MI325X", _rates(163.4, 653.7, 1307.4, 2614.9), "AMD Instinct MI325X data sheet"),
    ("MI300X", _rates(163.4, 653.7, 1307.4, 2614.9), "AMD Instinct MI300X data sheet"),
    ("MI250X", _rates(47.9, None, 191.5), "AMD Instinct MI250X data sheet, half: one die is a device"),
)


def peaks(
    devices: Sequence[str], formats: Collection[str] = (), in_use: Collection[str] = ()
) -> Iterator[Peak]:
    """The peaks of these devices by number format: those that their maker states, else measured ones.

    On the CPU float32 is measured, and those of `formats`; on another device every one of `ON_DEVICES` that it has.
    None is measured on a device that is `in_use`, nor where memory or a kernel for the format is missing.
    """
    for name in devices:
        device = torch.device(name)
        stated, source = stated_for(torch.cuda.get_device_name(device) if device.type == "cuda" else "")
        for dtype, tera in stated.items():
            yield Peak(name, dtype, tera * _TERA, source)
        if stated or name in in_use:
            continue
        for dtype in dict.fromkeys(("float32", *formats) if device.type == "cpu" else ON_DEVICES):
            if (found := measured(device, dtype)) is not None:
                yield Peak(name, dtype, found.flops, found.source)


def stated_for(name: str) -> tuple[Rates, str]:
    """The row of the table for a device of this name; empty for an unknown card, or a part of one (MIG)."""
    words = name.replace("-", " ")
    if _holds(words, "MIG"):
        return {}, ""
    return next(((rates, source) for held, rates, source in _STATED if _holds(words, held)), ({}, ""))


def _holds(name: str, words: str) -> bool:
    """Whether the name contains these whole words: "L4" does not match an L40S."""
    if words.endswith("$"):
        return f" {name}".endswith(f" {words[:-1]}")
    return f" {words} " in f" {name} "


def is_in_use(device: torch.device) -> bool:
    """Whether a program computes on a card, as far as NVML tells: measuring its peak would slow that one down.

    To be asked before this process uses the card: in a container, NVML may give its number outside.
    """
    if device.type != "cuda":
        return False
    states = [gpu.state() for gpu in open_gpus([device.index or 0])]
    return any(state.processes for state in states)


@dataclass(frozen=True)
class MeasuredPeak:
    """FLOP/s of the fastest of a few products of square matrices with `size` rows."""

    flops: float
    size: int
    times: int = _TIMES

    @property
    def source(self) -> str:
        return f"measured: product of {self.size} x {self.size} matrices, best of {self.times}"


def measured(
    device: torch.device, dtype: str = "float32", clock: Callable[[], float] = time.perf_counter
) -> MeasuredPeak | None:
    """The peak in one number format, by matrices that are large enough for all units of the device.

    A product is doubled in size until it takes 5 ms. None where the device lacks the format or the memory.
    """
    if dtype == TF32 and not has_tf32(device):
        return None
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if dtype == TF32 else "highest")
    try:
        return _measured(device, getattr(torch, "float32" if dtype == TF32 else dtype), clock)
    except RuntimeError:  # no memory, or no kernel for the format
        return None
    finally:
        torch.set_float32_matmul_precision(precision)


def _measured(device: torch.device, dtype: torch.dtype, clock: Callable[[], float]) -> MeasuredPeak:
    synchronize = device_synchronizer(device)
    generator = torch.Generator(device)  # its own, since the caller may have seeded torch's
    size, most = _SMALLEST, _LARGEST_ON_CPU if device.type == "cpu" else _LARGEST

    def seconds() -> float:
        synchronize()
        began = clock()
        torch.mm(left, right)
        synchronize()
        return clock() - began

    while True:
        left, right = (torch.rand(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
        best = min(seconds(), seconds())  # the first loads the kernel
        if best >= _LONG_ENOUGH or size >= most:
            break
        size *= 2
    times = 2 if best > _TOO_LONG else _TIMES
    best = min([best, *(seconds() for _ in range(times - 2))])
    return MeasuredPeak(2 * size**3 / best, size, times)


def has_tf32(device: torch.device) -> bool:
    """Whether float32 products can run in TF32: on cards of NVIDIA with compute capability 8.0 and later.

    An MI300 calls its own version 9.4, which is not a compute capability.
    """
    is_nvidia = device.type == "cuda" and torch.version.hip is None
    return is_nvidia and torch.cuda.get_device_capability(device) >= (8, 0)


_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_ARRAY = 64 << 20  # bytes of an array, at least
_ON_DEVICE = (
    1 << 30
)  # beyond the cache of any card, and long enough that the launch of a kernel is 1 % or 2 % of it
_MOST_ARRAY = 128 << 20  # a processor with a cache of hundreds of MiB shares it with others
_BEYOND = 4  # times the largest cache: the rule of STREAM
_TRIADS = 4


def bandwidths(devices: Sequence[str]) -> Iterator[Bandwidth]:
    """The memory bandwidth of these devices, by STREAM's triad; none of one without enough memory."""
    yield from filter(None, map(triad, map(torch.device, devices)))


def triad(device: torch.device, clock: Callable[[], float] = time.perf_counter) -> Bandwidth | None:
    """The bandwidth of a = b + s c over arrays that no cache holds, the best of a few times.

    Counted as in STREAM (McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance Computers", 1995):
    two arrays read and one written, without the read that a write may cause. On a device that is too small for such
    arrays they are halved as far as the smallest. None where these do not fit either.
    """
    on_cpu = device.type == "cpu"
    size = min(max(_ARRAY, _BEYOND * largest_cache()), _MOST_ARRAY) if on_cpu else _ON_DEVICE
    while True:
        try:
            a, b, c = (torch.ones(size // 4, device=device) for _ in range(3))
            break
        except RuntimeError:
            if on_cpu or size <= _ARRAY:
                return None
            size //= 2
    synchronize = device_synchronizer(device)
    best = float("inf")
    for _ in range(_TRIADS):
        synchronize()
        began = clock()
        torch.add(b, c, alpha=3.0, out=a)
        synchronize()
        best = min(best, clock() - began)
    return Bandwidth(
        str(device), 3 * size / best, f"STREAM triad of {size >> 20} MiB arrays, best of {_TRIADS}"
    )


def largest_cache(caches: Path = _CACHES) -> int:
    """The bytes of the largest cache of a processor; 0 where the kernel does not tell."""
    sizes = [read_file(file) for file in caches.glob("index*/size")]
    units = {"K": 10, "M": 20, "G": 30}
    return max((int(size[:-1]) << units[size[-1]] for size in sizes if size[-1:] in units), default=0)
