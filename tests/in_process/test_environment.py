from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from bench.measurement import Environment
from bench.measurement.messages import EnvironmentRequest
from bench.suite.case import Conditions
from bench.system.kernel import usable_cpus
from bench.worker import environment as worker_environment
from bench.worker.environment import available_devices, cpu_model, devices, environment


def described(**changes):
    return environment(EnvironmentRequest(Conditions(**changes), 7), "pinned")


def test_the_environment_goes_through_json_whole():
    found = described()
    assert Environment.from_json(json.loads(json.dumps(found.to_json()))) == found


# What a machine may lack: a GPU with its software, frequency scaling, and settings that nobody made.
MAY_BE_EMPTY = {"governor", "load", "openmp", "cuda", "cudnn", "driver", "devices"}


def test_every_field_is_filled_in():
    found = described()
    empty = {field.name for field in dataclasses.fields(Environment) if not getattr(found, field.name)}
    assert empty <= MAY_BE_EMPTY


def test_the_environment_is_that_of_this_process():
    found = described(start_method="spawn")
    assert found.python == platform.python_version()
    assert found.torch == torch.__version__
    assert found.threads == torch.get_num_threads()
    assert found.memory == psutil.virtual_memory().total
    assert found.cpus == usable_cpus()
    assert (found.start_method, found.allocator, found.seed) == ("spawn", "pinned", 7)
    assert found.load >= 0
    assert 1 <= found.cores <= os.cpu_count()


def test_threads_and_flags_are_read_when_asked_not_remembered():
    before, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("high")
        found = described()
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(precision)
    assert found.threads == 1
    assert found.flags["float32_matmul_precision"] == "high"


def test_settings_that_the_older_name_cannot_express_do_not_fail_it():
    """Torch raises for reading the older setting where a program has used a newer one."""
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
    try:
        flags = described().flags
    finally:
        matmul.fp32_precision = before
    assert flags["float32_matmul_precision"] == "mixed"
    assert flags["cuda.matmul.fp32_precision"] == "tf32"


def test_openmp_settings_are_recorded_as_they_are(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = described().openmp
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_NUM_THREADS" not in found


def test_the_packages_are_those_that_are_installed():
    packages = described().packages
    assert {"torchvision", "numpy", "scikit-learn"} <= set(packages)
    assert packages["numpy"] == __import__("numpy").__version__


def test_the_processor_has_a_name():
    assert cpu_model() == cpu_model().strip() != ""


def test_the_cpu_is_always_the_first_device():
    devices = available_devices()
    assert devices[0] == "cpu"
    assert len(devices) == len(set(devices))
    assert all(torch.device(name).type == name.partition(":")[0] for name in devices)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has an accelerator")
def test_a_machine_without_an_accelerator_says_so():
    found = described()
    assert (found.cuda, found.cudnn, found.driver, found.devices) == (None, None, None, ())
    assert available_devices() == ["cpu"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_is_described():
    found = described()
    assert found.cuda == torch.version.cuda
    assert found.cudnn
    assert [device.index for device in found.devices] == list(range(torch.cuda.device_count()))
    for device in found.devices:
        assert device.kind == "cuda"
        assert device.name
        assert device.memory > 2**30
        assert float(device.capability) >= 5.0
        assert device.power_limit is None or 10 < device.power_limit < 2000
    assert available_devices()[1] == "cuda:0"
    assert Environment.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_cards_are_those_that_the_runtime_shows_and_not_those_that_nvml_counts(monkeypatch):
    """As with eight cards of which some are divided (MIG): CUDA shows one part."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 1, raising=False)
    assert available_devices() == ["cpu", "cuda:0"]


def test_a_card_without_cudnn_has_no_version_of_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: None)
    assert worker_environment._cudnn() is None
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    assert worker_environment._cudnn() == "91900"


def test_a_card_is_described_by_what_torch_tells(monkeypatch):
    properties = SimpleNamespace(
        name="NVIDIA H200",
        total_memory=2**37,
        major=9,
        minor=0,
        uuid="0f3e",
        pci_domain_id=0,
        pci_bus_id=0x1B,
        pci_device_id=0,
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    first, second = devices(["cpu", "cuda:0", "cuda:1"])
    assert (first.device, first.uuid, first.pci) == ("cuda:0", "0f3e", "0000:1b:00.0")
    assert second == dataclasses.replace(first, index=1)
    del properties.pci_bus_id  # as with an older torch
    assert [card.pci for card in devices(["cpu", "cuda:0"])] == [""]


FAULTS = """
import resource
import numpy
from bench.worker.timing.launch_memory import pin
took = pin()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
numpy.ones(2**23)  # 64 MiB, given back again
before = faults()
for _ in range(10):
    numpy.ones(2**23)
print(took, faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_a_pinned_allocator_keeps_what_the_loop_gives_back():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    took, faults = done.stdout.split()
    assert took == "True"
    assert int(faults) < 100  # 160,000 pages of 4 KiB, or 320 of 2 MiB, where it was not kept
