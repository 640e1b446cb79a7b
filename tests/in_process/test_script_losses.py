"""The mean loss of a pass where gradients are gathered over several backward passes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.worker.script import loss_values
from bench.worker.script.loss_values import Losses, divisor_of

INPUTS, TARGETS = torch.linspace(-1, 1, 12).reshape(4, 3), torch.tensor([0, 1, 0, 1])


def loss_of(layer=None):
    torch.manual_seed(0)
    return nn.functional.cross_entropy((layer or nn.Linear(3, 2))(INPUTS), TARGETS)


def in_place(loss, number):
    loss /= number
    return loss


DIVIDED = {
    "divided": lambda loss, number: loss / number,
    "in place": in_place,
    "multiplied": lambda loss, number: loss * (1 / number),
    "and another shape": lambda loss, number: (loss / number).reshape(1),
}


def gathered(change, number, steps=6, samples=4):
    """The losses of so many steps, of which an optimizer steps after each `number`."""
    losses = Losses()
    for step in range(steps):
        losses.group += 1
        losses.add(change(loss_of()), samples)
        if (step + 1) % number == 0:
            losses.stepped()
    return losses


@pytest.mark.parametrize("how", DIVIDED)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_loss_is_the_same_however_many_are_gathered(how, number):
    losses = gathered(lambda loss: DIVIDED[how](loss, number), number)
    assert losses.mean() == pytest.approx(loss_of().item())


def test_one_that_is_gathered_undivided_is_what_it_is():
    assert gathered(lambda loss: loss, 3).mean() == pytest.approx(loss_of().item())


def test_a_last_group_that_is_shorter_does_not_hide_the_others():
    assert gathered(lambda loss: loss / 4, 4).mean() == pytest.approx(loss_of().item())


@pytest.mark.parametrize(
    "change",
    [
        lambda loss: loss / 3 + 0,  # something was added
        lambda loss: loss / 7,  # by something else
        lambda loss: loss / torch.tensor(3.0, requires_grad=True),
    ],
)
def test_there_is_none_where_it_cannot_be_told_by_what_it_was_divided(change):
    assert gathered(change, 3).mean() is None


@pytest.mark.parametrize("change", [lambda loss: loss / 4 + 0, lambda loss: loss.sum() / 4])
def test_where_each_step_has_its_own_backward_pass_a_loss_is_what_the_script_says(change):
    assert gathered(change, 1).mean() == pytest.approx(loss_of().item() / 4)


def test_where_nothing_steps_only_what_was_divided_is_in_doubt():
    never = 99
    assert gathered(lambda loss: loss + 0, never).mean() == pytest.approx(loss_of().item())
    assert gathered(lambda loss: loss / 2, never).mean() is None


def test_none_has_no_mean():
    assert Losses().mean() is None


def test_partial_batches_weigh_less():
    losses = Losses()
    losses.add(torch.tensor(1.0), 3)
    losses.add(torch.tensor(5.0), 1)
    assert losses.mean() == 2.0


def test_a_loss_in_a_graph_that_is_captured_is_not_added_to_it(monkeypatch):
    losses = Losses()
    losses.add(torch.tensor(1.0), 3)
    monkeypatch.setattr(loss_values, "is_capturing", lambda _: True)
    losses.add(torch.tensor(5.0), 3)
    assert losses.total == 3.0
    assert losses.mean() is None  # the losses of the replays are not seen


def test_what_is_compiled_does_not_tell():
    class Whole(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss):
            return loss.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    assert divisor_of(Whole.apply(loss_of())) is None
    assert divisor_of(loss_of().to(torch.float64)) == 1.0
