"""The peaks of a device: FLOP/s by number format, stated by its maker or measured, and the bandwidth of its memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ...measurement import Bandwidth, Peak
from ...system.gpu import open_gpus
from ...system.kernel import read_file, usable_cpus
from ...tasks.precision import has_tf32
from .timers import device_synchronizer

_TERA = 1e12
_TIMES = 8  # repetitions, of which the best counts: other processes can only make it slower
_LONG_ENOUGH = 0.005  # seconds of a product that has all units at work
_TOO_LONG = 0.2  # seconds of a product in a format that the processor only emulates: two must do
_SMALLEST, _LARGEST = 1024, 8192  # rows and columns of the measured product
_LARGEST_ON_CPU = 4096

FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
TF32 = "tf32"
FLOAT16_SUMS = (
    "float16_accumulation"  # products of float16 that are also added in it, after torch's name of the setting
)
# That are measured where they are not stated. A card that lacks one of them only emulates it.
ON_DEVICES = ("float32", TF32, "bfloat16", "float16")

# Dense (no structured sparsity), in TFLOP/s: float32 without tensor cores, TF32, bfloat16 and float16 with accumulation
# in float32, float8 with accumulation in float32. GeForce cards have twice the rate of float16 where it is accumulated
# in float16, which torch does only if it is told so (`allow_fp16_accumulation`).
Rates = Mapping[str, float]


def _rates(
    float32: float, tf32: float | None, half: float, float8: float | None = None, sums: float | None = None
) -> Rates:
    stated = {
        "float32": float32,
        TF32: tf32,
        "bfloat16": half,
        "float16": half,
        FLOAT16_SUMS: sums or half,
        **dict.fromkeys(FLOAT8, float8),
    }
    return {name: rate for name, rate in stated.items() if rate is not None}


def _geforce(float32: float, half: float, float8: float | None = None) -> Rates:
    return _rates(float32, float32, half, float8, sums=2 * half)


def _halves(half: float) -> Rates:
    """Of a card whose other formats are measured."""
    return {"bfloat16": half, "float16": half}


def _before_ampere(float32: float, float16: float) -> Rates:
    return {"float32": float32, "float16": float16, FLOAT16_SUMS: float16}


_HOPPER = _rates(67, 494.7, 989.4, 1978.9)
_HOPPER_NVL = _rates(60, 417.5, 835.5, 1670.5)
_AMPERE, _ADA = "NVIDIA Ampere GA102 architecture white paper", "NVIDIA Ada GPU architecture white paper"
_BLACKWELL = "NVIDIA RTX Blackwell GPU architecture white paper"
_BLACKWELL_PRO = "NVIDIA RTX Blackwell PRO GPU architecture white paper, table 4"
# By a part of the device's name, the first match applies; a part that ends with $ must end the name, so that variants
# of a card (Ti, D, Laptop GPU) do not match.
_STATED: tuple[tuple[str, Rates, str], ...] = (
    ("GB300", _rates(80, 1250, 2500, 5000), "NVIDIA GB300 NVL72 data sheet"),
    ("B300", _rates(75, 1125, 2250, 4500), "NVIDIA HGX B300 data sheet"),
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
    ("RTX PRO 6000 Blackwell Workstation Edition$", _halves(503.8), _BLACKWELL_PRO),
    ("RTX PRO 6000 Blackwell Max Q Workstation Edition$", _halves(438.9), _BLACKWELL_PRO),
    ("GeForce RTX 5090$", _geforce(104.8, 209.5, 419), _BLACKWELL),
    ("GeForce RTX 5080$", _geforce(56.3, 112.6, 225.1), _BLACKWELL),
    ("GeForce RTX 4090$", _geforce(82.6, 165.2, 330.3), _ADA),
    ("GeForce RTX 4080$", _geforce(48.7, 97.5, 194.9), _ADA),
    ("GeForce RTX 3090$", _geforce(35.6, 71), _AMPERE),
    ("GeForce RTX 3080$", _geforce(29.8, 59.5), _AMPERE),
    ("V100 PCIE", _before_ampere(14, 112), "NVIDIA V100 data sheet (PCIe)"),
    ("V100", _before_ampere(15.7, 125), "NVIDIA V100 data sheet (SXM2)"),
    ("T4", _before_ampere(8.1, 65), "NVIDIA T4 data sheet"),
    ("MI355X", _rates(157.3, None, 2516.6, 5033.2), "AMD Instinct MI355X data sheet"),
    ("MI325X", _rates(163.4, 653.7, 1307.4, 2614.9), "AMD Instinct MI325X data sheet"),
    ("MI300X", _rates(163.4, 653.7, 1307.4, 2614.9), "AMD Instinct MI300X data sheet"),
    ("MI250X", _rates(47.9, None, 191.5), "AMD Instinct MI250X data sheet, half: one die is a device"),
)


def peaks(devices: Sequence[str], in_use: Collection[str] = ()) -> Iterator[Peak]:
    """The peaks of these devices by number format: those that their maker states, else measured ones.

    Float32 is measured on the CPU, and on another device `ON_DEVICES` as far as they are not stated. None is measured
    on a device that is `in_use`, nor where memory or a kernel for the format is missing.
    """
    for name in devices:
        device = torch.device(name)
        stated, source = stated_for(torch.cuda.get_device_name(device) if device.type == "cuda" else "")
        for dtype, tera in stated.items():
            yield Peak(name, dtype, tera * _TERA, source)
        if name not in in_use:
            wanted = ("float32",) if device.type == "cpu" else ON_DEVICES
            yield from measured_peaks((name, dtype) for dtype in wanted if dtype not in stated)


def measured_peaks(wanted: Iterable[tuple[str, str]]) -> Iterator[Peak]:
    """The measured peaks of these devices and formats, as far as they can be measured."""
    for name, dtype in wanted:
        if (found := measured(torch.device(name), dtype)) is not None:
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

    Of a part of a card (MIG) those of the part count. A card of which NVML tells nothing is taken as free: that it is
    not NVIDIA's, or that NVML is missing, says nothing of other programs.

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

    A product is doubled in size until it takes 5 ms. None where the device lacks the format or the memory, and for a
    format that is not one of tensors.
    """
    if dtype == TF32 and not has_tf32(str(device)):
        return None
    of_tensors = getattr(torch, "float32" if dtype == TF32 else dtype, None)
    if of_tensors is None:
        return None
    try:
        with _precision("tf32" if dtype == TF32 else "ieee"):
            return _measured(device, of_tensors, clock)
    except (RuntimeError, TypeError):  # no memory, or the device lacks the format
        return None


@contextmanager
def _precision(of_float32: str) -> Iterator[None]:
    """Sets that of products on cards, and that of processors to float32, by names that never raise.

    torch.get_float32_matmul_precision does where the program has used these.
    """
    cuda, mkldnn = torch.backends.cuda, cast("Any", torch.backends.mkldnn)
    settings: list[Any] = [cuda.matmul, mkldnn.matmul]
    before = [one.fp32_precision for one in settings]
    try:
        for one, value in zip(settings, (of_float32, "ieee"), strict=True):
            one.fp32_precision = value
        yield
    finally:
        for one, value in zip(settings, before, strict=True):
            one.fp32_precision = value


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


_CPUS = Path("/sys/devices/system/cpu")
_BEYOND = 4  # times the last level of cache: the rule of STREAM
# Bytes of an array. On a card, the largest known cache is one of 256 MiB. On a processor they are bounded by the number
# of threads: a virtual machine with two processors may name the cache of a hundred.
_ON_DEVICE = 1 << 30
_ON_CPU, _MOST_ON_CPU, _MOST_OF_THREAD = 64 << 20, 128 << 20, 32 << 20
_TRIADS = 4
_TRIAD_SECONDS = 0.25  # after which no further one begins


def bandwidths(devices: Sequence[str]) -> Iterator[Bandwidth]:
    """The memory bandwidth of these devices, by STREAM's triad; none of one without enough memory."""
    yield from filter(None, map(triad, map(torch.device, devices)))


def triad(device: torch.device, clock: Callable[[], float] = time.perf_counter) -> Bandwidth | None:
    """The bandwidth of a = b + s c over arrays that no cache holds, the best of a few times.

    Counted as in STREAM (McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance Computers", 1995):
    two arrays read and one written, without the read that a write may cause. None where arrays of 64 MiB do not fit.
    """
    cache = last_level_cache(usable_cpus()) if device.type == "cpu" else 0
    size = _ON_DEVICE
    if device.type == "cpu":
        most = max(_MOST_ON_CPU, _MOST_OF_THREAD * torch.get_num_threads())
        size = min(max(_ON_CPU, _BEYOND * cache), most)
    while (arrays := _arrays(device, size)) is None:
        if (size := size // 2) < _ON_CPU:
            return None
    a, b, c = arrays
    synchronize = device_synchronizer(device)
    takes: list[float] = []
    while len(takes) < _TRIADS and sum(takes) < _TRIAD_SECONDS:
        synchronize()
        began = clock()
        torch.add(b, c, alpha=3.0, out=a)
        synchronize()
        takes.append(clock() - began)
    by_cache = f", {size / cache:.1f} times the last level of cache" if cache else ""
    source = f"STREAM triad of {size >> 20} MiB arrays{by_cache}, best of {len(takes)}"
    return Bandwidth(str(device), 3 * size / min(takes), source)


def _arrays(device: torch.device, size: int) -> list[Tensor] | None:
    """Three arrays of `size` bytes, written by the threads that will use them; None where they do not fit."""
    try:
        return [torch.ones(size // 4, device=device) for _ in range(3)]
    except RuntimeError:
        return None


def last_level_cache(cpus: Iterable[int], root: Path = _CPUS) -> int:
    """The bytes of the last level of cache that these processors have together; 0 where the kernel does not tell."""
    units = {"K": 10, "M": 20, "G": 30}
    levels: dict[int, dict[str, int]] = {}
    for cpu in cpus:
        for folder in (root / f"cpu{cpu}/cache").glob("index*"):
            level, size = (read_file(folder / name).strip() for name in ("level", "size"))
            if level.isdecimal() and size[:-1].isdecimal() and size[-1] in units:
                sharing = read_file(folder / "shared_cpu_list")
                levels.setdefault(int(level), {})[sharing] = int(size[:-1]) << units[size[-1]]
    return sum(levels[max(levels)].values()) if levels else 0
