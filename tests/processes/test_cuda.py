"""What only a GPU can show: events against the host clock, phases in a launch of their own, device memory."""

from __future__ import annotations

import statistics
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import bench
from bench import cli
from bench.cli.options import conditions
from bench.measurement import PHASED, TIMED, Measurement
from bench.running.plan import Plan
from bench.running.preparation import describe
from bench.running.rounds import run
from bench.running.workers import Workers
from bench.suite.case import Schedule
from bench.worker.counts.formats import format_of
from bench.worker.timing.peaks import triad
from bench.worker.timing.timers import HostTimer, device_synchronizer, device_timer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none"),
]

SUITES = Path(__file__).parents[1] / "suites"
SMALL = str(SUITES / "small.py")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    with Workers(conditions(), tmp_path_factory.mktemp("logs")) as workers:
        (listing,) = describe(workers, [SMALL], {"device": ["cuda"]})
        plan = Plan(listing.expansion.cases, {listing.name: SMALL}, Schedule(launches=1))
        return list(run(workers, plan))


def test_every_mode_is_measured_on_the_device_from_a_forked_launch(records):
    assert all(isinstance(record, Measurement) for record in records), records
    timed = [record for record in records if record.kind == TIMED]
    assert {record.case.mode for record in timed} == {"train", "eval", "no_grad", "inference_mode"}
    assert {record.case.device for record in records} == {"cuda:0"}
    assert {record.conditions["start_method"] for record in records} == {"fork"}
    assert all(all(record.checks.values()) for record in records)


def test_phases_come_from_a_launch_of_their_own(records):
    timed = [record for record in records if record.kind == TIMED]
    phased = [record for record in records if record.kind == PHASED]
    assert len(phased) == len(timed)
    assert not any(stage.phases for record in timed for stage in record.stages)
    for record in phased:
        for stage in record.stages:
            assert sum(stage.phases.values()) == pytest.approx(stage.wall, rel=0.05, abs=2e-4)


def test_steps_between_events_add_up_to_the_stage(records):
    for record in records:
        for stage in record.stages:
            assert sum(stage.steps) <= stage.wall * 1.02


def test_device_memory_is_in_the_record(records):
    for record in records:
        assert 0 < record.memory["peak_allocated"] <= record.memory["peak_reserved"]


def test_events_and_the_host_clock_agree_on_work_that_the_host_waits_for():
    device = torch.device("cuda", 0)
    synchronize = device_synchronizer(device)
    events, host = device_timer(device, phases=False), HostTimer()
    synchronize()
    events.start()
    host.start()
    for _ in range(5):
        torch.cuda._sleep(20_000_000)  # clock cycles: about 10 ms
        synchronize()
        events.step()
        host.step()
    synchronize()
    on_device, _ = events.stop()
    on_host, _ = host.stop()
    assert sum(on_device) == pytest.approx(sum(on_host), rel=0.02)


def test_the_host_does_not_wait_inside_a_stage():
    device = torch.device("cuda", 0)
    events, host = device_timer(device, phases=False), HostTimer()
    events.start()
    host.start()
    torch.cuda._sleep(200_000_000)
    events.step()
    host.step()
    asked, _ = host.stop()
    done, _ = events.stop()
    assert asked[0] < done[0] / 10


def stepped(step, steps=6):
    """The steps of a stage in seconds by events, and its wall time, of a function of torch's own."""
    device = torch.device("cuda", 0)
    synchronize = device_synchronizer(device)
    events, host = device_timer(device, phases=False), HostTimer()
    step()  # what is built at the first call
    synchronize()
    host.start()
    events.start()
    for _ in range(steps):
        step()
        events.step()
    events.suspend()
    synchronize()
    host.step()
    (wall,), _ = host.stop()
    found, _ = events.stop()
    return found, wall, events.beyond


CYCLES = 20_000_000  # about 10 ms


class TestWhatAStepHolds:
    """docs/gpu.md, for real."""

    def test_a_graph_is_its_replay(self):
        plain, _, _ = stepped(lambda: [torch.cuda._sleep(CYCLES // 10) for _ in range(10)])
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(10):
                torch.cuda._sleep(CYCLES // 10)
        replayed, wall, _ = stepped(graph.replay)
        assert sum(replayed) == pytest.approx(sum(plain), rel=0.05)
        assert sum(replayed) <= wall * 1.02

    def test_work_on_another_stream_is_in_no_step_and_noticed(self):
        side = torch.cuda.Stream()

        def step():
            with torch.cuda.stream(side):
                torch.cuda._sleep(CYCLES)
            torch.cuda._sleep(CYCLES // 100)

        found, wall, beyond = stepped(step)
        assert sum(found) < wall / 5
        assert beyond > wall / 2

    def test_work_on_another_stream_that_the_step_waits_for_is_in_it(self):
        side = torch.cuda.Stream()

        def step():
            with torch.cuda.stream(side):
                torch.cuda._sleep(CYCLES)
            torch.cuda.current_stream().wait_stream(side)

        found, wall, beyond = stepped(step)
        assert sum(found) == pytest.approx(wall, rel=0.05)
        assert beyond < 1e-3

    def test_a_copy_that_the_host_does_not_wait_for_is_in_the_step(self):
        pinned = torch.empty(64 << 20, dtype=torch.uint8).pin_memory()
        on_device = torch.empty_like(pinned, device="cuda")
        found, wall, _ = stepped(lambda: on_device.copy_(pinned, non_blocking=True))
        assert sum(found) == pytest.approx(wall, rel=0.1)
        assert min(found) > pinned.nbytes / 200e9  # no bus is that fast

    def test_an_idle_device_has_nothing_beyond(self):
        _, _, beyond = stepped(lambda: torch.cuda._sleep(CYCLES // 100))
        assert beyond < 1e-3


def test_the_mfu_of_a_large_product_is_that_of_plain_event_timing():
    from bench.worker.timing.peaks import measured, stated_for

    rates, _ = stated_for(torch.cuda.get_device_name(0))
    if "bfloat16" not in rates:
        pytest.skip("a card whose bfloat16 rate is not stated")
    left, right = (torch.rand(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    found, _, _ = stepped(lambda: torch.mm(left, right), steps=20)
    by_events = 2 * 8192**3 / sorted(found)[len(found) // 2] / 1e12
    assert measured(torch.device("cuda", 0), "bfloat16").flops / 1e12 == pytest.approx(by_events, rel=0.05)


@pytest.mark.parametrize("phases", [False, True])
def test_a_graph_that_is_captured_and_replayed_inside_a_pass_has_a_time(phases):
    device = torch.device("cuda", 0)
    timer, sums = device_timer(device, phases), torch.zeros(1000, device=device)
    sums.add_(1)
    timer.start()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sums.add_(1)
        timer.lap("forward")
        timer.mark()
    graph.replay()
    timer.lap("optimizer")
    timer.step()
    steps, found = timer.stop()
    assert sums[0] == 2  # nothing was done while it was captured, and no event of ours is in the graph
    assert len(steps) == 1
    assert steps[0] > 0
    assert "forward" not in found


def test_mfu_of_a_loop_of_products_is_that_of_plain_events(tmp_path):
    size = 8192
    sizes = ["--axis", "device=cuda:0", "--axis", f"size={size}", "--axis", f"batch_size={size}"]
    arguments = ["run", str(SUITES / "product.py"), *sizes, "--launches", "3", "--no-profile", "-q"]
    assert cli.exit_code([*arguments, "--out", str(tmp_path / "run")]) == 0
    found = bench.read(tmp_path / "run")
    (peak,) = (
        peak.flops for peak in found.environment.peaks if (peak.device, peak.dtype) == ("cuda:0", "bfloat16")
    )

    left, right = (torch.rand(size, size, device="cuda").to(torch.bfloat16) for _ in range(2))
    events = [torch.cuda.Event(enable_timing=True) for _ in range(41)]
    for event in events:
        torch.mm(left, right)
        event.record()
    torch.cuda.synchronize()
    seconds = [first.elapsed_time(second) / 1e3 for first, second in pairwise(events[20:])]
    expected = 2 * size**3 / statistics.median(seconds) / peak
    assert found.summary.set_index("metric")["value"]["compute.mfu"] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("value", "expected"), [("ieee", "float32"), ("tf32", "tf32")])
def test_a_product_is_as_exact_as_its_format(value, expected):
    """TF32 has 10 bits of precision: where it is used, results differ from those of float32."""
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("a card without TF32")
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, value
    try:
        square = torch.rand(512, 512, device="cuda") - 0.5
        exact = square.double() @ square.double()
        differs = ((square @ square - exact).norm() / exact.norm()).item() > 1e-5
        assert format_of("matmul", square, 2 * 512**3) == expected == ("tf32" if differs else "float32")
    finally:
        matmul.fp32_precision = before


def test_memory_is_not_faster_than_its_triad():
    found = triad(torch.device("cuda", 0))
    size = 1 << 28
    source, target = torch.ones(size, device="cuda"), torch.empty(size, device="cuda")
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    target.copy_(source)
    begin.record()
    target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    copied = 2 * 4 * size / (begin.elapsed_time(end) / 1e3)
    assert found.rate == pytest.approx(copied, rel=0.25)
