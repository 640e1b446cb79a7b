"""Stand-ins that tests drive, and makers of small real tasks and records.

The clock passes only when a test says so. The device is a queue beside the host: work put on it ends
later, and an event cannot be read before its place in the queue has been reached, as on a real one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.measurement import (
    REMAINDER,
    TIMED,
    AutogradGraph,
    Counts,
    Device,
    Environment,
    Failure,
    GraphNode,
    Measurement,
    MemoryTimeline,
    OperatorCount,
    OperatorTime,
    Profile,
    StageRecord,
)
from bench.suite.case import Case

if TYPE_CHECKING:
    from torch import Tensor

    from bench.training import Task


class FakeClock:
    """Nanoseconds that pass by `advance`, and by `tick` at each reading: what a reading itself costs."""

    def __init__(self, tick: int = 0) -> None:
        self.now = 0
        self.tick = tick

    def __call__(self) -> int:
        self.now += self.tick
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


class FakeDevice:
    """A device with a queue of its own, on the host's clock; `log` tells what it was requested, in order."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.free_at = 0
        self.side_free_at = 0  # of a second queue, which no event of the first waits for
        self.log: list[str] = []

    def work(self, seconds: float) -> None:
        """Puts work of so many seconds on the queue; the host does not wait."""
        self.free_at = max(self.free_at, self.clock.now) + round(seconds * 1e9)
        self.log.append("work")

    def work_aside(self, seconds: float) -> None:
        """The same on a second queue."""
        self.side_free_at = max(self.side_free_at, self.clock.now) + round(seconds * 1e9)

    def synchronize(self) -> None:
        """The host waits until both queues are empty."""
        self.clock.now = max(self.clock.now, self.free_at, self.side_free_at)
        self.log.append("synchronize")

    def recorded(self) -> FakeEvent:
        """An event that is in the queue."""
        return FakeEvent(self)


class FakeEvent:
    """A mark in the queue of a FakeDevice."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.at = max(device.free_at, device.clock.now)
        device.log.append("mark")

    def elapsed_time(self, other: FakeEvent) -> float:
        """Milliseconds. RuntimeError where the queue has not come to the later mark, as CUDA does it."""
        if other.at > self.device.clock.now:
            raise RuntimeError("device not ready: an event was read before it completed")
        return (other.at - self.at) / 1e6


def batches(samples: int, batch_size: int, features: int = 3, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Random inputs with targets that can be learned from them; the last batch may be a partial one."""
    import torch  # here, so that tests of records need not wait for it

    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, features, generator=generator)
    targets = (inputs.sum(dim=1) > 0).long()
    return list(zip(inputs.split(batch_size), targets.split(batch_size), strict=True))


def small_task(**parts: Any) -> Task:
    """A linear classifier under SGD: 3 batches to train on, 2 to validate, 2 to test. `parts` replace."""
    import torch
    from torch import nn

    from bench.training import Task

    torch.manual_seed(0)
    model = parts.pop("model", None) or nn.Linear(3, 2)
    optimizer: Callable[..., Any] | Any = parts.pop("optimizer", None)
    if optimizer is None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    standard = {
        "loss": nn.CrossEntropyLoss(),
        "train_loader": batches(12, 4, seed=1),
        "validate_loader": batches(8, 4, seed=2),
        "test_loader": batches(6, 4, seed=3),
    }
    return Task(model=model, optimizer=optimizer, **{**standard, **parts})


CASE = Case("fake", {"device": "cpu", "batch_size": 4, "optimizer": "sgd", "mode": "train"})


def stage(
    name: str = "train", epoch: int = 1, steps: tuple[float, ...] = (1.0, 1.0), **changes: Any
) -> StageRecord:
    """The record of a stage whose wall time is that of its steps, with full batches of 4 samples."""
    standard = {
        "wall": sum(steps),
        "samples": (4,) * len(steps),
        "optimizer_steps": len(steps) if name == "train" else 0,
        "loss": 0.5,
    }
    return StageRecord(epoch=epoch, stage=name, steps=steps, **{**standard, **changes})


def stages(epochs: int = 2, **changes: Any) -> tuple[StageRecord, ...]:
    """The stages of a whole launch, in order."""
    return tuple(
        stage(name, epoch, **changes) for epoch in range(epochs) for name in ("train", "validate", "test")
    )


def guards(**changes: float) -> dict[str, float]:
    """What is counted in a launch of ten seconds on two processors and a card without contamination."""
    standard = {
        "wall": 10.0,
        "cpu": 19.0,
        "waiting": 0.0,
        "waiting_longest": 0.0,
        "others": 0.0,
        "stolen": 0.0,
        "processors": 2.0,
        "involuntary_switches": 3.0,
        "minor_faults": 100.0,
        "major_faults": 0.0,
        "swapped": 0.0,
        "quota_throttled": 0.0,
        "thermal_throttles": 0.0,
        "frequency_low": 3e9,
        "frequency_high": 3e9,
        "gc_pauses": 0.0,
        "gc_longest": 0.0,
        "clock_resolution": 1e-7,
        "gpu_others": 0.0,
        "gpu_throttled": 0.0,
        "gpu_power_capped": 0.0,
        "gpu_clock_low": 1e9,
        "gpu_clock_high": 1e9,
    }
    return standard | changes


CONTAMINATED = guards(waiting=9.0)  # its threads had no processor for most of the time


def measurement(**changes: Any) -> Measurement:
    """The record of a sound launch of two epochs; `changes` replace its parts."""
    standard = {
        "case": CASE,
        "kind": TIMED,
        "round": 1,
        "position": 1,
        "fork_server": 100,
        "started": "2026-01-01T00:00:00.000+00:00",
        "clock": "host",
        "stages": stages(),
        "memory": {"peak_rss": 2**20},
        "checks": {
            "parameters_moved_in_training": True,
            "weights_kept_in_evaluation": True,
            "graph_as_the_mode_says": True,
        },
        "conditions": {"allocator": "pinned", "threads": 1, "cpus": [0], "start_method": "fork"},
        "costs": {"before_build": 0.1, "build": 0.2, "loop": 4.0},
    }
    return Measurement(**{**standard, **changes})


def trained(case: Case, *losses: float, seconds: float = 1.0, **changes: Any) -> Measurement:
    """A launch that trained an epoch for each of these validation losses: each train stage takes so many seconds,
    each validation a quarter of that, each test, whose accuracy is 1 - loss / 4, as long again.
    """
    records = (
        record
        for epoch, loss in enumerate(losses)
        for record in (
            stage("train", epoch, (seconds / 2, seconds / 2), loss=loss),
            stage("validate", epoch, (seconds / 4,), loss=loss),
            stage("test", epoch, (seconds,), metrics={"accuracy": 1 - loss / 4}),
        )
    )
    return measurement(**{"case": case, "stages": tuple(records), **changes})


def failure(**changes: Any) -> Failure:
    """The record of a launch that raised; `changes` replace its parts."""
    standard = {
        "case": CASE,
        "kind": TIMED,
        "round": 1,
        "position": 1,
        "fork_server": 100,
        "started": "2026-01-01T00:00:00.000+00:00",
        "failure": "error",
        "message": "ValueError: no such thing",
        "where": "suites/mine.py:7",
        "detail": "Traceback ...",
    }
    return Failure(**{**standard, **changes})


def environment(**changes: Any) -> Environment:
    """The record of a machine with one GPU; `changes` replace its parts."""
    standard = {
        "host": "workbench",
        "system": "Linux",
        "kernel": "6.1.0",
        "cpu": "A processor",
        "cpu_capability": "AVX2",
        "cores": 4,
        "cpus": (0, 1, 2, 3),
        "memory": 16 * 2**30,
        "governor": "performance",
        "load": 0.25,
        "threads": 4,
        "interop_threads": 4,
        "openmp": {"OMP_WAIT_POLICY": "PASSIVE"},
        "allocator": "pinned",
        "start_method": "fork",
        "loader_start_method": "fork",
        "python": "3.12.1",
        "torch": "2.9.0",
        "packages": {"numpy": "2.0.0"},
        "cuda": "12.8",
        "cudnn": "91002",
        "driver": "570.1",
        "devices": (Device("A card", "cuda", 0, 80 * 2**30, "9.0", 700.0),),
        "flags": {"cudnn.benchmark": False},
        "seed": 0,
    }
    return Environment(**{**standard, **changes})


def fill(disk, room: int) -> None:
    """Takes what is free on a disk but so many bytes."""
    spare = disk / "spare"
    spare.write_bytes(bytes(room))
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            pass  # it is full
    spare.unlink()


# What launches apart from timing find. The numbers are easily added up in one's head.


def operator_count(operator: str = "aten.addmm", **changes: Any) -> OperatorCount:
    """Two calls in the forward pass of training, of 100 FLOPs and 50 bytes in all."""
    standard = {
        "stage": "train",
        "phase": "forward",
        "dtype": "float32",
        "calls": 2,
        "flops": 100,
        "bytes": 50,
    }
    return OperatorCount(operator=operator, **{**standard, **changes})


def timeline(**changes: Any) -> MemoryTimeline:
    """The memory of a step of 4 ms in four phases, which peaks at 180 KiB when its forward pass ends."""
    standard = {
        "seconds": (0.0, 0.001, 0.002, 0.003),
        "bytes": {
            "parameters": (80 * 2**10,) * 4,
            "activations": (0, 40 * 2**10, 100 * 2**10, 0),
            "gradients": (0, 0, 0, 80 * 2**10),
        },
        "phases": ("data", "forward", "backward", "optimizer"),
        "ends": (0.0005, 0.002, 0.003, 0.004),
    }
    return MemoryTimeline(**{**standard, **changes})


def graph(*nodes: GraphNode) -> AutogradGraph:
    """The graph of a linear layer and its loss, or of these nodes."""
    standard = (
        GraphNode("NllLossBackward0", 128, (1,)),
        GraphNode("LogSoftmaxBackward0", 640, (2,)),
        GraphNode("AddmmBackward0", 4096, (3, 4)),
        GraphNode("torch::autograd::AccumulateGrad", 0, ()),
        GraphNode("TBackward0", 0, (5,)),
        GraphNode("torch::autograd::AccumulateGrad", 0, ()),
    )
    return AutogradGraph(nodes or standard)


def counts(**changes: Any) -> Counts:
    """Two steps of training and one of each evaluation, with a timeline and a graph; `changes` replace."""
    standard = {
        "steps": {"train": 2, "validate": 1, "test": 1},
        "totals": {"peak_live_bytes": 184_320},
        "per_step": {
            "train": {"saved_bytes": 2432.0},
            "validate": {"saved_bytes": 0.0},
            "test": {"saved_bytes": 0.0},
        },
        "operators": (
            operator_count(),
            operator_count("aten.relu", flops=0, bytes=30),
            operator_count(stage="test", calls=1, flops=50, bytes=25),
        ),
        "timeline": timeline(),
        "graph": graph(),
    }
    return Counts(**{**standard, **changes})


def operator_time(operator: str = "aten::addmm", host_self: float = 1.0, **changes: Any) -> OperatorTime:
    """Two calls in the forward pass of training, on a CPU."""
    standard = {
        "stage": "train",
        "phase": "forward",
        "kind": "operator",
        "shapes": "4x3 3x2",
        "calls": 2,
        "host_total": host_self,
        "device_self": 0.0,
        "device_total": 0.0,
        "bytes": 64,
    }
    return OperatorTime(operator=operator, host_self=host_self, **{**standard, **changes})


def profile(**changes: Any) -> Profile:
    """Two operators and what is left of their phases, over two steps; `changes` replace."""
    standard = {
        "steps": {"train": 2},
        "wall": {"train": 8.0},
        "plain_step": 2.0,
        "profiled_step": 4.0,
        "operators": (
            operator_time("aten::addmm", 4.0, host_total=5.0),
            operator_time("aten::mm", 2.0, phase="backward"),
            operator_time(REMAINDER, 2.0, phase="backward", kind="remainder", shapes="", calls=1, bytes=0),
        ),
        "trace": "traces/fake.json.gz",
    }
    return Profile(**{**standard, **changes})
