"""Every optimizer of the installed torch: found, built, trained, and refused where it cannot be had."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn, optim

from bench import tasks
from bench.errors import UsageError
from bench.suite.case import Case
from bench.tasks import optimizers
from bench.tasks.axis_values import error_of, exported_names
from bench.tasks.combined_optimizer import CombinedOptimizer
from bench.training import fit, needs_closure

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = {"model": "embedding-mlp", "learning_rate": "default", "batch_size": 256}


def case(**axes):
    return Case("tasks", {**MODEL, **axes})


def task(**axes):
    torch.manual_seed(0)
    return tasks.build(case(**axes))


# -- found by looking --


def test_every_optimizer_of_the_installed_torch_has_a_name():
    there = {
        kind
        for kind in vars(optim).values()
        if inspect.isclass(kind) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
    }
    assert {optimizers.class_of(name) for name in optimizers.OPTIMIZERS} == there


def test_the_exports_of_a_module_are_read_without_importing_torch():
    script = (
        "import sys; from bench.tasks.axis_values import exported_names; "
        "print(exported_names('optim.lr_scheduler'), "
        "'torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == f"{tuple(optim.lr_scheduler.__all__)} False"


def test_a_module_that_lists_nothing_is_an_error():
    with pytest.raises(UsageError, match=r"does not list what torch\.nn\.common_types exports"):
        exported_names("nn.common_types")


# -- every one trains --


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_lowers_the_training_loss_on_digits(name):
    first, *_, last = fit(task(optimizer=name), epochs=3)
    assert last.train_loss < first.train_loss


def test_the_optimizer_has_the_learning_rate_of_the_case_and_all_parameters():
    made = task(optimizer="rmsprop", learning_rate=0.25)
    (group,) = made.optimizer.param_groups
    assert group["lr"] == 0.25
    assert group["params"] == list(made.model.parameters())


def test_the_default_learning_rate_is_the_optimizers_own():
    assert task(optimizer="adadelta").optimizer.param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"optimizer": "sgd-momentum"}, {"momentum": 0.9, "nesterov": False}),
        ({"optimizer": "sgd-nesterov"}, {"momentum": 0.9, "nesterov": True}),
        ({"optimizer": "sgd", "momentum": 0.5, "nesterov": True}, {"momentum": 0.5, "nesterov": True}),
        ({"optimizer": "adam", "weight_decay": 0.1}, {"weight_decay": 0.1}),
        ({"optimizer": "adam", "implementation": "fused"}, {"fused": True}),
        ({"optimizer": "adam", "implementation": "for-loop"}, {"foreach": False}),
        ({"optimizer": "rmsprop", "implementation": "foreach"}, {"foreach": True}),
    ],
)
def test_options_and_implementation_are_arguments_of_torch(axes, expected):
    (group,) = task(**axes).optimizer.param_groups
    assert {name: group[name] for name in expected} == expected


@pytest.mark.parametrize("implementation", ["foreach", "fused"])
def test_the_implementations_of_adam_compute_the_same(implementation):
    plain = fit(task(optimizer="adam", implementation="for-loop"), epochs=2)[-1]
    other = fit(task(optimizer="adam", implementation=implementation), epochs=2)[-1]
    assert other.train_loss == pytest.approx(plain.train_loss, rel=1e-4)


# -- what their own documentation says --


class Evaluations:
    """An observer that counts what LBFGS asks for."""

    def __init__(self):
        self.evaluations = self.steps = 0

    def evaluation(self, loss):
        self.evaluations += 1

    def step(self, samples, loss):
        self.steps += 1

    def __getattr__(self, name):
        return lambda *_: None


def test_lbfgs_evaluates_its_closure_more_often_than_it_steps_and_each_is_counted():
    made, seen = task(optimizer="lbfgs"), Evaluations()
    calls, forward = [], made.model.forward
    made.model.forward = lambda inputs: calls.append(made.model.training) or forward(inputs)
    fit(made, epochs=1, observer=seen)
    assert seen.evaluations == calls.count(True) > len(made.train_loader)
    assert seen.steps == sum(map(len, (made.train_loader, made.validate_loader, made.test_loader)))
    (state,) = made.optimizer.state.values()
    assert seen.evaluations == state["func_evals"]


def test_lbfgs_of_torch_itself_is_there_by_its_dotted_name():
    made = task(optimizer="torch.optim.LBFGS")
    assert made.optimizer.param_groups[0]["line_search_fn"] is None
    assert tasks.exclude(case(optimizer="torch.optim.LBFGS", accumulation_steps=2)).startswith(
        "torch.optim.LBFGS"
    )


def test_sparse_adam_moves_the_rows_that_were_looked_up_and_no_others():
    made = task(optimizer="sparseadam")
    sparse, dense = made.optimizer.parts
    assert isinstance(sparse, optim.SparseAdam)
    assert [p for group in sparse.param_groups for p in group["params"]] == [made.model.embedding.weight]
    before = made.model.embedding.weight.detach().clone()
    inputs, targets = next(iter(made.train_loader))
    made.loss(made.model(inputs[:1]), targets[:1]).backward()
    assert made.model.embedding.weight.grad.is_sparse
    made.optimizer.step()
    moved = (made.model.embedding.weight != before).any(dim=1).sum()
    assert 0 < moved <= 64  # one row for each pixel of one image
    assert not any(p is made.model.embedding.weight for group in dense.param_groups for p in group["params"])


def test_muon_takes_the_matrices_of_hidden_layers_and_a_companion_the_rest():
    made = task(optimizer="muon")
    muon, rest = made.optimizer.parts
    own = [p for group in muon.param_groups for p in group["params"]]
    assert own == [made.model.layers[1].weight, made.model.layers[3].weight]
    assert isinstance(rest, optim.AdamW)
    others = [p for group in rest.param_groups for p in group["params"]]
    assert {id(p) for p in [*own, *others]} == {id(p) for p in made.model.parameters()}
    assert len(own) + len(others) == len(list(made.model.parameters()))


def test_optimizers_together_share_groups_and_state_and_step_as_one():
    one, other = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    both = CombinedOptimizer(optim.SGD([one], lr=1.0, momentum=0.9), optim.Adam([other], lr=0.5))
    for group in both.param_groups:
        group["lr"] = 0.25
    one.grad, other.grad = torch.ones(2, 2), torch.ones(2)
    steps = []
    both.register_step_post_hook(lambda *_: steps.append(1))
    both.step()
    assert steps == [1]
    assert one[0, 0].item() == 0.75
    assert other[0].item() == pytest.approx(0.75)
    assert set(both.state) == {one, other}
    assert both.state is both.parts[0].state is both.parts[1].state
    both.zero_grad()
    assert one.grad is other.grad is None
    with pytest.raises(ValueError, match="take no closure"):
        both.step(lambda: None)


def test_a_model_without_what_an_optimizer_takes_is_unsupported():
    with pytest.raises(NotImplementedError, match="SparseAdam is for embeddings; this model has none"):
        task(optimizer="sparseadam", model="mlp")
    with pytest.raises(NotImplementedError, match="Muon is for matrices in hidden layers"):
        optimizers.build(case(optimizer="muon"), nn.Conv2d(1, 1, 3, bias=False))


# -- refused, with the reason that torch gives --


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"optimizer": "sparseadam", "model": "mlp"}, "SparseAdam does not support dense gradients"),
        ({"optimizer": "rmsprop", "implementation": "fused"}, "torch's RMSprop takes no argument 'fused'"),
        (
            {"optimizer": "adam", "implementation": "capturable"},
            "If capturable=True, params and state_steps must",
        ),
        ({"optimizer": "muon", "implementation": "for-loop"}, "muon has one implementation"),
        ({"optimizer": "adam", "momentum": 0.9}, "torch's Adam takes no argument 'momentum'"),
        ({"optimizer": "sgd", "nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
        ({"optimizer": "lbfgs", "accumulation_steps": 2}, "lbfgs needs a closure over one batch"),
        ({"optimizer": "lbfgs", "precision": "fp16-autocast"}, "torch's GradScaler supports none"),
        ({"optimizer": "lbfgs", "weight_decay": 0.1}, "torch's LBFGS takes no argument 'weight_decay'"),
    ],
)
def test_what_cannot_be_had_is_refused(axes, reason):
    assert reason in optimizers.refusal(case(**axes))
    assert optimizers.refusal(case(**axes, mode="eval")) is None  # which does not use it


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_can_be_had_on_the_model_of_the_shipped_suite(name):
    assert tasks.exclude(case(optimizer=name)) is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.Lion", "cannot be imported: No module named 'nowhere'; install its package"),
        ("torch.optim.Lion", "has no attribute 'Lion'"),
        ("torch.nn.Linear", "is not a subclass of torch.optim.Optimizer"),
        ("adan", "unknown optimizer 'adan'; there are adafactor"),
    ],
)
def test_a_name_that_is_none_says_so(name, says):
    with pytest.raises(UsageError, match=says):
        optimizers.class_of(name)


def test_the_error_of_an_attempt_is_the_first_line_of_what_is_raised():
    def fails():
        raise RuntimeError("no such thing.\nmore of it")

    def says_nothing():
        raise KeyError

    assert error_of(fails) == "no such thing"
    assert error_of(says_nothing) == "KeyError"
    assert error_of(lambda: 3) is None


def test_only_lbfgs_needs_a_closure():
    assert [name for name in optimizers.OPTIMIZERS if needs_closure(optimizers.class_of(name))] == ["lbfgs"]
