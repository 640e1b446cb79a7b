from __future__ import annotations

import ast
import copy
import inspect
from collections import namedtuple

import pytest
import torch
from fakes import batches, small_task
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from bench import tasks, training
from bench.batches import to_device
from bench.case import Case
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


class Moving:
    """Something of a user's own that knows how to move."""

    def __init__(self, device="cpu"):
        self.device = torch.device(device)

    def to(self, device):
        return Moving(device)


META = torch.device("meta")  # a device of shapes without data: every machine has it


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(2),
        Moving(),
        (torch.zeros(2), Moving()),
        [torch.zeros(2), torch.zeros(3)],
        {"image": torch.zeros(2), "mask": torch.zeros(3)},
        Pair(torch.zeros(2), torch.zeros(3)),
        {"pair": Pair(torch.zeros(1), [torch.zeros(2), (torch.zeros(3),)])},
    ],
    ids=["tensor", "own", "tuple", "list", "dict", "namedtuple", "nested"],
)
def test_a_batch_moves_whole_and_keeps_its_shape(batch):
    def leaves(value):
        if isinstance(value, dict):
            return [leaf for part in value.values() for leaf in leaves(part)]
        return (
            [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple | list) else [value]
        )

    def outline(value):
        if isinstance(value, dict):
            return {name: outline(part) for name, part in value.items()}
        parts = [outline(part) for part in value] if isinstance(value, tuple | list) else []
        return (type(value), parts)

    moved = to_device(batch, META)
    assert [leaf.device for leaf in leaves(moved)] == [META] * len(leaves(batch))
    assert outline(moved) == outline(batch)


@pytest.mark.parametrize("value", ["text", 7, None])
def test_what_cannot_move_stays_as_it_is(value):
    assert to_device({"note": value}, META) == {"note": value}


def test_a_named_tuple_keeps_its_names():
    assert to_device(Pair(torch.zeros(2), 1), META).left.device == META


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


@pytest.mark.parametrize("parts", [{"accumulation_steps": 2}, {"scaler": torch.amp.GradScaler("cpu")}])
def test_a_closure_goes_with_neither_accumulation_nor_a_scaler(parts):
    model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="LBFGS needs a closure"):
        small_task(model=model, optimizer=torch.optim.LBFGS(model.parameters()), **parts)
