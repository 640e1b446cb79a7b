"""One pass over a watched loader: which batch a step is of, and how many samples that has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.batches import size_of
from bench.worker.script.passes import Pass, parameter_of, reference_to
from bench.worker.script.samples import UNTOLD, Samples


def given(*batches, **fields):
    one = Pass("train", "train.py:1", True, 0, **fields)
    for batch in batches:
        one.receive(batch)
    return one


def test_steps_are_of_their_batches_in_turn_though_several_were_given():
    one = given(Samples(4, True), Samples(2, False))
    assert (one.count(), one.is_known) == (4, True)
    assert (one.count(), one.is_known) == (2, False)


def test_the_last_batch_is_known_by_the_length_of_the_loader():
    one = given(Samples(4, True), length=2)
    assert not one.is_last
    one.receive(Samples(4, True))
    assert one.is_last


def test_a_batch_that_tells_nothing_has_the_rows_of_the_first_module_in_all_its_calls():
    one, first, second = given(UNTOLD), nn.Linear(3, 3), nn.Linear(3, 3)
    for module, rows in ((first, 4), (second, 9), (first, 2)):
        one.feed(module, [torch.ones(rows, 3)])
    assert (one.count(), one.is_known) == (6, True)


def test_one_guess_among_them_is_enough_not_to_know():
    one, module = given(UNTOLD), nn.Linear(3, 3)
    one.feed(module, [torch.ones(1, 3)])
    one.feed(module, [torch.ones(4, 3)])
    assert (one.count(), one.is_known) == (5, False)


def test_a_step_of_which_nothing_tells_is_one_sample_that_is_not_known():
    one = given(UNTOLD)
    assert (one.count(), one.is_known) == (1, False)


@pytest.mark.parametrize(
    ("backwards", "is_behind"), [(2, True), (3, False), (4, True), (6, False)], ids=lambda value: str(value)
)
def test_fetched_ahead_it_is_behind_until_each_batch_had_as_many_backward_passes(backwards, is_behind):
    one = given(*[Samples(4, True)] * 3, is_ahead=True)
    one.backwards = backwards
    assert one.is_behind is is_behind


class TestLoaders:
    def test_a_length_that_is_none_is_not_known(self):
        class Endless:
            def __len__(self):
                raise NotImplementedError

        assert [size_of(one) for one in ([1, 2], iter([1]), Endless())] == [2, None, None]

    def test_a_list_is_not_known_again(self):
        loader = torch.utils.data.DataLoader([1])
        assert reference_to([1]) is None
        assert reference_to(loader)() is loader


def test_the_first_parameter_of_a_module():
    layer = nn.Linear(3, 2)
    assert parameter_of(layer) is layer.weight
    assert parameter_of(nn.ReLU()) is None
