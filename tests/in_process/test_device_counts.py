"""What was requested of a device, counted in traces as Kineto writes them."""

from __future__ import annotations

import pytest

from bench.worker.counts.device import counted_stretches, device_counts
from bench.worker.marks import NAME, Mark

# The first train step, from 0 to 10, does not count; the second, from 11 to 20, does; so does the validation.
MARKS = [
    Mark("", -1, ""),
    Mark("train", 0, "other"),
    Mark("train", 1, "forward"),
    Mark("train", 1, "other"),
    Mark("", -1, ""),
    Mark("validate", 0, "other"),
]
ENDS = (0, 10, 15, 20, 30, 40)


def event(name: str, ts: float, cat: str, **args) -> dict:
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": 0.5, "args": args}


def trace(*events: dict) -> list[dict]:
    marks = [event(f"{NAME}{number}", end, "user_annotation") for number, end in enumerate(ENDS)]
    return [*events, {"ph": "i", "name": "[memory]", "ts": 12}, *reversed(marks)]


def test_all_stretches_count_but_those_of_the_first_train_step_and_outside_the_loop():
    assert counted_stretches(trace(), MARKS) == [
        (10.5, 15.5, "train"),
        (15.5, 20.5, "train"),
        (30.5, 40.5, "validate"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("cudaLaunchKernel", "cudaLaunchKernelExC_v11060", "cudaLaunchKernel_ptsz_v7000"),
        *("cuLaunchKernel", "cuLaunchKernelEx_ptsz", "cudaGraphLaunch"),
    ],
)
def test_a_launch_counts_where_the_host_asks_for_it(name):
    calls = [
        event(name, ts, "cuda_driver" if name.startswith("cu") else "cuda_runtime") for ts in (5, 12, 25, 39)
    ]
    found = device_counts(trace(*calls), MARKS)
    assert {stage: totals["kernel_launches"] for stage, totals in found.items()} == {
        "train": 1,
        "validate": 1,
    }


@pytest.mark.parametrize("names", [(), ("hipLaunchKernel", "hipStreamSynchronize")], ids=["no CUPTI", "ROCm"])
def test_where_no_call_to_cuda_was_recorded_there_is_no_count(names):
    assert device_counts(trace(*(event(name, 12, "cuda_runtime") for name in names)), MARKS) == {}


@pytest.mark.parametrize("name", ["cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"])
def test_a_wait_of_the_host_counts(name):
    found = device_counts(trace(event(name, 12, "cuda_runtime"), event(name, 0.2, "cuda_runtime")), MARKS)
    assert found["train"] == {"kernel_launches": 0, "synchronizations": 1, "copies": 0, "copied_bytes": 0}
    assert set(found["validate"].values()) == {0}


def test_a_copy_counts_by_its_call_however_late_the_device_made_it():
    copies = [
        event("cudaMemcpyAsync", 12, "cuda_runtime", correlation=7),
        event("Memcpy HtoD (Pageable -> Device)", 28, "gpu_memcpy", correlation=7, bytes=100),
        event("cudaMemcpyAsync", 5, "cuda_runtime", correlation=8),
        event("Memcpy HtoD (Pinned -> Device)", 13, "gpu_memcpy", correlation=8, bytes=1000),
        event("cudaMemcpyAsync", 39, "cuda_runtime", correlation=9),
        event("Memcpy DtoH (Device -> Pageable)", 39, "gpu_memcpy", correlation=9, bytes=4),
    ]
    nothing = {"kernel_launches": 0, "synchronizations": 0}
    assert device_counts(trace(*copies), MARKS) == {
        "train": {
            **nothing,
            "copies": 1,
            "copied_bytes": 100,
            "copies.host_to_device": 1,
            "copied_bytes.host_to_device": 100,
        },
        "validate": {
            **nothing,
            "copies": 1,
            "copied_bytes": 4,
            "copies.device_to_host": 1,
            "copied_bytes.device_to_host": 4,
        },
    }


def test_what_the_loop_did_not_ask_for_counts_nothing():
    other = [
        event("cudaMalloc", 12, "cuda_runtime"),
        event("aten::mm", 13, "cpu_op"),
        event("gemm", 14, "kernel"),
    ]
    found = device_counts(trace(*other), MARKS)
    assert {count for totals in found.values() for count in totals.values()} == {0}
