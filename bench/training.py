"""The training loop that Epochbench measures, in the textbook's words.

For each epoch: train over the batches (forward, loss, zero_grad, backward, optimizer step); validate, and
let the validation loss adjust the learning rate; test with metrics on data never seen. Losses and metrics
gather on the device and are read at the end of a stage, so that nothing waits inside it.

This file imports torch and nothing of Epochbench: what is measured does not know what measures. Whoever
wants to look plugs an `Observer` into the loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

Lap = Callable[[str], None]
Metric = Callable[[Tensor, Tensor], Tensor]
T = TypeVar("T")
Steps = Generator[None, None, T]  # a stage that pauses after each step, and returns what it came to


class Observer:
    """The socket: the loop tells what it has just done; this one does nothing with it.

    Stages may nest (a validation inside the train stage): an instant belongs to the innermost one.
    """

    def epoch(self, number: int) -> None:
        """Epoch `number`, counted from 0, begins."""

    def begin(self, stage: str) -> None:
        """A stage ("train", "validate", "test") begins."""

    def lap(self, phase: str) -> None:
        """The time since the last call of any method belongs to `phase`."""

    def evaluation(self, loss: Tensor) -> None:
        """An optimizer that asks for its loss again and again (LBFGS) has been given it, and its gradients."""

    def step(self, samples: int, loss: Tensor) -> None:
        """One step over `samples` rows of data has ended."""

    def end(self, stage: str, loss: float, metrics: Mapping[str, float]) -> None:
        """The stage has ended with this mean loss and these metrics."""


def forward_and_loss(task: Task, inputs: Any, targets: Any, lap: Lap) -> tuple[Tensor, Tensor]:
    """The step of most tasks: outputs of the model, and their loss against the targets."""
    outputs = task.model(inputs)
    lap("forward")
    return outputs, task.loss(outputs, targets)


@dataclass
class Task:
    """What is trained: model, loss, optimizer, and three loaders of (inputs, targets).

    `scheduler` is stepped after each validation, a ReduceLROnPlateau with the validation loss; with
    `scheduler_interval` "step" after each step of the optimizer instead. The optimizer steps after every
    `accumulation_steps` batches, on the mean of their gradients, and after the last one of an epoch; their
    norm is clipped to `clip_grad_norm`. `scaler` scales the loss, as float16 needs it. `metrics`
    maps names to functions of (outputs, targets) that give the mean over a batch; they run in the test
    stage. `step` may be replaced where the loss is not `loss(model(inputs), targets)`: it returns
    (outputs, loss), and calls `lap("forward")` once the outputs are there. `setup` and `teardown` run
    before and after the loop, outside every clock. Raises ValueError for what cannot go together.
    """

    model: nn.Module
    loss: Callable[..., Tensor]
    optimizer: Optimizer
    train_loader: Iterable[Any]
    validate_loader: Iterable[Any]
    test_loader: Iterable[Any]
    scheduler: LRScheduler | ReduceLROnPlateau | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    step: Callable[[Task, Any, Any, Lap], tuple[Tensor, Tensor]] = forward_and_loss
    setup: Callable[[], None] | None = None
    teardown: Callable[[], None] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    scheduler_interval: str = "validation"
    accumulation_steps: int = 1
    clip_grad_norm: float | None = None
    scaler: GradScaler | None = None

    def __post_init__(self) -> None:
        for name in ("train_loader", "validate_loader", "test_loader"):
            if getattr(self, name) is None:
                raise ValueError(
                    f"{name} is None; a task has three loaders of (inputs, targets): where there is no data for one, "
                    f"give it that of another"
                )
        if self.scheduler_interval not in ("validation", "step"):
            raise ValueError(
                f"scheduler_interval must be 'validation' or 'step', not {self.scheduler_interval!r}"
            )
        if self.accumulation_steps < 1:
            raise ValueError(f"accumulation_steps must be at least 1, not {self.accumulation_steps}")
        if needs_closure(type(self.optimizer)) and (self.accumulation_steps > 1 or self.scaler is not None):
            raise ValueError(
                f"{type(self.optimizer).__name__} needs a closure: accumulation_steps and scaler have none"
            )


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; losses are means over the samples, None where a stage did not run."""

    train_loss: float | None
    validate_loss: float | None
    test_loss: float
    metrics: Mapping[str, float]


# How the evaluation passes treat autograd, by mode; `train` evaluates as one should.
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
    """The whole loop; under an evaluation mode its validation and test passes alone.

    With `validate_every` the validation takes place inside the train stage, after every so many steps of
    an epoch, instead of at its end. Raises ValueError where an epoch has fewer steps than that.
    """
    observer = observer or Observer()
    gradients = GRADIENTS[mode]
    history = []
    for number in range(epochs):
        observer.epoch(number)
        train_loss: float | None = None
        validate_loss: float | None = None
        if mode == "train":
            train_loss, validate_loss = train(task, observer, validate_every)
        if validate_every is None or mode != "train":
            validate_loss = validate(task, observer, gradients, adjust=mode == "train")
        test_loss, metrics = test(task, observer, gradients)
        history.append(Epoch(train_loss, validate_loss, test_loss, metrics))
    return history


def train(task: Task, observer: Observer, validate_every: int | None = None) -> tuple[float, float | None]:
    """One epoch over the training data: the mean loss, and the loss of the last validation inside it."""
    return to_the_end(train_steps(task, observer, validate_every))


def train_steps(
    task: Task, observer: Observer, validate_every: int | None = None
) -> Steps[tuple[float, float | None]]:
    """`train`, for who goes through it step by step."""
    lap = observer.lap
    observer.begin("train")
    task.model.train()
    total, seen, validate_loss = torch.zeros((), device=task.device), 0, None
    number, has_closure = 0, needs_closure(type(task.optimizer))
    lap("other")
    for number, (inputs, targets) in enumerate(task.train_loader, start=1):
        lap("data")
        inputs, targets = to_device(inputs, task.device), to_device(targets, task.device)
        lap("transfer")
        if has_closure:
            loss = minimize(task, inputs, targets, observer)
        else:
            _, loss = task.step(task, inputs, targets, lap)
            lap("loss")
            if (number - 1) % task.accumulation_steps == 0:
                task.optimizer.zero_grad()
                lap("zero_grad")
            backward(task, loss)
            lap("backward")
            if number % task.accumulation_steps == 0:
                update(task, lap)
        samples = rows(targets)
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
        update(task, lap)
    if validate_every is not None and validate_loss is None:
        raise ValueError(f"validate_every={validate_every}, but an epoch has fewer steps than that")
    mean = mean_of(total, seen, "train")
    lap("metrics")
    observer.end("train", mean, {})
    return mean, validate_loss


def backward(task: Task, loss: Tensor) -> None:
    """The gradients of the loss, added to those that there are."""
    if task.accumulation_steps > 1:
        loss = loss / task.accumulation_steps
    if task.scaler is not None:
        loss = task.scaler.scale(loss)
    loss.backward()


def update(task: Task, lap: Lap) -> None:
    """One step of the optimizer on the gradients that there are."""
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
    """One step of an optimizer that evaluates the loss of a batch as often as it likes; the loss before it."""
    lap, losses = observer.lap, []

    def closure() -> Tensor:
        lap("optimizer")  # what it did since it asked before
        _, loss = task.step(task, inputs, targets, lap)
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
    """Whether the `step` of an optimizer cannot do without a function that evaluates the loss."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def validate(
    task: Task,
    observer: Observer,
    gradients: Callable[[], Any] = torch.no_grad,
    adjust: bool = True,
) -> float:
    """The loss on the validation data, by which the scheduler then adjusts the learning rate."""
    scheduler = task.scheduler if adjust and task.scheduler_interval == "validation" else None
    steps = evaluate_steps(task, "validate", task.validate_loader, observer, gradients, {}, scheduler)
    loss, _ = to_the_end(steps)
    return loss


def test(
    task: Task, observer: Observer, gradients: Callable[[], Any] = torch.no_grad
) -> tuple[float, dict[str, float]]:
    """The loss and the metrics on data that neither training nor validation has seen."""
    return to_the_end(evaluate_steps(task, "test", task.test_loader, observer, gradients, task.metrics))


def evaluate_steps(
    task: Task,
    stage: str,
    loader: Iterable[Any],
    observer: Observer,
    gradients: Callable[[], Any],
    metrics: Mapping[str, Metric],
    scheduler: LRScheduler | ReduceLROnPlateau | None = None,
) -> Steps[tuple[float, dict[str, float]]]:
    """One pass over a loader with the model in evaluation, step by step: mean loss and mean metrics.

    Where it pauses, autograd is as `gradients` has it.
    """
    lap = observer.lap
    observer.begin(stage)
    task.model.eval()
    with gradients():
        total, seen = torch.zeros((), device=task.device), 0
        sums = {name: torch.zeros((), device=task.device) for name in metrics}
        lap("other")
        for inputs, targets in loader:
            lap("data")
            inputs, targets = to_device(inputs, task.device), to_device(targets, task.device)
            lap("transfer")
            outputs, loss = task.step(task, inputs, targets, lap)
            lap("loss")
            samples = rows(targets)
            total += loss.detach() * samples
            seen += samples
            for name, metric in metrics.items():
                sums[name] += metric(outputs.detach(), targets) * samples
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


def to_the_end(stage: Steps[T]) -> T:
    """Goes through all steps of a stage: what it returns."""
    while True:
        try:
            next(stage)
        except StopIteration as end:
            result: T = end.value
            return result


def rows(targets: Any) -> int:
    """How many rows of data a batch has: the length of its targets, or of their first part."""
    if isinstance(targets, Tensor):
        return len(targets)
    if isinstance(targets, Mapping):
        return rows(next(iter(targets.values())))
    if isinstance(targets, tuple | list) and isinstance(targets[0], Tensor):
        return len(targets[0])
    return len(targets)


def mean_of(total: Tensor, samples: int, stage: str) -> float:
    """A sum gathered on the device, read and divided. Raises ValueError where the loader was empty."""
    if samples == 0:
        raise ValueError(f"the {stage} loader gave no batch; give it data, or check drop_last")
    return float(total) / samples


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch on the device: what knows `.to`, alone or in a tuple, list or mapping; the rest as it is."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch.to(device) if hasattr(batch, "to") else batch
