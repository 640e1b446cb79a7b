"""What a launch says of the loaders of its task; launches themselves are in test_launches.py."""

from __future__ import annotations

import pytest
import torch
from fakes import small_task, stage
from torch.utils.data import DataLoader, TensorDataset

from bench.worker.suite_launches import samples_checked, samples_of

pytestmark = pytest.mark.usefixtures("one_thread")


def loader(samples, size=4, **options):
    return DataLoader(TensorDataset(torch.zeros(samples, 3), torch.zeros(samples)), size, **options)


def record(name, *samples):
    return stage(name, steps=(1.0,) * len(samples), samples=samples)


class TestSamplesChecked:
    def test_each_stage_is_held_against_its_own_loader(self):
        task = small_task(train_loader=loader(12), validate_loader=loader(6), test_loader=loader(4))
        sound = [record("train", 4, 4, 4), record("validate", 4, 2), record("test", 4)]
        assert samples_checked(task, sound) == {"samples_as_the_loader_says": True}
        wrong = [*sound[:1], record("validate", 3, 3, 3), *sound[2:]]
        assert samples_checked(task, wrong) == {"samples_as_the_loader_says": False}

    def test_of_loaders_that_tell_nothing_nothing_is_said(self):
        assert samples_checked(small_task(), [record("train", 4, 4, 4)]) == {}

    def test_a_task_that_says_its_samples_itself_is_believed(self):
        task = small_task(train_loader=loader(12), samples=lambda inputs, targets: 1)
        assert samples_checked(task, [record("train", 1, 1, 1)]) == {}

    def test_a_stage_without_a_loader_hides_none_of_the_others(self):
        task = small_task(train_loader=loader(12), validate_loader=None, test_loader=None)
        assert samples_checked(task, [record("train", 9, 9, 9)]) == {"samples_as_the_loader_says": False}


@pytest.mark.parametrize(
    ("validate", "test", "trains", "most"),
    [
        (loader(6), loader(4), True, 12),
        (loader(6), loader(4), False, 6),
        (loader(6), None, False, 6),
        (None, loader(20), False, 12),
        (None, None, False, None),
        ([], loader(4), False, None),
    ],
)
def test_the_largest_batch_is_that_of_the_stages_that_there_are(validate, test, trains, most):
    task = small_task(train_loader=loader(12), validate_loader=validate, test_loader=test)
    assert samples_of(task, trains) == most
