"""What the machine and software were, asked in the process that ran the loop."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil
import torch

from ..measurement import Device, Environment
from ..measurement.messages import EnvironmentRequest
from ..system.gpu import driver_version, power_limit
from ..system.kernel import read_file, usable_cpus
from .counts.formats import cuda_precision
from .timing.peaks import bandwidths, is_in_use, peaks

_PACKAGES = ("epochbench", "torchvision", "numpy", "scikit-learn")
_OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "KMP_AFFINITY", "KMP_BLOCKTIME")


def available_devices() -> list[str]:
    """The CPU and every accelerator of this machine, as torch names them. Touches the driver."""
    devices = ["cpu"]
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        devices += [f"{accelerator.type}:{n}" for n in range(_count(accelerator))]
    return devices


def _count(accelerator: torch.device) -> int:
    """How many devices the runtime shows.

    Before CUDA is in use, torch's own count is that of NVML, which is of cards: where one of several is divided (MIG),
    CUDA shows a single part. The runtime's count makes no context on a card.
    """
    if accelerator.type == "cuda":
        return int(torch._C._cuda_getDeviceCount())
    return torch.accelerator.device_count()


def environment(request: EnvironmentRequest, allocator: str) -> Environment:
    """All that is known of the machine and software, under the conditions of the request."""
    available = available_devices()
    measured = [name for name in request.devices if name in available]
    in_use = [name for name in measured if is_in_use(torch.device(name))]
    return Environment(
        host=socket.gethostname(),
        system=platform.system(),
        kernel=platform.release(),
        cpu=cpu_model(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        cpus=usable_cpus(),
        memory=psutil.virtual_memory().total,
        governor=read_file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        load=round(psutil.getloadavg()[0], 2),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        openmp={name: os.environ[name] for name in _OPENMP if name in os.environ},
        allocator=allocator,
        start_method=request.conditions.start_method,
        loader_start_method=multiprocessing.get_start_method(),
        python=platform.python_version(),
        torch=torch.__version__,
        packages=_versions(),
        cuda=torch.version.cuda if torch.cuda.is_available() else None,
        cudnn=_cudnn(),
        driver=driver_version() if torch.cuda.is_available() else None,
        devices=tuple(devices(available)),
        flags=_flags(),
        seed=request.seed,
        peaks=tuple(peaks(measured, in_use)),
        bandwidths=tuple(bandwidths([name for name in measured if name not in in_use])),
    )


def _cudnn() -> str | None:
    """The version of cuDNN, or of MIOpen on ROCm; None without a card or the library."""
    version = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return None if version is None else str(version)


def cpu_model() -> str:
    """The processor as its maker names it."""
    for line in read_file("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def devices(available: Sequence[str]) -> list[Device]:
    """The accelerators among these devices of the machine."""
    found = []
    names = available[1:]
    for index in range(len(names) if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        found.append(
            Device(
                name=properties.name,
                kind="cuda",
                index=index,
                memory=properties.total_memory,
                capability=f"{properties.major}.{properties.minor}",
                power_limit=power_limit(f"GPU-{getattr(properties, 'uuid', '')}"),
                uuid=str(getattr(properties, "uuid", "")),
                pci=_pci(properties),
            )
        )
    if found:
        return found
    return [Device(one.type, one.type, one.index) for one in map(torch.device, names)]


def _pci(properties: Any) -> str:
    """The place of a card on the bus as the kernel names it; empty where torch does not tell."""
    place: list[Any] = [getattr(properties, f"pci_{part}_id", None) for part in ("domain", "bus", "device")]
    return "" if None in place else "{:04x}:{:02x}:{:02x}.0".format(*place)


def _flags() -> Mapping[str, Any]:
    return {
        "float32_matmul_precision": _matmul_precision(),
        "cuda.matmul.fp32_precision": cuda_precision("matmul"),
        "cudnn.conv.fp32_precision": cuda_precision("conv"),
        "cudnn.rnn.fp32_precision": cuda_precision("rnn"),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _matmul_precision() -> str:
    """The older setting; "mixed" where newer ones say what it cannot express: reading it raises then."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "mixed"


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
