"""What autograd keeps is told as it is kept, and torch.func runs as it does without anybody listening."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import graph

from bench.worker.counts.counters import saving

pytestmark = pytest.mark.usefixtures("one_thread")


class Listener:
    def __init__(self):
        self.saved = []
        self.misses_saved = False

    def save(self, tensor):
        self.saved.append(tensor)
        return tensor


def cube(x):
    return (x * x * x).sum()


def test_what_is_kept_is_told_and_the_gradients_are_what_they_were():
    listener, x = Listener(), torch.ones(3, requires_grad=True)
    with saving(listener):
        cube(x).backward()
    assert len(listener.saved) == 4  # two of each product
    assert not listener.misses_saved
    assert x.grad.tolist() == [3.0] * 3


@pytest.mark.parametrize("function", [torch.func.grad, torch.func.jacrev])
def test_a_function_that_takes_no_hooks_runs_and_what_it_keeps_is_missed(function):
    listener, x = Listener(), torch.ones(3, requires_grad=True)
    expected = function(cube)(torch.ones(3))
    with saving(listener):
        found = function(cube)(torch.ones(3))
        told = len(listener.saved)
        cube(x)
    assert torch.equal(found, expected)
    assert listener.misses_saved
    assert len(listener.saved) == told + 4  # once it is over, all is told again


def test_an_error_inside_of_one_leaves_all_as_it_was():
    listener, plain = Listener(), graph.disable_saved_tensors_hooks
    with pytest.raises(ZeroDivisionError), saving(listener):
        torch.func.grad(lambda x: 1 / 0)(torch.ones(3))
    assert graph.disable_saved_tensors_hooks is plain
    x = torch.ones(3, requires_grad=True)
    cube(x)
    assert listener.saved == []


def test_hooks_of_the_users_own_are_in_its_way_as_ever():
    hooks = graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)
    with saving(Listener()), hooks, pytest.raises(RuntimeError, match="saved tensor hooks"):
        torch.func.grad(cube)(torch.ones(3))
