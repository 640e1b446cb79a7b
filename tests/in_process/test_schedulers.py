"""Every scheduler of the installed torch: named, stepped where it wants, over the length of the training."""

from __future__ import annotations

import pytest
import torch
from tiers import long_only
from torch.optim import lr_scheduler

from bench import tasks
from bench.suite.case import Case
from bench.tasks import schedulers
from bench.tasks.schedulers import Length, length, name_of
from bench.training import fit

pytestmark = pytest.mark.usefixtures("one_thread")

# Stepped by nobody, after each step, after each validation: Muon's matrices take their time.
MUON = (None, "one-cycle", "reduce-on-plateau")
NAMES = [name for name in schedulers.SCHEDULERS if name is not None]


def task(**axes):
    torch.manual_seed(0)
    return tasks.build(Case("tasks", {"batch_size": 256, "epochs": 2, **axes}))


def test_every_scheduler_of_the_installed_torch_has_a_name():
    there = {
        name
        for name, kind in vars(lr_scheduler).items()
        if isinstance(kind, type)
        and issubclass(kind, lr_scheduler.LRScheduler)
        and kind is not lr_scheduler.LRScheduler
        and not name.startswith("_")
    }
    assert there == {kind for kind in schedulers.SCHEDULERS.values() if kind}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ReduceLROnPlateau", "reduce-on-plateau"),
        ("StepLR", "step"),
        ("CosineAnnealingWarmRestarts", "cosine-annealing-warm-restarts"),
        ("OneCycleLR", "one-cycle"),
        ("ChainedScheduler", "chained"),
    ],
)
def test_a_name_is_that_of_the_class_in_kebab_case(kind, name):
    assert name_of(kind) == name


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        *(("adam", name) for name in schedulers.SCHEDULERS),
        *(("muon", name) for name in MUON),
        *long_only(*(("muon", name) for name in schedulers.SCHEDULERS if name not in MUON)),
        *long_only(*(("adagrad", name) for name in schedulers.SCHEDULERS)),
    ],
)
def test_every_scheduler_trains_for_two_epochs(name, optimizer):
    made, stepped = task(scheduler=name, optimizer=optimizer), []
    if name is not None:
        plain = made.scheduler.step
        made.scheduler.step = lambda *loss: stepped.append(loss) or plain(*loss)
    first, last = fit(made, epochs=2)
    assert last.train_loss < first.train_loss
    if name is not None:
        assert len(stepped) == (10 if name in ("cyclic", "one-cycle") else 2)
        assert all(bool(loss) == (name == "reduce-on-plateau") for loss in stepped)


@pytest.mark.parametrize("name", NAMES)
def test_every_scheduler_moves_the_learning_rate(name):
    made = task(scheduler=name, epochs=20)
    rates = {made.optimizer.param_groups[0]["lr"]}
    for _ in range(20):
        made.optimizer.step()
        made.scheduler.step(*([1.0] if name == "reduce-on-plateau" else []))
        rates.add(made.optimizer.param_groups[0]["lr"])
    assert len(rates) > 1


@pytest.mark.parametrize(
    ("name", "interval"), [("one-cycle", "step"), ("cyclic", "step"), ("step", "validation")]
)
def test_a_scheduler_is_stepped_where_its_documentation_says(name, interval):
    assert task(scheduler=name).scheduler_interval == interval


def test_a_cycle_ends_with_the_training_whatever_the_accumulation():
    made = task(scheduler="one-cycle", accumulation_steps=2, epochs=3)
    assert made.scheduler.total_steps == 3 * 3  # five batches are two steps of two, and one of one
    (group,), used = made.optimizer.param_groups, []
    made.optimizer.register_step_pre_hook(lambda *_: used.append(group["lr"]))
    fit(made, epochs=3)
    assert len(used) == 9
    assert max(used) == pytest.approx(1e-3, rel=0.1)
    assert used[-1] < used[0] == pytest.approx(1e-3 / 25)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({}, Length(10, 2)),
        ({"epochs": 3}, Length(15, 3)),
        ({"validate_every": 2}, Length(10, 4)),
        ({"validate_every": 9}, Length(10, 2)),
    ],
)
def test_the_length_of_a_training(axes, expected):
    assert length(Case("tasks", {"epochs": 2, **axes}), 5, 1) == expected


def test_a_scheduler_that_needs_what_only_a_user_has_is_refused(monkeypatch):
    class NewLR(lr_scheduler.LRScheduler):
        def __init__(self, optimizer, curve, warm=1):
            """Of a later torch."""

    monkeypatch.setattr(lr_scheduler, "NewLR", NewLR, raising=False)
    monkeypatch.setitem(schedulers.SCHEDULERS, "new", "NewLR")
    says = "torch's NewLR needs curve, which only a suite of your own can give"
    assert schedulers.refusal(Case("tasks", {"scheduler": "new"})) == says
    assert schedulers.refusal(Case("tasks", {"scheduler": "new", "mode": "eval"})) is None
