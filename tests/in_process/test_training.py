from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
from collections import UserDict, namedtuple

import pytest
import torch
from fakes import batches, small_task
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from bench import tasks, training
from bench.suite.case import Case
from bench.training import Observer, fit

pytestmark = pytest.mark.usefixtures("one_thread")


class Story(Observer):
    """Writes down what the loop tells."""

    def __init__(self):
        self.told = []

    def epoch(self, number):
        self.told.append(f"epoch {number}")

    def begin(self, stage):
        self.told.append(f"begin {stage}")

    def lap(self, phase):
        self.told.append(phase)

    def step(self, samples, loss):
        self.told.append(f"step of {samples}")

    def end(self, stage, loss, metrics):
        self.told.append(" ".join([f"end {stage}", *metrics]))

    @property
    def stages(self):
        """The story without its phases."""
        return [event for event in self.told if event.startswith(("epoch", "begin", "end", "step"))]


class Watched(nn.Linear):
    """A model that notes how it was called: in training or not, and with autograd in which state."""

    def __init__(self):
        super().__init__(3, 2)
        self.seen = []

    def forward(self, inputs):
        self.seen.append((self.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return super().forward(inputs)


TRAINED = (True, True, False)
EVALUATED = (False, False, False)


def accuracy(outputs, targets):
    return (outputs.argmax(dim=1) == targets).float().mean()


def with_scheduler(make, **parts):
    task = small_task(**parts)
    task.scheduler = make(task.optimizer)
    return task


def learning_rate(task):
    return task.optimizer.param_groups[0]["lr"]


def test_an_epoch_is_train_validate_and_test_in_the_textbooks_order():
    task = with_scheduler(
        lambda optimizer: StepLR(optimizer, 1),
        train_loader=batches(6, 4),
        validate_loader=batches(4, 4),
        test_loader=batches(2, 4),
        metrics={"accuracy": accuracy},
    )
    story = Story()
    fit(task, epochs=1, observer=story)
    step = ["data", "transfer", "forward", "loss", "zero_grad", "backward", "optimizer", "metrics"]
    look = ["data", "transfer", "forward", "loss", "metrics"]
    assert story.told == [
        "epoch 0",
        *["begin train", "other"],
        *[*step, "step of 4"],
        *[*step, "step of 2"],
        *["data", "metrics", "end train"],
        *["begin validate", "other"],
        *[*look, "step of 4"],
        *["data", "metrics", "scheduler", "end validate"],
        *["begin test", "other"],
        *[*look, "step of 2"],
        *["data", "metrics", "end test accuracy"],
    ]


def test_each_epoch_tells_its_number_and_has_all_three_stages():
    story = Story()
    history = fit(small_task(), epochs=3, observer=story)
    assert len(history) == 3
    assert [event for event in story.stages if not event.startswith("step")] == [
        *["epoch 0", "begin train", "end train", "begin validate", "end validate", "begin test", "end test"],
        *["epoch 1", "begin train", "end train", "begin validate", "end validate", "begin test", "end test"],
        *["epoch 2", "begin train", "end train", "begin validate", "end validate", "begin test", "end test"],
    ]


def test_training_records_a_graph_and_its_evaluations_do_not():
    model = Watched()
    fit(small_task(model=model), epochs=2)
    assert model.seen == ([TRAINED] * 3 + [EVALUATED] * 4) * 2


@pytest.mark.parametrize(
    ("mode", "called"),
    [
        ("eval", (False, True, False)),
        ("no_grad", (False, False, False)),
        ("inference_mode", (False, False, True)),
    ],
)
def test_an_evaluation_mode_validates_and_tests_only_with_its_own_autograd_state(mode, called):
    model = Watched()
    task = small_task(model=model)
    before = copy.deepcopy(model.state_dict())
    story = Story()
    history = fit(task, epochs=2, mode=mode, observer=story)
    assert model.seen == [called] * 8
    assert [event for event in story.stages if not event.startswith("step")] == [
        *["epoch 0", "begin validate", "end validate", "begin test", "end test"],
        *["epoch 1", "begin validate", "end validate", "begin test", "end test"],
    ]
    assert all(epoch.train_loss is None and epoch.validate_loss is not None for epoch in history)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("mode", ["eval", "no_grad", "inference_mode"])
def test_an_evaluation_mode_leaves_the_learning_rate_alone(mode):
    task = with_scheduler(lambda optimizer: StepLR(optimizer, 1, gamma=0.5))
    fit(task, epochs=3, mode=mode)
    assert learning_rate(task) == 0.1


def test_validation_inside_the_train_stage_comes_after_every_so_many_steps():
    story = Story()
    fit(small_task(train_loader=batches(16, 4)), epochs=1, validate_every=2, observer=story)
    steps, look = ["step of 4"] * 2, ["begin validate", "step of 4", "step of 4", "end validate"]
    assert story.stages == [
        *["epoch 0", "begin train"],
        *[*steps, *look, *steps, *look],
        *["end train", "begin test", "step of 4", "step of 2", "end test"],
    ]


def test_validation_inside_the_train_stage_puts_the_model_back_into_training():
    model = Watched()
    fit(small_task(model=model, train_loader=batches(16, 4)), epochs=1, validate_every=2)
    look = [EVALUATED] * 2
    assert model.seen == [*[TRAINED] * 2, *look, *[TRAINED] * 2, *look, *[EVALUATED] * 2]


def test_the_steps_between_validations_are_counted_within_an_epoch():
    story = Story()
    fit(small_task(), epochs=2, validate_every=2, observer=story)  # 3 steps an epoch: one is left over
    assert story.stages.count("begin validate") == 2


def test_each_validation_inside_the_train_stage_adjusts_the_scheduler():
    task = with_scheduler(lambda optimizer: StepLR(optimizer, 1, gamma=0.5), train_loader=batches(16, 4))
    fit(task, epochs=2, validate_every=2)
    assert learning_rate(task) == pytest.approx(0.1 * 0.5**4)


def test_the_loss_of_the_last_validation_inside_the_train_stage_is_kept():
    class Losses(Observer):
        validate = ()

        def end(self, stage, loss, metrics):
            if stage == "validate":
                self.validate = (*self.validate, loss)

    losses = Losses()
    (epoch,) = fit(small_task(train_loader=batches(16, 4)), epochs=1, validate_every=2, observer=losses)
    assert len(losses.validate) == 2
    assert losses.validate[0] != losses.validate[1]
    assert epoch.validate_loss == losses.validate[1]


def test_more_steps_between_validations_than_an_epoch_has_is_an_error():
    fit(small_task(), epochs=1, validate_every=3)
    with pytest.raises(ValueError, match="validate_every=4, but an epoch has fewer steps"):
        fit(small_task(), epochs=1, validate_every=4)


def test_an_evaluation_mode_validates_once_an_epoch_whatever_validate_every_says():
    story = Story()
    fit(small_task(), epochs=2, mode="no_grad", validate_every=100, observer=story)
    assert story.stages.count("begin validate") == 2


def test_the_plateau_scheduler_gets_the_validation_loss():
    class Plateau(ReduceLROnPlateau):
        given = ()

        def step(self, metrics, epoch=None):
            self.given = (*self.given, metrics)
            super().step(metrics)

    task = with_scheduler(Plateau)
    history = fit(task, epochs=3)
    assert task.scheduler.given == tuple(epoch.validate_loss for epoch in history)
    assert len(set(task.scheduler.given)) == 3


@pytest.mark.parametrize(("epochs", "expected"), [(1, 0.1), (2, 0.01), (3, 0.001)])
def test_the_learning_rate_falls_on_a_plateau(epochs, expected):
    task = with_scheduler(
        lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.1, patience=0),
        loss=lambda outputs, targets: outputs.sum() * 0 + 1,
    )
    fit(task, epochs=epochs)
    assert learning_rate(task) == pytest.approx(expected)


def test_the_learning_rate_stays_while_the_validation_loss_falls():
    task = with_scheduler(lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.1, patience=0))
    history = fit(task, epochs=3)
    assert history[2].validate_loss < history[1].validate_loss < history[0].validate_loss
    assert learning_rate(task) == 0.1


def test_any_other_scheduler_is_stepped_once_a_validation():
    task = with_scheduler(lambda optimizer: StepLR(optimizer, 1, gamma=0.5))
    fit(task, epochs=3)
    assert learning_rate(task) == pytest.approx(0.1 * 0.5**3)


@pytest.mark.parametrize("stage", ["train", "validate", "test"])
def test_an_empty_loader_is_named(stage):
    task = small_task(**{f"{stage}_loader": []})
    with pytest.raises(ValueError, match=f"the {stage} loader gave no batch; give it data"):
        fit(task, epochs=1)


def test_a_loader_that_can_be_read_only_once_is_named_in_the_second_epoch():
    task = small_task(train_loader=iter(batches(12, 4)))
    with pytest.raises(ValueError, match="the train loader gave no batch"):
        fit(task, epochs=2)


def test_losses_and_metrics_are_those_of_the_loop_written_out_by_hand():
    task = small_task(train_loader=batches(10, 4, seed=1), metrics={"accuracy": accuracy})  # 4, 4 and 2
    model = copy.deepcopy(task.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of = nn.CrossEntropyLoss()

    history = fit(task, epochs=2)

    for epoch in history:
        model.train()
        total = 0.0
        for inputs, targets in task.train_loader:
            loss = loss_of(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(targets)
        assert epoch.train_loss == pytest.approx(total / 10, rel=1e-5)
        model.eval()
        with torch.no_grad():
            inputs, targets = (torch.cat(parts) for parts in zip(*task.validate_loader, strict=True))
            assert epoch.validate_loss == pytest.approx(loss_of(model(inputs), targets).item(), rel=1e-5)
            inputs, targets = (torch.cat(parts) for parts in zip(*task.test_loader, strict=True))
            outputs = model(inputs)
            assert epoch.test_loss == pytest.approx(loss_of(outputs, targets).item(), rel=1e-5)
            assert epoch.metrics == {"accuracy": pytest.approx(accuracy(outputs, targets).item())}
    for ours, by_hand in zip(task.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, by_hand)


def test_a_replaced_step_is_used_in_every_stage():
    called = []

    def reconstruct(task, inputs, targets, lap):
        outputs = task.model(inputs)
        lap("forward")
        called.append(task.model.training)
        return outputs, nn.functional.mse_loss(outputs, inputs)

    torch.manual_seed(0)
    task = small_task(model=nn.Linear(3, 3), step=reconstruct, loss=None)
    story = Story()
    first, *_, last = fit(task, epochs=20, observer=story)
    assert called[:7] == [True] * 3 + [False] * 4
    assert story.told[2:7] == ["other", "data", "transfer", "forward", "loss"]
    assert last.test_loss < first.test_loss


Pair = namedtuple("Pair", "left right")


@pytest.mark.parametrize("kind", ["dict", "tuple", "namedtuple"])
def test_the_loop_trains_on_nested_inputs(kind):
    wrap = {
        "dict": lambda x: {"left": x, "right": x},
        "tuple": lambda x: (x, x),
        "namedtuple": lambda x: Pair(x, x),
    }[kind]

    class Both(nn.Linear):
        def forward(self, inputs):
            left, right = inputs.values() if isinstance(inputs, dict) else inputs
            return super().forward(left + right)

    loaders = {
        f"{stage}_loader": [(wrap(inputs), targets) for inputs, targets in batches(8, 4)]
        for stage in ("train", "validate", "test")
    }
    first, *_, last = fit(small_task(model=Both(3, 2), **loaders), epochs=5)
    assert last.train_loss < first.train_loss


def test_the_loop_is_the_same_whether_watched_or_not():
    assert fit(small_task(), epochs=2) == fit(small_task(), epochs=2, observer=Story())


def test_the_same_seed_gives_the_same_losses_twice():
    def losses(seed):
        torch.manual_seed(seed)
        return fit(tasks.build(Case("digits", {"batch_size": 128})), epochs=2)

    assert losses(7) == losses(7)
    assert losses(7) != losses(8)


def test_five_epochs_of_adam_learn_the_digits():
    torch.manual_seed(0)
    case = Case("digits", {"optimizer": "adam", "model": "mlp", "batch_size": 64})
    *_, last = fit(tasks.build(case), epochs=5)
    assert last.metrics["accuracy"] > 0.90
    assert last.train_loss < 0.4


def test_the_loop_does_not_know_what_measures_it():
    imported = set()
    for node in ast.walk(ast.parse(inspect.getsource(training))):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
    assert "torch" in imported
    assert [name for name in imported if name.startswith(("bench", "."))] == [".batches"]


# -- batches, outputs and losses of other shapes --


def pairs_as(change, **parts):
    """A small task whose batches are what `change` makes of inputs and targets."""
    loaders = {
        f"{stage}_loader": [change(inputs, targets) for inputs, targets in batches(size, 4, seed=seed)]
        for seed, (stage, size) in enumerate([("train", 12), ("validate", 8), ("test", 6)], start=1)
    }
    return small_task(**{**loaders, **parts})


@dataclasses.dataclass
class Rows:
    x: torch.Tensor
    y: torch.Tensor


class Scored(UserDict):
    """Outputs as models of Transformers have them: a mapping whose values are attributes too."""

    def __getattr__(self, name):
        return self.data[name]


class ByName(nn.Linear):
    def forward(self, ids, mask):
        return super().forward(ids * mask)


def samples_of(task):
    story = Story()
    fit(task, epochs=1, observer=story)
    return sum(int(event.split()[-1]) for event in story.told if event.startswith("step of"))


SAMPLES = 12 + 8 + 6


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: [x, y],
        lambda x, y: {"x": x, "labels": y},
        lambda x, y: {"target": y, "image": x},
        lambda x, y: UserDict({"x": x, "y": y}),
        lambda x, y: Rows(x, y),
    ],
    ids=["list", "dict", "any order", "mapping", "dataclass"],
)
def test_a_batch_with_one_obvious_target_is_the_pair_that_it_holds(change):
    expected, found = fit(small_task(), epochs=2), fit(pairs_as(change), epochs=2)
    assert found == expected
    assert samples_of(pairs_as(change)) == SAMPLES


def test_several_inputs_that_have_names_are_given_by_them():
    def change(x, y):
        return {"mask": torch.ones_like(x), "labels": y, "ids": x}

    torch.manual_seed(0)
    found = fit(pairs_as(change, model=ByName(3, 2)), epochs=2)
    assert [epoch.train_loss for epoch in found] == [
        epoch.train_loss for epoch in fit(small_task(), epochs=2)
    ]


def test_inputs_of_a_pair_that_have_names_are_given_as_they_are():
    class Whole(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs["x"])

    torch.manual_seed(0)
    assert samples_of(pairs_as(lambda x, y: ({"x": x}, y), model=Whole(3, 2))) == SAMPLES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: (x, y, 1.0), "a tuple of 3: Tensor of shape (4, 3), Tensor of shape (4,), float"),
        (lambda x, y: x[:2], "a Tensor of shape (2, 3)"),
        (lambda x, y: {"x": x, "z": y}, "a dict with x: Tensor of shape (4, 3), z: Tensor of shape (4,)"),
        (lambda x, y: {"x": x, "y": y, "label": y}, "a dict with x: Tensor of shape (4, 3), y: "),
        (lambda x, y: {"y": y}, "a dict with y: Tensor of shape (4,)"),
    ],
    ids=["three parts", "rows in twos", "no target", "two targets", "targets alone"],
)
def test_a_batch_that_is_no_pair_is_refused_with_what_it_was_and_the_remedy(change, says):
    with pytest.raises(ValueError, match="a batch is ") as refused:
        fit(pairs_as(change), epochs=1)
    (line,) = str(refused.value).splitlines()
    assert says in line
    assert "collate_fn that returns a pair" in line
    assert "step of its own" in line


def test_a_step_of_ones_own_is_given_a_batch_that_is_no_pair_whole():
    def step(task, inputs, targets, lap):
        x, y, weights = inputs
        assert targets is None
        outputs = task.model(x)
        lap("forward")
        return outputs, (nn.functional.cross_entropy(outputs, y, reduction="none") * weights).mean()

    expected = fit(small_task(), epochs=2)
    found = fit(pairs_as(lambda x, y: (x, y, torch.ones(len(y))), step=step), epochs=2)
    assert [epoch.train_loss for epoch in found] == pytest.approx([epoch.train_loss for epoch in expected])


def test_no_targets_are_targets_if_the_loss_takes_them():
    task = pairs_as(lambda x, y: (x, None), loss=lambda outputs, _: outputs.square().mean())
    first, *_, last = fit(task, epochs=3)
    assert last.train_loss < first.train_loss
    assert samples_of(task) == SAMPLES


@pytest.mark.parametrize(
    ("change", "target"),
    [
        (lambda y: [torch.full((5,), int(one)) for one in y], lambda t: torch.stack([one[0] for one in t])),
        (lambda y: [{"label": one} for one in y], lambda t: torch.stack([one["label"] for one in t])),
        (lambda y: [str(int(one)) for one in y], lambda t: torch.tensor([int(one) for one in t])),
    ],
    ids=["tensors", "metadata", "text"],
)
def test_the_mean_loss_is_weighted_by_samples_whatever_targets_are(change, target):
    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs, target(targets))

    sizes = {"train_loader": batches(10, 4, seed=1)}  # 4, 4 and 2
    plain = small_task(**sizes)
    sizes = {"train_loader": [(x, change(y)) for x, y in plain.train_loader]}
    found = pairs_as(lambda x, y: (x, change(y)), loss=loss, **sizes)
    assert [e.train_loss for e in fit(found, epochs=2)] == [e.train_loss for e in fit(plain, epochs=2)]


def test_samples_that_cannot_be_told_are_asked_for():
    def places(x, y):  # a target for each place of a sequence, all in one row
        return x, torch.zeros(len(y) * 3)

    parts = {
        "model": nn.Identity(),
        "loss": lambda outputs, targets: (outputs.flatten() - targets).square().mean(),
    }
    parts["optimizer"] = torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    with pytest.raises(
        ValueError, match=r"cannot be determined from inputs, a Tensor of shape \(4, 3\), and targets, a "
    ):
        fit(pairs_as(places, **parts), epochs=1, mode="no_grad")
    story = Story()
    fit(
        pairs_as(places, **parts, samples=lambda inputs, targets: len(inputs)),
        epochs=1,
        mode="no_grad",
        observer=story,
    )
    assert [event for event in story.told if event.startswith("step of")] == ["step of 4"] * 3 + ["step of 2"]


def test_samples_are_a_whole_number():
    with pytest.raises(ValueError, match=r"Task.samples returned 4.0, which is not a whole number"):
        fit(small_task(samples=lambda inputs, targets: float(len(targets))), epochs=1)
    with pytest.raises(ValueError, match=r"Task.samples returned 0; a batch has at least one sample"):
        fit(small_task(samples=lambda inputs, targets: 0), epochs=1)


@pytest.mark.parametrize(
    "pack",
    [
        lambda scores, inputs: (scores, inputs),
        lambda scores, inputs: [scores, {"inputs": inputs}],
        lambda scores, inputs: {"scores": scores},
        lambda scores, inputs: Scored(scores=scores, inputs=inputs),
        lambda scores, inputs: Pair(scores, None),
        lambda scores, inputs: Rows(scores, inputs),
    ],
    ids=["tuple", "list", "dict", "mapping", "namedtuple", "dataclass"],
)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_metrics_are_given_outputs_as_the_model_gave_them_off_the_graph(pack, mode):
    kept, given = [], []

    class Packing(nn.Linear):
        def forward(self, inputs):
            kept.append(pack(super().forward(inputs), inputs))
            return kept[-1]

    def scores(outputs):
        if isinstance(outputs, Rows):
            return outputs.x
        return next(iter(outputs.values())) if isinstance(outputs, dict | UserDict) else outputs[0]

    def right(outputs, targets):
        given.append(outputs)
        return accuracy(scores(outputs), targets)

    torch.manual_seed(0)
    task = small_task(
        model=Packing(3, 2),
        loss=lambda outputs, targets: nn.functional.cross_entropy(scores(outputs), targets),
        metrics={"accuracy": right},
    )
    expected = fit(small_task(metrics={"accuracy": accuracy}), epochs=1, mode=mode)
    assert fit(task, epochs=1, mode=mode) == expected
    assert [type(outputs) for outputs in given] == [type(kept[-1])] * len(given)
    assert given
    assert not any(scores(outputs).requires_grad for outputs in given)
    assert scores(kept[-1]).requires_grad is (mode == "eval")


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_a_loss_or_a_metric_of_one_number_is_one(shape):
    task = small_task(
        loss=lambda outputs, targets: nn.functional.cross_entropy(outputs, targets).reshape(shape),
        metrics={"accuracy": lambda outputs, targets: accuracy(outputs, targets).reshape(shape)},
    )
    assert fit(task, epochs=2) == fit(small_task(metrics={"accuracy": accuracy}), epochs=2)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (
            {"loss": nn.CrossEntropyLoss(reduction="none")},
            r"the loss is a Tensor of shape \(4,\), and should be one number: take its mean",
        ),
        ({"loss": lambda outputs, targets: 1.0}, "the loss is a float, not a tensor"),
        ({"loss": lambda outputs, targets: {"a": outputs.sum()}}, "the loss is a dict with a: Tensor"),
        ({"step": lambda task, inputs, *_: task.model(inputs)}, "Task.step returned a Tensor of shape"),
        (
            {"metrics": {"right": lambda outputs, targets: outputs.argmax(dim=1) == targets}},
            r"metric 'right' is a Tensor of shape \(4,\), and should be one number",
        ),
    ],
    ids=["one a sample", "number", "several", "step", "metric"],
)
@pytest.mark.parametrize("mode", ["train", "no_grad"])
def test_what_is_no_number_is_refused_in_one_line(parts, says, mode):
    with pytest.raises(ValueError, match=says):
        fit(small_task(**parts), epochs=1, mode=mode)


def test_a_default_of_bfloat16_makes_no_coarse_sums():
    """Sums of 8 bits take no more losses once they are a few hundred times as large as each."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        task = small_task(
            train_loader=[(torch.zeros(4, 3), torch.zeros(4))] * 700,
            loss=lambda outputs, targets: outputs.sum() * 0 + 1.0,
            metrics={"one": lambda outputs, targets: torch.ones(())},
        )
        (epoch,) = fit(task, epochs=1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert epoch.train_loss == 1.0
    assert epoch.metrics == {"one": 1.0}


# -- stages without a loader --


def test_a_stage_without_a_loader_is_not_there():
    story = Story()
    (epoch,) = fit(small_task(validate_loader=None, test_loader=None), epochs=1, observer=story)
    assert [event for event in story.stages if event.startswith("begin")] == ["begin train"]
    assert (epoch.validate_loss, epoch.test_loss, epoch.metrics) == (None, None, {})
    assert epoch.train_loss is not None


@pytest.mark.parametrize("missing", ["validate", "test"])
def test_an_evaluation_mode_goes_over_the_stage_that_there_is(missing):
    story = Story()
    fit(small_task(**{f"{missing}_loader": None}), epochs=1, mode="no_grad", observer=story)
    (there,) = {"validate", "test"} - {missing}
    assert [event for event in story.stages if event.startswith("begin")] == [f"begin {there}"]


def test_what_needs_a_loader_that_is_missing_says_so():
    with pytest.raises(ValueError, match="train_loader is None"):
        small_task(train_loader=None)
    with pytest.raises(ValueError, match="neither a validate_loader nor a test_loader"):
        fit(small_task(validate_loader=None, test_loader=None), epochs=1, mode="no_grad")
    with pytest.raises(ValueError, match="validate_every=2, but there is no validate_loader"):
        fit(small_task(validate_loader=None), epochs=1, validate_every=2)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match="no validate_loader; give one, or scheduler_interval='step'"):
        small_task(model=model, optimizer=optimizer, validate_loader=None, scheduler=StepLR(optimizer, 1))


# -- accumulation, clipping, scaling, closures --


def gradients(task):
    return [parameter.grad.clone() for parameter in task.model.parameters()]


def gradients_at_each_step(task):
    """The gradients that the optimizer of a task sees, step by step."""
    seen = []
    task.optimizer.register_step_pre_hook(lambda *_: seen.append(gradients(task)))
    return seen


def test_accumulated_gradients_are_those_of_the_batches_taken_together():
    halves = small_task(train_loader=batches(12, 3, seed=1), accumulation_steps=2)
    whole = small_task(train_loader=batches(12, 6, seed=1))
    seen, expected = gradients_at_each_step(halves), gradients_at_each_step(whole)
    fit(halves, epochs=2)
    fit(whole, epochs=2)
    assert len(seen) == len(expected) == 4
    torch.testing.assert_close(seen, expected)


def test_what_is_left_at_the_end_of_an_epoch_is_a_step_too():
    task = small_task(accumulation_steps=2)  # of three batches
    seen = gradients_at_each_step(task)
    story = Story()
    fit(task, epochs=1, observer=story)
    assert len(seen) == 2
    trained = story.told[: story.told.index("end train")]
    assert [event for event in trained if event in ("zero_grad", "backward", "optimizer")] == [
        *("zero_grad", "backward", "backward", "optimizer"),
        *("zero_grad", "backward", "optimizer"),
    ]


@pytest.mark.parametrize(
    "scaler", [None, torch.amp.GradScaler("cpu", init_scale=4.0)], ids=["plain", "scaled"]
)
@pytest.mark.parametrize("clip", [None, 0.01])
def test_what_is_left_at_the_end_of_an_epoch_is_a_mean_too(scaler, clip):
    data = batches(20, 4, seed=1)  # five batches: a group of three, and two
    together = [tuple(torch.cat(part) for part in zip(*group, strict=True)) for group in (data[:3], data[3:])]
    parts = {"clip_grad_norm": clip, "scaler": scaler}
    found = small_task(train_loader=iter(data), accumulation_steps=3, **parts)  # nobody knows how many come
    expected = small_task(train_loader=together, **parts)
    seen, wanted = gradients_at_each_step(found), gradients_at_each_step(expected)
    fit(found, epochs=1)
    fit(expected, epochs=1)
    assert len(seen) == len(wanted) == 2
    torch.testing.assert_close(seen, wanted)


def test_the_norm_of_the_gradients_is_clipped_before_each_step():
    task = small_task(clip_grad_norm=0.01)
    seen = gradients_at_each_step(task)
    story = Story()
    fit(task, epochs=1, observer=story)
    assert len(seen) == 3
    for parts in seen:
        assert torch.cat([part.flatten() for part in parts]).norm().item() == pytest.approx(0.01, rel=1e-3)
    assert story.told.count("clip") == 3
    assert story.told.index("clip") == story.told.index("optimizer") - 1


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_scaler_scales_the_loss_and_not_what_is_learnt(clip):
    plain, scaled = small_task(clip_grad_norm=clip), small_task(clip_grad_norm=clip)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    seen = []

    def watch(_, __, outputs):
        if outputs.requires_grad:
            outputs.register_hook(lambda gradient: seen.append(gradient.abs().max().item()))

    scaled.model.register_forward_hook(watch)
    assert fit(scaled, epochs=2)[-1].train_loss == pytest.approx(
        fit(plain, epochs=2)[-1].train_loss, rel=1e-5
    )
    assert max(seen) > 100


def test_a_step_that_overflows_is_left_out():
    task = small_task(scaler=torch.amp.GradScaler("cpu", init_scale=2.0**100))
    task.loss = lambda outputs, targets: 2.0**28 * nn.functional.cross_entropy(outputs, targets)
    steps = gradients_at_each_step(task)
    fit(task, epochs=1)
    assert len(steps) < 3
    assert task.scaler.get_scale() < 2.0**100


def test_a_scheduler_of_steps_is_stepped_after_each_step_of_the_optimizer():
    task = small_task(accumulation_steps=2, scheduler_interval="step")
    task.scheduler = StepLR(task.optimizer, 1, gamma=0.5)
    story = Story()
    fit(task, epochs=2, observer=story)
    assert learning_rate(task) == 0.1 * 0.5**4
    assert story.told.count("scheduler") == 4
    assert story.told[story.told.index("scheduler") - 1] == "optimizer"


def test_an_optimizer_that_needs_a_closure_gets_one_and_every_evaluation_has_its_phases():
    class Evaluated(Story):
        def evaluation(self, loss):
            self.told.append("evaluation")

    task, story = small_task(), Evaluated()
    task.optimizer = torch.optim.LBFGS(task.model.parameters(), max_iter=3)
    first, last = fit(task, epochs=2, observer=story)
    assert last.train_loss < first.train_loss
    one = story.told[story.told.index("transfer") + 1 : story.told.index("metrics")]
    evaluation = ["optimizer", "forward", "loss", "zero_grad", "backward", "evaluation"]
    times = one.count("evaluation")
    assert times > 1
    assert one == [*evaluation * times, "optimizer"]


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"scheduler_interval": "epoch"}, "scheduler_interval must be 'validation' or 'step', not 'epoch'"),
        ({"accumulation_steps": 0}, "accumulation_steps must be at least 1, not 0"),
    ],
)
def test_a_task_that_cannot_be_says_so_when_it_is_made(parts, says):
    with pytest.raises(ValueError, match=says):
        small_task(**parts)


@pytest.mark.parametrize("optimizer", ["sgd", 0.1, [1]])
def test_what_cannot_step_is_no_optimizer(optimizer):
    with pytest.raises(ValueError, match=r"the optimizer is a \w+.*, which has no step"):
        small_task(optimizer=optimizer)


@pytest.mark.parametrize("parts", [{"accumulation_steps": 2}, {"scaler": torch.amp.GradScaler("cpu")}])
def test_a_closure_goes_with_neither_accumulation_nor_a_scaler(parts):
    model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="LBFGS needs a closure"):
        small_task(model=model, optimizer=torch.optim.LBFGS(model.parameters()), **parts)
