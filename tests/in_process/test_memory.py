from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
import torch
from fakes import batches, small_task
from torch import nn
from torch._C._profiler import _ExtraFields_Allocation
from torch.utils.data import DataLoader

from bench.training import fit
from bench.worker.counts import memory
from bench.worker.counts.memory import CATEGORIES, MemoryTrace, held, storage, tensors_in, thinned
from bench.worker.window import windowed

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
FLOAT, LONG = 4, 8


def traced(build=small_task, mode="train", device=CPU, **options):
    """The trace of a short loop, and the task it ran."""
    trace = MemoryTrace(device)
    with trace:
        task = build()
        trace.watch(task)
        fit(windowed(task, 3, 2, 2), 1, mode, observer=trace, **options)
    return trace, task


def totals(*arguments, **options):
    return added_up(traced(*arguments, **options)[0].found())


def added_up(found):
    """The sums over the steps of all stages, and what is of no step."""
    names = ("allocations", "allocated_bytes")
    return {name: sum(of[name] for of in found.by_stage.values()) for name in names} | dict(found.totals)


def reported(trace, device="cpu"):
    """What the profiler says of each allocation: bytes, and all that were live after it."""
    waiting = list(trace._profile.profiler.kineto_results.experimental_event_tree())
    found = []
    while waiting:
        event = waiting.pop()
        waiting += event.children
        extra = event.extra_fields
        if isinstance(extra, _ExtraFields_Allocation) and extra.device.type == device:
            found.append((event.start_time_ns, extra.alloc_size, extra.total_allocated))
    return [(size, total) for _, size, total in sorted(found, key=lambda event: event[0])]


def loaded(samples=16):
    """Batches that a DataLoader makes anew in each step."""
    return DataLoader([(x[0], y[0]) for x, y in batches(samples, 1)], batch_size=4)


def adam():
    """A perceptron of 3, 5 and 2 numbers under Adam, on batches that are made anew in each step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    return small_task(model=model, optimizer=torch.optim.Adam(model.parameters()), train_loader=loaded())


ADAM = (3 * 5 + 5 + 5 * 2 + 2) * FLOAT  # the parameters' bytes


def ends_of(timeline):
    """The bytes of each category at the end of each phase."""
    return {
        phase: {name: levels[n] for name, levels in timeline.bytes.items()}
        for phase, end in zip(timeline.phases, timeline.ends, strict=True)
        for n in [max(n for n, at in enumerate(timeline.seconds) if at <= end)]
    }


class TestTotals:
    @pytest.mark.parametrize("build", [small_task, adam])
    @pytest.mark.parametrize("options", [{}, {"validate_every": 2}])
    def test_the_peak_is_the_one_that_the_profiler_reports_itself(self, build, options):
        trace, _ = traced(build, **options)
        events = reported(trace)
        before = events[0][1] - events[0][0]
        assert trace.found().totals["peak_live_bytes"] == max(total for _, total in events) - before

    @pytest.mark.parametrize("mode", ["train", "eval", "no_grad", "inference_mode"])
    def test_two_runs_allocate_the_same(self, mode):
        assert totals(mode=mode) == totals(mode=mode)

    def test_the_first_step_of_training_and_what_was_before_it_do_not_count(self):
        trace, _ = traced(adam)
        everything = [size for size, _ in reported(trace) if size > 0]
        found = added_up(trace.found())
        assert 0 < found["allocations"] < len(everything)
        assert 0 < found["allocated_bytes"] < sum(everything)

        def one_step_more():
            task = adam()
            task.train_loader = [*task.train_loader][:1] * 2
            return task

        assert totals(one_step_more)["allocations"] < found["allocations"]

    def test_every_step_but_the_first_allocates_the_same(self):
        def allocations(steps):
            trace = MemoryTrace(CPU)
            with trace:
                task = adam()
                trace.watch(task)
                fit(windowed(task, steps, 1, 1), 1, observer=trace)
            return trace.found().by_stage["train"]["allocations"], trace.counted_steps

        (two, _), (three, steps), (four, _) = map(allocations, (2, 3, 4))
        assert three - two == four - three > 0
        assert steps == {"train": 2, "validate": 1, "test": 1}

    def test_memory_from_before_the_trace_is_no_part_of_it(self):
        kept = [torch.ones(1000)]

        def build():
            kept.clear()
            return small_task()

        assert totals(build)["peak_live_bytes"] == totals()["peak_live_bytes"]

    def test_without_a_loop_there_is_nothing(self):
        with MemoryTrace(CPU) as trace:
            pass
        found = trace.found()
        assert (found.by_stage, found.totals) == ({}, {"peak_live_bytes": 0})
        assert found.timeline is None

    def test_a_task_that_cannot_be_built_leaves_the_profiler_free(self):
        def broken():
            raise LookupError("no such data")

        with pytest.raises(LookupError, match="no such data"):
            traced(broken)
        assert totals()["allocations"] > 0

    def test_a_loop_that_breaks_leaves_the_profiler_free(self):
        with pytest.raises(ValueError, match="gave no batch"):
            traced(lambda: small_task(train_loader=[]))
        assert totals()["allocations"] > 0

    def test_a_lazy_module_is_like_its_plain_twin_from_the_second_step_on(self):
        def build(kind, *shape):
            def make():
                torch.manual_seed(0)
                model = kind(*shape)
                return small_task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))

            return make

        lazy, plain = traced(build(nn.LazyLinear, 2))[0].found(), traced(build(nn.Linear, 3, 2))[0].found()
        assert lazy.by_stage == plain.by_stage
        assert lazy.timeline.bytes["parameters"] == plain.timeline.bytes["parameters"]

    def test_sparse_gradients_are_found(self):
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

        gradients = ends_of(traced(build)[0].found().timeline)["backward"]["gradients"]
        assert (
            gradients == (3 * 2 + 2) * FLOAT + 3 * 3 * FLOAT + 3 * LONG
        )  # a layer's; rows and their numbers


@pytest.fixture(scope="module")
def at_the_end_of():
    return ends_of(traced(adam)[0].found().timeline)


class TestCategories:
    def test_parameters_have_their_bytes_all_the_time(self, at_the_end_of):
        assert {levels["parameters"] for levels in at_the_end_of.values()} == {ADAM}

    def test_the_state_of_adam_is_two_means_and_a_step_for_each_parameter(self, at_the_end_of):
        assert {levels["optimizer state"] for levels in at_the_end_of.values()} == {2 * ADAM + 4 * FLOAT}

    @pytest.mark.parametrize(
        ("phase", "expected"), [("forward", ADAM), ("zero_grad", 0), ("backward", ADAM), ("optimizer", ADAM)]
    )
    def test_gradients_are_as_large_as_parameters_from_the_backward_pass_until_they_are_dropped(
        self, at_the_end_of, phase, expected
    ):
        assert at_the_end_of[phase]["gradients"] == expected

    def test_a_batch_is_its_inputs_and_targets(self, at_the_end_of):
        assert {at_the_end_of[phase]["batch"] for phase in ("transfer", "backward")} == {
            4 * 3 * FLOAT + 4 * LONG
        }

    def test_activations_are_what_the_forward_pass_made_and_kept(self, at_the_end_of):
        # Hidden values, cut at zero; scores. In the forward pass those of the step before are there as well:
        # its scores, of which the loop keeps the name, and its loss.
        before = 4 * 2 * FLOAT + FLOAT
        hidden, scores = 4 * 5 * FLOAT, 4 * 2 * FLOAT
        assert at_the_end_of["data"]["activations"] == before
        assert at_the_end_of["forward"]["activations"] == before + hidden + scores
        assert at_the_end_of["backward"]["activations"] == before

    def test_what_the_optimizer_used_is_given_back(self, at_the_end_of):
        assert at_the_end_of["optimizer"]["temporary"] == at_the_end_of["zero_grad"]["temporary"]

    def test_data_that_was_there_before_is_no_batch(self):
        levels = ends_of(traced()[0].found().timeline)["forward"]
        assert levels["batch"] == 0
        assert levels["made before the loop"] >= sum(samples * (3 * FLOAT + LONG) for samples in (12, 8, 6))


class TestTimeline:
    def test_it_covers_one_step_of_training_phase_by_phase(self):
        timeline = traced()[0].found().timeline
        assert timeline.phases == (
            *("data", "transfer", "forward", "loss", "zero_grad"),
            *("backward", "optimizer", "metrics", "other"),
        )
        assert all(before < after for before, after in pairwise((0.0, *timeline.ends)))
        assert timeline.seconds[0] == 0.0
        assert list(timeline.seconds) == sorted(timeline.seconds)
        assert timeline.seconds[-1] <= timeline.ends[-1]

    @pytest.mark.parametrize("mode", ["eval", "no_grad", "inference_mode"])
    def test_under_an_evaluation_mode_it_covers_a_step_of_validation(self, mode):
        timeline = traced(mode=mode)[0].found().timeline
        assert timeline.phases == ("data", "transfer", "forward", "loss", "metrics", "other")
        assert set(timeline.bytes["gradients"]) == {0}

    def test_it_begins_with_what_was_live_and_no_category_ever_owes_bytes(self):
        timeline = traced(adam)[0].found().timeline
        assert set(timeline.bytes) == set(CATEGORIES)
        assert sum(levels[0] for levels in timeline.bytes.values()) >= ADAM
        assert min(min(levels) for levels in timeline.bytes.values()) >= 0

    def test_its_levels_are_those_of_the_running_sum(self):
        trace, _ = traced(adam)
        levels = [sum(column) for column in zip(*trace.found().timeline.bytes.values(), strict=True)]
        running = list(accumulate(size for size, _ in reported(trace)))
        assert any(running[n : n + len(levels)] == levels for n in range(len(running)))

    def test_with_validation_inside_training_it_is_still_a_step_of_training(self):
        timeline = traced(validate_every=2)[0].found().timeline
        assert timeline.phases[-9:] == (
            *("data", "transfer", "forward", "loss", "zero_grad"),
            *("backward", "optimizer", "metrics", "other"),
        )
        assert all(before < after for before, after in pairwise(timeline.ends))


class TestThinning:
    @pytest.mark.parametrize("count", [0, 1, 2000, 2001, 4000, 5001, 9999])
    def test_the_peak_stays_and_the_points_are_bounded_and_in_order(self, count):
        points = [(n, {"a": n * 7919 % 1009, "b": n % 3}) for n in range(count)]
        kept = thinned(points)
        assert len(kept) <= memory._MOST_POINTS
        assert [at for at, _ in kept] == sorted(at for at, _ in kept)
        assert all(point in points for point in kept[:5])
        highest = [max((sum(levels.values()) for _, levels in some), default=0) for some in (points, kept)]
        assert highest[0] == highest[1]

    def test_few_points_stay_as_they_are(self):
        points = [(n, {"a": 1}) for n in range(2000)]
        assert thinned(points) is points


class TestTensors:
    def test_they_are_found_in_what_is_nested(self):
        one, two, three = torch.ones(1), torch.ones(2), torch.ones(3)
        assert [len(t) for t in tensors_in({"a": [one, (two, None)], "b": {"c": three, "d": 5}})] == [1, 2, 3]

    def test_a_sparse_one_is_its_indices_and_values(self):
        assert held(tensors_in(torch.eye(3).to_sparse())) == 2 * 3 * LONG + 3 * FLOAT

    @pytest.mark.parametrize("value", [nn.LazyLinear(2).weight, torch.eye(3).to_mkldnn(), None, "text", 3])
    def test_what_has_no_memory_to_tell_of_is_left_out(self, value):
        assert list(tensors_in([value])) == []

    def test_views_share_the_memory_of_what_they_look_at(self):
        whole = torch.ones(10)
        assert storage(whole[5:]) == storage(whole)
        assert held([whole, whole[5:], whole.view(2, 5)]) == 10 * FLOAT


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
class TestCard:
    @staticmethod
    def build():
        task = adam()
        task.device = torch.device("cuda:0")
        task.model.to(task.device)
        return task

    def test_the_peak_is_that_of_the_allocator(self):
        traced(self.build, device=torch.device("cuda:0"))  # the libraries take their workspaces in the first
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        trace, _ = traced(self.build, device=torch.device("cuda:0"))
        torch.cuda.synchronize()
        assert trace.found().totals["peak_live_bytes"] == torch.cuda.max_memory_allocated() - before

    def test_two_runs_allocate_the_same(self):
        first, second, third = (totals(self.build, device=torch.device("cuda:0")) for _ in range(3))
        assert second == third
        assert first["allocations"] >= second["allocations"]
