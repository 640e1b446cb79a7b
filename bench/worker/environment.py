"""What the machine and software were, asked in the process that ran the loop."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from ..measurement import Device, Environment
from ..suite.case import Conditions
from .timing.peaks import peaks

_PACKAGES = ("epochbench", "torchvision", "numpy", "scikit-learn")
_OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "KMP_AFFINITY", "KMP_BLOCKTIME")


def available_devices() -> list[str]:
    """The CPU and every accelerator of this machine, as torch names them. Touches the driver."""
    devices = ["cpu"]
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        devices += [f"{accelerator.type}:{n}" for n in range(torch.accelerator.device_count())]
    return devices


def environment(conditions: Conditions, allocator: str, seed: int) -> Environment:
    """All that is known of the machine and software, under these conditions."""
    return Environment(
        host=socket.gethostname(),
        system=platform.system(),
        kernel=platform.release(),
        cpu=cpu_model(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        cpus=usable_cpus(),
        memory=psutil.virtual_memory().total,
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        load=round(psutil.getloadavg()[0], 2),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        openmp={name: os.environ[name] for name in _OPENMP if name in os.environ},
        allocator=allocator,
        start_method=conditions.start_method,
        loader_start_method=multiprocessing.get_start_method(),
        python=platform.python_version(),
        torch=torch.__version__,
        packages=_versions(),
        cuda=torch.version.cuda if torch.cuda.is_available() else None,
        cudnn=str(torch.backends.cudnn.version()) if torch.cuda.is_available() else None,
        driver=_driver(),
        devices=tuple(_devices()),
        flags=_flags(),
        seed=seed,
        peaks=tuple(peaks(available_devices())),
    )


def usable_cpus() -> tuple[int, ...]:
    """The logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cpu_model() -> str:
    """The processor as its maker names it."""
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _devices() -> list[Device]:
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        found.append(
            Device(
                name=properties.name,
                kind="cuda",
                index=index,
                memory=properties.total_memory,
                capability=f"{properties.major}.{properties.minor}",
                power_limit=_power_limit(properties),
            )
        )
    if not found and torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        count = torch.accelerator.device_count()
        found = [Device(accelerator.type, accelerator.type, index) for index in range(count)]
    return found


def _nvml() -> Any:
    """NVIDIA's management library, initialised, or None where there is no such card or package."""
    try:
        import pynvml  # its package is optional: a machine without NVIDIA cards does not need it

        pynvml.nvmlInit()
        return pynvml
    except Exception:
        return None


def _power_limit(properties: Any) -> float | None:
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
        return float(nvml.nvmlDeviceGetEnforcedPowerLimit(handle)) / 1000
    except Exception:
        return None


def _driver() -> str | None:
    nvml = _nvml() if torch.cuda.is_available() else None
    return None if nvml is None else str(nvml.nvmlSystemGetDriverVersion())


def _flags() -> Mapping[str, Any]:
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
