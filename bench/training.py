"""The training loop that Epochbench measures, in the textbook's words.

For each epoch: train over the batches (forward, loss, zero_grad, backward, optimizer step); validate, and let the
validation loss adjust the learning rate; test with metrics on data never seen. Losses and metrics are summed on the
device and read at the end of a stage, so that nothing waits for the device inside it.

This file imports torch and, of Epochbench, only `batches`: the measured code does not know what measures it. An
`Observer` is how the rest follows the loop.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from .batches import TARGETS, Keywords, description, detached, parts_of, samples_in, sizes_of, to_device

Lap = Callable[[str], None]
Metric = Callable[[Any, Any], Tensor]
T = TypeVar("T")
Steps = Generator[None, None, T]  # a stage that pauses after each step, and returns its result


class Observer:
    """The loop calls one of these methods after each thing that it does. Here they do nothing; subclasses override
    them.

    Stages may nest (a validation inside the train stage): time belongs to the innermost one.
    """

    def epoch(self, number: int) -> None:
        """Epoch `number`, counted from 0, begins."""

    def begin(self, stage: str) -> None:
        """A stage ("train", "validate", "test") begins."""

    def lap(self, phase: str) -> None:
        """The time since the last call of any method was spent in `phase`."""

    def evaluation(self, loss: Tensor) -> None:
        """An optimizer that evaluates its loss several times per step (LBFGS) has received loss and gradients once
        more.
        """

    def step(self, samples: int, loss: Tensor) -> None:
        """One step, over this number of samples, has ended."""

    def end(self, stage: str, loss: float, metrics: Mapping[str, float]) -> None:
        """The stage has ended with this mean loss and these metrics."""


def forward_and_loss(task: Task, inputs: Any, targets: Any, lap: Lap) -> tuple[Any, Tensor]:
    """The step of most tasks: the outputs of the model, and their loss against the targets."""
    outputs = task.model(**inputs) if isinstance(inputs, Keywords) else task.model(inputs)
    lap("forward")
    return outputs, task.loss(outputs, targets)


@dataclass
class Task:
    """What is trained: a model, a loss, an optimizer, and three loaders of batches. A batch is a pair (inputs,
    targets).

    A batch with named parts, such as a dict, works too if one part is called "labels", "label", "targets", "target" or
    "y": the other parts are the inputs, given to the model by name if there are several. Targets may be None. Without
    `validate_loader` or `test_loader` epochs do not have that stage.

    `scheduler` steps after each validation, a ReduceLROnPlateau with the validation loss; with `scheduler_interval`
    "step" after each optimizer step instead. The optimizer steps after every `accumulation_steps` batches, on the mean
    of their gradients, and after the last batch of an epoch; the norm of the gradients is clipped to `clip_grad_norm`.
    `scaler` scales the loss, as float16 needs it. `metrics` maps names to functions of (outputs, targets) that give the
    mean over a batch; they run in the test stage. `step` may be replaced where the loss is not
    `loss(model(inputs), targets)`: it returns (outputs, loss), and calls `lap("forward")` after the forward pass; a
    batch that is not a pair is passed to it whole, as the inputs, with None as targets. `samples` is a function of
    (inputs, targets) that gives the number of samples of a batch where their shapes do not show it. `setup` and
    `teardown` run before and after the loop, and are not timed. Raises ValueError for values that conflict.
    """

    model: nn.Module
    loss: Callable[..., Tensor]
    optimizer: Optimizer
    train_loader: Iterable[Any]
    validate_loader: Iterable[Any] | None
    test_loader: Iterable[Any] | None
    scheduler: LRScheduler | ReduceLROnPlateau | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    step: Callable[[Task, Any, Any, Lap], tuple[Any, Tensor]] = forward_and_loss
    setup: Callable[[], None] | None = None
    teardown: Callable[[], None] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    scheduler_interval: str = "validation"
    accumulation_steps: int = 1
    clip_grad_norm: float | None = None
    scaler: GradScaler | None = None
    samples: Callable[[Any, Any], int] | None = None

    def __post_init__(self) -> None:
        if self.scheduler_interval not in ("validation", "step"):
            raise ValueError(
                f"scheduler_interval must be 'validation' or 'step', not {self.scheduler_interval!r}"
            )
        if self.accumulation_steps < 1:
            raise ValueError(f"accumulation_steps must be at least 1, not {self.accumulation_steps}")
        if not callable(getattr(self.optimizer, "step", None)):
            raise ValueError(f"the optimizer is {description(self.optimizer)}, which has no step")
        if needs_closure(type(self.optimizer)) and (self.accumulation_steps > 1 or self.scaler is not None):
            raise ValueError(
                f"{type(self.optimizer).__name__} needs a closure: accumulation_steps and scaler have none"
            )
        if self.train_loader is None:
            raise ValueError("train_loader is None; only validate_loader and test_loader may be None")
        if self.validate_loader is None and self.scheduler is not None and self.scheduler_interval != "step":
            raise ValueError(
                "the scheduler is stepped after each validation, and there is no validate_loader; "
                "give one, or scheduler_interval='step'"
            )

    def pair(self, batch: Any) -> tuple[Any, Any]:
        """The inputs and the targets of a batch. Raises ValueError where they cannot be identified."""
        pair = parts_of(batch)
        if pair is not None:
            return pair
        if inspect.unwrap(self.step) is not forward_and_loss:
            return batch, None
        raise ValueError(
            f"a batch is (inputs, targets), or a dict of which one key is {', '.join(TARGETS[:-1])} or {TARGETS[-1]}; "
            f"this one is {description(batch)}: give the loader a collate_fn that returns a pair, or the Task a step "
            f"of its own"
        )

    def samples_of(self, inputs: Any, targets: Any, sizes: Collection[int] = ()) -> int:
        """The number of samples of a batch, from a loader whose batches have these `sizes`.

        Raises ValueError where it cannot be determined, and where `samples` returns no whole number above 0.
        """
        if self.samples is None:
            samples = samples_in(inputs if targets is None else (inputs, targets), sizes)
            if samples is not None:
                return samples
            raise ValueError(
                f"how many samples a batch has cannot be determined from inputs, {description(inputs)}, and targets, "
                f"{description(targets)}: give Task(samples=lambda inputs, targets: ...)"
            )
        returned = self.samples(inputs, targets)
        try:
            samples = operator.index(returned)
        except TypeError:
            raise ValueError(f"Task.samples returned {returned!r}, which is not a whole number") from None
        if samples < 1:
            raise ValueError(f"Task.samples returned {samples}; a batch has at least one sample")
        return samples


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch; losses are means over the samples, None where a stage did not run."""

    train_loss: float | None
    validate_loss: float | None
    test_loss: float | None
    metrics: Mapping[str, float]


# How evaluation treats autograd, by mode. In mode `train` it evaluates without gradients, as it should.
GRADIENTS: Mapping[str, Callable[[], Any]] = {
    "train": torch.no_grad,
    "eval": torch.enable_grad,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


def fit(
    task: Task,
    epochs: int = 5,
    mode: str = "train",
    validate_every: int | None = None,
    observer: Observer | None = None,
) -> list[Epoch]:
    """The whole loop; in an evaluation mode, only the validation and test passes.

    With `validate_every` the validation takes place inside the train stage, after every `validate_every` steps, instead
    of at the end of the epoch. Raises ValueError where an epoch has fewer steps, and where a needed loader is missing.
    """
    if mode != "train" and task.validate_loader is None and task.test_loader is None:
        raise ValueError(
            f"mode {mode!r} only evaluates, and there is neither a validate_loader nor a test_loader"
        )
    if task.validate_loader is None and validate_every is not None and mode == "train":
        raise ValueError(f"validate_every={validate_every}, but there is no validate_loader")
    observer = observer or Observer()
    gradients = GRADIENTS[mode]
    history = []
    for number in range(epochs):
        observer.epoch(number)
        train_loss: float | None = None
        validate_loss: float | None = None
        test_loss: float | None = None
        metrics: Mapping[str, float] = {}
        if mode == "train":
            train_loss, validate_loss = train(task, observer, validate_every)
        if task.validate_loader is not None and (validate_every is None or mode != "train"):
            validate_loss = validate(task, observer, gradients, adjust=mode == "train")
        if task.test_loader is not None:
            test_loss, metrics = test(task, observer, gradients)
        history.append(Epoch(train_loss, validate_loss, test_loss, metrics))
    return history


def train(task: Task, observer: Observer, validate_every: int | None = None) -> tuple[float, float | None]:
    """One epoch over the training data: the mean loss, and the loss of the last validation inside the epoch."""
    return run_to_end(train_steps(task, observer, validate_every))


def train_steps(
    task: Task, observer: Observer, validate_every: int | None = None
) -> Steps[tuple[float, float | None]]:
    """`train`, step by step."""
    lap = observer.lap
    observer.begin("train")
    task.model.train()
    total, seen, validate_loss = empty_sum(task.device), 0, None
    number, has_closure, sizes = 0, needs_closure(type(task.optimizer)), sizes_of(task.train_loader)
    lap("other")
    for number, (inputs, targets) in enumerate(map(task.pair, task.train_loader), start=1):
        lap("data")
        inputs, targets = to_device(inputs, task.device), to_device(targets, task.device)
        lap("transfer")
        if has_closure:
            loss = minimize(task, inputs, targets, observer)
        else:
            _, loss = outputs_and_loss(task, inputs, targets, lap)
            lap("loss")
            if (number - 1) % task.accumulation_steps == 0:
                task.optimizer.zero_grad()
                lap("zero_grad")
            backward(task, loss)
            lap("backward")
            if number % task.accumulation_steps == 0:
                update(task, lap)
        samples = task.samples_of(inputs, targets, sizes)
        total += loss.detach() * samples
        seen += samples
        lap("metrics")
        observer.step(samples, loss)
        if validate_every is not None and number % validate_every == 0:
            validate_loss = validate(task, observer)
            task.model.train()
            lap("other")
        yield
    lap("data")
    if number % task.accumulation_steps:
        rescale_gradients(task, number % task.accumulation_steps)
        update(task, lap)
    if validate_every is not None and validate_loss is None:
        raise ValueError(f"validate_every={validate_every}, but an epoch has fewer steps than that")
    mean = mean_of(total, seen, "train")
    lap("metrics")
    observer.end("train", mean, {})
    return mean, validate_loss


def backward(task: Task, loss: Tensor) -> None:
    """Adds the gradients of the loss to the existing ones."""
    if task.accumulation_steps > 1:
        loss = loss / task.accumulation_steps
    if task.scaler is not None:
        loss = task.scaler.scale(loss)
    loss.backward()


def outputs_and_loss(task: Task, inputs: Any, targets: Any, lap: Lap) -> tuple[Any, Tensor]:
    """The result of the step of the task. Raises ValueError for a loss that is not a tensor of one number."""
    result = task.step(task, inputs, targets, lap)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise ValueError(f"Task.step returned {description(result)}, not a pair (outputs, loss)")
    outputs, loss = result
    if not isinstance(loss, Tensor):
        raise ValueError(f"the loss is {description(loss)}, not a tensor of one number, as torch returns it")
    return outputs, one_number(loss, "the loss")


def one_number(value: Any, what: str) -> Any:
    """A tensor of one number without its dimensions; other values unchanged. Raises ValueError for larger tensors."""
    if not isinstance(value, Tensor) or not value.dim():
        return value
    if value.numel() != 1:
        raise ValueError(
            f"{what} is {description(value)}, and should be one number: take its mean over the batch"
        )
    return value.reshape(())


def rescale_gradients(task: Task, batches: int) -> None:
    """Makes the gradients of the last, fewer batches their mean: each was divided by `accumulation_steps`."""
    for group in task.optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad.mul_(task.accumulation_steps / batches)


def update(task: Task, lap: Lap) -> None:
    """One step of the optimizer on the current gradients."""
    if task.clip_grad_norm is not None:
        if task.scaler is not None:
            task.scaler.unscale_(task.optimizer)
        clip_grad_norm_(task.model.parameters(), task.clip_grad_norm)
        lap("clip")
    if task.scaler is not None:
        task.scaler.step(task.optimizer)
        task.scaler.update()
    else:
        task.optimizer.step()
    lap("optimizer")
    if task.scheduler is not None and task.scheduler_interval == "step":
        task.scheduler.step()
        lap("scheduler")


def minimize(task: Task, inputs: Any, targets: Any, observer: Observer) -> Tensor:
    """One step of an optimizer that evaluates the loss of a batch several times; returns the first loss."""
    lap, losses = observer.lap, []

    def closure() -> Tensor:
        lap("optimizer")  # since the last evaluation
        _, loss = outputs_and_loss(task, inputs, targets, lap)
        lap("loss")
        task.optimizer.zero_grad()
        lap("zero_grad")
        loss.backward()
        lap("backward")
        if task.clip_grad_norm is not None:
            clip_grad_norm_(task.model.parameters(), task.clip_grad_norm)
            lap("clip")
        observer.evaluation(loss)
        losses.append(loss)
        return loss

    task.optimizer.step(closure)  # type: ignore[arg-type]
    lap("optimizer")
    if task.scheduler is not None and task.scheduler_interval == "step":
        task.scheduler.step()
        lap("scheduler")
    return losses[0]


def needs_closure(optimizer: type[Optimizer]) -> bool:
    """Whether the `step` of an optimizer requires a function that evaluates the loss."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def validate(
    task: Task,
    observer: Observer,
    gradients: Callable[[], Any] = torch.no_grad,
    adjust: bool = True,
) -> float:
    """The loss on the validation data; with it the scheduler then adjusts the learning rate."""
    scheduler = task.scheduler if adjust and task.scheduler_interval == "validation" else None
    assert task.validate_loader is not None
    steps = evaluate_steps(task, "validate", task.validate_loader, observer, gradients, {}, scheduler)
    loss, _ = run_to_end(steps)
    return loss


def test(
    task: Task, observer: Observer, gradients: Callable[[], Any] = torch.no_grad
) -> tuple[float, dict[str, float]]:
    """The loss and the metrics on data seen neither in training nor in validation."""
    assert task.test_loader is not None
    return run_to_end(evaluate_steps(task, "test", task.test_loader, observer, gradients, task.metrics))


def evaluate_steps(
    task: Task,
    stage: str,
    loader: Iterable[Any],
    observer: Observer,
    gradients: Callable[[], Any],
    metrics: Mapping[str, Metric],
    scheduler: LRScheduler | ReduceLROnPlateau | None = None,
) -> Steps[tuple[float, dict[str, float]]]:
    """One pass over a loader with the model in evaluation mode, step by step: mean loss and mean metrics.

    While it pauses, the context of `gradients` stays active.
    """
    lap = observer.lap
    observer.begin(stage)
    task.model.eval()
    with gradients():
        total, seen, sizes = empty_sum(task.device), 0, sizes_of(loader)
        sums = {name: empty_sum(task.device) for name in metrics}
        lap("other")
        for inputs, targets in map(task.pair, loader):
            lap("data")
            inputs, targets = to_device(inputs, task.device), to_device(targets, task.device)
            lap("transfer")
            outputs, loss = outputs_and_loss(task, inputs, targets, lap)
            lap("loss")
            samples = task.samples_of(inputs, targets, sizes)
            total += loss.detach() * samples
            seen += samples
            for name, metric in metrics.items():
                sums[name] += one_number(metric(detached(outputs), targets), f"metric {name!r}") * samples
            lap("metrics")
            observer.step(samples, loss)
            yield
        lap("data")
    mean = mean_of(total, seen, stage)
    means = {name: mean_of(value, seen, stage) for name, value in sums.items()}
    lap("metrics")
    if scheduler is not None:
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(mean)
        else:
            scheduler.step()
        lap("scheduler")
    observer.end(stage, mean, means)
    return mean, means


def run_to_end(stage: Steps[T]) -> T:
    """Runs all steps of a stage, and returns its result."""
    while True:
        try:
            next(stage)
        except StopIteration as end:
            result: T = end.value
            return result


def empty_sum(device: torch.device) -> Tensor:
    """A sum of 0, at least in float32: a sum in bfloat16, which may be the default type, would soon stop growing."""
    return torch.zeros((), dtype=torch.promote_types(torch.get_default_dtype(), torch.float32), device=device)


def mean_of(total: Tensor, samples: int, stage: str) -> float:
    """The mean from a sum on the device. Raises ValueError where the loader was empty."""
    if samples == 0:
        raise ValueError(f"the {stage} loader gave no batch; give it data, or check drop_last")
    return float(total) / samples
