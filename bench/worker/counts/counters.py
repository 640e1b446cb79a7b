"""Exact counts of one launch.

The loop runs twice over a window of batches. The first pass is under the memory profiler, from before the task is
built, so that allocations of the first step (the optimizer's state) are seen; from the second step on, each step
allocates the same. The second pass is under a dispatch mode that sees every operator. Both count a few steps of each
stage and give sums per step, since stages have different numbers of steps.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import graph
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from ...measurement import AutogradGraph, Counts, GraphNode, OperatorCount
from ...suite.case import Case
from ...training import Lap, Observer, Task, fit
from ..window import windowed
from . import compiled
from .device import device_counts
from .flops import computes, formula
from .formats import format_of, kind_of, kind_of_convolution
from .memory import MemoryTrace, held, storage, tensors_in

TRAIN_STEPS = 2  # that are counted
EVALUATION_STEPS = 2  # of validation, and as many of test

_NO_TRAFFIC = frozenset(
    {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "detach", "alias"}
)


class _Kind:
    """The properties of an operator that do not depend on its arguments."""

    def __init__(self, func: Any) -> None:
        self.name = str(func._overloadpacket)
        self.is_profilers = func.namespace == "profiler"
        self.formula = formula(func)
        self.computes = computes(func)
        self.may_be_others = self.formula is None
        self.arithmetic = kind_of(self.name)
        self.moves = not func.is_view and func._overloadpacket.__name__ not in _NO_TRAFFIC

    def of_call(self, arguments: tuple[Any, ...]) -> str:
        """The kind of arithmetic of one call."""
        if self.arithmetic != "conv":
            return self.arithmetic
        return kind_of_convolution(self.name, arguments)


class Operators(TorchDispatchMode):
    """Counts every operator that is dispatched, by the phase that the loop is in.

    An operator that only calls others (`linear` under inference_mode) counts as those; operators of the profiler do not
    count. Under this mode torch.compile runs a model uncompiled: the operators are those of the code, not those of the
    compiled graphs.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unknown: set[str] = set()
        self.dispatched = 0  # in all, including pauses
        self.is_paused = False  # operators dispatched meanwhile are not counted
        self._kinds: dict[Any, _Kind] = {}  # looking them up at each call would take a third of the cost
        self._pending: dict[tuple[str, str], list[int]] = {}
        self._found: dict[tuple[str, str, str, str], list[int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        self.dispatched += 1
        if self.is_paused:
            return func(*args, **named)
        kind = self._kinds.get(func)
        if kind is None:
            kind = self._kinds[func] = _Kind(func)
        if kind.is_profilers:
            return func(*args, **named)
        if kind.may_be_others:
            with self:
                made = func.decompose(*args, **named)
            if made is not NotImplemented:
                return made
            kind.may_be_others = False  # this does not depend on the arguments
        out = func(*args, **named)
        flops = 0
        try:
            if kind.formula is not None:
                flops = int(kind.formula(*args, **named, out_val=out))
            elif kind.computes:
                self.unknown.add(kind.name)
        # Torch's formulas do not accept all arguments of its operators, and a count must not fail a launch.
        except Exception:
            self.unknown.add(kind.name)
        tensors = list(tensors_in(args))
        if named:
            tensors += tensors_in(named)
        told = next((t for t in tensors if t.is_floating_point() or t.is_complex()), None)
        if flops and tensors:
            dtype = format_of(kind.of_call(args), tensors[0] if told is None else told, flops)
        else:
            dtype = "" if told is None else _dtype(told)
        counted = self._pending.setdefault((kind.name, dtype), [0, 0, 0])
        counted[0] += 1
        counted[1] += flops
        if kind.moves:
            counted[2] += sum(tensor.nbytes for tensor in [*tensors, *tensors_in(out)])
        return out

    def assign(self, stage: str, phase: str) -> None:
        """Assigns the operators dispatched since the last call to this phase."""
        for (operator, dtype), counted in self._pending.items():
            total = self._found.setdefault((stage, phase, operator, dtype), [0, 0, 0])
            for place, value in enumerate(counted):
                total[place] += value
        self._pending.clear()

    def counts(self) -> tuple[OperatorCount, ...]:
        return tuple(OperatorCount(*place, *counted) for place, counted in self._found.items())


class Counter(Observer):
    """The observer that counts operators, autograd nodes and what autograd saves."""

    def __init__(self, task: Task | None, operators: Operators) -> None:
        self.steps: dict[str, int] = {}  # by stage, as all of these
        self.samples: dict[str, int] = {}
        self.nodes: dict[str, int] = {}
        self.saved_bytes: dict[str, int] = {}
        self.misses_saved = False
        self._operators = operators
        # In this step. Addresses are reused, so a storage is identified by a weak reference.
        self._saved: set[StorageWeakRef] = set()
        self._evaluated = False  # in this step, by an optimizer's closure
        self._lasting: set[int] = set()
        self._open: list[str] = []
        if task is not None:
            self.know(task.model)

    def know(self, model: nn.Module) -> None:
        """The tensors of a model last: autograd does not keep them for a step."""
        self._lasting |= {storage(t) for t in tensors_in([*model.parameters(), *model.buffers()])}

    def save(self, tensor: Tensor) -> Tensor:
        """Autograd's hook for saved tensors: counts each storage once per step, and no parameters."""
        for part in tensors_in(tensor):
            try:
                begins = storage(part)
            except RuntimeError:  # a tensor traced by torch.func.jvp has no memory of its own
                self.misses_saved = True
                continue
            memory = part.untyped_storage()
            place = StorageWeakRef(memory)
            if place not in self._saved and begins not in self._lasting:
                self._saved.add(place)
                self._count(self.saved_bytes, memory.nbytes())
        return tensor

    def _count(self, by_stage: dict[str, int], number: int) -> None:
        if self._open:
            by_stage[self._open[-1]] = by_stage.get(self._open[-1], 0) + number

    def begin(self, stage: str) -> None:
        if self._open:
            self._operators.assign(self._open[-1], "other")
        self._open.append(stage)

    def lap(self, phase: str) -> None:
        self._operators.assign(self._open[-1], phase)

    def evaluation(self, loss: Tensor) -> None:
        self._evaluated = True
        self._add_graph(loss)

    def step(self, samples: int, loss: Tensor | None) -> None:
        self._saved.clear()
        stage = self._open[-1]
        self.steps[stage] = self.steps.get(stage, 0) + 1
        self.samples[stage] = self.samples.get(stage, 0) + samples
        if not self._evaluated and loss is not None:
            self._add_graph(loss)
        self._evaluated = False

    def _add_graph(self, loss: Tensor) -> None:
        if loss.grad_fn is not None:
            self._count(self.nodes, len(nodes_of(loss.grad_fn)))

    def end(self, stage: str, loss: float | None, metrics: Mapping[str, float]) -> None:
        self._operators.assign(self._open.pop(), "other")


def count(build: Callable[[], Task], case: Case, keeps_graph: bool = False) -> Counts:
    """Builds the task and counts it. Raises whatever the user's code raises."""
    memory = MemoryTrace(torch.device(case.device))
    graphs: list[AutogradGraph] = []
    with memory:
        task = build()
        with_one_worker(task)
        memory.watch(task)
        window = windowed(
            task, task.accumulation_steps + train_steps(task), EVALUATION_STEPS, EVALUATION_STEPS
        )
        if (
            keeps_graph
        ):  # now: during the second pass, reading what a node keeps would be counted as an operator
            window = telling(window, graphs)
        fit(window, 1, case.mode, observer=memory)
    measured = memory.found()
    parts = [measured.by_stage]
    limits: tuple[str, ...] = ()
    if task.device.type == "cuda":
        on_device = device_counts(memory.trace(), memory.marks)
        parts.append(on_device)
        limits = () if on_device else ("device_not_counted",)
    operators = Operators()
    counter = Counter(task, operators)
    with saving(counter), operators:
        window = windowed(task, train_steps(task), EVALUATION_STEPS, EVALUATION_STEPS)
        fit(window, 1, case.mode, observer=counter)
    found = gathered(operators, counter, task.model, [task.optimizer], graphs)
    per_step = joined(found.per_step, *(by_step(part, memory.counted_steps) for part in parts))
    return dataclasses.replace(
        found,
        totals={**found.totals, **measured.totals},
        per_step=per_step,
        timeline=measured.timeline,
        limits=limits,
    )


def by_step(
    by_stage: Mapping[str, Mapping[str, int]], steps: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """The counts of one step, by stage, from the sums over all counted steps."""
    return {
        stage: {name: _share(total, steps[stage]) for name, total in totals.items()}
        for stage, totals in by_stage.items()
        if steps.get(stage)
    }


def _share(total: int, steps: int) -> float:
    return total // steps if total % steps == 0 else total / steps


def joined(*parts: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The counts of several parts in one mapping, by stage."""
    found: dict[str, dict[str, float]] = {}
    for part in parts:
        for stage, values in part.items():
            found.setdefault(stage, {}).update(values)
    return found


def train_steps(task: Task) -> int:
    """How many train steps are counted: whole groups of accumulated batches, each with its optimizer step."""
    return -(-TRAIN_STEPS // task.accumulation_steps) * task.accumulation_steps


def gathered(
    operators: Operators,
    counter: Counter,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    graphs: Sequence[AutogradGraph],
) -> Counts:
    """All counts, with the first graph that was recorded."""
    seen = {"autograd_nodes": counter.nodes}
    if not counter.misses_saved:
        seen["saved_bytes"] = counter.saved_bytes
    of_stages = {stage: {name: by.get(stage, 0) for name, by in seen.items()} for stage in counter.steps}
    states = [list(optimizer.state.values()) for optimizer in optimizers]
    return Counts(
        steps=counter.steps,
        totals={
            "parameter_bytes": held(tensors_in(list(model.parameters()))),
            **({"optimizer_state_bytes": held(tensors_in(states))} if optimizers else {}),
            **compiled.counts(),
        },
        operators=operators.counts(),
        per_step=by_step(of_stages, counter.steps),
        unknown=tuple(sorted(operators.unknown)),
        graph=graphs[0] if graphs else None,
        samples=counter.samples,
    )


def with_one_worker(task: Task) -> None:
    """Reduces several loader workers to one: the order in which several deliver varies, and with it what is counted."""
    for loader in (task.train_loader, task.validate_loader, task.test_loader):
        if isinstance(loader, DataLoader):
            loader.num_workers = min(loader.num_workers, 1)


def telling(task: Task, graphs: list[AutogradGraph]) -> Task:
    """The task with a step that records the graph of the first loss that has one."""
    plain = task.step

    @functools.wraps(plain)
    def step(task: Task, inputs: Any, targets: Any, lap: Lap) -> tuple[Any, Tensor]:
        made = plain(task, inputs, targets, lap)
        # Else the loop raises an error.
        loss = made[1] if isinstance(made, tuple | list) and len(made) == 2 else None
        if not graphs and isinstance(loss, Tensor) and loss.grad_fn is not None:
            graphs.append(drawn(loss.grad_fn))
        return made

    return dataclasses.replace(task, step=step)


def nodes_of(root: Any) -> list[Any]:
    """The nodes of an autograd graph, the root first, each once."""
    found, waiting = {root: None}, [root]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in found:
                found[node] = None
                waiting.append(node)
    return list(found)


def drawn(root: Any) -> AutogradGraph:
    """The graph behind a loss as a record, with what each node keeps; only before the backward pass."""
    nodes = nodes_of(root)
    places = {node: place for place, node in enumerate(nodes)}
    return AutogradGraph(
        tuple(
            GraphNode(
                name=node.name(),
                saved=held(tensors_in(kept(node))),
                next=tuple(places[after] for after, _ in node.next_functions if after is not None),
            )
            for node in nodes
        )
    )


def kept(node: Any) -> list[Any]:
    """The values that a node keeps: by name for torch's nodes, together for a custom autograd.Function."""
    return [
        getattr(node, name) for name in dir(node) if name.startswith("_saved_") or name == "saved_tensors"
    ]


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


@contextmanager
def saving(counter: Counter) -> Iterator[None]:
    """A context in which the counter gets each tensor that autograd saves.

    Functions such as torch.func.grad refuse to run under hooks for saved tensors: the hooks are off while one of them
    runs, and what it saves is not counted.
    """
    plain: Callable[[str], Any] = graph.disable_saved_tensors_hooks
    hooks = graph.saved_tensors_hooks(counter.save, lambda tensor: tensor)

    @contextmanager
    def without_ours(message: str) -> Iterator[None]:
        top = torch._C._autograd._top_saved_tensors_default_hooks(True)
        if top is None or top[0] is not hooks.pack_hook:
            with plain(message):  # the hooks are not ours
                yield
            return
        counter.misses_saved = True
        hooks.__exit__()
        try:
            with plain(message):
                yield
        finally:
            hooks.__enter__()

    graph.disable_saved_tensors_hooks = without_ours  # type: ignore[assignment]
    try:
        with hooks:
            yield
    finally:
        graph.disable_saved_tensors_hooks = plain  # type: ignore[assignment]
