"""Slowdowns of known size are work that is really done, and nothing else of the task changes."""

from __future__ import annotations

import itertools

import pytest
import torch
from fakes import small_task

from bench.measurement.messages import Slowdown
from bench.training import fit
from bench.worker.timing import injected_slowdowns


def counting_waits(monkeypatch):
    waited = []
    monkeypatch.setattr(injected_slowdowns, "waiter", lambda _device, seconds: lambda: waited.append(seconds))
    return waited


class TestAWait:
    @pytest.mark.parametrize(("every", "times"), [(1, 8), (4, 2), (10, 0)])
    def test_it_comes_before_every_so_many_batches_of_its_stage(self, monkeypatch, every, times):
        waited = counting_waits(monkeypatch)
        task = small_task(train_loader=[(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))] * 4)
        injected_slowdowns.add(task, Slowdown("wait", "train", every, 0.5))
        fit(task, 2)
        assert waited == [0.5] * times

    def test_other_stages_are_left_alone(self, monkeypatch):
        waited = counting_waits(monkeypatch)
        task = small_task()
        validations = len(list(task.validate_loader))
        injected_slowdowns.add(task, Slowdown("wait", "validate", 1, 0.5))
        fit(task, 3)
        assert len(waited) == 3 * validations

    def test_in_a_stage_that_the_task_lacks_it_is_refused(self):
        with pytest.raises(ValueError, match="the task has no validate_loader"):
            injected_slowdowns.add(
                small_task(validate_loader=None),
                Slowdown("wait", "validate", 1, 0.5),
            )

    def test_the_loader_is_what_it_was_to_all_who_ask(self):
        batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(6, 3)), batch_size=2)
        slowed = injected_slowdowns.Slowed(batches, 1, lambda: None)
        assert (len(slowed), slowed.batch_size, slowed.dataset) == (3, 2, batches.dataset)
        assert len(list(slowed)) == 3

    def test_the_host_is_kept_busy_for_as_long_as_was_asked(self):
        readings = []

        def ticking():
            readings.append(0.25 * len(readings))
            return readings[-1]

        injected_slowdowns.busy(1.0, ticking)
        assert readings[-1] == 1.0


class TestOnADevice:
    CARD = torch.device("cuda:0")

    def test_host_and_device_are_kept_busy_at_once(self, monkeypatch):
        done = []
        monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: done.append(("device", cycles)))
        monkeypatch.setattr(injected_slowdowns, "busy", lambda seconds: done.append(("host", seconds)))
        monkeypatch.setattr(injected_slowdowns, "_cycles_a_second", lambda _: 2e9)
        injected_slowdowns.waiter(self.CARD, 0.25)()
        assert done == [("device", 500_000_000), ("host", 0.25)]

    def test_a_clock_is_read_once_it_no_longer_rises(self):
        rising = [1.0] * 20 + [1.2, 1.4, 1.6, 1.8, 1.805]
        readings = iter(rising)
        assert injected_slowdowns.settled(lambda: next(readings), raising=21) == 1.805

    def test_one_that_never_settles_has_its_last_reading(self):
        readings = itertools.count(1)
        assert injected_slowdowns.settled(lambda: 2.0 ** next(readings), raising=2, most=5) == 32


class TestALayer:
    def test_it_is_trained_with_the_rest_and_changes_what_the_model_says(self):
        task = small_task()
        before = sum(len(group["params"]) for group in task.optimizer.param_groups)
        injected_slowdowns.add(task, Slowdown("layer"))
        fit(task, 2)
        groups = task.optimizer.param_groups
        assert sum(len(group["params"]) for group in groups) == before + 4
        assert all(parameter.grad is not None for parameter in groups[-1]["params"])

    def test_behind_what_is_no_tensor_it_says_so(self):
        class Two(torch.nn.Linear):
            def forward(self, inputs):
                return inputs, inputs

        task = small_task(model=Two(3, 2))
        injected_slowdowns.add(task, Slowdown("layer"))
        with pytest.raises(TypeError, match="not a tuple"):
            task.model(torch.zeros(2, 3))


def test_an_unknown_slowdown_is_refused():
    with pytest.raises(ValueError, match="tree"):
        injected_slowdowns.add(small_task(), Slowdown("tree"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_card_it_keeps_the_device_busy():
    device = torch.device("cuda:0")
    wait = injected_slowdowns.waiter(device, 0.02)
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began.record()
    wait()
    ended.record()
    ended.synchronize()
    assert 15 < began.elapsed_time(ended) < 30
