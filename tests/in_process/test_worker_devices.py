"""Why a device is not there: with facts of machines that are not at hand, and with those of this one."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import pytest
import torch

from bench.errors import UsageError
from bench.measurement import Device
from bench.suite.matrix import Suite
from bench.worker.devices import (
    KINDS,
    DeviceFacts,
    absence,
    device_conditions,
    equal_cards,
    facts,
    why_absent,
)

CPU = DeviceFacts("2.9.0+cpu", "Linux", {}, ["cpu"])
CUDA = DeviceFacts("2.9.0+cu130", "Linux", {"cuda": "CUDA 13.0"}, ["cpu"])
ROCM = DeviceFacts("2.9.0+rocm6", "Linux", {"cuda": "ROCm 6.4"}, ["cpu"])
INTEL = DeviceFacts("2.9.0+xpu", "Linux", {"xpu": "XPU 20250101"}, ["cpu"])
MAC = DeviceFacts("2.9.0", "Darwin", {"mps": "MPS"}, ["cpu"])
CARDS = dataclasses.replace(CUDA, devices=["cpu", "cuda:0", "cuda:1"])


def hiding(machine, **variables):
    return dataclasses.replace(machine, variables=variables)


@pytest.mark.parametrize(
    ("device", "machine", "said"),
    [
        ("cuda", CPU, "the installed torch 2.9.0+cpu was built without CUDA; install one that was: https://"),
        ("cuda:0", MAC, "was built without CUDA"),
        (
            "cuda",
            CUDA,
            "torch 2.9.0+cu130 was built for CUDA 13.0, but sees no card; `nvidia-smi` shows whether",
        ),
        ("cuda", ROCM, "was built for ROCm 6.4, but sees no card; `rocm-smi` shows"),
        ("cuda", hiding(CUDA, CUDA_VISIBLE_DEVICES=""), "sees no card: CUDA_VISIBLE_DEVICES='' hides them"),
        (
            "cuda:1",
            hiding(CUDA, CUDA_VISIBLE_DEVICES="-1"),
            "sees no card: CUDA_VISIBLE_DEVICES='-1' hides them",
        ),
        ("cuda", hiding(ROCM, HIP_VISIBLE_DEVICES="9"), "sees no card: HIP_VISIBLE_DEVICES='9' hides them"),
        ("cuda:7", CARDS, "torch sees 2 of this kind, numbered from 0"),
        (
            "cuda:2",
            hiding(CARDS, CUDA_VISIBLE_DEVICES="2,3"),
            "torch sees 2 of this kind, numbered from 0: CUDA_VISIBLE_DEVICES='2,3' shows it these only",
        ),
        ("mps", CUDA, "mps is the GPU of a Mac, and this is Linux"),
        ("mps", dataclasses.replace(CPU, system="Darwin"), "was built without MPS"),
        ("mps", MAC, "was built for MPS, but this Mac has no GPU that it can use, or macOS is older than 14"),
        ("xpu", CUDA, "was built without XPU; install one that was"),
        ("xpu:0", INTEL, "was built for XPU 20250101, but sees no card; `xpu-smi` shows"),
        ("xpu", hiding(INTEL, ZE_AFFINITY_MASK="4"), "sees no card: ZE_AFFINITY_MASK='4' hides them"),
        ("cpu:1", CUDA, "all processors together are one device; write cpu"),
        ("meta", CUDA, "tensors there hold no data"),
        ("hpu", CUDA, "torch has no such device by itself"),
    ],
)
def test_what_is_said_of_a_machine(device, machine, said):
    assert said in why_absent(device, machine)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "gpu is not a device name of torch, which calls it cuda; write cuda"),
        ("gpu:1", "write cuda:1"),
        ("GPU", "GPU is not a device name of torch, which calls it cuda; write cuda"),
        ("metal", "which calls it mps; write mps"),
        ("tpu:9", "torch calls it xla, and has it with the package torch_xla only"),
        ("CUDA:0", "write cuda or, if there are several, cuda:0, cuda:1"),
        ("cuda:x", "write cuda or, if there are several, cuda:0, cuda:1"),
        ("abacus", "abacus is not a device name of torch; there are cpu, cuda, mps, xpu"),
    ],
)
def test_what_is_no_name_of_torch(device, said):
    here = facts(device, ["cpu"])
    assert here.invalid, "torch itself says so"
    assert said in why_absent(device, here)


class TestThisMachine:
    def test_the_facts_are_torchs_own(self):
        here = facts("cuda", ["cpu"])
        assert (here.version, here.invalid) == (torch.__version__, "")
        assert ("cuda" in here.built_for) == torch.backends.cuda.is_built()
        assert ("mps" in here.built_for) == torch.backends.mps.is_built()

    def test_whatever_is_not_there_has_a_reason(self):
        for kind in KINDS:
            assert why_absent(f"{kind}:99", facts(f"{kind}:99", ["cpu"]))

    @pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a card")
    @pytest.mark.parametrize(
        ("visible", "said"), [(None, "sees no card; `"), ("", "CUDA_VISIBLE_DEVICES='' hides")]
    )
    def test_a_build_for_cuda_without_a_card_says_so(self, monkeypatch, visible, said):
        if not torch.backends.cuda.is_built():
            pytest.skip("this torch is built without CUDA")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert said in absence(["cpu"])("cuda:0")


class TestSuites:
    def suite(self, devices):
        return Suite(name="mine", build=print, axes={"device": devices, "epochs": [2]})

    def test_a_flag_is_refused_with_the_reason(self):
        said = r"^this machine has no device 'gpu', it has cpu: gpu is not a device name of torch, which calls it cuda"
        with pytest.raises(UsageError, match=said):
            self.suite(["cpu"]).expand(["cpu"], {"device": ["gpu"]}, absence(["cpu"]))

    def test_what_a_suite_declares_is_excluded_with_it(self):
        made = self.suite(["cpu", "gpu:1"]).expand(["cpu"], absent=absence(["cpu"]))
        ((case, reason),) = made.excluded
        assert (case, len(made.cases)) == ("mine/device=gpu:1/epochs=2", 1)
        assert reason.endswith("which calls it cuda; write cuda:1")


def card(index, name="NVIDIA H200", uuid="", **facts):
    return Device(
        name, "cuda", index, **{"memory": 2**37, "capability": "9.0", "uuid": uuid or f"{index:08}", **facts}
    )


class TestEqualCards:
    def test_cards_of_one_model_are_equal(self):
        cards = [card(0), card(1, name="NVIDIA T4"), card(2), card(3)]
        assert equal_cards(cards) == {"cuda:0": ["cuda:0", "cuda:2", "cuda:3"]}

    @pytest.mark.parametrize(
        "other", [{"name": "NVIDIA H200 MIG 1g.18gb"}, {"memory": 2**36}, {"capability": "9.1"}]
    )
    def test_what_differs_in_anything_is_not(self, other):
        assert equal_cards([card(0), card(1, **other)]) == {}

    def test_a_card_alone_has_no_equals(self):
        assert equal_cards([card(0)]) == {}

    def test_cards_without_a_uuid_cannot_be_reordered(self):
        assert equal_cards([dataclasses.replace(card(n), uuid="") for n in range(2)]) == {}

    def test_nor_can_those_that_share_one(self):
        zeros = [card(n, uuid="00000000-0000") for n in range(3)]
        assert equal_cards(zeros) == {}
        assert equal_cards([*zeros, card(3, name="NVIDIA T4"), card(4, name="NVIDIA T4")]) == {
            "cuda:3": ["cuda:3", "cuda:4"]
        }

    def test_nor_can_those_of_other_makers(self, monkeypatch):
        xpu = [dataclasses.replace(card(n), kind="xpu") for n in range(2)]
        assert equal_cards(xpu) == {}
        monkeypatch.setattr(torch.version, "hip", "6.4")
        assert equal_cards([card(0), card(1)]) == {}


class TestConditions:
    @pytest.fixture(autouse=True)
    def cards(self, monkeypatch):
        uuids = {0: "0f3e", 1: "77aa"}
        properties = {number: SimpleNamespace(uuid=uuid) for number, uuid in uuids.items()} | {
            2: SimpleNamespace()
        }
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties[device.index])
        monkeypatch.setitem(sys.modules, "torch._inductor.config", SimpleNamespace(max_autotune=False))

    def test_a_launch_tells_the_uuid_of_its_card(self):
        assert device_conditions(torch.device("cuda", 1)) == {"card": "77aa"}

    def test_where_torch_tells_none_there_is_none(self):
        assert device_conditions(torch.device("cuda", 2)) == {}
        assert device_conditions(torch.device("cpu")) == {}

    def test_algorithms_that_cudnn_chose_by_their_time_are_told(self, monkeypatch):
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
        assert device_conditions(torch.device("cuda", 0)) == {"card": "0f3e", "algorithms_by_time": True}
        assert device_conditions(torch.device("cpu")) == {}

    def test_so_are_those_of_inductor(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch._inductor.config", SimpleNamespace(max_autotune=True))
        assert device_conditions(torch.device("cuda", 2)) == {"algorithms_by_time": True}
