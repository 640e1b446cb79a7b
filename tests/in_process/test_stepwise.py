"""The loop step by step: the same steps as the loop's, and torch as it was once they are over."""

from __future__ import annotations

import copy

import pytest
import torch
from fakes import batches, small_task
from torch.utils.data import DataLoader, TensorDataset

from bench.errors import UsageError
from bench.suite.case import Case
from bench.suite.matrix import Suite
from bench.training import Observer, train
from bench.worker.launch import Diverged
from bench.worker.timing import launch_memory, stepwise

pytestmark = pytest.mark.usefixtures("one_thread")


def suite(make=small_task):
    return Suite(name="mine", build=lambda case: make())


def case(mode="train"):
    return Case("mine", {"device": "cpu", "mode": mode})


class Losses(Observer):
    def __init__(self):
        self.seen = []

    def step(self, samples, loss):
        self.seen.append(loss.item())


def test_each_step_is_the_next_one_of_the_loop():
    losses = Losses()
    task = small_task()
    for _ in range(2):
        train(task, losses)
    with stepwise.prepared(suite(), case(), warms_up=False) as step:
        seen = []
        for _ in range(6):
            step()
            seen.append(step._last.loss.item())
    assert seen == losses.seen


def test_warm_up_is_one_epoch_of_the_whole_loop():
    counts = []

    def make():
        task = small_task(step=lambda *given: counts.append(task.model.training) or standard(*given))
        standard = type(task).step
        return task

    with stepwise.prepared(suite(make), case()):
        assert counts == [True] * 3 + [False] * 4


@pytest.mark.parametrize(("mode", "records"), [("eval", True), ("no_grad", False), ("inference_mode", False)])
def test_an_evaluation_step_has_the_autograd_of_its_mode_and_leaves_it(mode, records):
    seen = []

    def make():
        task = small_task(metrics={"graph": lambda outputs, targets: outputs.sum()})
        standard = task.step

        def step(task, *given):
            outputs, loss = standard(task, *given)
            seen.append((task.model.training, outputs.requires_grad))
            return outputs, loss

        task.step = step
        return task

    with stepwise.prepared(suite(make), case(mode), warms_up=False) as step:
        step()
        step()
    assert seen == [(False, records)] * 2
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_step_is_over_a_full_batch_and_ends_when_the_device_is_done(monkeypatch):
    waits = []
    monkeypatch.setattr(stepwise, "device_synchronizer", lambda device: lambda: waits.append(device))
    with stepwise.prepared(
        suite(lambda: small_task(train_loader=batches(6, 4))), case(), warms_up=False
    ) as step:
        for number in range(1, 4):
            step()
            assert step.samples == 4
            assert waits == [torch.device("cpu")] * number


def test_a_batch_larger_than_the_data_is_refused():
    def make():
        data = TensorDataset(torch.zeros(6, 2), torch.zeros(6, dtype=torch.long))
        return small_task(train_loader=DataLoader(data, 8), teardown=lambda: ended.append(1))

    ended = []
    of_eight = Case("mine", {"device": "cpu", "batch_size": 8})
    with (
        pytest.raises(UsageError, match="batch_size 8 is larger than the training data of 'mine', 6 samples"),
        stepwise.prepared(suite(make), of_eight),
    ):
        pass
    assert ended == [1]


def test_what_building_a_case_changes_for_all_of_torch_is_put_back():
    def state():
        return (
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
            torch.get_num_threads(),
            torch.get_default_dtype(),
        )

    def make():
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.allow_tf32 = not before[1]
        torch.backends.cudnn.benchmark = not before[2]
        torch.set_num_threads(2)
        task = small_task()
        torch.set_default_dtype(torch.float64)
        raise KeyError(task)

    before = state()
    with pytest.raises(KeyError), stepwise.prepared(suite(make), case()):
        pass
    assert state() == before


def test_formats_of_single_operators_are_put_back_though_torch_does_not_tell_the_older_settings():
    backends = torch.backends

    def state():
        places = (backends.cuda.matmul, backends.mkldnn.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        return [place.fp32_precision for place in places]

    def make():
        torch.set_float32_matmul_precision("high")
        backends.cudnn.allow_tf32 = True
        return small_task()

    was_precision, was_allowed = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    try:
        backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision = "tf32", "ieee"
        backends.cudnn.conv.fp32_precision, backends.cudnn.rnn.fp32_precision = "ieee", "tf32"
        for read in (torch.get_float32_matmul_precision, lambda: backends.cudnn.allow_tf32):
            with pytest.raises(RuntimeError):
                read()
        before = state()
        with stepwise.prepared(suite(make), case()):
            assert state() != before
        assert state() == before
    finally:
        torch.set_float32_matmul_precision(was_precision)
        backends.cudnn.allow_tf32 = was_allowed


def test_nothing_compiled_is_left(monkeypatch):
    resets = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append(1))
    monkeypatch.setattr(stepwise.compiled, "counts", dict)  # whatever other tests have compiled
    with stepwise.prepared(suite(), case()):
        pass
    assert resets == []
    monkeypatch.setattr(stepwise.compiled, "counts", lambda: {"graphs": 1})
    with stepwise.prepared(suite(), case()):
        pass
    assert resets == [1]


def test_each_case_begins_with_the_same_weights():
    def make():
        return small_task(model=torch.nn.Linear(3, 2))

    weights = []
    for _ in range(2):
        with stepwise.prepared(suite(make), case(), warms_up=False) as step:
            weights.append(copy.deepcopy(next(step._steps.gi_frame.f_locals["task"].model.parameters())))
    assert torch.equal(*weights)


def test_teardown_comes_at_the_end_whatever_happened():
    torn = []
    with (
        pytest.raises(ZeroDivisionError),
        stepwise.prepared(suite(lambda: small_task(teardown=lambda: torn.append(1))), case()),
    ):
        raise ZeroDivisionError
    assert torn == [1]


def test_a_loss_that_is_no_number_is_said():
    def make():
        return small_task(loss=lambda outputs, targets: outputs.sum() * float("nan"))

    with stepwise.prepared(suite(make), case(), warms_up=False) as step:
        step()
        with pytest.raises(Diverged, match="the loss is nan; try a smaller learning_rate"):
            step.check_finite()


def test_a_loader_that_can_be_read_only_once_is_said():
    def make():
        return small_task(train_loader=iter(batches(8, 4)))

    with stepwise.prepared(suite(make), case(), warms_up=False) as step:
        step()
        step()
        with pytest.raises(UsageError, match="a loader gave no batch in its second pass"):
            step()


@pytest.mark.parametrize(
    ("pins", "takes", "named"), [(False, True, "unpinned"), (True, True, "pinned"), (True, False, "unpinned")]
)
def test_the_allocator_is_pinned_where_that_is_asked_for_and_takes(monkeypatch, pins, takes, named):
    monkeypatch.setattr(launch_memory, "pin", lambda: takes)
    with stepwise.prepared(suite(), case(), pins=pins, warms_up=False) as step:
        assert step.conditions == {"threads": 1, "allocator": named, "torch": torch.__version__}


@pytest.mark.parametrize("mode", ["train", "no_grad"])
def test_a_batch_with_names_is_stepped_over_with_its_samples(mode):
    def make():
        loaders = {
            f"{stage}_loader": [{"x": x, "labels": y} for x, y in batches(12, 4)]
            for stage in ("train", "validate", "test")
        }
        return small_task(**loaders)

    with stepwise.prepared(suite(make), case(mode)) as step:
        step()
        assert step.samples == 4


def test_without_a_test_stage_a_step_of_evaluation_is_one_of_the_validation():
    with stepwise.prepared(suite(lambda: small_task(test_loader=None)), case("no_grad")) as step:
        step()
        assert step.samples == 4


def test_without_either_it_is_said():
    neither = suite(lambda: small_task(validate_loader=None, test_loader=None))
    with (
        pytest.raises(UsageError, match="give the Task a test_loader or a validate_loader"),
        stepwise.prepared(neither, case("no_grad"), warms_up=False),
    ):
        pass


def test_one_who_uses_the_newer_names_of_tf32_is_not_in_the_way():
    """Torch's older getters raise once both kinds of names were used."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.set_float32_matmul_precision("highest")
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError, match="mix of the legacy and new"):
            torch.get_float32_matmul_precision()
        with stepwise._restored():
            pass
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
