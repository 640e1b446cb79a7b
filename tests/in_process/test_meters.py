from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fakes import FakeClock, FakeDevice, batches, small_task
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils._python_dispatch import TorchDispatchMode

from bench import tasks
from bench.measurement import PHASES, STAGES
from bench.suite.case import Case
from bench.training import fit
from bench.worker.timing.launch_memory import MemoryMeter, device_peaks
from bench.worker.timing.meter import BEYOND, LEAST_BEYOND, Meter, fingerprint, state_of
from bench.worker.timing.timers import (
    EventPhaseTimer,
    EventTimer,
    HostTimer,
    device_synchronizer,
    device_timer,
    is_capturing,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def slow_task(clock, **costs):
    """A task whose parts take the seconds that `costs` gives for their phase, on this clock alone."""

    def spend(phase):
        clock.advance(costs.get(phase, 0.0))

    class Loader(list):
        def __iter__(self):
            for batch in super().__iter__():
                spend("data")
                yield batch

    class Inputs:
        def __init__(self, tensor):
            self.tensor = tensor

        def to(self, device):
            spend("transfer")
            return self.tensor.to(device)

    class Model(nn.Linear):
        def train(self, mode=True):
            spend("other")
            return super().train(mode)

        def forward(self, inputs):
            spend("forward")
            return super().forward(inputs)

        def parameters(self, recurse=True):
            spend("clip")  # in the loop they are asked for to clip their gradients alone
            return super().parameters(recurse)

    class Optimizer(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            spend("zero_grad")
            super().zero_grad(set_to_none)

    class Scheduler(LRScheduler):
        def get_lr(self):
            return [group["lr"] for group in self.optimizer.param_groups]

        def step(self, epoch=None):
            spend("scheduler")
            super().step()

    def loss(outputs, targets):
        spend("loss")
        value = nn.functional.cross_entropy(outputs, targets)
        if value.requires_grad:
            value.register_hook(lambda gradient: spend("backward"))
        return value

    def metric(outputs, targets):
        spend("metrics")
        return outputs.mean()

    model = Model(3, 2)
    optimizer = Optimizer(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: spend("optimizer"))
    loaders = {
        f"{stage}_loader": Loader((Inputs(inputs), targets) for inputs, targets in batches(samples, 4))
        for stage, samples in zip(STAGES, (12, 8, 6), strict=True)  # 3, 2 and 2 batches
    }
    return small_task(
        model=model,
        optimizer=optimizer,
        scheduler=Scheduler(optimizer),
        loss=loss,
        metrics={"mean": metric},
        clip_grad_norm=1e9,
        **loaders,
    )


def measured(task, clock, **options):
    meter = Meter(task.model, task.optimizer, HostTimer(clock), clock=clock)
    fit(task, observer=meter, **options)
    meter.close()
    return meter


def by_stage(meter):
    return {record.stage: record for record in meter.stages}


# How often each phase takes its time in one epoch of a slow task: train, validate, test.
OCCURS = {
    "data": (3, 2, 2),
    "transfer": (3, 2, 2),
    "forward": (3, 2, 2),
    "loss": (3, 2, 2),
    "zero_grad": (3, 0, 0),
    "backward": (3, 0, 0),
    "clip": (3, 0, 0),
    "optimizer": (3, 0, 0),
    "scheduler": (0, 1, 0),
    "metrics": (0, 0, 2),
    "other": (1, 1, 1),
}


def test_every_phase_has_its_place_in_the_ledger():
    assert set(OCCURS) == set(PHASES)


@pytest.mark.parametrize("phase", PHASES)
def test_time_spent_in_a_phase_is_booked_there_and_nowhere_else(phase, clock):
    records = by_stage(measured(slow_task(clock, **{phase: 2.0}), clock, epochs=1))
    for stage, times in zip(STAGES, OCCURS[phase], strict=True):
        spent = {name: seconds for name, seconds in records[stage].phases.items() if seconds}
        assert spent == ({phase: 2.0 * times} if times else {})
        assert records[stage].wall == 2.0 * times


@pytest.mark.parametrize("validate_every", [None, 1, 2])
def test_the_phases_of_a_stage_add_up_to_its_wall_time_though_looking_costs_time_too(validate_every):
    clock = FakeClock(tick=50_000)
    costs = {phase: 0.001 * number for number, phase in enumerate(PHASES, start=1)}
    meter = measured(slow_task(clock, **costs), clock, epochs=2, validate_every=validate_every)
    assert {record.stage for record in meter.stages} == set(STAGES)
    for record in meter.stages:
        assert set(record.phases) <= set(PHASES)
        assert sum(record.phases.values()) == pytest.approx(record.wall, rel=1e-3)


def test_the_ledger_adds_up_and_hides_little_in_a_real_run():
    torch.manual_seed(0)
    task = tasks.build(Case("digits", {"model": "mlp"}))
    meter = Meter(task.model, task.optimizer, HostTimer())
    fit(task, epochs=5, observer=meter)
    # The quietest epoch, since the machine may take a moment of any other for itself.
    for stage in STAGES:
        records = [record for record in meter.stages if record.stage == stage]
        assert min(abs(sum(r.phases.values()) / r.wall - 1) for r in records) < 1e-3
    trained = [record for record in meter.stages if record.stage == "train"]
    assert min(record.phases["other"] / record.wall for record in trained) <= 0.03


def test_a_step_counts_from_boundary_to_boundary(clock):
    costs = {"data": 1.0, "transfer": 0.5, "forward": 2.0, "loss": 0.25, "backward": 4.0, "optimizer": 0.125}
    records = by_stage(measured(slow_task(clock, **costs), clock, epochs=1))
    assert records["train"].steps == (7.875,) * 3
    assert records["validate"].steps == (3.75,) * 2
    assert sum(records["train"].steps) == records["train"].wall


def test_the_first_step_begins_with_its_stage_and_none_holds_the_scheduler(clock):
    records = by_stage(measured(slow_task(clock, other=0.5, forward=1.0, scheduler=8.0), clock, epochs=1))
    assert records["validate"].steps == (1.5, 1.0)
    assert records["validate"].wall == 10.5


def test_validation_inside_the_train_stage_is_no_part_of_its_time(clock):
    meter = measured(slow_task(clock, forward=1.0, scheduler=8.0), clock, epochs=1, validate_every=2)
    assert [record.stage for record in meter.stages] == ["validate", "train", "test"]
    records = by_stage(meter)
    assert records["validate"].wall == 2 * 1.0 + 8.0
    assert records["train"].wall == 3 * 1.0
    assert records["train"].steps == (1.0,) * 3
    assert records["train"].phases["forward"] == 3.0
    assert "scheduler" not in records["train"].phases


def test_what_checking_costs_is_outside_every_stage():
    class Weighed(nn.Linear):
        """Its weights are asked for by the checks alone."""

        def parameters(self, recurse=True):
            clock.advance(100.0)
            return super().parameters(recurse)

    clock = FakeClock()
    task = small_task(model=Weighed(3, 2))
    began = clock.now
    meter = measured(task, clock, epochs=1, validate_every=1)
    assert clock.now > began
    assert [record.wall for record in meter.stages] == [0.0] * 5


class Ordered(Meter):
    """Writes the edges of its stages into a log."""

    def __init__(self, *arguments, log, **options):
        super().__init__(*arguments, **options)
        self.log = log

    def begin(self, stage):
        self.log.append(f"{stage} begins")
        super().begin(stage)

    def end(self, stage, loss, metrics):
        super().end(stage, loss, metrics)
        self.log.append(f"{stage} has ended")


@pytest.mark.parametrize("validate_every", [None, 1])
@pytest.mark.parametrize("epochs", [2, 5])
def test_the_end_of_warm_up_is_told_once_between_the_first_epoch_and_the_second(epochs, validate_every):
    log: list[str] = []
    task = small_task()
    meter = Ordered(task.model, task.optimizer, HostTimer(), warmed_up=lambda: log.append("warm"), log=log)
    fit(task, epochs=epochs, observer=meter, validate_every=validate_every)
    assert log.count("warm") == 1
    assert log[log.index("warm") - 1 : log.index("warm") + 2] == ["test has ended", "warm", "train begins"]
    assert log[: log.index("warm")].count("test has ended") == 1


def test_a_loop_of_one_epoch_is_never_warm():
    task = small_task()
    told: list[str] = []
    meter = Meter(task.model, task.optimizer, HostTimer(), warmed_up=lambda: told.append("warm"))
    fit(task, epochs=1, observer=meter)
    assert told == []


@pytest.mark.parametrize("mode", ["train", "inference_mode"])
def test_the_time_that_telling_it_takes_is_in_no_stage(mode, clock):
    task = slow_task(clock, forward=1.0)
    meter = Meter(
        task.model, task.optimizer, HostTimer(clock), clock=clock, warmed_up=lambda: clock.advance(100.0)
    )
    fit(task, epochs=3, mode=mode, observer=meter)
    assert clock() >= 100e9
    first, *others = [
        [
            (record.stage, record.wall, record.steps, record.phases)
            for record in meter.stages
            if record.epoch == epoch
        ]
        for epoch in range(3)
    ]
    assert others == [first, first]
    assert 0 < max(record.wall for record in meter.stages) < 100.0


def test_stages_carry_their_epoch_loss_and_metrics():
    task = small_task(metrics={"mean": lambda outputs, targets: outputs.mean()})
    meter = Meter(task.model, task.optimizer, HostTimer())
    history = fit(task, epochs=2, observer=meter)
    assert [(record.epoch, record.stage) for record in meter.stages] == [
        (epoch, stage) for epoch in (0, 1) for stage in STAGES
    ]
    told = [loss for epoch in history for loss in (epoch.train_loss, epoch.validate_loss, epoch.test_loss)]
    assert [record.loss for record in meter.stages] == told
    assert [record.metrics for record in meter.stages if record.stage == "test"] == [
        e.metrics for e in history
    ]


def test_batches_samples_and_optimizer_steps_are_counted():
    task = small_task(train_loader=batches(10, 4))
    meter = Meter(task.model, task.optimizer, HostTimer())
    fit(task, epochs=1, observer=meter)
    records = by_stage(meter)
    assert {stage: record.samples for stage, record in records.items()} == {
        "train": (4, 4, 2),
        "validate": (4, 4),
        "test": (4, 2),
    }
    assert [records[stage].optimizer_steps for stage in STAGES] == [3, 0, 0]
    assert all(len(record.steps) == len(record.samples) for record in meter.stages)


def test_optimizer_steps_are_counted_where_they_happen_not_assumed():
    task = small_task()

    def twice(task, inputs, targets, lap):
        outputs = task.model(inputs)
        lap("forward")
        loss = task.loss(outputs, targets)
        if task.model.training:
            loss.backward(retain_graph=True)
            task.optimizer.step()
            outputs = task.model(inputs)
            loss = task.loss(outputs, targets)
        return outputs, loss

    task.step = twice
    meter = Meter(task.model, task.optimizer, HostTimer())
    fit(task, epochs=1, observer=meter)
    assert by_stage(meter)["train"].optimizer_steps == 6


def test_a_closed_meter_has_taken_its_hook_off_the_optimizer():
    task = small_task()
    meter = Meter(task.model, task.optimizer, HostTimer())
    fit(task, epochs=1, observer=meter)
    counted = by_stage(meter)["train"].optimizer_steps
    meter.close()
    fit(task, epochs=1)
    assert by_stage(meter)["train"].optimizer_steps == counted
    again = Meter(task.model, task.optimizer, HostTimer())
    fit(task, epochs=1, observer=again)
    assert by_stage(again)["train"].optimizer_steps == counted


# -- the work is checked --


def checks(task, mode="train"):
    meter = Meter(task.model, task.optimizer, HostTimer(), records_graph=mode == "eval")
    fit(task, epochs=2, mode=mode, observer=meter)
    meter.close()
    return meter.checks


def test_sound_training_passes_every_check():
    assert checks(small_task()) == {
        "parameters_moved_in_training": True,
        "weights_kept_in_evaluation": True,
        "graph_as_the_mode_says": True,
    }


@pytest.mark.parametrize("mode", ["eval", "no_grad", "inference_mode"])
def test_sound_evaluation_passes_its_checks(mode):
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert checks(small_task(model=model), mode) == {
        "weights_kept_in_evaluation": True,
        "graph_as_the_mode_says": True,
    }


def test_training_that_moves_nothing_is_seen():
    model = nn.Linear(3, 2)
    idle = torch.optim.SGD(model.parameters(), lr=0.0)
    found = checks(small_task(model=model, optimizer=idle))
    assert not found["parameters_moved_in_training"]
    assert found["weights_kept_in_evaluation"]


def test_one_epoch_that_moved_nothing_is_not_forgotten():
    task = small_task()
    meter = Meter(task.model, task.optimizer, HostTimer())
    for rate in (0.0, 0.1):
        task.optimizer.param_groups[0]["lr"] = rate
        fit(task, epochs=1, observer=meter)
    assert not meter.checks["parameters_moved_in_training"]


class Counting(nn.Linear):
    """A model that changes a buffer whenever it is used, in evaluation too."""

    def __init__(self, start):
        super().__init__(3, 2)
        self.register_buffer("used", start)

    def forward(self, inputs):
        self.used += 1
        return super().forward(inputs)


class Rotating(torch.optim.SGD):
    """One whose steps leave the norm of every parameter as it is."""

    def step(self, closure=None):
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter.neg_()


def test_statistics_that_move_by_themselves_are_no_training():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    idle = torch.optim.SGD(model.parameters(), lr=0.0)
    assert not checks(small_task(model=model, optimizer=idle))["parameters_moved_in_training"]


def test_a_frozen_parameter_that_something_else_moves_is_no_training():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)

    def average(model, *_):
        if model.training:
            model[0].weight.data.add_(0.1)

    model.register_forward_hook(average)
    idle = torch.optim.SGD(model[1].parameters(), lr=0.0)
    assert not checks(small_task(model=model, optimizer=idle))["parameters_moved_in_training"]


def test_training_that_moves_the_parameters_of_a_loss_alone_is_training():
    model, weigh = nn.Linear(3, 2).requires_grad_(False), nn.Parameter(torch.ones(2))
    task = small_task(model=model, optimizer=torch.optim.SGD([weigh], lr=0.1))
    task.loss = lambda outputs, targets: nn.functional.cross_entropy(outputs * weigh, targets)
    assert checks(task)["parameters_moved_in_training"]


def test_weights_that_stay_on_a_sphere_move():
    model = nn.Linear(3, 2)
    assert checks(small_task(model=model, optimizer=Rotating(model.parameters())))[
        "parameters_moved_in_training"
    ]


@pytest.mark.parametrize(("persistent", "kept"), [(True, False), (False, True)])
def test_a_cache_that_is_not_saved_with_the_model_may_be_written_to(persistent, kept):
    model = nn.Linear(3, 2)
    model.register_buffer("cache", torch.zeros(()), persistent=persistent)
    model.register_forward_hook(lambda model, *_: model.cache.add_(1.0) and None)
    assert checks(small_task(model=model))["weights_kept_in_evaluation"] is kept


class Lookahead(torch.optim.SGD):
    """An optimizer that steps as its class does, and then itself."""

    def step(self, closure=None):
        return super().step(closure)


class Wrapper(torch.optim.Optimizer):
    """An optimizer around another."""

    def __init__(self, inner):
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure=None):
        self.inner.step()


class Alike:
    """Something that is used as an optimizer, and is none to torch."""

    def __init__(self, inner):
        self.inner, self.param_groups = inner, inner.param_groups

    def zero_grad(self):
        self.inner.zero_grad()

    def step(self):
        self.inner.step()


@pytest.mark.parametrize(
    "made",
    [
        lambda parameters: Lookahead(parameters, lr=0.1),
        lambda parameters: Wrapper(torch.optim.SGD(parameters, lr=0.1)),
        lambda parameters: Alike(torch.optim.SGD(parameters, lr=0.1)),
    ],
    ids=["of a class", "of another", "like one"],
)
def test_a_step_of_an_optimizer_that_makes_another_is_one(made):
    model = nn.Linear(3, 2)
    torch.optim.SGD(model.parameters())  # from now on torch tells of each step of the class
    task = small_task(model=model, optimizer=made(list(model.parameters())))
    meter = Meter(task.model, task.optimizer, HostTimer())
    fit(task, epochs=1, observer=meter)
    meter.close()
    assert by_stage(meter)["train"].optimizer_steps == 3
    assert meter.checks["parameters_moved_in_training"]


def test_a_step_of_an_optimizer_that_raised_hides_none_after_it():
    class Failing(torch.optim.SGD):
        fails = True

        def step(self, closure=None):
            if self.fails:
                raise FloatingPointError("gradients are not finite")

    optimizer, meter = Failing(nn.Linear(3, 2).parameters()), Meter(None, None, HostTimer())
    meter.begin("train")
    with pytest.raises(FloatingPointError):
        optimizer.step()
    meter.step(4, None)
    optimizer.fails = False
    optimizer.step()
    meter.step(4, None)
    meter.end("train", None, {})
    meter.close()
    assert meter.stages[0].optimizer_steps == 1


@pytest.mark.parametrize(
    "start", [torch.zeros(()), torch.zeros((), dtype=torch.long)], ids=["float", "whole"]
)
def test_an_evaluation_that_moves_a_buffer_is_seen(start):
    found = checks(small_task(model=Counting(start)))
    assert not found["weights_kept_in_evaluation"]
    assert found["parameters_moved_in_training"]


def test_batch_norm_that_was_left_in_training_is_seen():
    class Forgotten(nn.Sequential):
        def eval(self):
            return self

    model = Forgotten(nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert not checks(small_task(model=model))["weights_kept_in_evaluation"]


def test_a_graph_where_the_mode_forbids_one_is_seen():
    def stubborn(outputs, targets):
        with torch.enable_grad():
            return nn.functional.cross_entropy(outputs, targets) + torch.zeros((), requires_grad=True)

    assert not checks(small_task(loss=stubborn))["graph_as_the_mode_says"]
    assert not checks(small_task(loss=stubborn), "no_grad")["graph_as_the_mode_says"]


def test_no_graph_where_the_mode_records_one_is_seen():
    class Careful(nn.Linear):
        @torch.no_grad()
        def forward(self, inputs):
            return super().forward(inputs)

    assert not checks(small_task(model=Careful(3, 2)), "eval")["graph_as_the_mode_says"]


def test_the_fingerprint_sees_a_change_of_every_weight_and_buffer():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    model.register_buffer("table", torch.arange(4))
    model.register_buffer("flag", torch.tensor(False))
    model.register_buffer("low", torch.ones(2, dtype=torch.bfloat16))
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert len(state) == 2 + 2 + 3 + 3  # linear, batch norm, its buffers, ours
    for name, tensor in state.items():
        before = fingerprint(state_of(model))
        with torch.no_grad():
            tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor + 1)
        assert fingerprint(state_of(model)) != before, name
        assert fingerprint(state_of(model)) == fingerprint(state_of(model))


def test_a_model_without_weights_has_a_fingerprint():
    assert fingerprint(state_of(nn.Identity())) == ()


# -- on a device --


class Queued(nn.Linear):
    """A model whose forward puts half a second of work on a device and returns at once."""

    def __init__(self, device):
        super().__init__(3, 2)
        self.device = device

    def forward(self, inputs):
        self.device.work(0.5)
        return super().forward(inputs)


class Marked(Meter):
    """Writes the edges of the stages into the log of the device."""

    def begin(self, stage):
        self.log.append(f"begin {stage}")
        super().begin(stage)
        self.log.append(f"{stage} has begun")

    def step(self, samples, loss):
        self.log.append("step")
        super().step(samples, loss)

    def end(self, stage, loss, metrics):
        self.log.append(f"end {stage}")
        super().end(stage, loss, metrics)


def on_device(kind, device, clock, **options):
    timer = kind(device.recorded, device.synchronize)
    task = small_task(model=Queued(device))
    meter = Marked(task.model, task.optimizer, timer, device.synchronize, clock=clock)
    meter.log = device.log
    fit(task, observer=meter, **options)
    return meter


@pytest.mark.parametrize("kind", [EventTimer, EventPhaseTimer])
def test_the_device_is_waited_for_at_the_edges_of_a_stage_and_never_inside(kind, device, clock):
    on_device(kind, device, clock, epochs=2)
    inside, waits = False, {"inside": 0, "edges": 0}
    for entry in device.log:
        if entry.endswith("has begun") or entry.startswith("end"):
            inside = entry.endswith("has begun")
        elif entry == "synchronize":
            waits["inside" if inside else "edges"] += 1
    assert waits["inside"] == 0
    assert waits["edges"] >= 2 * 3 * 2  # epochs, stages, edges


def test_plain_timing_marks_step_boundaries_and_nothing_else(device, clock):
    on_device(EventTimer, device, clock, epochs=1)
    began, ended = device.log.index("begin validate"), device.log.index("end validate")
    assert device.log[began : ended + 3] == [
        *["begin validate", "synchronize", "mark", "validate has begun"],
        *["work", "step", "mark"],
        *["work", "step", "mark"],
        *["end validate", "mark", "synchronize"],
    ]


class Aside(Queued):
    """A model that puts a share of its work on another stream, which its step waits for or not."""

    def __init__(self, device, share, waits):
        super().__init__(device)
        self.share, self.waits = share, waits

    def forward(self, inputs):
        self.device.work_aside(0.5 * self.share)
        if self.waits:  # as torch.cuda.current_stream().wait_stream(side) does
            self.device.free_at = max(self.device.free_at, self.device.side_free_at)
        return super().forward(inputs)


@pytest.mark.parametrize("kind", [EventTimer, EventPhaseTimer])
@pytest.mark.parametrize(
    ("share", "waits", "holds"),
    [(3.0, False, False), (3.0, True, True), (0.5, False, True), (0.0, False, True)],
)
def test_work_that_no_step_waits_for_is_noticed_where_it_outlasts_them(
    kind, share, waits, holds, device, clock
):
    timer = kind(device.recorded, device.synchronize)
    task = small_task(model=Aside(device, share, waits))
    meter = Meter(task.model, task.optimizer, timer, device.synchronize, clock=clock)
    fit(task, epochs=1, observer=meter)
    assert meter.checks.get("streams_are_waited_for", True) is holds
    record = by_stage(meter)["train"]
    if waits or not share:
        assert sum(record.steps) == record.wall
    if not holds:
        assert BEYOND * record.wall > LEAST_BEYOND
        assert record.steps == (0.5,) * 3
        assert record.wall == 4.5


@pytest.mark.parametrize("kind", [EventTimer, EventPhaseTimer])
def test_steps_are_as_long_as_the_device_worked_though_the_host_ran_ahead(kind, device, clock):
    records = by_stage(on_device(kind, device, clock, epochs=1))
    assert {stage: record.steps for stage, record in records.items()} == {
        "train": (0.5,) * 3,
        "validate": (0.5,) * 2,
        "test": (0.5,) * 2,
    }
    assert {stage: record.wall for stage, record in records.items()} == {
        "train": 1.5,
        "validate": 1.0,
        "test": 1.0,
    }


def test_plain_timing_takes_no_phases_on_a_device(device, clock):
    meter = on_device(EventTimer, device, clock, epochs=1)
    assert [record.phases for record in meter.stages] == [{}] * 3


def test_phases_on_a_device_are_where_its_work_was_and_add_up(device, clock):
    stages = on_device(EventPhaseTimer, device, clock, epochs=1).stages
    assert [record.stage for record in stages] == list(STAGES)
    for record in stages:
        assert {phase for phase, seconds in record.phases.items() if seconds} == {"forward"}
        assert sum(record.phases.values()) == pytest.approx(record.wall, rel=1e-3)


def test_validation_inside_the_train_stage_is_no_part_of_its_steps_on_a_device(device, clock):
    meter = on_device(EventTimer, device, clock, epochs=1, validate_every=2)
    records = by_stage(meter)
    assert records["train"].steps == (0.5,) * 3
    assert records["train"].wall == 1.5
    assert records["validate"].wall == 1.0


@pytest.mark.parametrize("kind", [None, EventTimer, EventPhaseTimer])
def test_what_comes_after_the_last_mark_is_no_part_of_a_stage_that_is_rewound(kind, device, clock):
    timer = HostTimer(clock) if kind is None else kind(device.recorded, device.synchronize)
    meter = Meter(None, None, timer, device.synchronize, records_graph=None, clock=clock)

    def work(seconds):
        device.work(seconds)
        if kind is None:
            device.synchronize()

    meter.begin("train")
    for seconds in (1.0, 2.0):
        work(seconds)
        meter.lap("forward")
        meter.mark()
        work(8.0)
        if seconds == 2.0:
            meter.rewind()
        meter.step(4, None)
    meter.begin("validate")  # inside; the time behind it is none either
    work(16.0)
    meter.lap("forward")
    meter.step(4, None)
    meter.end("validate", None, {})
    work(32.0)
    meter.rewind()
    meter.end("train", None, {})
    meter.close()
    validate, train = meter.stages
    assert train.steps == (9.0, 2.0)
    assert train.wall == 11.0
    assert validate.steps == (16.0,)
    if kind is not EventTimer:
        assert train.phases == {"forward": 3.0, "other": 8.0}


@pytest.mark.parametrize("kind", [EventTimer, EventPhaseTimer])
def test_a_mark_does_not_wait_for_the_device(kind, device, clock):
    meter = Meter(
        None,
        None,
        kind(device.recorded, device.synchronize),
        device.synchronize,
        records_graph=None,
        clock=clock,
    )
    meter.begin("train")
    waits = device.log.count("synchronize")
    for phase in ("forward", "backward"):
        device.work(1.0)
        meter.lap(phase)
        meter.mark()
    assert device.log.count("synchronize") == waits
    device.work(4.0)
    meter.rewind()
    meter.step(4, None)
    meter.end("train", None, {})
    meter.close()
    assert meter.stages[0].wall == 2.0


def test_events_go_to_the_stream_of_the_device_that_is_timed(monkeypatch):
    recorded = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            recorded.append(stream)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    timer = device_timer(torch.device("cuda:1"), phases=False)
    timer.start()
    timer.step()
    assert recorded == ["stream of cuda:1"] * 2


def test_nothing_is_kept_of_a_stage_that_was_none_nor_of_those_inside(clock):
    meter = Meter(None, None, HostTimer(clock), records_graph=None, clock=clock)
    for stage in ("train", "train"):
        meter.begin(stage)
        meter.begin("validate")
        meter.end("validate", None, {})
        if meter.stages[1:]:
            meter.drop()
        else:
            meter.end(stage, None, {})
    assert [record.stage for record in meter.stages] == ["validate", "train"]
    meter.forget()
    assert meter.stages == []
    meter.close()


def test_a_device_that_waits_for_a_late_batch_waits_in_the_data_phase(device, clock):
    class Late(list):
        def __iter__(self):
            for batch in super().__iter__():
                clock.advance(2.0)
                yield batch

    timer = EventPhaseTimer(device.recorded, device.synchronize)
    task = small_task(model=Queued(device), train_loader=Late(batches(12, 4)))
    meter = Meter(task.model, task.optimizer, timer, device.synchronize, clock=clock)
    fit(task, epochs=1, observer=meter)
    train = by_stage(meter)["train"]
    # The first batch is waited for in full, the others while the half second before them is worked off.
    assert train.phases["data"] == pytest.approx(2.0 + 1.5 + 1.5)
    assert train.phases["forward"] == pytest.approx(1.5)


class Capturing(FakeDevice):
    """A device whose work goes into a graph while it is captured, as do the events, which then have no time."""

    is_capturing = False

    def work(self, seconds):
        if not self.is_capturing:
            super().work(seconds)

    def recorded(self):
        event = super().recorded()
        event.is_captured = self.is_capturing
        return event


@pytest.mark.parametrize("kind", [EventTimer, EventPhaseTimer])
def test_no_event_is_recorded_into_a_graph_that_is_captured(kind, clock):
    device = Capturing(clock)
    timer = kind(device.recorded, device.synchronize, lambda: device.is_capturing)
    timer.start()
    device.is_capturing = True  # the host captures forward and backward, 3 s
    clock.advance(2.0)
    device.work(0.5)
    timer.lap("forward")
    timer.mark()
    clock.advance(1.0)
    timer.lap("backward")
    device.is_capturing = False
    device.work(0.25)  # the graph is replayed
    timer.lap("optimizer")
    timer.step()
    device.work(0.25)
    timer.lap("optimizer")
    timer.step()
    device.synchronize()
    steps, phases = timer.stop()
    marks = timer._marks + [event for _, event in getattr(timer, "_laps", ())]
    assert not any(event.is_captured for event in [*marks, timer._marked])
    assert steps == [3.25, 0.25]
    assert {phase: spent for phase, spent in phases.items() if spent} in ({}, {"optimizer": 3.5})


def test_only_a_cuda_device_is_asked_whether_it_captures(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    found = {kind: is_capturing(torch.device(kind)) for kind in ("cpu", "cuda", "mps", "xpu")}
    assert found == {"cpu": False, "cuda": True, "mps": False, "xpu": False}


def test_the_cpu_is_timed_by_the_host_and_never_waited_for():
    assert device_timer(torch.device("cpu"), phases=False).name == "host"
    assert device_timer(torch.device("cpu"), phases=True).name == "host"
    assert device_synchronizer(torch.device("cpu"))() is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("phases", [False, True])
def test_real_events_time_a_real_loop(phases):
    card = torch.device("cuda:0")
    task = tasks.build(Case("digits"))
    task.device = card
    task.model.to(card)
    memory = MemoryMeter(card)
    memory.start()
    timer, wait = device_timer(card, phases), device_synchronizer(card)
    meter = Meter(task.model, task.optimizer, timer, wait)
    fit(task, epochs=2, observer=meter)
    for record in meter.stages:
        assert all(step > 0 for step in record.steps)
        assert sum(record.steps) <= record.wall * 1.01
        assert bool(record.phases) is phases
    assert memory.peaks()["peak_allocated"] > 0
    assert memory.peaks()["peak_reserved"] >= memory.peaks()["peak_allocated"]


# -- memory --

PEAK = """
import json, sys, torch
from bench.worker.timing.launch_memory import MemoryMeter
if sys.argv[1] == "before":
    torch.ones(2**26)  # 256 MiB, given back again
meter = MemoryMeter(torch.device("cpu"))
meter.start()
held = torch.ones(2**24)  # 64 MiB
del held
print(json.dumps(meter.peaks()))
"""


def peak(when):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, when],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return json.loads(done.stdout)["peak_rss"] / 2**20


def test_the_peak_of_memory_is_seen_after_it_was_given_back():
    assert peak("nothing") == pytest.approx(64, abs=6)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its high-water mark")
def test_the_peak_of_memory_begins_at_its_start():
    assert peak("before") == pytest.approx(64, abs=6)


def test_a_small_step_of_a_half_precision_model_is_seen():
    model = nn.Linear(64, 64).to(torch.bfloat16)
    before = fingerprint(state_of(model))
    with torch.no_grad():
        model.weight[0, 0] += 0.05
    assert fingerprint(state_of(model)) != before


def test_a_fingerprint_takes_no_float64_which_some_devices_do_not_have():
    class Refusing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            assert getattr(made, "dtype", None) is not torch.float64, func
            return made

    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2).to(torch.bfloat16))
    with Refusing():
        before = fingerprint(state_of(model))
    assert len(before) == 2 * 8 + 1  # of batches tracked, a whole number, there is a sum alone
    model[1].num_batches_tracked += 1
    assert fingerprint(state_of(model)) != before


def test_a_device_without_statistics_of_its_memory_has_no_peaks(monkeypatch):
    def refuse(_device):
        raise RuntimeError("Allocator for mps is not a DeviceAllocator.")

    for name in ("reset_peak_memory_stats", "max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.accelerator, name, refuse)
    memory = MemoryMeter(torch.device("mps"))
    memory.start()
    assert list(memory.peaks()) == ["peak_rss"]


def test_a_peak_that_the_allocator_does_not_keep_is_absent_and_not_0(monkeypatch):
    """As with PYTORCH_NO_CUDA_MEMORY_CACHING, where torch says 0."""
    monkeypatch.setattr(torch.accelerator, "max_memory_allocated", lambda _: 0)
    monkeypatch.setattr(torch.accelerator, "max_memory_reserved", lambda _: 2**21)
    assert device_peaks(torch.device("cuda")) == {"peak_reserved": 2**21}


def test_a_module_that_is_not_yet_initialised_has_a_fingerprint():
    assert fingerprint(state_of(nn.LazyLinear(3))) == ()


@pytest.mark.parametrize("kind", [HostTimer, EventTimer, EventPhaseTimer])
def test_a_step_that_an_inner_stage_interrupts_is_as_long_as_its_parts(kind, device, clock):
    timer = HostTimer(clock) if kind is HostTimer else kind(device.recorded, device.synchronize)

    def work(seconds):
        clock.advance(seconds) if kind is HostTimer else device.work(seconds)

    meter = Meter(None, None, timer, records_graph=None, clock=clock)
    meter.epoch(0)
    meter.begin("train")
    for inner in (1.0, 2.0):
        work(4.0)
        meter.lap("forward")
        meter.begin("validate")
        work(inner)
        meter.step(1, None)
        meter.end("validate", None, {})
        work(8.0)
        meter.step(1, None)
    meter.end("train", None, {})
    meter.close()
    assert [record.steps for record in meter.stages] == [(1.0,), (2.0,), (12.0, 12.0)]
