from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections import Counter as Tally
from functools import partial

import pytest
import torch
from fakes import CASE, batches, small_task
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from bench import tasks
from bench.analysis.launch.derived_counts import count_values
from bench.suite.case import Case
from bench.training import fit, forward_and_loss
from bench.worker.counts import compiled
from bench.worker.counts.counters import Counter, Operators, count, drawn, nodes_of

pytestmark = pytest.mark.usefixtures("one_thread")

FLOAT, LONG = 4, 8


def in_mode(mode):
    return Case("fake", {**CASE.axes, "mode": mode})


def counts(mode="train", build=None, keeps_graph=False, **parts):
    return count(build or (lambda: small_task(**parts)), in_mode(mode), keeps_graph)


def own_data(samples=12, features=3, seed=1):
    """Batches that share no memory with each other, as a DataLoader makes them."""
    rows = [
        (x, y)
        for inputs, targets in batches(samples, 1, features, seed)
        for x, y in [(inputs[0], targets[0])]
    ]
    return DataLoader(rows, batch_size=4)


def under(optimizer, **options):
    def build():
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        return small_task(
            model=model, optimizer=getattr(torch.optim, optimizer)(model.parameters(), **options)
        )

    return build


def accumulating(together, momentum):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    return small_task(model=model, optimizer=optimizer, accumulation_steps=together)


def values(found):
    """The counts as metrics, without "count."."""
    return {name.removeprefix("count."): value for name, value in count_values(found).items()}


def calls(found, stage, phase):
    tally = Tally()
    for one in found.operators:
        if (one.stage, one.phase) == (stage, phase):
            tally[one.operator.removeprefix("aten.")] += one.calls
    return dict(tally)


class Doubled(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) * 2


class TestCounts:
    def test_the_operators_of_a_small_step_can_be_listed_by_hand(self):
        found = counts()
        assert found.steps == {"train": 2, "validate": 2, "test": 2}
        assert found.samples == {"train": 8, "validate": 8, "test": 8}
        assert calls(found, "train", "forward") == {"t": 2, "addmm": 2}
        assert calls(found, "train", "loss") == {"_log_softmax": 2, "nll_loss_forward": 2}
        assert calls(found, "train", "zero_grad") == {}
        assert calls(found, "train", "optimizer") == {"add_": 2 * 2}  # steps, parameters
        assert calls(found, "validate", "forward") == {"t": 2, "addmm": 2}
        assert calls(found, "validate", "backward") == {}
        of_training = sum(one.calls for one in found.operators if one.stage == "train")
        assert values(found)["ops"] == of_training / 2
        assert found.unknown == ()

    @pytest.mark.parametrize(("workers", "left"), [(0, 0), (1, 1), (2, 1)])
    def test_of_several_loader_workers_it_has_one_so_that_batches_come_in_one_order(self, workers, left):
        loader = DataLoader(
            own_data().dataset, batch_size=4, num_workers=workers, persistent_workers=workers > 0
        )
        found = counts(train_loader=loader)
        assert loader.num_workers == left
        assert found.steps == {"train": 2, "validate": 2, "test": 2}
        # One operator gives a batch's tensor, and one what it lies in: two tensors a batch, and none ahead.
        unpacked = calls(found, "train", "data").get("set_", 0)
        assert unpacked == (2 * 2 if workers else 0)

    def test_its_operations_are_those_of_its_matrix_products(self):
        forward = 2 * 4 * 3 * 2  # rows, inputs, outputs
        # Backward there is the gradient of the weights alone: the inputs want none. The last test batch, which has two
        # rows, is no step that is counted.
        found = values(counts())
        assert (found["flops"], found["validate.flops"], found["test.flops"]) == (
            2 * forward,
            forward,
            forward,
        )

    def test_its_bytes_are_those_that_an_operator_reads_and_writes(self):
        found = counts()
        (product,) = [
            one
            for one in found.operators
            if (one.stage, one.phase, one.operator) == ("train", "forward", "aten.addmm")
        ]
        assert product.bytes == 2 * FLOAT * (2 + 4 * 3 + 3 * 2 + 4 * 2)  # bias, inputs, weights, outputs
        assert product.dtype == "float32"
        assert all(one.bytes == 0 for one in found.operators if one.operator in ("aten.t", "aten.detach"))

    def test_its_graph_has_six_nodes_a_step(self):
        # nll_loss, log_softmax, addmm, the transposed weight, and two parameters
        assert values(counts())["autograd_nodes"] == 6

    def test_it_saves_the_inputs_the_scores_the_targets_and_the_total_weight(self):
        found = counts(train_loader=own_data())
        assert values(found)["saved_bytes"] == 4 * 3 * FLOAT + 4 * 2 * FLOAT + 4 * LONG + FLOAT

    def test_its_parameters_are_eight_numbers(self):
        assert counts().totals["parameter_bytes"] == (3 * 2 + 2) * FLOAT

    @pytest.mark.parametrize(
        ("optimizer", "options", "numbers"),
        [
            ("SGD", {"lr": 0.1}, 0),
            ("SGD", {"lr": 0.1, "momentum": 0.9}, 8),
            ("Adam", {}, 2 * 8 + 2),  # two means, and the step of each of two parameters
            ("Adam", {"amsgrad": True}, 3 * 8 + 2),
        ],
    )
    def test_the_state_of_an_optimizer_is_as_large_as_its_means(self, optimizer, options, numbers):
        found = counts(build=under(optimizer, **options))
        assert found.totals["optimizer_state_bytes"] == numbers * FLOAT

    @pytest.mark.parametrize("mode", ["train", "eval", "no_grad", "inference_mode"])
    def test_two_counts_are_equal(self, mode):
        first, second = counts(mode), counts(mode)
        assert (first.totals, first.per_step) == (second.totals, second.per_step)
        assert first.operators == second.operators

    def test_looking_at_the_graph_changes_no_count(self):
        plain, looked = counts(), counts(keeps_graph=True)
        assert (plain.totals, plain.per_step) == (looked.totals, looked.per_step)
        assert plain.operators == looked.operators
        assert plain.graph is None

    def test_a_composite_operator_counts_as_those_that_it_stands_for(self):
        assert counts("inference_mode").operators == counts("no_grad").operators

    @pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
    def test_nothing_is_kept_for_a_backward_pass_that_cannot_come(self, mode):
        found = counts(mode)
        assert found.steps == {"validate": 2, "test": 2}
        told = values(found)
        assert told["autograd_nodes"] == told["saved_bytes"] == told["validate.saved_bytes"] == 0

    def test_evaluation_with_autograd_on_keeps_its_graph(self):
        found = counts("eval", validate_loader=own_data(8), test_loader=own_data(8))
        told = values(found)
        kept = 4 * 3 * FLOAT + 4 * 2 * FLOAT + 4 * LONG + FLOAT
        assert told["autograd_nodes"] == told["validate.autograd_nodes"] == 6
        assert told["saved_bytes"] == told["validate.saved_bytes"] == kept

    def test_what_is_kept_by_the_step_is_less_than_the_peak_whatever_the_mode_and_the_number_of_batches(self):
        """In a step of each mode the same is kept: no mode counts more steps than another."""
        wide = {name: own_data(40, 64) for name in ("train_loader", "validate_loader", "test_loader")}

        def build():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            return small_task(model=model, optimizer=optimizer, **wide)

        training, evaluating = (values(counts(mode, build=build)) for mode in ("train", "eval"))
        assert training["saved_bytes"] == evaluating["saved_bytes"] == evaluating["validate.saved_bytes"] > 0
        assert training["validate.saved_bytes"] == training["test.saved_bytes"] == 0
        for told in (training, evaluating):
            assert told["saved_bytes"] < told["peak_live_bytes"]

    @pytest.mark.parametrize("keeps_graph", [False, True])
    def test_batches_and_outputs_of_other_shapes_are_counted_as_those_of_a_pair(self, keeps_graph):
        def named():
            loaders = {
                f"{stage}_loader": [{"x": x, "labels": y} for x, y in batches(12, 4, seed=1)]
                for stage in ("train", "validate", "test")
            }
            return small_task(**loaders)

        def paired():
            loaders = {f"{stage}_loader": batches(12, 4, seed=1) for stage in ("train", "validate", "test")}
            return small_task(**loaders)

        plain = counts(build=paired)
        found = counts(build=named, keeps_graph=keeps_graph)
        assert values(found) == values(plain)
        assert set(found.operators) == set(plain.operators)

    @pytest.mark.parametrize("keeps_graph", [False, True])
    def test_a_batch_that_is_no_pair_is_refused_as_it_is_where_time_is_taken(self, keeps_graph):
        with pytest.raises(ValueError, match="a batch is "):
            counts(train_loader=[torch.zeros(2, 3)] * 3, keeps_graph=keeps_graph)

    @pytest.mark.parametrize(("together", "steps"), [(1, 2), (2, 2), (3, 3), (4, 4)])
    def test_of_accumulated_batches_whole_groups_are_counted(self, together, steps):
        alone, found = counts(), counts(accumulation_steps=together)
        assert found.steps["train"] == steps
        # Each group has one step of the optimizer, which is that of a batch alone.
        assert calls(found, "train", "optimizer") == {"add_": 2 * steps // together}
        assert calls(alone, "train", "optimizer") == {"add_": 2 * 2}

    @pytest.mark.parametrize("together", [2, 3])
    def test_the_state_that_the_first_group_makes_is_allocated_by_no_counted_step(self, together):
        def of_momentum(together):
            """What momentum adds to the allocations of a step of the optimizer."""
            without, with_state = (
                counts(build=partial(accumulating, together, momentum)) for momentum in (0.0, 0.9)
            )
            assert with_state.totals["optimizer_state_bytes"] == 8 * FLOAT
            # One of so many steps is one of the optimizer too.
            return [
                round((values(with_state)[name] - values(without)[name]) * together)
                for name in ("allocations", "allocated_bytes")
            ]

        assert of_momentum(together) == of_momentum(1)

    def test_a_stage_without_a_loader_is_not_counted(self):
        found = counts(validate_loader=None, test_loader=None)
        assert found.steps == {"train": 2}
        assert found.totals["peak_live_bytes"] > 0

    def test_functions_of_torch_func_are_counted_but_for_what_they_keep(self):
        def per_sample(task, inputs, targets, lap):
            def loss_of(weight, x, y):
                return nn.functional.cross_entropy((x @ weight.T)[None], y[None])

            grads = torch.func.vmap(torch.func.grad(loss_of), (None, 0, 0))(
                task.model.weight, inputs, targets
            )
            outputs, loss = forward_and_loss(task, inputs, targets, lap)
            return outputs, loss + grads.square().mean()

        found = counts(step=per_sample)
        assert found.steps == {"train": 2, "validate": 2, "test": 2}
        assert values(found)["flops"] > values(counts())["flops"]
        assert "saved_bytes" not in values(found)

    def test_a_functional_call_hides_nothing(self):
        def functional(task, inputs, targets, lap):
            outputs = torch.func.functional_call(task.model, dict(task.model.named_parameters()), (inputs,))
            lap("forward")
            return outputs, task.loss(outputs, targets)

        assert values(counts(step=functional))["saved_bytes"] == values(counts())["saved_bytes"]

    def test_hooks_of_the_users_own_stay_in_the_way_of_torch_func(self):
        def hooked(task, inputs, targets, lap):
            with saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
                torch.func.grad(torch.sum)(inputs)
            return forward_and_loss(task, inputs, targets, lap)

        with pytest.raises(RuntimeError, match="saved tensor hooks"):
            counts(step=hooked)

    def test_what_user_code_raises_comes_through(self):
        def build():
            raise LookupError("no such data")

        with pytest.raises(LookupError, match="no such data"):
            counts(build=build)

    def test_a_lazy_module_is_counted_like_its_plain_twin(self):
        def lazy():
            model = nn.LazyLinear(2)
            return small_task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))

        found, plain = counts(build=lazy), counts()
        assert found.operators == plain.operators
        assert found.totals["parameter_bytes"] == plain.totals["parameter_bytes"]

    def test_a_lazy_module_that_is_never_called_has_no_bytes(self):
        def build():
            model = nn.Linear(3, 2)
            model.spare = nn.LazyLinear(2)
            return small_task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))

        assert counts(build=build).totals["parameter_bytes"] == 8 * FLOAT

    def test_sparse_gradients_are_counted(self):
        def build():
            model = nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.Linear(3, 2))
            data = [(torch.tensor([1, 2, 4]), torch.tensor([0, 1, 1]))]
            return small_task(
                model=model,
                optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
                train_loader=data,
                validate_loader=data,
                test_loader=data,
            )

        assert counts(build=build).totals["parameter_bytes"] == (15 + 8) * FLOAT


@pytest.mark.parametrize("mode", ["train", "inference_mode"])
@pytest.mark.parametrize(
    ("dataset", "model"), [("digits", "mlp"), ("digits", "cnn"), ("text", "transformer")]
)
def test_the_shipped_tasks_are_known_as_a_whole(dataset, model, mode):
    case = Case("shipped", {"dataset": dataset, "model": model, "device": "cpu", "mode": mode})
    found = count(lambda: tasks.build(case), case)
    assert found.unknown == ()
    assert {one.stage for one in found.operators if one.flops} == set(found.steps)


class TestInjectedChanges:
    """Each is a change of the user's code that the named counts tell."""

    def test_an_operator_more_in_the_forward_pass(self):
        before, after = counts(), counts(model=Doubled(3, 2))
        assert calls(after, "train", "forward") == {"t": 2, "addmm": 2, "mul": 2}
        before, after = values(before), values(after)
        assert after["ops"] == before["ops"] + 1 + 1  # forward and backward
        assert after["test.ops"] == before["test.ops"] + 1
        assert after["flops"] == before["flops"]

    def test_a_validation_that_turns_autograd_on(self):
        def step(task, inputs, targets, lap):
            with torch.enable_grad():
                return forward_and_loss(task, inputs, targets, lap)

        before, after = counts(), counts(step=step)
        before, after = values(before), values(after)
        assert before["validate.autograd_nodes"] == before["validate.saved_bytes"] == 0
        assert after["validate.autograd_nodes"] == after["autograd_nodes"] == before["autograd_nodes"] == 6
        assert after["validate.saved_bytes"] > 0

    def test_gradients_that_are_set_to_zero_and_not_to_none(self):
        def build():
            task = small_task()
            plain = task.optimizer.zero_grad
            task.optimizer.zero_grad = lambda: plain(set_to_none=False)
            return task

        before, after = counts(), counts(build=build)
        assert calls(before, "train", "zero_grad") == {}
        assert calls(after, "train", "zero_grad") != {}
        assert values(after)["ops"] > values(before)["ops"]

    def test_an_optimizer_that_keeps_one_mean_more(self):
        before, after = (counts(build=under("Adam", amsgrad=more)) for more in (False, True))
        assert after.totals["optimizer_state_bytes"] - before.totals["optimizer_state_bytes"] == 8 * FLOAT
        assert after.totals["peak_live_bytes"] > before.totals["peak_live_bytes"]

    def test_the_size_of_a_data_set_is_no_count_of_a_step(self):
        before, after = counts(), counts(validate_loader=batches(4, 4, seed=2))
        assert after.steps == before.steps
        assert values(after)["validate.flops"] == values(before)["validate.flops"]

    def test_activations_that_are_made_again_instead_of_kept(self):
        def build(again):
            def make():
                torch.manual_seed(0)
                model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(4)], nn.Linear(3, 2))
                plain = model.forward
                if again:
                    model.forward = lambda inputs: checkpoint(plain, inputs, use_reentrant=False)
                return small_task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))

            return make

        before, after, once_more = (counts(build=build(again)) for again in (False, True, True))
        assert values(after)["flops"] > values(before)["flops"]
        assert values(after) == values(once_more)


class TestCountingAndTraining:
    def test_a_count_changes_no_loss(self):
        plain, looked = small_task(), small_task()
        alone = fit(plain, 2)
        operators = Operators()
        counter = Counter(looked, operators)
        with saved_tensors_hooks(counter.save, lambda tensor: tensor), operators:
            watched = fit(looked, 2, observer=counter)
        assert alone == watched
        assert torch.equal(plain.model.weight, looked.model.weight)

    def test_dropout_falls_as_it_falls_without_a_count(self):
        def task():
            model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
            return small_task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))

        def losses(looked):
            torch.manual_seed(1)
            model = task()
            torch.manual_seed(2)
            with Operators() if looked else contextlib.nullcontext():
                return fit(model, 1)

        assert losses(False) == losses(True)

    def test_a_validation_inside_training_belongs_to_itself(self):
        task, operators = small_task(), Operators()
        counter = Counter(task, operators)
        with operators:
            fit(task, 1, validate_every=2, observer=counter)
        assert counter.steps == {"train": 3, "validate": 2, "test": 2}
        forwards = {one.stage: one.calls for one in operators.counts() if one.operator == "aten.addmm"}
        assert forwards == counter.steps

    def test_a_tensor_that_is_saved_twice_counts_once_a_step(self):
        task = small_task()
        counter = Counter(task, Operators())
        counter.begin("train")
        kept = torch.ones(4)
        for _ in range(2):
            assert counter.save(kept) is kept
            counter.save(kept[1:])
            counter.save(task.model.weight)
            counter.step(1, torch.ones(()))
        assert counter.saved_bytes == {"train": 2 * 4 * FLOAT}

    def test_memory_that_is_given_back_and_used_again_counts_again(self):
        task = small_task()
        counter = Counter(task, Operators())
        counter.save(torch.ones(4))  # in no stage
        counter.begin("train")
        for _ in range(50):
            counter.save(torch.ones(4))
        assert counter.saved_bytes == {"train": 50 * 4 * FLOAT}

    def test_what_is_saved_of_a_sparse_tensor_is_its_indices_and_values(self):
        task = small_task()
        counter = Counter(task, Operators())
        counter.begin("test")
        counter.save(torch.eye(3).to_sparse())
        assert counter.saved_bytes == {"test": 2 * 3 * LONG + 3 * FLOAT}


class TestGraph:
    def test_it_is_the_chain_from_the_loss_to_the_parameters(self):
        def build():
            model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
            return small_task(
                model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), train_loader=own_data()
            )

        nodes = counts(build=build, keeps_graph=True).graph.nodes
        assert nodes[0].name == "NllLossBackward0"
        assert dict(Tally(node.name for node in nodes)) == {
            "NllLossBackward0": 1,
            "LogSoftmaxBackward0": 1,
            "AddmmBackward0": 2,
            "ReluBackward0": 1,
            "TBackward0": 2,
            "torch::autograd::AccumulateGrad": 4,
        }
        saved = {node.name: node.saved for node in nodes if node.name != "AddmmBackward0"}
        assert saved == {
            "NllLossBackward0": 4 * 2 * FLOAT + 4 * LONG + FLOAT,  # scores, targets, their total weight
            "LogSoftmaxBackward0": 4 * 2 * FLOAT,
            "ReluBackward0": 4 * 5 * FLOAT,
            "TBackward0": 0,
            "torch::autograd::AccumulateGrad": 0,
        }
        # The second layer keeps its inputs and its weights; the first has nothing that wants a gradient but weights.
        products = [node.saved for node in nodes if node.name == "AddmmBackward0"]
        assert products == [(4 * 5 + 5 * 2) * FLOAT, 4 * 3 * FLOAT]
        relu = next(node for node in nodes if node.name == "ReluBackward0")
        assert [nodes[place].name for place in nodes[0].next] == ["LogSoftmaxBackward0"]
        assert [nodes[place].name for place in relu.next] == ["AddmmBackward0"]

    def test_every_node_but_the_loss_is_called_by_another(self):
        nodes = counts(keeps_graph=True).graph.nodes
        assert {place for node in nodes for place in node.next} == set(range(1, len(nodes)))

    def test_a_node_that_two_call_is_there_once(self):
        weight = nn.Parameter(torch.ones(2))
        doubled = weight * 2
        assert len(nodes_of((doubled + doubled.exp()).sum().grad_fn)) == 5

    def test_a_function_of_the_users_own_keeps_what_it_saves(self):
        class Kept(torch.autograd.Function):
            @staticmethod
            def forward(context, inputs):
                context.save_for_backward(inputs * 3)
                return inputs.clone()

            @staticmethod
            def backward(context, gradient):
                return gradient

        nodes = drawn(Kept.apply(nn.Parameter(torch.ones(6))).grad_fn).nodes
        assert [node.saved for node in nodes] == [6 * FLOAT, 0]

    @pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
    def test_there_is_none_without_autograd(self, mode):
        assert counts(mode, keeps_graph=True).graph is None


@pytest.fixture
def dynamo():
    """Compilation from a clean slate, and none of it left behind."""
    import torch._dynamo as dynamo

    def clear():
        dynamo.reset()
        dynamo.utils.counters.clear()
        dynamo.utils.clear_compilation_metrics()

    clear()
    yield dynamo
    clear()


class Broken(nn.Linear):
    def forward(self, inputs):
        outputs = super().forward(inputs)
        torch._dynamo.graph_break()
        return outputs * 2


class Numbered(nn.Linear):
    """Its forward pass depends on a plain number, which is another one each time."""

    number = 0

    def forward(self, inputs):
        return super().forward(inputs) * self.number


def compiling(model, **parts):
    def build():
        torch.manual_seed(0)
        task = small_task(model=model(3, 2), **parts)
        plain = task.model

        def step(task, inputs, targets, lap):
            plain.number = getattr(plain, "number", 0) + 1
            return forward_and_loss(task, inputs, targets, lap)

        compiled_model = torch.compile(plain, backend="eager", dynamic=False)
        return dataclasses.replace(task, model=compiled_model, step=step)

    return build


class TestCompilation:
    def test_without_it_there_is_nothing_to_tell(self, dynamo):
        assert compiled.counts() == {}
        assert "graphs" not in counts().totals

    def test_a_process_that_has_not_loaded_it_does_not_load_it(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "torch._dynamo.utils", raising=False)
        assert compiled.counts() == {}
        assert "torch._dynamo.utils" not in sys.modules

    @pytest.mark.parametrize(
        ("model", "mode", "made"),
        [
            (nn.Linear, "inference_mode", (1, 0, 0)),
            (Broken, "inference_mode", (2, 1, 0)),
            (nn.Linear, "train", (2, 0, 1)),  # evaluation, without gradients, has a graph of its own
            (Numbered, "inference_mode", (4, 0, 3)),  # one for each of four steps
        ],
    )
    def test_graphs_breaks_and_recompilations_are_counted(self, dynamo, model, mode, made):
        full = batches(8, 4, seed=3)
        totals = counts(mode, build=compiling(model, test_loader=full)).totals
        assert (totals["graphs"], totals["graph_breaks"], totals["recompilations"]) == made

    def test_another_shape_is_compiled_again(self, dynamo):
        model = torch.compile(nn.Linear(3, 2), backend="eager", dynamic=False)
        for rows in (4, 4, 2):
            model(torch.ones(rows, 3))
        assert compiled.counts() == {"graphs": 2, "graph_breaks": 0, "recompilations": 1}

    @pytest.mark.parametrize("mode", ["train", "inference_mode"])
    def test_operators_are_counted_as_those_of_the_code(self, dynamo, mode):
        found, plain = counts(mode, build=compiling(Doubled)), counts(mode, model=Doubled(3, 2))
        assert found.operators == plain.operators
        assert values(found)["flops"] == values(plain)["flops"] > 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("mode", ["train", "eval", "no_grad", "inference_mode"])
def test_two_counts_on_a_card_are_equal(mode):
    def build():
        task = small_task()
        task.device = torch.device("cuda:0")
        task.model.to(task.device)
        return task

    case = Case("fake", {**CASE.axes, "mode": mode, "device": "cuda:0"})
    count(build, case)  # the libraries take their workspaces in the first
    first, second = (count(build, case) for _ in range(2))
    assert (first.totals, first.per_step) == (second.totals, second.per_step)
    assert first.operators == second.operators
