"""What autograd keeps is told, also in a script that uses torch.func beside it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from bench.worker.saving import Saving

pytestmark = pytest.mark.usefixtures("one_thread")

LAYER = nn.Linear(3, 1)


def value(inputs):
    return LAYER(inputs).square().sum()


FUNCTIONS = {
    "grad": lambda inputs: torch.func.grad(value)(inputs),
    "vjp": lambda inputs: torch.func.vjp(value, inputs)[1](torch.ones(())),
    "vmap of grad": lambda inputs: torch.func.vmap(torch.func.grad(value))(inputs),
    "jvp": lambda inputs: torch.func.jvp(value, (inputs,), (inputs,)),
    "jacrev": lambda inputs: torch.func.jacrev(value)(inputs),
    "jacfwd": lambda inputs: torch.func.jacfwd(value)(inputs),
    "hessian": lambda inputs: torch.func.hessian(value)(inputs),
}


def saving():
    saved = []

    def save(tensor):
        saved.append(tensor.untyped_storage().nbytes())
        return tensor

    return Saving(save), saved


def test_without_torch_func_all_of_it_is_told():
    told, saved = saving()
    plain = []
    with saved_tensors_hooks(lambda tensor: plain.append(tensor) or tensor, lambda tensor: tensor):
        value(torch.ones(2, 3)).backward()
    with told:
        value(torch.ones(2, 3)).backward()
    assert len(saved) == len(plain) > 0
    assert told.is_whole


@pytest.mark.parametrize("name", FUNCTIONS)
def test_torch_func_runs_as_it_would_and_it_is_known_that_it_did(name):
    told, saved = saving()
    inputs = torch.linspace(-1, 1, 6).reshape(2, 3)
    expected = FUNCTIONS[name](inputs)
    with told:
        found = FUNCTIONS[name](inputs)
        assert not told.is_whole
        saved.clear()
        value(torch.ones(2, 3)).backward()
        assert saved, "behind it all is told again"
    torch.testing.assert_close(found, expected)


def test_vmap_alone_takes_hooks():
    told, saved = saving()
    with told:
        torch.func.vmap(value)(torch.ones(2, 3)).sum().backward()
    assert saved
    assert told.is_whole


def test_an_error_inside_of_torch_func_leaves_it_as_it_was():
    told, saved = saving()

    def fail(_):
        raise KeyError

    with told:
        with pytest.raises(KeyError):
            torch.func.grad(fail)(torch.ones(3))
        value(torch.ones(2, 3)).backward()
    assert saved
    before = len(saved)
    value(torch.ones(2, 3)).backward()
    assert len(saved) == before


def test_hooks_of_the_users_own_are_in_its_way_as_ever():
    told, _ = saving()
    hooks = saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)
    with told, hooks, pytest.raises(RuntimeError, match="saved tensor hooks"):
        torch.func.grad(value)(torch.ones(3))
    assert told.is_whole
